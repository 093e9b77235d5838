"""Agreement of the masks of neighbouring views, seen through the Gaussians.

A mask selects the Gaussians with more than half of their blend weight in it: this carries it to
any other view. Two masks of different views are compared by the Gaussians that both views see, each
weighted by the lesser of its two blend weights, so that what one view hardly sees hardly counts.
A mask of which less than half can be seen from the other view is not compared.

For a view, `found` is the IoU of its masks with the best masks of a neighbour, and `kept` that of
the neighbour's masks with its best ones. Bad masks are not found elsewhere; missing ones are not
kept. Both are means over masks weighted by area, then means over the neighbours without the best
and the worst one, so that a good view does not suffer from a single bad neighbour.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from splat_uff.geometry.cameras import Camera
from splat_uff.masks.judge import distinct
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.render import Gaussians, blend_weights
from splat_uff.system.memory import Kept, Memory
from splat_uff.system.progress import track
from splat_uff.system.records import array_record

NEIGHBOURS = 6
"""Number of neighbours with which each view is compared."""
GRID = 200
"""Most pixels per side at which blend weights are sampled."""
LEAST_SEEN = 0.1
"""Blend weight, in sampled pixels, below which a view does not see a Gaussian."""
MAJORITY = 0.5
"""Share of a Gaussian's weight in a mask that selects it, and share of a mask that must be seen."""
PROBES = 20_000
"""Most Gaussians by which neighbours are chosen."""


@array_record
class MaskAgreement:
    """Agreement of each of V views with its neighbours."""

    found: Float[np.ndarray, "V"]
    """IoU of its masks with the best masks of its neighbours; NaN if none can be compared."""
    kept: Float[np.ndarray, "V"]
    """IoU of its neighbours' masks with its best ones; NaN if none can be compared."""
    neighbours: Int[np.ndarray, "V k"]
    """Neighbours of each view, the one that sees most of the same first."""


@array_record
class _Carried:
    """Gaussians that a view sees and that its masks select."""

    points: Kept
    """int32 [S], Gaussians that the view sees, in rising order."""
    seen: Kept
    """float32 [S], blend weight of each, in sampled pixels."""
    starts: Kept
    """int64 [M + 1], index of each distinct mask's first Gaussian, then their number."""
    selected: Kept
    """int32 [E], Gaussians of each distinct mask."""


