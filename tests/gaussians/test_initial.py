"""Where Gaussians start: on the hull that the photos leave, and in the colours they show."""

from dataclasses import replace

import numpy as np
import pytest

from splat_uff.capture.records import Capture
from splat_uff.gaussians import initial
from splat_uff.gaussians.initial import initial_gaussians
from splat_uff.geometry.cameras import project
from splat_uff.render.harmonics import C0
from splat_uff.system.errors import InputError
from tests.gaussians.scenes import RADIUS, ball_capture


@pytest.fixture(autouse=True)
def _coarse_grid(monkeypatch):
    monkeypatch.setattr(initial, "GRID", 48)


def start(capture, count=500, sh_degree=1, seed=0):
    return initial_gaussians(capture, count, sh_degree, rng=np.random.default_rng(seed))


def with_alpha(capture, alpha_of) -> Capture:
    """The capture with alpha multiplied by `alpha_of(index)` in each photo."""
    photos = [
        replace(view, photo=view.image * np.float32(alpha_of(index)))
        for index, view in enumerate(capture.train)
    ]
    return replace(capture, train=tuple(photos))


def test_initial_gaussians_lie_within_a_cell_of_every_silhouette():
    capture = ball_capture(views=12)
    means = start(capture).means.numpy().astype(float)
    for view in capture.train:
        pixels, depth = project(view.camera, means)
        # A ball's silhouette is a disc only near the axis; two pixels are a cell and the rest.
        edge = view.camera.K[0, 0] * RADIUS / np.sqrt(1.5**2 - RADIUS**2) + 2
        assert (depth > 0).all()
        assert (np.linalg.norm(pixels - 12, axis=1) < edge).all()


def test_initial_gaussians_lie_on_the_surface_of_the_hull():
    distances = np.linalg.norm(start(ball_capture(views=40)).means.numpy(), axis=1)
    assert distances.min() > 0.75 * RADIUS
    assert distances.max() < 1.4 * RADIUS


def test_initial_gaussians_without_alpha_fill_the_box_that_cameras_see():
    means = start(ball_capture(has_alpha=False)).means.numpy()
    half = 1.25 * 1.5 / 3  # Of the distance, the slope of the field of view is a third.
    assert np.abs(means).max() <= half
    assert (np.abs(means).max(axis=0) > 0.9 * half).all()


def test_initial_gaussians_of_cameras_that_look_around_reach_behind_them():
    capture = ball_capture(views=10, has_alpha=False)
    turned = np.diag([-1.0, 1.0, -1.0, 1.0])  # Half a turn about the vertical axis.
    views = tuple(
        replace(view, camera=replace(view.camera, world_from_cam=view.camera.world_from_cam @ turn))
        for view, turn in zip(capture.train, [turned, turned, *[np.eye(4)] * 8], strict=True)
    )
    means = start(replace(capture, train=views)).means.numpy()
    assert np.abs(means).max() <= 2 * 1.5
    assert (np.abs(means).max(axis=0) > 0.9 * 2 * 1.5).all()
    one = (replace(views[2], camera=views[0].camera), *views[2:])  # One of nine may look away.
    assert np.abs(start(replace(capture, train=(*one, *one[1:]))).means.numpy()).max() < 1.5


@pytest.mark.parametrize(("count", "degree"), [(1, 0), (2, 0), (500, 3), (9000, 1)])
def test_initial_gaussians_are_as_many_as_asked_for(count, degree):
    gaussians = start(ball_capture(), count, degree)
    assert len(gaussians) == count
    assert gaussians.sh_degree == degree
    for tensor in gaussians.tensors().values():
        assert tensor.isfinite().all()
    assert not gaussians.shN.any()
    assert len(gaussians.means.unique(dim=0)) == count


def test_initial_gaussians_take_the_colour_of_the_photos():
    capture = ball_capture()
    red = np.array([0.8, 0.3, 0.1, 1], np.float32)
    photos = [replace(view, photo=view.image[..., 3:] * red) for view in capture.train]
    gaussians = start(replace(capture, train=tuple(photos)))
    colours = (gaussians.sh0[:, 0] * C0 + 0.5).numpy()
    np.testing.assert_allclose(colours, np.broadcast_to(red[:3], colours.shape), atol=0.02)


def test_initial_gaussians_depend_on_their_generator_alone():
    first, second, other = (start(ball_capture(), seed=seed) for seed in (1, 1, 2))
    assert (first.means == second.means).all()
    assert (first.means != other.means).any()


def test_initial_gaussians_refuse_photos_that_are_all_empty():
    with pytest.raises(InputError, match="no point of space lies inside the alpha"):
        start(with_alpha(ball_capture(views=3), lambda index: 0))


def test_initial_gaussians_refuse_photos_that_exclude_each_other():
    with pytest.raises(InputError, match="no point of space lies inside the alpha"):
        start(with_alpha(ball_capture(views=8), lambda index: index != 3))


def test_initial_gaussians_stay_out_of_space_that_no_camera_frames():
    capture = ball_capture(views=2)
    means = start(capture).means.numpy().astype(float)
    framed = np.zeros(len(means), dtype=bool)
    for view in capture.train:
        pixels, _ = project(view.camera, means)
        framed |= ((pixels > -1) & (pixels < 25)).all(axis=1)
    assert framed.all()
