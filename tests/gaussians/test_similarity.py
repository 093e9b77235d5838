"""Gaussians from elsewhere look the same in our world, and keep their order."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from splat_uff.gaussians.ply import gaussians_of, save_ply
from splat_uff.gaussians.similarity import move_centres, move_gaussians
from splat_uff.gaussians.source import read_source
from splat_uff.geometry.cameras import Camera
from splat_uff.render import Gaussians, render_colours
from tests.features.scenes import tiny_scene
from tests.formats.splats import make_table, write_ply


def with_harmonics(gaussians, degree, rng):
    """The same Gaussians with random higher harmonics."""
    count = (degree + 1) ** 2 - 1
    shN = torch.from_numpy(rng.normal(0, 0.1, (len(gaussians), count, 3)).astype(np.float32))
    return Gaussians(**(gaussians.tensors() | {"shN": shN}))


def from_file(path, source_from_world):
    """Gaussians of a file in our world."""
    gaussians = gaussians_of(read_source(path).drawn)
    return move_gaussians(gaussians, np.linalg.inv(source_from_world))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_gaussians_from_elsewhere_are_seen_as_in_their_own_world(tmp_path, degree):
    scene = tiny_scene()
    source = with_harmonics(scene.gaussians, degree, np.random.default_rng(0))
    save_ply(tmp_path / "splats.ply", source)
    source_from_world = np.diag([2.5, 2.5, 2.5, 1.0])
    source_from_world[:3, 3] = [3, -1, 0.5]
    found = from_file(tmp_path / "splats.ply", source_from_world)
    assert found.sh_degree == degree
    for camera in scene.cameras:
        pose = camera.world_from_cam.copy()
        pose[:3, 3] = (pose[:3, 3] - source_from_world[:3, 3]) / 2.5
        moved = Camera(pose, camera.K, camera.width, camera.height)
        with torch.no_grad():
            here, there = render_colours(found, moved), render_colours(source, camera)
        np.testing.assert_allclose(here.values, there.values, atol=1e-4)


def test_moving_there_and_back_gives_the_same_gaussians():
    scene = tiny_scene()
    similarity = np.diag([0.3, 0.3, 0.3, 1.0])
    similarity[:3, 3] = [1, 2, 3]
    back = move_gaussians(move_gaussians(scene.gaussians, similarity), np.linalg.inv(similarity))
    for name, tensor in scene.gaussians.tensors().items():
        np.testing.assert_allclose(getattr(back, name), tensor, atol=1e-5)


def test_a_similarity_that_rotates_there_and_back_gives_the_same_gaussians():
    given = with_harmonics(tiny_scene().gaussians, 3, np.random.default_rng(0))
    similarity = np.eye(4)
    similarity[:3, :3] = 0.4 * Rotation.from_euler("xyz", [1, 2, 3]).as_matrix()
    similarity[:3, 3] = [1, 2, 3]
    back = move_gaussians(move_gaussians(given, similarity), np.linalg.inv(similarity))
    for name, tensor in given.tensors().items():
        found = getattr(back, name)
        if name == "quats":  # Both signs are the same rotation.
            found = found * (found * tensor).sum(dim=1, keepdim=True).sign()
        np.testing.assert_allclose(found, tensor, atol=1e-5)


def test_centres_of_64_bits_keep_their_places_far_from_the_origin(tmp_path):
    table = make_table(40, kinds=dict.fromkeys("xyz", "<f8"))
    near = np.stack([table[axis] for axis in "xyz"], axis=1)
    source_from_world = np.diag([2.0, 2.0, 2.0, 1.0])
    source_from_world[:3, 3] = [4.2e6, 1.7e5, 4.78e6]
    for axis, name in enumerate("xyz"):
        table[name] = 2 * near[:, axis] + source_from_world[axis, 3]
    path = write_ply(tmp_path / "splats.ply", table)
    found = from_file(path, source_from_world)
    np.testing.assert_allclose(found.means, near, atol=1e-6)
    centres = move_centres(found.means.numpy(), source_from_world)
    expected = np.stack([table[axis] for axis in "xyz"], axis=1)
    np.testing.assert_allclose(centres, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "matrix", [np.diag([1.0, 1, -1, 1]), np.diag([1.0, 2, 1, 1]), np.eye(4) * np.nan]
)
def test_what_mirrors_or_shears_is_no_similarity(matrix):
    with pytest.raises(ValueError, match="the matrix"):
        move_gaussians(tiny_scene().gaussians, matrix)
