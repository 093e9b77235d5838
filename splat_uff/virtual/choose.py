"""Choice of few cameras that together see every Gaussian often enough."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.virtual.candidates import Candidate
from splat_uff.virtual.config import VirtualConfig

ENOUGH = 0.002
"""Share of the visible Gaussians below which another view is not worth it."""
LITTLE = 0.01
"""Share of the visible Gaussians below which a view is not worth it only to reach the fewest."""


@dataclass(frozen=True, eq=False)
class Choice:
    """Indices of the chosen candidates, and how well they cover the splat."""

    train: list[int]
    """Training views, the most useful first."""
    held_out: list[int]
    visible: int
    """Gaussians that any candidate sees."""
    covered: int
    """Gaussians that enough training views see, or all candidates that see them at all."""


def choose_views(candidates: Sequence[Candidate], count: int, config: VirtualConfig) -> Choice:
    """Choose views greedily by the Gaussians that they see and too few others do.

    The gain of a view only falls as others are chosen, so a queue of gains that are updated when
    they come first gives the same choice as computing all of them each time (Minoux 1978).

    Args:
        candidates: Cameras to choose from.
        count: Number of Gaussians.
        config: Number of views, and how many shall see each Gaussian.
    """
    seen_by = np.zeros(count, np.int32)
    for candidate in candidates:
        seen_by[candidate.seen] += 1
    visible = int((seen_by > 0).sum())
    goal = np.minimum(seen_by, config.seen_by)
    left = goal.copy()
    most, fewest = min(config.most, len(candidates)), min(config.fewest, len(candidates))
    chosen = _greedy(candidates, range(len(candidates)), left, most, ENOUGH * visible)
    while len(chosen) < fewest:
        left += goal  # All are seen often enough; the views that are still due see them again.
        rest = sorted(set(range(len(candidates))) - set(chosen))
        taken = _greedy(candidates, rest, left, fewest - len(chosen), LITTLE * visible)
        if not taken:  # The rest see next to nothing.
            break
        chosen += taken
    counts = np.zeros(count, np.int32)
    for index in chosen:
        counts[candidates[index].seen] += 1
    covered = int(((counts >= goal) & (goal > 0)).sum())
    held_out = _apart(candidates, chosen, config.held_out)
    return Choice(chosen, held_out, visible, covered)


def _greedy(
    candidates: Sequence[Candidate],
    rest: Sequence[int],
    left: Int[np.ndarray, "N"],
    most: int,
    least_gain: float,
) -> list[int]:
    """Choose until a view gains less than `least_gain`; `left` is counted down."""
    queue = [(-len(candidates[index].seen), index) for index in rest]
    heapq.heapify(queue)
    chosen: list[int] = []
    while queue and len(chosen) < most:
        _, index = heapq.heappop(queue)
        gain = int((left[candidates[index].seen] > 0).sum())
        if queue and -queue[0][0] > gain:
            heapq.heappush(queue, (-gain, index))
            continue
        if gain <= least_gain:
            break
        seen = candidates[index].seen
        left[seen] -= left[seen] > 0
        chosen.append(index)
    return chosen


def _apart(candidates: Sequence[Candidate], chosen: Sequence[int], count: int) -> list[int]:
    """Further views that see much and are far from each other, in position and direction."""
    free = np.ones(len(candidates), bool)
    free[list(chosen)] = False
    sizes = np.array([len(candidate.seen) for candidate in candidates])
    if free.any():
        free &= sizes >= np.median(sizes[free])
    places = np.array(
        [[*each.camera.centre, *each.camera.world_from_cam[:3, 2]] for each in candidates]
    ).reshape(-1, 6)
    return _farthest(places, free, count)


def _farthest(
    places: Float[np.ndarray, "C 6"], free: Bool[np.ndarray, "C"], count: int
) -> list[int]:
    found: list[int] = []
    nearest = np.where(free, np.inf, -1.0)
    while len(found) < count and (nearest >= 0).any():
        index = int(nearest.argmax())
        found.append(index)
        nearest = np.minimum(nearest, np.linalg.norm(places - places[index], axis=1))
        nearest[index] = -1
    return sorted(found)
