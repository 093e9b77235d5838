"""The graph along which Gaussians are joined: nearest neighbours, made connected."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from splat_uff.geometry.neighbours import find_nearest


def neighbour_graph(
    points: Float[np.ndarray, "N 3"], *, k: int
) -> tuple[Int[np.ndarray, "E"], Int[np.ndarray, "E"]]:
    """Join each point to its k nearest, then join the remaining pieces by their shortest bridges.

    Args:
        points: Centres, at least one.
        k: Number of neighbours of each point.

    Returns:
        Sources and targets of the edges, each undirected edge once; the graph is connected.
    """
    count = min(k + 1, len(points))
    _, nearest = find_nearest(points, points, k=count)
    sources = np.repeat(np.arange(len(points)), count)
    sources, targets = _each_once(sources, nearest.ravel(), len(points))
    while True:
        ones = np.ones(len(sources), dtype=bool)
        graph = coo_array((ones, (sources, targets)), shape=(len(points),) * 2)
        pieces, piece = connected_components(graph, directed=False)
        if pieces == 1:
            return sources, targets
        bridges = _bridges(points, piece)
        sources, targets = _each_once(
            np.concatenate([sources, bridges[:, 0]]),
            np.concatenate([targets, bridges[:, 1]]),
            len(points),
        )


def find_outliers(
    points: Float[np.ndarray, "N 3"], *, neighbours: int = 3, reach: float = 6.0
) -> Bool[np.ndarray, "N"]:
    """Whether each point's third neighbour is more than `reach` times the median distance away."""
    if len(points) <= neighbours:
        return np.zeros(len(points), dtype=bool)
    distances, _ = find_nearest(points, points, k=neighbours + 1)
    return distances[:, -1] > reach * np.median(distances[:, -1])


def _bridges(points: Float[np.ndarray, "N 3"], piece: Int[np.ndarray, "N"]) -> np.ndarray:
    """Shortest edge from every piece but the largest to the rest; at least halves the pieces."""
    bridges = []
    order = np.argsort(piece, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(piece))[:-1])
    largest = max(range(len(members)), key=lambda index: len(members[index]))
    for index, inside in enumerate(members):
        if index == largest:
            continue
        outside = np.flatnonzero(piece != index)
        distances, nearest = find_nearest(points[outside], points[inside], k=1)
        at = int(np.argmin(distances))
        bridges.append((inside[at], outside[nearest[at, 0]]))
    return np.array(bridges)


def _each_once(
    sources: Int[np.ndarray, "E"], targets: Int[np.ndarray, "E"], count: int
) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.minimum(sources, targets), np.maximum(sources, targets)
    keys = np.unique(low[low != high] * count + high[low != high])
    return keys // count, keys % count
