"""Windows of large photos show what the photo shows there, and the fit learns by them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splat_uff.capture import View
from splat_uff.capture.images import area_resize
from splat_uff.gaussians import initial
from splat_uff.gaussians.config import GaussiansConfig
from splat_uff.gaussians.fit import fit_gaussians
from splat_uff.gaussians.windows import LEAST_SIDE, look_at, reduction
from splat_uff.masks.records import MaskSet
from splat_uff.masks.tree import build_tree
from splat_uff.render import render_colours
from splat_uff.system.checkpoints import Checkpoint
from splat_uff.system.hooks import Hooks
from tests.gaussians.scenes import ball_capture


@pytest.fixture(scope="module")
def capture():
    return ball_capture(views=8, size=48)


def of_size(view, width, height):
    image = np.random.default_rng(0).random((height, width, 4), dtype=np.float32)
    return replace(view, camera=view.camera.resized(width, height), photo=image)


@given(st.integers(16, 90), st.integers(16, 90), st.integers(1024, 3000), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_a_window_is_a_part_of_its_photo(width, height, most, seed):
    view = of_size(ball_capture(views=1, size=16).train[0], width, height)
    looked = look_at(view, most, np.random.default_rng(seed))
    assert isinstance(view, View)
    inside = looked.image.shape[:2]
    assert inside == (looked.camera.height, looked.camera.width)
    assert (looked.image == view.image[looked.place]).all()
    assert looked.share == pytest.approx(inside[0] * inside[1] / (width * height))
    assert inside[0] * inside[1] <= most or min(inside) == LEAST_SIDE
    if width * height <= most:
        assert looked.camera is view.camera


@given(st.integers(16, 300), st.integers(16, 300), st.integers(1024, 30_000))
@settings(max_examples=60, deadline=None)
def test_a_coarse_look_is_at_the_whole_photo(width, height, most):
    view = of_size(ball_capture(views=1, size=16).train[0], width, height)
    looked = look_at(view, most, np.random.default_rng(0), coarse=True)
    shape = looked.image.shape[:2]
    assert shape == (looked.camera.height, looked.camera.width)
    assert shape[0] * shape[1] <= most or min(shape) == LEAST_SIDE
    by = 1 if width * height <= most else reduction(width, height, most)
    if by == 1:
        return  # A whole photo, or a window of one with a side too short to be reduced.
    assert looked.camera is looked.photo
    assert looked.share == 1
    assert shape == (height // by, width // by)
    mean = view.image[: by * shape[0], : by * shape[1]].mean(axis=(0, 1))
    np.testing.assert_allclose(looked.image.mean(axis=(0, 1)), mean, rtol=1e-4)
    assert looked.image.dtype == np.float32


def test_a_reduced_photo_is_rendered_as_the_whole_photo_is(capture):
    gaussians = initial.initial_gaussians(capture, 300, 1, rng=np.random.default_rng(0))
    gaussians = replace(gaussians, log_scales=gaussians.log_scales + 1.5)
    view = of_size(capture.train[1], 97, 98)
    whole = render_colours(gaussians, view.camera).values.numpy()[:96, :96]
    looked = look_at(view, 3000, np.random.default_rng(0), coarse=True)
    part = render_colours(gaussians, looked.camera).values.numpy()
    assert looked.image.shape == (49, 48, 4)
    assert np.abs(part[:48] - area_resize(whole, 48, 48)).mean() < 0.02


def test_a_window_is_rendered_as_the_whole_photo_is(capture):
    gaussians = initial.initial_gaussians(capture, 300, 1, rng=np.random.default_rng(0))
    view = capture.train[1]
    whole = render_colours(gaussians, view.camera).values
    for seed in range(4):
        looked = look_at(view, 1024, np.random.default_rng(seed))
        part = render_colours(gaussians, looked.camera).values
        assert looked.share < 0.5
        assert torch.allclose(
            part, whole[looked.place], atol=5e-3
        )  # What is fainter than 1 / 255 is cut off.


def test_every_pixel_is_looked_at(capture):
    seen, rng = np.zeros((48, 48)), np.random.default_rng(0)
    for _ in range(400):
        seen[look_at(capture.train[0], 1024, rng).place] += 1
    assert seen[24, 24] > 350
    assert seen.min() > 25


@pytest.fixture
def _coarse_grid(monkeypatch):
    monkeypatch.setattr(initial, "GRID", 32)


CONFIG = GaussiansConfig(
    steps=60, start=80, most=120, refine_start=5, refine_every=10, sh_degree=1, step_pixels=1024
)


class Cut(Exception):
    pass


def psnr_of(gaussians, capture):
    errors = [
        (render_colours(gaussians, view.camera).values.numpy() - view.image[..., :3]) ** 2
        for view in capture.train
    ]
    return -10 * np.log10(np.mean(errors))


@pytest.mark.usefixtures("_coarse_grid")
def test_a_fit_by_windows_learns_the_whole_photos(capture):
    start = fit_gaussians(capture, replace(CONFIG, steps=1), seed=0)
    by_windows = fit_gaussians(capture, CONFIG, seed=0)
    by_photos = fit_gaussians(capture, replace(CONFIG, step_pixels=10_000), seed=0)
    assert psnr_of(by_windows, capture) > psnr_of(start, capture) + 3
    assert psnr_of(by_windows, capture) > psnr_of(by_photos, capture) - 1.5
    assert len(by_windows) == len(by_photos)


@pytest.mark.usefixtures("_coarse_grid")
def test_a_fit_by_windows_cut_off_and_resumed_equals_a_straight_run(capture, tmp_path):
    def cut(step, **_):
        if step == 50:
            raise Cut

    checkpoint = Checkpoint(tmp_path / "gaussians.npz", seconds=0)
    with pytest.raises(Cut):
        fit_gaussians(capture, CONFIG, seed=0, hooks=Hooks(checkpoint, cut))
    resumed = fit_gaussians(capture, CONFIG, seed=0, hooks=Hooks(checkpoint))
    straight = fit_gaussians(capture, CONFIG, seed=0)
    for name, tensor in resumed.tensors().items():
        assert torch.equal(tensor, straight.tensors()[name]), name


@pytest.mark.usefixtures("_coarse_grid")
def test_the_depth_loss_looks_at_whole_photos(capture, monkeypatch):
    seen = []

    def look(view, most, rng, *, coarse=False):
        seen.append((most, coarse))
        return look_at(view, most, rng, coarse=coarse)

    monkeypatch.setattr("splat_uff.gaussians.fit.look_at", look)

    config = replace(CONFIG, steps=2, depth_weight=0.1, depth_start=1.0)
    fit_gaussians(capture, config, bags_of(capture), seed=0)
    assert seen == [(48 * 48, False), (48 * 48, False)]


@pytest.mark.usefixtures("_coarse_grid")
def test_the_first_steps_look_coarsely(capture, monkeypatch):
    seen = []

    def look(view, most, rng, *, coarse=False):
        seen.append(coarse)
        return look_at(view, most, rng, coarse=coarse)

    monkeypatch.setattr("splat_uff.gaussians.fit.look_at", look)
    for share, first in ((0.3, 3), (0.0, 0), (1.0, 10)):
        seen.clear()
        fit_gaussians(capture, replace(CONFIG, steps=10, coarse=share), seed=0)
        assert seen == [True] * first + [False] * (10 - first)


def bags_of(capture):
    masks = MaskSet.of(np.ones((1, 48, 48), dtype=bool))
    return [(masks, build_tree(masks))] * len(capture.train)
