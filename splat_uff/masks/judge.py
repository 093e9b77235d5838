"""Figures that tell good masks from bad ones, view by view.

Nothing here knows what the masks should show. Masks are suspicious if they leave much of the scene
uncovered, cross each other, spill over the scene's outline, or are far fewer or more than in other
views. How well neighbouring views agree takes Gaussians (`splat_uff.gaussians.mask_agreement`).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from splat_uff.capture.records import View
from splat_uff.masks.records import MaskSet, MaskTree, Regions
from splat_uff.system.errors import InputError

CROSSING = 0.05
"""Share of the smaller of two masks that must lie inside the other, and outside, if they cross."""
OPAQUE = 0.5
"""Alpha from which a pixel is part of the scene."""


@dataclass(frozen=True)
class MaskFigures:
    """Figures of the masks of one view; masks that are the same count as one."""

    view: str
    """Name of the view."""
    masks: int
    """Number of distinct masks that lie mostly in the scene."""
    coverage: float
    """Share of the scene's pixels in at least one mask."""
    overlap: float
    """Mean number of masks per covered pixel; 0 if no pixel is covered."""
    crossing: float
    """Share of the pairs that overlap in which neither mask is inside the other."""
    smallest: float
    """Area of the smallest mask as a share of the picture; 0 without masks."""
    median: float
    """Median area as a share of the picture."""
    largest: float
    """Area of the largest mask as a share of the picture."""
    outside: float | None = None
    """Share of the covered pixels that are transparent in the photo; None without alpha."""
    found: float | None = None
    """IoU of its masks, carried to neighbouring views, with the best masks there; mean by area."""
    kept: float | None = None
    """IoU of its neighbours' masks, carried to it, with its best masks; mean by area."""

    @property
    def agreement(self) -> float | None:
        """Mean of `found` and `kept`; None if neither is known."""
        known = [each for each in (self.found, self.kept) if each is not None]
        return sum(known) / len(known) if known else None

    def record(self) -> dict[str, Any]:
        """Content for JSON."""
        return {**asdict(self), "agreement": self.agreement}


def judge_views(
    views: Sequence[View], bags: Sequence[tuple[MaskSet, MaskTree]], *, has_alpha: bool
) -> list[MaskFigures]:
    """Figures of the masks of every view by themselves, without their neighbours.

    Args:
        views: Views of the capture.
        bags: Masks of these views and their trees, in the same order.
        has_alpha: Whether alpha cuts the scene out; otherwise all pixels are part of it.

    Raises:
        InputError: If the numbers of views and of bags differ, or masks do not fit their photo.
    """
    require_masks_of(views, bags)
    figures = []
    for view, (masks, tree) in zip(views, bags, strict=True):
        scene = view.image[..., 3].ravel() >= OPAQUE if has_alpha else None
        figures.append(judge_masks(view.name, masks, tree, scene))
    return figures


def judge_masks(
    name: str, masks: MaskSet, tree: MaskTree, scene: Bool[np.ndarray, "P"] | None = None
) -> MaskFigures:
    """Figures of the masks of one view.

    Masks that lie mostly outside of the scene, as those of a background, count nowhere.

    Args:
        name: Name of the view.
        masks: Masks of the view.
        tree: Their inclusion tree; of masks that are the same, the first counts.
        scene: Whether each flattened pixel is part of the scene; all are if None.

    Example:
        >>> from splat_uff.masks.tree import build_tree
        >>> whole, left = np.ones((1, 2, 4), bool), np.zeros((1, 2, 4), bool)
        >>> left[..., :2] = True
        >>> masks = MaskSet.of(np.concatenate([whole, left]))
        >>> figures = judge_masks("r_0", masks, build_tree(masks))
        >>> figures.masks, figures.coverage, figures.overlap, figures.crossing
        (2, 1.0, 1.5, 0.0)
    """
    regions, members = masks_of_scene(masks, tree, scene)
    sizes, pixels = regions.sizes, len(regions.of_pixel)
    own = sizes if scene is None else np.bincount(regions.of_pixel[scene], minlength=len(sizes))
    depth = members.sum(axis=0)
    covered = depth > 0
    shares = members @ sizes / max(pixels, 1)
    return MaskFigures(
        view=name,
        masks=len(members),
        coverage=_ratio(own[covered].sum(), own.sum()),
        overlap=_ratio(depth @ sizes, sizes[covered].sum()),
        crossing=_crossing(members, sizes),
        smallest=float(shares.min()) if len(shares) else 0.0,
        median=float(np.median(shares)) if len(shares) else 0.0,
        largest=float(shares.max()) if len(shares) else 0.0,
        outside=None
        if scene is None
        else _ratio((sizes - own)[covered].sum(), sizes[covered].sum()),
    )


