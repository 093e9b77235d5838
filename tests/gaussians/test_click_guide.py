"""Clicks by what other photos show: on the same things, once for nested masks, and on the scene."""

from dataclasses import replace

import numpy as np
import pytest

from splat_uff.gaussians.click_guide import ClickGuide
from splat_uff.masks.records import MaskSet
from splat_uff.masks.segmenter import Guide
from splat_uff.render import blend_weights
from splat_uff.run.open import open_run


@pytest.fixture(scope="module")
def run(trained):
    return open_run(trained)


def shown(run, camera, labels):
    """Masks of the segments of a labelling as a camera sees them."""
    weights = blend_weights(run.gaussians, camera)
    shares = np.stack([weights @ (labels == label) for label in np.unique(labels)])
    alpha = np.asarray(weights.sum(axis=1)).ravel()
    masks = (shares > 0.5) & (alpha > 0.5)
    return masks.reshape(len(shares), camera.height, camera.width)


def test_clicks_fall_on_each_thing_that_another_photo_shows(run):
    guide = ClickGuide(run.gaussians, "toy")
    assert isinstance(guide, Guide)
    first, second = (view.camera for view in run.capture.train[:2])
    assert guide.seeds(second).shape == (0, 2)
    labels = run.cut(4)
    there = shown(run, first, labels)
    guide.add(first, MaskSet.of(there))
    clicks = guide.seeds(second).astype(int)
    here = shown(run, second, labels)
    big = here[(here.sum(axis=(1, 2)) > 30) & (there.sum(axis=(1, 2)) > 30)]
    assert len(big) >= 2
    hit = [any(mask[y, x] for x, y in clicks) for mask in big]
    assert all(hit)
    assert len(clicks) <= 4
    assert (guide.seeds(second) == guide.seeds(second)).all()


def test_nested_masks_share_a_click(run):
    guide = ClickGuide(run.gaussians, "toy")
    camera = run.capture.train[0].camera
    scene = guide.where(camera)
    rows = np.flatnonzero(scene.any(axis=1))
    upper = scene & (np.arange(len(scene)) < rows[len(rows) // 2])[:, None]
    guide.add(camera, MaskSet.of(np.stack([scene, upper])))
    [(x, y)] = guide.seeds(camera).astype(int)
    assert upper[y, x]


def test_the_scene_is_where_the_gaussians_are_opaque(run):
    view = run.capture.train[0]
    where = ClickGuide(run.gaussians, "toy").where(view.camera)
    alpha = view.image[..., 3] > 0.5
    assert where.shape == alpha.shape
    assert (where != alpha).mean() < 0.03
    nothing = replace(run.gaussians, opacity_logits=run.gaussians.opacity_logits * 0 - 20)
    assert not ClickGuide(nothing, "none").where(view.camera).any()
