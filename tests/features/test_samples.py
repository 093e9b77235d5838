"""What the steps look at: drawn before the first of them, the same from memory and from disk."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from splat_uff.features.blend import BlendRows
from splat_uff.features.config import FeaturesConfig
from splat_uff.features.fit import fit_features
from splat_uff.features.samples import Samples
from splat_uff.render.frozen import FrozenViews
from splat_uff.system.memory import Memory
from tests.features.scenes import tiny_scene

CONFIG = FeaturesConfig(steps=9, dimension=4, pixels=150, foreground=0.6)


@pytest.fixture(scope="module")
def scene():
    return tiny_scene()


@pytest.fixture(scope="module")
def frozen(scene):
    return FrozenViews(scene.gaussians, scene.cameras)


def dense_rows(blends: BlendRows, count):
    """The matrix that compressed rows stand for."""
    shape = (len(blends.starts) - 1, count)
    return csr_matrix((blends.weights, blends.indices, blends.starts), shape=shape).toarray()


def test_each_sample_holds_what_its_pixels_need(scene, frozen):
    samples = Samples(frozen, scene.bags, CONFIG, seed=3)
    looked_at = [samples[step].view for step in range(CONFIG.steps)]
    assert sorted(looked_at[:4]) == sorted(looked_at[4:8]) == [0, 1, 2, 3]
    for step, view in enumerate(looked_at):
        sample = samples[step]
        assert len(np.unique(sample.pixels)) == CONFIG.pixels
        whole = frozen.matrix(view)[sample.pixels].toarray()
        kept = dense_rows(sample.weights, len(scene.gaussians))[sample.rows]
        assert (kept == whole).all()
        np.testing.assert_allclose(sample.through, 1 - whole.sum(axis=1), atol=1e-6)
        masks, tree = scene.bags[view]
        assert (sample.members == masks.at(sample.pixels)).all()
        assert (sample.inside == tree.inside).all()
        assert (sample.through < 0.5).mean() >= CONFIG.foreground - 0.01


def test_a_sample_is_the_same_each_time(scene, frozen):
    samples = Samples(frozen, scene.bags, CONFIG, seed=3)
    assert samples[5].rng.random() == samples[5].rng.random() != samples[4].rng.random()


def test_views_without_masks_are_left_out(scene, frozen):
    bags = [
        (masks[:0] if view == 2 else masks, tree) for view, (masks, tree) in enumerate(scene.bags)
    ]
    samples = Samples(frozen, bags, CONFIG, seed=0)
    assert {samples[step].view for step in range(CONFIG.steps)} == {0, 1, 3}


def test_features_are_the_same_from_memory_and_from_disk(scene):
    def fit(memory):
        views = FrozenViews(scene.gaussians, scene.cameras, memory)
        return fit_features(views, scene.bags, CONFIG, seed=0)

    spilling = Memory(2000)
    assert (fit(Memory()) == fit(spilling)).all()
    assert spilling.held <= 2000 < spilling.on_disk


def test_what_is_kept_grows_with_the_steps_and_not_with_the_views(scene):
    def held(copies, steps):
        views = FrozenViews(scene.gaussians, scene.cameras * copies)
        for view in range(len(views)):
            views.matrix(view)
        matrices = views.memory.held
        config = FeaturesConfig(steps=steps, pixels=20)
        Samples(views, scene.bags * copies, config, seed=0)
        return views.memory.held - matrices

    assert held(3, 12) == pytest.approx(held(1, 12), rel=0.25)
    assert held(3, 12) > 2 * held(3, 4)


def test_largest_weights_count_views_that_no_step_looks_at(scene, frozen):
    views = FrozenViews(scene.gaussians, scene.cameras)
    Samples(views, scene.bags, FeaturesConfig(steps=2, pixels=20), seed=0)
    assert (views.largest_weights() == frozen.largest_weights()).all()


@pytest.mark.parametrize("room", [0, 100_000, float("inf")])
def test_rendered_views_are_the_same_whether_they_are_held_or_not(scene, frozen, room):
    memory = Memory(room)
    views = FrozenViews(scene.gaussians, scene.cameras, memory)
    for _ in range(2):
        for view in range(len(scene.cameras)):
            found, expected = views.matrix(view), frozen.matrix(view)
            assert (found != expected).nnz == 0
    assert memory.held <= room / 2
    assert (memory.held > 0) == (room > 0)
    assert (views.largest_weights() == frozen.largest_weights()).all()
