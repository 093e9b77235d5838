"""Nearest neighbours in space."""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree


def find_nearest(
    points: Float[np.ndarray, "N 3"], queries: Float[np.ndarray, "Q 3"], *, k: int
) -> tuple[Float[np.ndarray, "Q k"], Int[np.ndarray, "Q k"]]:
    """Distances and indices of the k points nearest to each query, nearest first."""
    distances, indices = KDTree(points).query(queries, k=k, workers=-1)
    shape = len(queries), k  # SciPy drops the last axis when k is 1.
    return np.reshape(distances, shape), np.reshape(indices, shape)
