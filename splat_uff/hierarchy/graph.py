"""The graph along which Gaussians are joined: nearest neighbours, made connected."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from splat_uff.geometry.neighbours import find_nearest

FEW = 256
"""Number of neighbours of a point among which its nearest in another piece is looked for first."""


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
    """Shortest edge from every piece but the largest to the rest; at least halves the pieces.

    All pieces ask one tree for more and more neighbours of their points. A point is done when one
    of them lies in another piece, or when all are farther away than such a neighbour of another
    point of its piece: inner points of a piece soon are. Only what is left after `FEW` neighbours,
    as in pieces far away from everything, is compared with the points around its piece.
    """
    sizes, tree = np.bincount(piece), KDTree(points)
    shortest, ends = np.full(len(sizes), np.inf), np.full((len(sizes), 2), -1)
    open_points = np.flatnonzero(piece != int(np.argmax(sizes)))
    count = 16
    while len(open_points) and count <= FEW:
        count = min(count, len(points))
        found = tree.query(points[open_points], k=count, workers=-1)
        distances, nearest = np.asarray(found[0]), np.asarray(found[1])
        outside = piece[nearest] != piece[open_points, None]
        found, first = outside.any(axis=1), outside.argmax(axis=1)
        rows = np.flatnonzero(found)
        _shorten(
            shortest, ends, piece, open_points[rows],
            nearest[rows, first[rows]], distances[rows, first[rows]],
        )  # fmt: skip
        open_points = open_points[~found & (distances[:, -1] < shortest[piece[open_points]])]
        count *= 4
    for index in np.unique(piece[open_points]):
        inside = open_points[piece[open_points] == index]
        outside = _around(points, inside, np.flatnonzero(piece != index), float(shortest[index]))
        distances, nearest = find_nearest(points[outside], points[inside], k=1)
        _shorten(shortest, ends, piece, inside, outside[nearest[:, 0]], distances[:, 0])
    return ends[np.isfinite(shortest)]


def _around(
    points: Float[np.ndarray, "N 3"],
    inside: Int[np.ndarray, "P"],
    outside: Int[np.ndarray, "Q"],
    within: float,
) -> Int[np.ndarray, "_"]:
    """Points outside whose distance from the box of those inside is no more than the shortest
    bridge known: `within`, or that of one of the points inside."""
    there = points[outside]
    least = min(within, float(np.linalg.norm(there - points[inside[0]], axis=1).min()))
    low, high = points[inside].min(axis=0), points[inside].max(axis=0)
    gaps = np.maximum(np.maximum(low - there, there - high), 0)
    return outside[np.linalg.norm(gaps, axis=1) <= least * (1 + 1e-9)]


def _shorten(
    shortest: Float[np.ndarray, "C"],
    ends: Int[np.ndarray, "C 2"],
    piece: Int[np.ndarray, "N"],
    inside: Int[np.ndarray, "P"],
    outside: Int[np.ndarray, "P"],
    distances: Float[np.ndarray, "P"],
) -> None:
    """Replace the bridge of each piece by the shortest of the given edges, if that is shorter."""
    order = np.lexsort((inside, distances))
    pieces, first = np.unique(piece[inside[order]], return_index=True)
    best = order[first]
    shorter = distances[best] < shortest[pieces]
    pieces, best = pieces[shorter], best[shorter]
    shortest[pieces] = distances[best]
    ends[pieces] = np.stack([inside[best], outside[best]], axis=1)


def _each_once(
    sources: Int[np.ndarray, "E"], targets: Int[np.ndarray, "E"], count: int
) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.minimum(sources, targets), np.maximum(sources, targets)
    # NumPy's `unique` hashes these keys since 2.3, which is up to 50 times as slow as sorting them.
    keys = np.sort(low[low != high] * count + high[low != high])
    keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys
    return keys // count, keys % count
