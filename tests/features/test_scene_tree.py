"""Similarity in the scene's tree: brute force over members, and gradients by finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splat_uff.features.linkage import Merges, join
from splat_uff.features.scene_tree import SHORT, SceneSimilarity, SceneTree, find_heaviest, regrow
from tests.features.test_closed_form import random_merges


def random_tree(rng, gaussians=30, superpoints=7):
    group = rng.permutation(np.arange(gaussians) % superpoints)
    return SceneTree(group, random_merges(rng, superpoints))


def brute_force(tree, features, heaviest, pairs, unit):
    """Mean cosine over all pairs of members of the two branches in which each pair parts.

    Gaussians have the features of their superpoints.
    """
    directions = (features / np.linalg.norm(features, axis=1, keepdims=True))[tree.group]
    count = len(tree.merges.similarities) + 1
    members = [{leaf} for leaf in range(count)]
    for left, right in join(tree.merges):
        members.append(members[left] | members[right])
    found = []
    for first, second in pairs:
        if min(heaviest[first], heaviest[second]) < 0:
            found.append(unit[first] @ unit[second])
            continue
        a, b = tree.group[heaviest[first]], tree.group[heaviest[second]]
        left = right = {a}
        for one, other in join(tree.merges):
            for near, far in ((one, other), (other, one)):
                if a != b and a in members[near] and b in members[far]:
                    left, right = members[near], members[far]
        rows = [np.isin(tree.group, list(branch)) for branch in (left, right)]
        found.append((directions[rows[0]] @ directions[rows[1]].T).mean())
    return np.array(found)


def given_scene(seed, superpoints=7):
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, superpoints=superpoints)
    features = rng.normal(size=(superpoints, 5))
    unit = rng.normal(size=(12, 5))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    heaviest = rng.integers(0, 30, 12)
    heaviest[:2] = -1
    return tree, features, unit, heaviest, rng.integers(0, 12, (40, 2))


@settings(max_examples=20)
@given(seed=st.integers(0, 999), superpoints=st.integers(1, 12))
def test_scene_similarity_is_the_mean_cosine_of_the_branches(seed, superpoints):
    tree, features, unit, heaviest, pairs = given_scene(seed, superpoints)
    found = SceneSimilarity(tree)(
        torch.from_numpy(features).float(), torch.from_numpy(unit).float(), heaviest, pairs
    )
    expected = brute_force(tree, features, heaviest, pairs, unit)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_scene_similarity_has_the_gradient_of_finite_differences(seed):
    tree, features, unit, heaviest, pairs = given_scene(seed)
    weights = np.random.default_rng(seed).normal(size=len(pairs))
    rows = [torch.from_numpy(each).float().requires_grad_() for each in (features, unit)]
    similarity = SceneSimilarity(tree)(rows[0], rows[1], heaviest, pairs)
    (similarity * torch.from_numpy(weights).float()).sum().backward()

    def total(features, unit):
        return weights @ brute_force(tree, features, heaviest, pairs, unit)

    for which, given_rows in enumerate((features, unit)):
        expected = np.zeros_like(given_rows)
        for place in np.ndindex(*given_rows.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [features.copy(), unit.copy()]
                moved[which][place] += step
                ends.append(total(*moved))
            expected[place] = (ends[0] - ends[1]) / 2e-5
        gradient = rows[which].grad
        assert gradient is not None
        np.testing.assert_allclose(gradient.numpy(), expected, atol=2e-5)
    assert np.abs(expected).max() > 0.1  # Pixels without Gaussians are compared directly.


def test_scene_similarity_reaches_every_superpoint_of_both_branches():
    rng = np.random.default_rng(0)
    # Two branches of two superpoints each; the pair is of one superpoint of each branch.
    merges = Merges(np.array([0, 2, 0]), np.array([1, 3, 2]), np.array([0.9, 0.8, 0.1]))
    tree = SceneTree(np.arange(20) % 4, merges)
    features = torch.from_numpy(rng.normal(size=(4, 3))).float().requires_grad_()
    similarity = SceneSimilarity(tree)(
        features, torch.eye(3)[:2], np.array([0, 2]), np.array([[0, 1]])
    )
    similarity.sum().backward()
    assert features.grad is not None
    assert (features.grad.norm(dim=1) > 1e-4).all()


def test_scene_similarity_is_an_ultrametric_of_the_tree():
    # Moving one pixel within a branch does not change how like it is to pixels outside.
    merges = Merges(np.array([0, 2, 0]), np.array([1, 3, 2]), np.array([0.9, 0.8, 0.1]))
    tree = SceneTree(np.arange(20) % 4, merges)
    features = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 3))).float()
    pairs = np.array([[0, 2], [1, 2], [0, 3], [1, 3]])
    found = SceneSimilarity(tree)(features, torch.eye(4)[:, :3], np.arange(4), pairs)
    assert torch.equal(found, found[:1].expand(4))


def test_superpoint_without_a_feature_has_a_finite_gradient():
    merges = Merges(np.array([0]), np.array([1]), np.array([0.5]))
    features = torch.tensor([[0.0, 0], [1, 0]], requires_grad=True)
    similarity = SceneSimilarity(SceneTree(np.array([0, 1]), merges))(
        features, torch.eye(2), np.array([0, 1]), np.array([[0, 1]])
    )
    similarity.sum().backward()
    assert similarity.item() == 0
    assert features.grad is not None
    assert 0 < features.grad.abs().max() <= 1 / SHORT


def test_find_heaviest_takes_the_largest_weight_and_the_first_of_equal_ones():
    starts, indices = np.array([0, 2, 2, 5]), np.array([4, 7, 1, 2, 3], np.int32)
    weights = np.array([0.1, 0.6, 0.2, 0.3, 0.3], np.float32)
    assert find_heaviest(starts, indices, weights, np.array([2, 0, 1])).tolist() == [2, 7, -1]


def test_regrow_merges_the_same_superpoints_by_their_mean_features():
    rng = np.random.default_rng(0)
    tree = random_tree(rng, gaussians=40, superpoints=8)
    features = rng.normal(size=(40, 5)).astype(np.float32)
    regrown = regrow(tree, features)
    directions = features / np.linalg.norm(features, axis=1, keepdims=True)
    rows = [directions[tree.group == leaf] for leaf in range(8)]
    for merge, (left, right) in enumerate(join(regrown.merges)):
        similarity = (rows[left] @ rows[right].T).mean()
        assert regrown.merges.similarities[merge] == pytest.approx(similarity, abs=1e-5)
        rows.append(np.concatenate([rows[left], rows[right]]))
    assert (regrown.group == tree.group).all()
    assert (regrow(tree, 3 * features).merges.lefts == regrown.merges.lefts).all()
