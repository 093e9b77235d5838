"""What the steps look at: drawn before the first of them, the same from memory and from disk."""

import numpy as np
import pytest

from splat_uff.features.blend import FrozenViews, RenderedViews
from splat_uff.features.config import FeaturesConfig
from splat_uff.features.fit import fit_features
from splat_uff.features.samples import Samples
from splat_uff.memory import Memory
from tests.features.scenes import tiny_scene

CONFIG = FeaturesConfig(steps=9, dimension=4, pixels=150, foreground=0.6)


@pytest.fixture(scope="module")
def scene():
    return tiny_scene()


@pytest.fixture(scope="module")
def frozen(scene):
    return FrozenViews.of(scene.gaussians, scene.cameras)


def test_each_sample_holds_what_its_pixels_need(scene, frozen):
    count = len(scene.gaussians)
    samples = Samples(frozen, count, scene.bags, CONFIG, seed=3)
    looked_at = [samples[step].view for step in range(CONFIG.steps)]
    assert sorted(looked_at[:4]) == sorted(looked_at[4:8]) == [0, 1, 2, 3]
    for step, view in enumerate(looked_at):
        sample = samples[step]
        assert len(np.unique(sample.pixels)) == CONFIG.pixels
        whole = frozen.matrix(view, count)[sample.pixels].toarray()
        kept = sample.weights.matrix(0, count)[sample.rows].toarray()
        assert (kept == whole).all()
        np.testing.assert_allclose(sample.through, 1 - whole.sum(axis=1), atol=1e-6)
        masks, tree = scene.bags[view]
        assert (sample.members == masks.at(sample.pixels)).all()
        assert (sample.inside == tree.inside).all()
        assert (sample.through < 0.5).mean() >= CONFIG.foreground - 0.01


def test_a_sample_is_the_same_each_time(scene, frozen):
    samples = Samples(frozen, len(scene.gaussians), scene.bags, CONFIG, seed=3)
    assert samples[5].rng.random() == samples[5].rng.random() != samples[4].rng.random()


def test_views_without_masks_are_left_out(scene, frozen):
    bags = [
        (masks[:0] if view == 2 else masks, tree) for view, (masks, tree) in enumerate(scene.bags)
    ]
    samples = Samples(frozen, len(scene.gaussians), bags, CONFIG, seed=0)
    assert {samples[step].view for step in range(CONFIG.steps)} == {0, 1, 3}


def test_features_are_the_same_from_memory_and_from_disk(scene, frozen):
    def fit(views, memory):
        count = len(scene.gaussians)
        return fit_features(views, count, scene.capture, scene.bags, CONFIG, seed=0, memory=memory)

    spilling = Memory(2000)
    rendered = RenderedViews(scene.gaussians, scene.cameras)
    assert (fit(frozen, Memory()) == fit(rendered, spilling)).all()
    assert spilling.held <= 2000 < spilling.on_disk


def test_what_is_kept_grows_with_the_steps_and_not_with_the_views(scene):
    def held(copies, steps):
        memory = Memory()
        views = RenderedViews(scene.gaussians, scene.cameras * copies)
        config = FeaturesConfig(steps=steps, pixels=20)
        Samples(views, len(scene.gaussians), scene.bags * copies, config, seed=0, memory=memory)
        return memory.held

    assert held(3, 12) == pytest.approx(held(1, 12), rel=0.25)
    assert held(3, 12) > 2 * held(3, 4)


def test_largest_weights_count_views_that_no_step_looks_at(scene, frozen):
    count = len(scene.gaussians)
    views = RenderedViews(scene.gaussians, scene.cameras)
    Samples(views, count, scene.bags, FeaturesConfig(steps=2, pixels=20), seed=0)
    assert (views.largest_weights(count) == frozen.largest_weights(count)).all()


@pytest.mark.parametrize("room", [0, 100_000, float("inf")])
def test_rendered_views_are_the_same_whether_they_are_held_or_not(scene, frozen, room):
    count = len(scene.gaussians)
    memory = Memory(room)
    views = RenderedViews(scene.gaussians, scene.cameras, memory)
    for _ in range(2):
        for view in range(len(scene.cameras)):
            found, expected = views.matrix(view, count), frozen.matrix(view, count)
            assert (found != expected).nnz == 0
    assert memory.held <= room / 2
    assert (memory.held > 0) == (room > 0)
    assert (views.largest_weights(count) == frozen.largest_weights(count)).all()