def compare_masks(
    gaussians: Gaussians,
    cameras: Sequence[Camera],
    bags: Sequence[tuple[MaskSet, MaskTree]],
    *,
    neighbours: int = NEIGHBOURS,
    memory: Memory | None = None,
) -> MaskAgreement:
    """Compare the masks of every view with those of the views that see most of the same.

    Args:
        gaussians: Gaussians fitted to the views.
        cameras: Camera of each view.
        bags: Masks of each view and their trees, at the size of the camera.
        neighbours: Number of neighbours of each view.
        memory: Budget that what is kept of each view counts towards.
    """
    budget = memory or Memory()
    chosen = np.arange(0, len(gaussians), -(-len(gaussians) // PROBES) or 1)
    views, glances = [], np.zeros((len(cameras), len(chosen)), np.float32)
    for index in track(range(len(cameras)), "carry masks", len(cameras)):
        weights = blend_weights(gaussians, cameras[index])
        seen, selected = _carry(weights, len(gaussians), *bags[index])
        glances[index] = np.minimum(seen[chosen], 1)
        points = np.flatnonzero(seen).astype(np.int32)
        parts = points, seen[points], selected.indptr, selected.indices
        views.append(_Carried(*(budget.keep(part) for part in parts)))
    near = nearest_views(glances, neighbours)
    pairs = sorted({(min(v, u), max(v, u)) for v, row in enumerate(near) for u in row})
    scores = {}
    for v, u in track(pairs, "compare masks", len(pairs)):
        scores[v, u], scores[u, v] = _compare(views[v], views[u], len(gaussians))
    found = [[scores[v, u] for u in row] for v, row in enumerate(near)]
    kept = [[scores[u, v] for u in row] for v, row in enumerate(near)]
    return MaskAgreement(_means(found), _means(kept), near)


def nearest_views(seen: Float[np.ndarray, "V P"], count: int) -> Int[np.ndarray, "V k"]:
    """Views that see most of the same Gaussians, by the cosine of what they see of each.

    Args:
        seen: Trust, from 0 to 1, with which each view sees each Gaussian.
        count: Number of neighbours, where there are as many.
    """
    length = np.linalg.norm(seen, axis=1, keepdims=True)
    unit = seen / np.maximum(length, 1e-12)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -1)
    return np.argsort(-alike, axis=1, kind="stable")[:, : min(count, len(seen) - 1)]


def _carry(
    weights: csr_matrix, count: int, masks: MaskSet, tree: MaskTree
) -> tuple[Float[np.ndarray, "N"], csr_matrix]:
    """Blend weight of each Gaussian in a view, 0 if hardly seen, and the Gaussians of each mask."""
    step = -(-max(masks.height, masks.width) // GRID)
    rows, columns = (
        np.arange(step // 2, masks.height, step),
        np.arange(step // 2, masks.width, step),
    )
    pixels = (rows[:, None] * masks.width + columns).ravel()
    sampled = weights if step == 1 else csr_matrix(weights[pixels])
    seen = np.bincount(sampled.indices, sampled.data, minlength=count)
    seen = np.where(seen >= LEAST_SEEN, seen, 0).astype(np.float32)
    inside = csr_matrix(masks.at(pixels)[distinct(tree)], dtype=np.float32)
    shares = csr_matrix(inside @ sampled)
    lengths = np.diff(shares.indptr)
    of_row = np.repeat(np.arange(len(lengths)), lengths)
    trusted = seen[shares.indices]
    which = (shares.data > MAJORITY * trusted) & (trusted > 0)
    entries = np.ones(which.sum(), np.float32), (of_row[which], shares.indices[which])
    return seen, csr_matrix(entries, shape=(len(lengths), count))


def _compare(first: _Carried, second: _Carried, count: int) -> tuple[float, float]:
    """Mean best IoU of the masks of one view among those of another, and the other way round."""
    seen = [_spread(each, count) for each in (first, second)]
    weight = np.minimum(*seen)
    sets = [_selected(each, count) for each in (first, second)]
    whole = [inside @ own for inside, own in zip(sets, seen, strict=True)]
    visible = [
        inside @ np.where(weight > 0, own, 0) for inside, own in zip(sets, seen, strict=True)
    ]
    shared = (sets[0].multiply(weight[None]).tocsr() @ sets[1].T).toarray()
    areas = [inside @ weight for inside in sets]
    union = areas[0][:, None] + areas[1][None] - shared
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    means = []
    for axis in (1, 0):
        which = (visible[1 - axis] >= MAJORITY * whole[1 - axis]) & (areas[1 - axis] > 0)
        best = iou.max(axis=axis, initial=0.0)
        share = areas[1 - axis] * which
        means.append(float(best @ share / share.sum()) if share.sum() > 0 else np.nan)
    return means[0], means[1]


def _spread(view: _Carried, count: int) -> Float[np.ndarray, "N"]:
    seen = np.zeros(count, np.float32)
    seen[view.points.load()] = view.seen.load()
    return seen


def _selected(view: _Carried, count: int) -> csr_matrix:
    starts, selected = view.starts.load(), view.selected.load()
    ones = np.ones(len(selected), np.float32)
    return csr_matrix((ones, selected, starts), shape=(len(starts) - 1, count))


def _means(rows: list[list[float]]) -> Float[np.ndarray, "V"]:
    """Mean of the known values of each row, without the best and the worst of three or more."""
    means = []
    for row in rows:
        known = np.sort([each for each in row if not np.isnan(each)])
        inner = known[1:-1] if len(known) > 2 else known
        means.append(inner.mean() if len(inner) else np.nan)
    return np.array(means, np.float64)
