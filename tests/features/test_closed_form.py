"""Features in closed form: their dot products are the similarities of the tree they come from."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splat_uff.features.closed_form import closed_form_features, closed_form_start
from splat_uff.features.linkage import Merges, join
from splat_uff.features.scene_tree import SceneTree


def random_merges(rng, count, *, lowest=-0.2):
    """A merge tree of `count` leaves; similarities fall from merge to merge, some are the same."""
    alive = list(range(count))
    lefts, rights = [], []
    for _ in range(count - 1):
        a, b = sorted(rng.choice(len(alive), 2, replace=False))
        lefts.append(alive[a])
        rights.append(alive.pop(b))
    similarities = np.sort(rng.uniform(lowest, 1, count - 1).round(2))[::-1]
    return Merges(np.array(lefts, int), np.array(rights, int), similarities.astype(np.float64))


def dense_similarities(merges):
    """The matrix, merge by merge."""
    count = len(merges.similarities) + 1
    matrix = np.eye(count)
    members = [[leaf] for leaf in range(count)]
    for merge, (left, right) in enumerate(join(merges)):
        a, b = members[left], members[right]
        similarity = np.clip(merges.similarities[merge], 0, 1)
        matrix[np.ix_(a, b)] = matrix[np.ix_(b, a)] = similarity
        members.append(a + b)
    return matrix


@settings(max_examples=30)
@given(
    seed=st.integers(0, 999), count=st.integers(1, 40), more=st.integers(0, 3), sized=st.booleans()
)
def test_closed_form_features_have_the_trees_similarities_as_dot_products(seed, count, more, sized):
    rng = np.random.default_rng(seed)
    merges = random_merges(rng, count)
    sizes = rng.integers(1, 50, count).astype(float) if sized else None
    features = closed_form_features(merges, count + more, sizes)
    assert features.shape == (count, count + more)
    np.testing.assert_allclose(features @ features.T, dense_similarities(merges), atol=1e-9)


@pytest.mark.parametrize("dimension", [1, 5, 16])
def test_closed_form_features_that_are_fewer_are_the_nearest_there_are(dimension):
    merges = random_merges(np.random.default_rng(3), 300)
    matrix = dense_similarities(merges)
    features = closed_form_features(merges, dimension)
    values = np.linalg.eigvalsh(matrix)[::-1]
    assert values[-1] > -1e-9  # Positive semi-definite, or no vectors were there.
    nearest = np.sqrt((values[dimension:] ** 2).sum())
    error = np.linalg.norm(features @ features.T - matrix)
    assert nearest * (1 - 1e-9) <= error <= nearest * 1.002


def test_closed_form_features_find_every_one_of_many_equal_directions():
    # Eight cliques that have nothing in common: one eigenvalue, eight times.
    lefts, rights = [], []
    for first in range(0, 40, 5):
        lefts += [first] * 4
        rights += range(first + 1, first + 5)
    lefts += [0] * 7
    rights += range(5, 40, 5)
    similarities = np.concatenate([np.ones(32), np.zeros(7)])
    merges = Merges(np.array(lefts), np.array(rights), similarities)
    features = closed_form_features(merges, 8)
    clique = np.arange(40) // 5
    np.testing.assert_allclose(features @ features.T, clique[:, None] == clique, atol=1e-9)


def test_closed_form_features_keep_large_leaves_best():
    rng = np.random.default_rng(0)
    merges, sizes = random_merges(rng, 60), np.ones(60)
    sizes[:6] = 1000
    matrix = dense_similarities(merges)[:6, :6]

    def error(sizes):
        features = closed_form_features(merges, 8, sizes)[:6]
        return np.abs(features @ features.T - matrix).max()

    assert error(sizes) < 0.05 < error(None)


def test_closed_form_features_turn_the_largest_entry_of_a_column_up():
    features = closed_form_features(random_merges(np.random.default_rng(1), 50), 10)
    extremes = np.take_along_axis(features, np.abs(features).argmax(axis=0)[None], axis=0)
    assert (extremes > 0).all()


SCRIPT = """
import hashlib, numpy as np
from tests.features.test_closed_form import random_merges
from splat_uff.features.closed_form import closed_form_features
features = closed_form_features(random_merges(np.random.default_rng(0), 1500), 32)
print(hashlib.sha256(features.tobytes()).hexdigest())
"""


def test_closed_form_features_do_not_depend_on_threads():
    digests = set()
    for threads in ("1", "2"):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True,
            env=dict(os.environ) | dict.fromkeys(names, threads),
        )  # fmt: skip
        digests.add(done.stdout)
    assert len(digests) == 1


@pytest.mark.parametrize("dimension", [1, 2, 3, 8, 40])
def test_closed_form_start_gives_unit_features_at_right_angles_to_the_background(dimension):
    rng = np.random.default_rng(0)
    tree = SceneTree(rng.permutation(np.arange(100) % 20), random_merges(rng, 20))
    features = closed_form_start(tree, dimension)
    assert features.dtype == np.float32
    assert features.shape == (20, dimension)
    lengths = np.linalg.norm(features, axis=1)
    assert (np.isclose(lengths, 1, atol=1e-5) | (lengths == 0)).all()
    if dimension > 1:
        assert np.abs(features.sum(axis=1)).max() < 1e-4


def test_closed_form_start_has_the_trees_similarities_where_dimensions_suffice():
    rng = np.random.default_rng(0)
    tree = SceneTree(np.arange(12), random_merges(rng, 12))
    features = closed_form_start(tree, 13).astype(np.float64)
    np.testing.assert_allclose(features @ features.T, dense_similarities(tree.merges), atol=1e-5)


def test_closed_form_start_of_one_superpoint_is_a_unit_vector():
    nothing = np.zeros(0, np.int64)
    tree = SceneTree(np.zeros(4, np.int64), Merges(nothing, nothing, np.zeros(0)))
    features = closed_form_start(tree, 5).astype(np.float64)
    np.testing.assert_allclose(features @ features.T, [[1]], atol=1e-6)
