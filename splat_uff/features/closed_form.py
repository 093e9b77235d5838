"""Ultrametric features in closed form: vectors whose dot products are the similarities of a tree.

Let the similarity of two leaves of a tree be that of the merge in which they meet, between 0 and 1
and never rising towards the root, and let each leaf have similarity 1 with itself. This matrix is a
sum over the nodes: the amount by which a node's similarity exceeds its parent's, times a block of
ones between the node's members. Every term is positive semi-definite, and so is the sum. Its
leading eigenvectors, scaled by the square roots of their eigenvalues, are therefore features: among
all vectors of that length, they have the dot products nearest to the tree's similarities (Eckart,
Young 1936).

The matrix is never formed. Multiplying by it takes one pass up the tree and one down, so a block
Krylov method (Musco, Musco 2015) finds the leading eigenvectors in time linear in the number of
leaves.
"""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit

from splat_uff.features.linkage import Merges, join
from splat_uff.features.one_thread import one_thread
from splat_uff.features.scene_tree import SceneTree

POWERS = 4
"""Number of blocks in the Krylov basis, each the previous one multiplied by the tree's matrix."""
LEAST_BASIS = 128
"""Fewest columns of the basis, if there are that many leaves."""
SPARE = 8
"""Columns of the starting block beyond those requested."""
LEAST_NEW = 1e-8
"""Share of a vector's length that must be new for it to extend the basis."""
LEAST_LENGTH = 1e-6
"""Length below which a feature is taken to be zero."""

_options = {"cache": True, "error_model": "numpy", "boundscheck": False}


def closed_form_features(
    merges: Merges, dimension: int, sizes: Float[np.ndarray, "G"] | None = None
) -> Float[np.ndarray, "G D"]:
    """Feature vectors of the leaves of a merge tree.

    If `dimension` is at least the number of leaves G, the features are exact up to rounding, and
    columns beyond G are 0. Otherwise they are the best of that length, up to the precision of the
    Krylov method. The sign of each column, which is arbitrary, is chosen to make its largest entry
    positive. The result does not depend on the number of threads.

    Args:
        merges: Merges of the G leaves and their similarities, clipped here to [0, 1].
        dimension: Length D of the vectors.
        sizes: Weight of each leaf, 1 by default; the larger, the better its similarities are kept.
    """
    count = len(merges.similarities) + 1
    roots = np.sqrt(np.ones(count) if sizes is None else sizes.astype(np.float64))
    below, similarities = join(merges), np.clip(merges.similarities, 0, 1).astype(np.float64)
    width = min(dimension + SPARE, count)
    start = np.random.default_rng(0).standard_normal((count, width))  # A fixed, general start.
    most = min(max(width * POWERS, LEAST_BASIS), count)
    basis = _krylov(below, similarities, roots, start, most)
    image = roots[:, None] * _apply(below, similarities, roots[:, None] * basis)
    with one_thread():  # LAPACK's sums depend on the number of threads.
        parts = torch.linalg.eigh(torch.from_numpy(_inner(basis, image)))
    values, vectors = (part.numpy() for part in parts)
    leading = np.argsort(-values, kind="stable")[:dimension]
    vectors = _product(basis, np.ascontiguousarray(vectors[:, leading]))
    signs = np.sign(np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0))
    scales = signs * np.sqrt(np.maximum(values[leading], 0))
    features = np.zeros((count, dimension))
    features[:, : len(leading)] = vectors * scales / roots[:, None]
    return features


def closed_form_start(tree: SceneTree, dimension: int) -> Float[np.ndarray, "G D"]:
    """Unit feature of each superpoint.

    All are orthogonal to the constant vector, the feature of the background, because nothing in the
    scene resembles it. This uses up one dimension if there are two or more. Superpoints that the
    leading directions do not capture have features of length 0.
    """
    if dimension == 1:
        features = closed_form_features(tree.merges, 1)
    else:
        features = np.zeros((len(tree.merges.similarities) + 1, dimension))
        features[:, :-1] = closed_form_features(tree.merges, dimension - 1)
        mirror = np.full(dimension, dimension**-0.5)  # Maps the last axis to the constant vector.
        mirror[-1] -= 1
        features -= 2 * np.outer(features @ mirror, mirror) / (mirror @ mirror)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features = np.where(lengths > LEAST_LENGTH, features / np.maximum(lengths, LEAST_LENGTH), 0)
    return features.astype(np.float32)


@njit(**_options)
@no_type_check
def _apply(below, similarities, columns):
    """Multiply the similarity matrix by `columns`: sum up the tree, then down it with weights."""
    count, width = columns.shape
    sums = np.zeros((2 * count - 1, width))
    sums[:count] = columns
    for merge in range(count - 1):
        for side in range(2):
            for c in range(width):
                sums[count + merge, c] += sums[below[merge, side], c]
    down = np.zeros((2 * count - 1, width))
    for merge in range(count - 2, -1, -1):
        for side in range(2):
            here, there = below[merge, side], below[merge, 1 - side]
            for c in range(width):
                down[here, c] = down[count + merge, c] + similarities[merge] * sums[there, c]
    return down[:count] + columns


@njit(**_options)
@no_type_check
def _krylov(below, similarities, roots, start, most):
    """Orthonormal columns that span the starting block and its products with the tree's matrix.

    Uses Gram-Schmidt, twice for precision; `basis` holds the vectors as rows while it is built.
    """
    count = len(start)
    basis = np.empty((most, count))
    block = start
    filled = 0
    while filled < most:
        first = filled
        for c in range(block.shape[1]):
            if filled == most:
                break
            vector = block[:, c].copy()
            length = np.sqrt(_dot(vector, vector))
            for _ in range(2):
                for k in range(filled):
                    share = _dot(basis[k], vector)
                    for i in range(count):
                        vector[i] -= share * basis[k, i]
            left = np.sqrt(_dot(vector, vector))
            if left > LEAST_NEW * length:
                for i in range(count):
                    basis[filled, i] = vector[i] / left
                filled += 1
        if filled == first:
            break  # Nothing new: the basis is closed under the tree.
        block = basis[first:filled].T.copy()
        for i in range(count):
            block[i] *= roots[i]
        block = _apply(below, similarities, block)
        for i in range(count):
            block[i] *= roots[i]
    return basis[:filled].T.copy()


@njit(fastmath=True, **_options)
@no_type_check
def _dot(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@njit(**_options)
@no_type_check
def _inner(left, right):
    """Symmetric part of left^T right, without BLAS, whose sums depend on the number of threads."""
    left, right = left.T.copy(), right.T.copy()
    width = len(left)
    inner = np.empty((width, width))
    for a in range(width):
        for b in range(width):
            inner[a, b] = _dot(left[a], right[b])
    return (inner + inner.T) / 2


@njit(**_options)
@no_type_check
def _product(left, right):
    product = np.zeros((len(left), right.shape[1]))
    for i in range(len(left)):
        for k in range(len(right)):
            for c in range(right.shape[1]):
                product[i, c] += left[i, k] * right[k, c]
    return product
