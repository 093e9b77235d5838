"""Blending of features with fixed blend weights: a sparse product over a few rows."""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from scipy.sparse import csr_matrix
from torch import Tensor

from splat_uff.render.frozen import FrozenViews
from splat_uff.system import kernels
from splat_uff.system.records import array_record

_options = {"cache": True, "error_model": "numpy", "boundscheck": False, "fastmath": True}


@array_record
class BlendRows:
    """Blend weights of pixels as compressed sparse rows, view after view."""

    starts: Int[np.ndarray, "R"]
    """Index of each pixel's first weight, then the number of weights."""
    indices: Int[np.ndarray, "E"]
    """Gaussian of each weight."""
    weights: Float[np.ndarray, "E"]
    firsts: Int[np.ndarray, "_"]
    """Row of the first pixel of each of V views, then the number of rows: V + 1 entries."""

    @staticmethod
    def of(views: FrozenViews) -> "BlendRows":
        """Collect all pixels of all views."""
        rows, indices, weights, total = [np.zeros(1, np.int64)], [], [], 0
        for view in range(len(views)):
            matrix = views.matrix(view)
            rows.append(matrix.indptr[1:].astype(np.int64) + total)
            indices.append(matrix.indices)
            weights.append(matrix.data)
            total += matrix.nnz
        sizes = (camera.width * camera.height for camera in views.cameras)
        return BlendRows(
            np.concatenate(rows),
            np.concatenate(indices),
            np.concatenate(weights),
            np.cumsum([0, *sizes]),
        )

    def alpha(self) -> list[Float[np.ndarray, "_"]]:
        """Accumulated opacity of every pixel, one array per view."""
        return np.split(_row_sums(self.starts, self.weights), self.firsts[1:-1])

    def of_rows(self, rows: Int[np.ndarray, "S"]) -> "tuple[Int[np.ndarray, 'T'], BlendRows]":
        """Some pixels alone, as one view, over the T Gaussians that show in them.

        Returns:
            Index of each of these Gaussians, in the order in which they come up, and the pixels,
            with Gaussians numbered in that order.
        """
        lengths = self.starts[rows + 1] - self.starts[rows]
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        most = int(self.indices.max(initial=-1)) + 1
        shown, indices, weights = _renumber(
            self.starts, self.indices, self.weights, rows, int(starts[-1]), most
        )
        return shown, BlendRows(starts, indices, weights, np.array([0, len(rows)]))


def row_sums(matrix: csr_matrix) -> Float[np.ndarray, "_"]:
    """Accumulated opacity of every pixel: the sum of its blend weights."""
    return _row_sums(matrix.indptr, matrix.data)


def blend_pixels(
    features: Float[Tensor, "N D"], views: BlendRows, rows: Int[np.ndarray, "S"]
) -> Float[Tensor, "S D"]:
    """Blend features into the pixels `rows` (`views.firsts[view]` + pixel); differentiable."""
    if kernels.numba_computes(features.device):
        return _BlendPixels.apply(features, views, rows)
    return blend_pixels_by_torch(features, views, rows)


def blend_pixels_by_torch(
    features: Float[Tensor, "N D"], views: BlendRows, rows: Int[np.ndarray, "S"]
) -> Float[Tensor, "S D"]:
    """`blend_pixels` in torch's operations, on any device: a product with a sparse matrix."""
    starts = views.starts[rows]
    counts = views.starts[rows + 1] - starts
    before = np.cumsum(counts) - counts
    entries = np.arange(counts.sum()) + np.repeat(starts - before, counts)
    places = np.stack([np.repeat(np.arange(len(rows)), counts), views.indices[entries]])
    matrix = torch.sparse_coo_tensor(
        torch.from_numpy(places).to(features.device),
        torch.from_numpy(views.weights[entries]).to(features.device),
        (len(rows), len(features)),
        check_invariants=False,
    )
    return torch.sparse.mm(matrix, features)


class _BlendPixels(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, views, rows):
        ctx.views, ctx.rows, ctx.shape = views, rows, features.shape
        blended = _gather(
            features.detach().cpu().numpy(), views.starts, views.indices, views.weights, rows
        )
        return torch.from_numpy(blended).to(features.device)

    @staticmethod
    def backward(ctx, v_blended):  # pyright: ignore[reportIncompatibleMethodOverride]
        views: BlendRows = ctx.views
        gradient = np.zeros(tuple(ctx.shape), np.float32)
        v = v_blended.contiguous().cpu().numpy()
        _scatter(v, views.starts, views.indices, views.weights, ctx.rows, gradient)
        return torch.from_numpy(gradient).to(v_blended.device), None, None


@njit(**_options)
@no_type_check
def _renumber(starts, indices, weights, rows, entries, most):
    """Gaussians of the rows as they come up, and the rows' entries with numbers in that order."""
    number = np.full(most, -1, np.int32)
    shown = np.empty(min(entries, most), np.int64)
    renumbered, copied = np.empty(entries, np.int32), np.empty(entries, np.float32)
    found = at = 0
    for s in range(len(rows)):
        for e in range(starts[rows[s]], starts[rows[s] + 1]):
            n = indices[e]
            if number[n] < 0:
                number[n] = found
                shown[found] = n
                found += 1
            renumbered[at], copied[at] = number[n], weights[e]
            at += 1
    return shown[:found].copy(), renumbered, copied


@njit(**_options)
@no_type_check
def _row_sums(starts, weights):
    sums = np.empty(len(starts) - 1, np.float32)
    for row in range(len(sums)):
        total = 0.0
        for e in range(starts[row], starts[row + 1]):
            total += weights[e]
        sums[row] = total
    return sums


@njit(**_options)
@no_type_check
def _gather(features, starts, indices, weights, rows):
    channels = features.shape[1]
    blended = np.zeros((len(rows), channels), np.float32)
    for s in range(len(rows)):
        for e in range(starts[rows[s]], starts[rows[s] + 1]):
            n, weight = indices[e], weights[e]
            for c in range(channels):
                blended[s, c] += weight * features[n, c]
    return blended


@njit(**_options)
@no_type_check
def _scatter(v_blended, starts, indices, weights, rows, gradient):
    """Add up gradients on one thread, so that sums have one order; a step has few rows."""
    channels = v_blended.shape[1]
    for s in range(len(rows)):
        for e in range(starts[rows[s]], starts[rows[s] + 1]):
            n, weight = indices[e], weights[e]
            for c in range(channels):
                gradient[n, c] += weight * v_blended[s, c]
