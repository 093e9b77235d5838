"""The torch side of the contrastive fit against numba's kernels: values and gradients.

Both sum in 32 bits in other orders, so values may differ in the last digits.
"""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splat_uff.features import cosines
from splat_uff.features.blend import blend_pixels, blend_pixels_by_torch
from splat_uff.features.config import FeaturesConfig
from splat_uff.features.cosines import pair_cosines, pair_cosines_by_torch
from splat_uff.features.fit import fit_features
from splat_uff.features.scene_tree import (
    SceneSimilarity,
    SceneTree,
    branch_means,
    branch_means_by_torch,
)
from splat_uff.hierarchy.build import consensus_tree
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.hierarchy.consensus import Consensus
from splat_uff.hierarchy.opinions import Opinion
from splat_uff.render.frozen import FrozenViews
from splat_uff.system import kernels
from tests.devices import DEVICES, pulled
from tests.features.scenes import tiny_scene
from tests.features.test_blend import random_views
from tests.features.test_closed_form import random_merges

FEW = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SEEDS = st.integers(0, 9999)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def both_sides(numba_side, torch_side, rows, device):
    """Values and gradients of both sides, as a list for each."""
    found = []
    for side, where in ((numba_side, "cpu"), (torch_side, device)):
        leaf = torch.from_numpy(rows).to(where).requires_grad_()
        values = side(leaf)
        assert values.device.type == torch.device(where).type
        pulled(values).backward()
        found.append([values.detach().cpu(), leaf.grad.cpu()])
    return found


def random_rows(rng, count, channels=7):
    return rng.standard_normal((count, channels)).astype(np.float32)


@FEW
@given(seed=SEEDS, pairs=st.integers(0, 60))
@pytest.mark.parametrize("device", DEVICES)
def test_pair_cosines_agree(device, seed, pairs):
    rng = np.random.default_rng(seed)
    rows, ends = random_rows(rng, 9), rng.integers(0, 9, (pairs, 2))
    ours, theirs = both_sides(
        lambda leaf: pair_cosines(leaf, ends),
        lambda leaf: pair_cosines_by_torch(leaf, ends),
        rows, device,
    )  # fmt: skip
    torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize("device", DEVICES)
def test_pairs_in_portions_are_those_at_once(device, monkeypatch):
    rng = np.random.default_rng(0)
    rows, ends = random_rows(rng, 9), rng.integers(0, 9, (50, 2))
    found = []
    for at_once in (2**18, 7):
        monkeypatch.setattr(cosines, "AT_ONCE", at_once)
        found.append(
            both_sides(
                lambda leaf: pair_cosines(leaf, ends),
                lambda leaf: pair_cosines_by_torch(leaf, ends),
                rows, device,
            )[1]
        )  # fmt: skip
    torch.testing.assert_close(*found, **CLOSE)


@FEW
@given(seed=SEEDS, pixels=st.integers(0, 40))
@pytest.mark.parametrize("device", DEVICES)
def test_blended_pixels_agree(device, seed, pixels):
    rng = np.random.default_rng(seed)
    views, _ = random_views(seed)
    rows = rng.integers(0, len(views.starts) - 1, pixels)
    ours, theirs = both_sides(
        lambda leaf: blend_pixels(leaf, views, rows),
        lambda leaf: blend_pixels_by_torch(leaf, views, rows),
        random_rows(rng, 9), device,
    )  # fmt: skip
    torch.testing.assert_close(ours, theirs, **CLOSE)


@FEW
@given(seed=SEEDS, superpoints=st.integers(1, 20))
@pytest.mark.parametrize("device", DEVICES)
def test_means_of_branches_agree(device, seed, superpoints):
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.arange(3 * superpoints) % superpoints)
    tree = SceneSimilarity(SceneTree(group, random_merges(rng, superpoints)))
    ours, theirs = both_sides(
        lambda leaf: branch_means(leaf, tree),
        lambda leaf: branch_means_by_torch(leaf, tree),
        random_rows(rng, superpoints), device,
    )  # fmt: skip
    torch.testing.assert_close(ours, theirs, **CLOSE)


def fitted(device, **settings):
    """Features of the tiny scene after a few steps, with the tree of its masks."""
    scene = tiny_scene()
    views = FrozenViews(scene.gaussians, scene.cameras)
    means, colours = (
        each.numpy().astype(np.float64)
        for each in (scene.gaussians.means, scene.gaussians.sh0[:, 0])
    )
    opinions = [
        Opinion.of(views.matrix(view), bag, device=device) for view, bag in enumerate(scene.bags)
    ]
    tree = consensus_tree(
        means, colours, views.largest_weights(), HierarchyConfig(superpoints=6),
        lambda chosen: Consensus.of(opinions, chosen, len(means), device=device),
    )  # fmt: skip
    assert tree is not None
    config = FeaturesConfig(steps=8, pixels=200, pairs_per_group=16, dimension=8, **settings)
    return fit_features(views, scene.bags, config, seed=0, tree=tree, device=device)


@pytest.mark.parametrize("tree", ["scene-tree", "spanning-tree", "average-linkage"])
@pytest.mark.parametrize("device", DEVICES)
def test_a_fit_of_a_few_steps_agrees(device, tree, monkeypatch):
    """Adam divides by the root of the mean square: where a gradient is nearly 0, digits differ."""
    chosen = {"ultrametric": tree, "ultrametric_weight": 0.5, "ultrametric_refresh": 3}
    ours = fitted("cpu", **chosen)
    monkeypatch.setattr(kernels, "numba_computes", lambda device: False)
    theirs = fitted(device, **chosen)
    assert np.abs(ours - theirs).max() < 0.02
    assert np.abs(ours - theirs).mean() < 1e-3
    start = fitted(device, **chosen | {"ultrametric_weight": 0.0})
    assert np.abs(ours - start).max() > 1e-3  # The loss does something that could go wrong.
