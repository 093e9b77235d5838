"""Features and tree over fixed Gaussians: what is computed once, and that it changes nothing."""

from dataclasses import replace

import numpy as np

from splat_uff.masks.bags import Bags
from splat_uff.render import frozen
from splat_uff.settings import TrainConfig
from splat_uff.system.memory import Memory
from splat_uff.training.frozen import FrozenScene, needs_consensus, refit
from tests.features.scenes import tiny_scene

TINY = TrainConfig()
TINY = replace(
    TINY,
    features=replace(TINY.features, steps=4, pixels=128, dimension=8),
    hierarchy=replace(TINY.hierarchy, superpoints=8, resamples=3),
)


def scene_without_room():
    """A tiny scene of four views that keeps no blend weights in memory."""
    tiny = tiny_scene()
    masks = {view.name: bag[0] for view, bag in zip(tiny.capture.train, tiny.bags, strict=True)}
    bags = Bags.of(tiny.capture.train, lambda view: masks[view.name])
    return FrozenScene(tiny.gaussians, tiny.capture, bags, Memory(0))


def test_a_scene_that_asks_early_computes_blend_weights_once(monkeypatch):
    real, computed = frozen.blend_weights, []

    def counting(gaussians, camera):
        computed.append(camera)
        return real(gaussians, camera)

    monkeypatch.setattr(frozen, "blend_weights", counting)
    found, counts = [], []
    for early in (False, True):
        scene = scene_without_room()
        if early:
            scene.ask_early()
        computed.clear()
        features, hierarchy, _ = refit(scene, TINY)
        counts.append(len(computed))
        found.append((features, hierarchy.tree.parents, hierarchy.tree.altitudes))
    assert counts == [8, 4]
    for late, early in zip(*found, strict=True):
        np.testing.assert_array_equal(late, early)


def test_the_consensus_is_needed_by_the_tree_or_by_the_features():
    paper = replace(TINY.hierarchy, linkage="watershed")
    noise = replace(TINY.features, start="noise", ultrametric="spanning-tree")
    assert needs_consensus(TINY)
    assert needs_consensus(replace(TINY, hierarchy=paper))
    assert needs_consensus(replace(TINY, features=noise))
    assert not needs_consensus(replace(TINY, hierarchy=paper, features=noise))
