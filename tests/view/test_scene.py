"""What is sent to the browser of Gaussians and cameras."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from splat_uff.geometry.cameras import Camera
from splat_uff.render import Gaussians
from splat_uff.view.scene import Splats, covariances, wxyz_of
from splat_uff.view.server import start_server, stop_server


def random_gaussians(count, seed=0):
    rng = np.random.default_rng(seed)

    def tensor(*shape):
        return torch.from_numpy(rng.normal(size=shape).astype(np.float32))

    return Gaussians(
        tensor(count, 3), tensor(count, 4), tensor(count, 3) - 3, tensor(count),
        tensor(count, 1, 3), tensor(count, 0, 3),
    )  # fmt: skip


def test_covariances_have_the_axes_and_sizes_of_the_gaussians():
    gaussians = random_gaussians(40)
    sizes = gaussians.scales.numpy().astype(np.float64)
    # scipy has quaternions with their real part last.
    axes = Rotation.from_quat(np.roll(gaussians.quats.numpy(), -1, axis=1)).as_matrix()
    for found, turn, size in zip(covariances(gaussians), axes, sizes, strict=True):
        np.testing.assert_allclose(turn.T @ found @ turn, np.diag(size**2), atol=1e-5 * size.max())


def test_wxyz_of_is_the_orientation_of_the_camera():
    for seed in range(20):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
        real, *imaginary = wxyz_of(Camera(pose, np.eye(3), 4, 4))
        back = Rotation.from_quat([*imaginary, real]).as_matrix()
        np.testing.assert_allclose(back, pose[:3, :3], atol=1e-12)


@pytest.fixture
def server():
    server = start_server("scene", port=18060)
    yield server
    stop_server(server)


def test_show_sends_colours_and_hides_what_is_not_visible(server):
    gaussians = random_gaussians(50)
    splats = Splats(server, gaussians)
    rng = np.random.default_rng(0)
    for _ in range(2):
        colours = rng.integers(0, 256, (50, 3)).astype(np.uint8)
        visible = rng.random(50) > 0.5
        splats.show(colours, visible)
        np.testing.assert_array_equal(splats.colours, colours)
        expected = np.where(visible, gaussians.opacities.numpy() * 255, 0)
        np.testing.assert_allclose(splats.opacities, expected, atol=0.51)


def test_replace_takes_other_gaussians_however_many(server):
    splats = Splats(server, random_gaussians(50))
    fewer = random_gaussians(20, seed=1)
    colours = np.arange(60, dtype=np.uint8).reshape(20, 3)
    splats.replace(fewer, colours)
    np.testing.assert_array_equal(splats.colours, colours)
    np.testing.assert_allclose(splats.opacities, fewer.opacities.numpy() * 255, atol=0.51)
