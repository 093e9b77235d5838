"""Turned Gaussians look to a turned camera as they did before, view-dependent colour included."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from splat_uff.gaussians.turn import harmonics_turn, turn_gaussians
from splat_uff.geometry.cameras import Camera
from splat_uff.render import render_colours
from splat_uff.render.harmonics import basis_values
from tests.features.scenes import tiny_scene
from tests.gaussians.test_similarity import with_harmonics

TURNS = {
    "any": Rotation.from_euler("xyz", [-60, 20, 100], degrees=True).as_matrix(),
    "y up": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
    "OpenGL": np.diag([1.0, -1, -1]),
}
MIRRORS = {"z": np.diag([1.0, 1, -1]), "swap": np.eye(3)[[1, 0, 2]]}


def picture(gaussians, camera):
    with torch.no_grad():
        return render_colours(gaussians, camera).values.numpy()


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", TURNS)
def test_turned_gaussians_look_the_same_to_a_turned_camera(kind, degree):
    scene, turn = tiny_scene(), TURNS[kind]
    given = with_harmonics(scene.gaussians, degree, np.random.default_rng(degree))
    turned = turn_gaussians(given, turn)
    for camera in scene.cameras:
        pose = camera.world_from_cam.copy()
        pose[:3] = turn @ pose[:3]
        moved = Camera(pose, camera.K, camera.width, camera.height)
        np.testing.assert_allclose(picture(turned, moved), picture(given, camera), atol=2e-5)
        if degree > 0:  # The test can fail: without the turned harmonics colours differ.
            tensors = turned.tensors() | {"shN": given.shN}
            wrong = picture(type(given)(**tensors), moved)
            assert np.abs(wrong - picture(given, camera)).max() > 1e-3


@pytest.mark.parametrize("kind", MIRRORS)
def test_mirrored_gaussians_look_mirrored(kind):
    scene, mirror = tiny_scene(), MIRRORS[kind]
    given = with_harmonics(scene.gaussians, 3, np.random.default_rng(1))
    mirrored = turn_gaussians(given, mirror)
    flip = np.diag([-1.0, 1, 1])
    for camera in scene.cameras:  # Whose middle column is the middle of its image.
        pose = np.eye(4)
        pose[:3, :3] = mirror @ camera.world_from_cam[:3, :3] @ flip
        pose[:3, 3] = mirror @ camera.centre
        moved = Camera(pose, camera.K, camera.width, camera.height)
        expected = picture(given, camera)[:, ::-1]
        np.testing.assert_allclose(picture(mirrored, moved), expected, atol=2e-5)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_harmonics_turn_is_a_representation(degree):
    first, second = (Rotation.random(random_state=seed).as_matrix() for seed in (0, 1))
    both = harmonics_turn(first, degree) @ harmonics_turn(second, degree)
    np.testing.assert_allclose(harmonics_turn(first @ second, degree), both, atol=1e-12)
    np.testing.assert_allclose(
        harmonics_turn(np.eye(3), degree), np.eye((degree + 1) ** 2 - 1), atol=1e-12
    )


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_harmonics_turn_turns_the_function(degree):
    rng = np.random.default_rng(0)
    turn = Rotation.random(random_state=5).as_matrix()
    coefficients = rng.normal(size=(degree + 1) ** 2 - 1)
    directions = rng.normal(size=(20, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    turned = basis_values(directions, degree) @ harmonics_turn(turn, degree) @ coefficients
    there = basis_values(directions @ turn, degree) @ coefficients
    np.testing.assert_allclose(turned, there, atol=1e-12)


def test_no_turn_changes_no_bit():
    given = tiny_scene().gaussians
    assert turn_gaussians(given, np.eye(3)) is given
