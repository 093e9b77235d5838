"""Blending features through frozen blend weights: a sparse product over a few rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from scipy.sparse import csr_matrix
from torch import Tensor

from splat_uff.cameras import Camera
from splat_uff.memory import Memory
from splat_uff.progress import track
from splat_uff.render import Gaussians, blend_weights

_options = {"cache": True, "error_model": "numpy", "boundscheck": False, "fastmath": True}


@dataclass(frozen=True)
class FrozenViews:
    """Blend weights of V views as compressed sparse rows, one a pixel, view after view."""

    starts: Int[np.ndarray, "R"]
    """Where each pixel's weights begin, and the end."""
    indices: Int[np.ndarray, "E"]
    """Gaussian of each weight."""
    weights: Float[np.ndarray, "E"]
    firsts: Int[np.ndarray, "_"]
    """Row of the first pixel of each view, and the number of rows: V + 1 entries."""

    @staticmethod
    def of(gaussians: Gaussians, cameras: list[Camera]) -> "FrozenViews":
        """Blend weights of every camera."""
        rows, indices, weights, total = [np.zeros(1, np.int64)], [], [], 0
        for camera in track(cameras, "blend weights", len(cameras)):
            matrix = blend_weights(gaussians, camera)
            rows.append(matrix.indptr[1:].astype(np.int64) + total)
            indices.append(matrix.indices)
            weights.append(matrix.data)
            total += matrix.nnz
        return FrozenViews(
            np.concatenate(rows),
            np.concatenate(indices),
            np.concatenate(weights),
            np.cumsum([0, *(camera.width * camera.height for camera in cameras)]),
        )

    def alpha(self) -> list[Float[np.ndarray, "_"]]:
        """Accumulated opacity of every pixel, by view."""
        return np.split(_row_sums(self.starts, self.weights), self.firsts[1:-1])

    def matrix(self, view: int, count: int) -> csr_matrix:
        """Blend weights [pixels, count] of one view; shares memory with the record."""
        rows = self.starts[self.firsts[view] : self.firsts[view + 1] + 1]
        inside = slice(int(rows[0]), int(rows[-1]))
        return csr_matrix(
            (self.weights[inside], self.indices[inside], rows - rows[0]),
            shape=(len(rows) - 1, count),
            copy=False,
        )

    def largest_weights(self, count: int) -> Float[np.ndarray, "N"]:
        """Largest blend weight that each of `count` Gaussians reaches in any view."""
        largest = np.zeros(count, np.float32)
        np.maximum.at(largest, self.indices, self.weights)
        return largest


class RenderedViews:
    """Blend weights of views, made when a view is asked for; held where there is room."""

    def __init__(
        self, gaussians: Gaussians, cameras: Sequence[Camera], memory: Memory | None = None
    ) -> None:
        """Make nothing yet.

        Args:
            gaussians: Of the scene.
            cameras: Of the views.
            memory: Budget, half of which may be held; without, a view is made whenever asked for.
        """
        self._gaussians, self._cameras, self._memory = gaussians, cameras, memory
        self._held: dict[int, csr_matrix] = {}
        self._largest = np.zeros(len(gaussians), np.float32)
        self._left = set(range(len(cameras)))

    def matrix(self, view: int, count: int) -> csr_matrix:
        """Blend weights [pixels, count] of one view."""
        if view in self._held:
            return self._held[view]
        matrix = blend_weights(self._gaussians, self._cameras[view])
        if view in self._left:
            self._left.remove(view)
            np.maximum.at(self._largest, matrix.indices, matrix.data)
        size = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
        if self._memory is not None and self._memory.reserve(size):
            self._held[view] = matrix
        return matrix

    def largest_weights(self, count: int) -> Float[np.ndarray, "N"]:
        """Largest blend weight that each of `count` Gaussians reaches in any view."""
        for view in track(sorted(self._left), "largest weights", len(self._left)):
            self.matrix(view, count)
        return self._largest


def row_sums(matrix: csr_matrix) -> Float[np.ndarray, "_"]:
    """Accumulated opacity of every pixel, from its blend weights."""
    return _row_sums(matrix.indptr, matrix.data)


def blend_pixels(
    features: Float[Tensor, "N D"], views: FrozenViews, rows: Int[np.ndarray, "S"]
) -> Float[Tensor, "S D"]:
    """Blend features into the pixels `rows` (`views.firsts[view]` + pixel), differentiable."""
    return _BlendPixels.apply(features, views, rows)


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
        views: FrozenViews = ctx.views
        gradient = np.zeros(tuple(ctx.shape), np.float32)
        v = v_blended.contiguous().cpu().numpy()
        _scatter(v, views.starts, views.indices, views.weights, ctx.rows, gradient)
        return torch.from_numpy(gradient).to(v_blended.device), None, None


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
    """One thread, so that sums have one order; a step's rows are few."""
    channels = v_blended.shape[1]
    for s in range(len(rows)):
        for e in range(starts[rows[s]], starts[rows[s] + 1]):
            n, weight = indices[e], weights[e]
            for c in range(channels):
                gradient[n, c] += weight * v_blended[s, c]
