"""Blend weights of many views of Gaussians with fixed geometry, computed once."""

from collections.abc import Callable, Sequence
from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit
from scipy.sparse import csr_matrix

from splat_uff.geometry.cameras import Camera
from splat_uff.render.records import Gaussians
from splat_uff.render.weights import blend_weights
from splat_uff.system.memory import Memory
from splat_uff.system.progress import track


class FrozenViews:
    """Views of Gaussians with fixed geometry, each a sparse matrix of blend weights.

    A matrix is computed when its view is requested and kept if there is room; neither changes the
    results.
    """

    def __init__(
        self, gaussians: Gaussians, cameras: Sequence[Camera], memory: Memory | None = None
    ) -> None:
        """Set up the views without computing a matrix yet.

        Args:
            gaussians: Gaussians of the scene.
            cameras: Camera of each view.
            memory: Budget, of which the matrices may take half; without one, all are kept.
        """
        self.num_gaussians, self.cameras = len(gaussians), cameras
        self.memory = memory or Memory()
        self._gaussians = gaussians
        self._held: dict[int, csr_matrix] = {}
        self._largest = np.zeros(len(gaussians), np.float32)
        self._left = set(range(len(cameras)))
        self.on_first: Callable[[int, csr_matrix], object] | None = None
        """Function called with each view and its matrix when the matrix is first computed. It can
        use matrices that are not kept, without computing them again."""

    def __len__(self) -> int:
        return len(self.cameras)

    def matrix(self, view: int) -> csr_matrix:
        """Blend weights [pixels, N] of one view."""
        if view in self._held:
            return self._held[view]
        matrix = blend_weights(self._gaussians, self.cameras[view])
        if view in self._left:
            self._left.remove(view)
            _raise(self._largest, matrix.indices, matrix.data)
            if self.on_first is not None:
                self.on_first(view, matrix)
        size = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
        if self.memory.reserve(size):
            self._held[view] = matrix
        return matrix

    def largest_weights(self) -> Float[np.ndarray, "N"]:
        """Largest blend weight that each Gaussian reaches in any view."""
        for view in track(sorted(self._left), "blend weights", len(self._left)):
            self.matrix(view)
        return self._largest


@njit(cache=True, error_model="numpy", boundscheck=False)
@no_type_check
def _raise(largest, indices, values):
    """Raise entries of `largest` to the values at their indices."""
    for e in range(len(indices)):
        if values[e] > largest[indices[e]]:
            largest[indices[e]] = values[e]