def masks_of_scene(
    masks: MaskSet, tree: MaskTree, scene: Bool[np.ndarray, "P"] | None = None
) -> tuple[Regions, Bool[np.ndarray, "D R"]]:
    """Regions of all masks, and which of them each of the D distinct masks of the scene holds.

    Args:
        masks: Masks of the view.
        tree: Their inclusion tree; of masks that are the same, the first is kept.
        scene: Whether each flattened pixel is part of the scene; masks that lie mostly outside are
            left out, and so are empty ones.
    """
    regions = Regions.of(masks)
    sizes, members = regions.sizes, regions.members[distinct(tree)]
    if scene is not None:
        own = np.bincount(regions.of_pixel[scene], minlength=len(sizes))
        members = members[members @ (2 * own - sizes) >= 0]
    return regions, members[members @ sizes > 0]


def distinct(tree: MaskTree) -> Bool[np.ndarray, "M"]:
    """Whether each mask is the first of those that are the same."""
    if not len(tree.same):
        return np.ones(0, bool)
    return tree.same.argmax(axis=1) == np.arange(len(tree.same))


def with_agreement(
    figures: Sequence[MaskFigures], found: Float[np.ndarray, "V"], kept: Float[np.ndarray, "V"]
) -> list[MaskFigures]:
    """Add to the figures of every view how well it agrees with its neighbours; NaN is unknown."""
    return [
        replace(each, found=_known(one), kept=_known(other))
        for each, one, other in zip(figures, found, kept, strict=True)
    ]


def require_masks_of(views: Sequence[View], bags: Sequence[tuple[MaskSet, MaskTree]]) -> None:
    """Check that there is one bag of masks for each view, at the size of its photo.

    Raises:
        InputError: If the numbers of views and of bags differ, or masks do not fit their photo.
    """
    if len(views) != len(bags):
        raise InputError(
            f"{len(views)} views and masks of {len(bags)}; expected the masks of every view."
        )
    for view, (masks, _) in zip(views, bags, strict=True):
        camera = view.camera
        if (masks.height, masks.width) != (camera.height, camera.width):
            raise InputError(
                f"the masks of view {view.name} have {masks.width} x {masks.height} pixels, its "
                f"photo {camera.width} x {camera.height}; expected the same size."
            )


def _crossing(members: Bool[np.ndarray, "M R"], sizes: Int[np.ndarray, "R"]) -> float:
    """Share of crossing pairs among those that overlap by more than `CROSSING`."""
    inside = sparse.csr_matrix(members, dtype=np.int64)
    shared = (inside.multiply(sizes[None]).tocsr() @ inside.T).toarray()
    areas = shared.diagonal()
    first, second = np.triu_indices(len(members), 1)
    share = shared[first, second] / np.minimum(areas[first], areas[second])
    overlaps = share > CROSSING
    return _ratio((share[overlaps] < 1 - CROSSING).sum(), overlaps.sum())


def _ratio(part: float | np.integer, whole: float | np.integer) -> float:
    return float(part / whole) if whole else 0.0


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
