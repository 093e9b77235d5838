"""Ultrametric features in closed form: vectors whose dot products are the similarities of a tree.

Let two leaves of a tree be as alike as the merge in which they meet, 0 to 1 and never rising
towards the root, and each be 1 to itself. That matrix is a sum over the nodes: of how much more
alike a node's members are than its parent's, times the square of ones between those members. Every
term is positive semi-definite, and so is the sum. Its leading eigenvectors, scaled by the roots of
their eigenvalues, are therefore features: of all vectors of that length, those whose dot products
are nearest to the tree's similarities (Eckart, Young 1936).

The matrix is never made. Multiplying by it takes one pass up the tree and one down, so a block
Krylov method (Musco, Musco 2015) finds the leading eigenvectors in time linear in the leaves.
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
"""Times that the tree is applied to the starting block; the basis is as many blocks long."""
LEAST_BASIS = 128
"""Columns of the basis at least, where there are so many leaves."""
SPARE = 8
"""Columns of the starting block beyond those asked for."""
LEAST_NEW = 1e-8
"""Share of a vector's length below which it adds nothing to the basis."""
LEAST_LENGTH = 1e-6
"""Shorter features are taken for none."""

_options = {"cache": True, "error_model": "numpy", "boundscheck": False}


def closed_form_features(
    merges: Merges, dimension: int, sizes: Float[np.ndarray, "G"] | None = None
) -> Float[np.ndarray, "G D"]:
    """Feature vectors of the leaves of a merge tree.

    Exact, up to rounding, where `dimension` is at least the number of leaves G; columns beyond G
    are 0. Otherwise the best of that length, up to the precision of the Krylov method. The sign of
    a column, which is free, makes its largest entry positive. The same for any number of threads.

    Args:
        merges: Merges of the G leaves and their similarities, clipped to 0 to 1 here.
        dimension: D, length of the vectors.
        sizes: What each leaf counts; the more, the better its similarities are kept. 1 each unless
            given.
    """
    count = len(merges.similarities) + 1
    roots = np.sqrt(np.ones(count) if sizes is None else sizes.astype(np.float64))
    below, similarities = join(merges), np.clip(merges.similarities, 0, 1).astype(np.float64)
    width = min(dimension + SPARE, count)
    start = np.random.default_rng(0).standard_normal((count, width))  # A fixed, general start.
    most = min(max(width * POWERS, LEAST_BASIS), count)
    basis = _krylov(below, similarities, roots, start, most)
    image = roots[:, None] * _apply(below, similarities, roots[:, None] * basis)
    with one_thread():  # LAPACK's sums hang on the number of threads.
        parts = torch.linalg.eigh(torch.from_numpy(_inner(basis, image)))
    values, vectors = (part.numpy() for part in parts)
    leading = np.argsort(-values, kind="stable")[:dimension]
    vectors = _product(basis, np.ascontiguousarray(vectors[:, leading]))
    signs = np.sign(np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0))
    scales = signs * np.sqrt(np.maximum(values[leading], 0))
    features = np.zeros((count, dimension))
    features[:, : len(leading)] = vectors * scales / roots[:, None]
    return features


def closed_form_start(tree: SceneTree, dimension: int) -> Float[np.ndarray, "N D"]:
    """Unit features of all Gaussians, each its superpoint's.

    All are at right angles to the constant vector, the feature of the background: nothing of the
    scene is like it. That takes one of the dimensions, where there are two or more. Superpoints
    that the leading directions leave out have features of length 0.
    """
    if dimension == 1:
        features = closed_form_features(tree.merges, 1)
    else:
        features = np.zeros((len(tree.merges.similarities) + 1, dimension))
        features[:, :-1] = closed_form_features(tree.merges, dimension - 1)
        mirror = np.full(dimension, dimension**-0.5)  # Puts the last axis on the constant vector.
        mirror[-1] -= 1
        features -= 2 * np.outer(features @ mirror, mirror) / (mirror @ mirror)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features = np.where(lengths > LEAST_LENGTH, features / np.maximum(lengths, LEAST_LENGTH), 0)
    return features.astype(np.float32)[tree.group]


@njit(**_options)
@no_type_check
def _apply(below, similarities, columns):
    """The matrix of similarities times `columns`: sums go up the tree, and come down weighted."""
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
    """Orthonormal columns that span the start and what repeated application makes of it.

    Gram-Schmidt, twice for precision; rows of `basis` are the vectors while it is built.
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
    """Symmetric part of left^T right; without BLAS, for the same reason."""
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
