"""Natural levels: the few cuts of a tree whose segments persist.

A segment that exists in many cuts, up to far above the heights at which its parts merge, is there
by itself and not because of where someone cut. A segment that forms at height h and whose parent
forms at H persists for the share 1 - h/H of the way up to H; its support says how certain it is.
The persistence of a cut is the mean of support times share over its segments, minus the mean of
this over the cuts around it, because finer segments persist longer or shorter in all trees.
Superpoints are not merges, so they are left out. `docs/research/natural-levels.md` lists the
alternatives that were tried.
"""

from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float

from splat_uff.hierarchy.build import Hierarchy
from splat_uff.hierarchy.dendrogram import Dendrogram, cut_nodes, height_of, highest_merges
from splat_uff.hierarchy.walk import Walk

MOST_LEVELS = 6
AROUND = 3.0
"""Range of a comparison: cuts with a third to three times as many segments."""
APART = 4 / 3
"""Least ratio between the numbers of segments of two natural levels."""


@dataclass(frozen=True)
class NaturalLevel:
    """A cut at which a tree is stable."""

    segments: int
    height: float
    """Lowest height at which there are no more segments than that."""
    persistence: float
    """Amount by which its segments persist longer than those of the cuts around it, above 0."""
    support: float | None = None
    """Mean support of its segments, if known."""


def natural_levels(
    tree: Dendrogram,
    support: Float[np.ndarray, "T"] | None = None,
    *,
    most_segments: int = 300,
) -> list[NaturalLevel]:
    """Find at most `MOST_LEVELS` cuts that persist, coarse to fine.

    Args:
        tree: Merge tree.
        support: Support of each node, 0 to 1; by default, all nodes are taken to be certain.
        most_segments: Number of segments of the finest cut considered.

    Example:
        >>> parents = np.array([8, 8, 8, 9, 9, 10, 10, 11, 12, 12, 13, 13, 14, 14, 14])
        >>> tree = Dendrogram(parents, np.array([0.0] * 12 + [0.1, 0.1, 1]), 8)
        >>> [level.segments for level in natural_levels(tree)]
        [2]
    """
    merges = highest_merges(tree)
    scores = _persistences(tree, support, min(most_segments, len(merges) + 1))
    numbers = np.arange(len(scores)) + 2
    excess = np.empty_like(scores)
    for place, number in enumerate(numbers):
        near = (numbers * AROUND >= number) & (numbers <= number * AROUND)
        excess[place] = scores[place] - scores[near].mean()
    heights = np.append(tree.altitudes[merges], 0.0)
    excess[heights[numbers - 2] == heights[numbers - 1]] = 0  # No height gives that cut.
    levels = []
    for place in np.argsort(-excess, kind="stable"):
        ratios = [max(numbers[place] / n.segments, n.segments / numbers[place]) for n in levels]
        if excess[place] <= 0 or len(levels) == MOST_LEVELS:
            break
        if min(ratios, default=np.inf) > APART:
            number = int(numbers[place])
            height, persistence = height_of(tree, number), float(excess[place])
            levels.append(NaturalLevel(number, height, persistence, _mean(support, tree, number)))
    return sorted(levels, key=lambda level: level.segments)


def describe_levels(hierarchy: Hierarchy, *, most_segments: int) -> list[dict[str, float]]:
    """Natural levels of a run in the form of `metrics.json`, see `NaturalLevel`."""
    levels = natural_levels(hierarchy.tree, hierarchy.support, most_segments=most_segments)
    known = (asdict(level) for level in levels)
    return [{name: value for name, value in level.items() if value is not None} for level in known]


def _mean(
    support: Float[np.ndarray, "T"] | None, tree: Dendrogram, num_segments: int
) -> float | None:
    """Mean support of the segments of a cut."""
    if support is None:
        return None
    return float(support[np.unique(cut_nodes(tree, num_segments))].mean())


def _persistences(
    tree: Dendrogram, support: Float[np.ndarray, "T"] | None, most_segments: int
) -> Float[np.ndarray, "K"]:
    """Mean of support times persisting share, per cut from 2 segments on; 0 if all are groups."""
    walk, merges = Walk(tree), highest_merges(tree)
    above = tree.altitudes[tree.parents]
    lasting = 1 - np.divide(tree.altitudes, above, out=np.ones_like(above), where=above > 0)
    lasting = lasting if support is None else lasting * support
    splits = set(merges.tolist())
    held: set[int] = {walk.root}
    total, scores = 0.0, []
    for merge in merges[: most_segments - 1].tolist():
        children = [child for child in walk.children(merge) if child in splits]
        total += float(lasting[children].sum()) - float(lasting[merge])
        held.remove(merge)
        held.update(children)
        scores.append(total / len(held) if held else 0.0)
    return np.array(scores)
