"""Parts alone: how good a selection of Gaussians is as an object, away from the rest of its scene.

The truth are pictures of each object without the others, which only a scene that can be rendered
anew has; they are passed in. Each score is a mean over the held-out views that show enough of the
object, and then over objects (docs/metrics.md, "Parts alone").
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import binary_erosion, distance_transform_edt

from splat_uff.capture.records import View
from splat_uff.evaluate.images import psnr
from splat_uff.geometry.cameras import Camera
from splat_uff.hierarchy.labels import OPAQUE
from splat_uff.render import Gaussians, render_colours
from splat_uff.render.fineness import Fineness
from splat_uff.system.errors import InputError
from splat_uff.system.progress import track
from splat_uff.system.records import array_record

FEWEST_PIXELS = 20
"""Fewest pixels of a silhouette, or of the part of it that is looked at, for a view to count."""
BORDER_REACH = 2.0
"""Distance, in pixels, up to which the borders of two silhouettes agree."""
SCORES = (
    "iou", "psnr", "psnr_in_scene", "psnr_photo", "border_f", "iou_seen", "psnr_seen", "never_seen"
)  # fmt: skip
"""Names of the scores of an object."""


@array_record
class AloneView:
    """One true object in one held-out view, without the others: the window of it that shows any."""

    view: int
    """Index of the view."""
    top: int
    """First row of the window in the view, in pixels."""
    left: int
    """First column of the window in the view, in pixels."""
    colours: Float[np.ndarray, "h w 3"]
    """Object alone over white, sRGB in [0, 1], lit as if it were alone."""
    in_scene: Float[np.ndarray, "h w 3"]
    """The same with the light of the full scene, shadows of the other objects included."""
    inside: Bool[np.ndarray, "h w"]
    """Silhouette of the object alone."""
    visible: Bool[np.ndarray, "h w"]
    """Pixels of the silhouette that show the object in the full photo, too."""
    seen: Bool[np.ndarray, "h w"]
    """Pixels of the silhouette whose surface some training view shows."""

    def placed(self, window: np.ndarray, camera: Camera) -> np.ndarray:
        """A window of the view as a whole view, False or 0 elsewhere."""
        whole = np.zeros((camera.height, camera.width, *window.shape[2:]), window.dtype)
        rows, columns = window.shape[:2]
        whole[self.top : self.top + rows, self.left : self.left + columns] = window
        return whole


@array_record
class PartTruth:
    """The true objects of a scene, each without the others."""

    names: tuple[str, ...]
    """Name of each of the K objects; the id of the first one is 1."""
    views: tuple[View, ...]
    """Held-out views."""
    alone: tuple[tuple[AloneView, ...], ...]
    """Pictures of each object, in the views where its silhouette is not empty."""


@array_record
class PartScores:
    """Scores of K objects, each a mean over held-out views; NaN where no view counts."""

    names: tuple[str, ...]
    iou: Float[np.ndarray, "K"]
    """IoU of the silhouettes."""
    psnr: Float[np.ndarray, "K"]
    """PSNR inside the true silhouette over white, in dB, against the object lit as if alone."""
    psnr_in_scene: Float[np.ndarray, "K"]
    """PSNR as `psnr_seen`, in dB, against the object lit as in its scene, as the photos show it."""
    psnr_photo: Float[np.ndarray, "K"]
    """PSNR against the photo, in dB, where that shows the object and no border of it."""
    border_f: Float[np.ndarray, "K"]
    """F-score of the borders of the silhouettes."""
    iou_seen: Float[np.ndarray, "K"]
    """IoU without the true pixels that no training view shows."""
    psnr_seen: Float[np.ndarray, "K"]
    """PSNR as `psnr`, in dB, without the true pixels that no training view shows."""
    never_seen: Float[np.ndarray, "K"]
    """Share of the true silhouette that no training view shows."""
    views: Int[np.ndarray, "K"]
    """Number of held-out views that count."""

    def means(self) -> dict[str, float | None]:
        """Mean of each score over the objects that have it; None if none has."""
        return {name: _number(_mean(getattr(self, name))) for name in SCORES}

    def record(self) -> dict[str, Any]:
        """All scores, as in `parts.json`: `mean`, and `objects` by name."""
        rows = {
            name: {each: _number(float(getattr(self, each)[k])) for each in SCORES}
            | {"views": int(self.views[k])}
            for k, name in enumerate(self.names)
        }
        return {"mean": self.means(), "objects": rows}


def score_parts(
    gaussians: Gaussians, chosen: Bool[np.ndarray, "K N"], truth: PartTruth
) -> PartScores:
    """Score selections of Gaussians, each rendered alone, as the true objects of a scene.

    A silhouette is where the accumulated opacity is at least one half. For a view to count, the
    true one has at least `FEWEST_PIXELS`; the same number is asked of the pixels that a score looks
    at. PSNR is that of a view's pixels together, and the mean is over views.

    Args:
        gaussians: Gaussians of the scene.
        chosen: Gaussians of each object, in the order of the truth; there may be none.
        truth: True objects.

    Raises:
        InputError: If there is not one selection per object, or not one entry per Gaussian.

    Example:
        >>> nothing = np.zeros((0, 5), bool)
        >>> five = {"means": torch.zeros(5, 3), "quats": torch.ones(5, 4)}
        >>> five |= {"log_scales": torch.zeros(5, 3), "opacity_logits": torch.zeros(5)}
        >>> five |= {"sh0": torch.zeros(5, 1, 3), "shN": torch.zeros(5, 0, 3)}
        >>> score_parts(Gaussians.of(five), nothing, PartTruth((), (), ())).means()["iou"] is None
        True
    """
    if chosen.shape != (len(truth.names), len(gaussians)):
        raise InputError(
            f"the selections have shape {chosen.shape}; expected one for each of "
            f"{len(truth.names)} objects, of {len(gaussians)} Gaussians."
        )
    rows, counts = [], []
    for pictures, members in zip(
        track(truth.alone, "parts alone", len(truth.alone)), chosen, strict=True
    ):
        found = [
            _score_view(render_part(gaussians, members, truth.views[each.view].camera), each, truth)
            for each in pictures
            if each.inside.sum() >= FEWEST_PIXELS
        ]
        rows.append([_mean(values) for values in np.reshape(found, (-1, len(SCORES))).T])
        counts.append(len(found))
    scores = np.reshape(np.array(rows, np.float64), (-1, len(SCORES))).T
    by_name = dict(zip(SCORES, scores, strict=True))
    return PartScores(names=truth.names, views=np.array(counts, np.int64), **by_name)


def render_part(
    gaussians: Gaussians, members: Bool[np.ndarray, "N"], camera: Camera
) -> Float[np.ndarray, "H W 4"]:
    """Render chosen Gaussians alone: colours in [0, 1] over white, and accumulated opacity.

    Gaussians appear as they were fitted, whatever the size of the image (`Fineness`).
    """
    places = torch.from_numpy(np.flatnonzero(members)).to(gaussians.means.device)
    if not len(places):
        blank = np.ones((camera.height, camera.width, 4), np.float32)
        return blank * np.array([1, 1, 1, 0], np.float32)
    fineness = Fineness.of(gaussians, camera)
    with torch.no_grad():
        render = render_colours(gaussians.subset(places), fineness.camera, eps2d=fineness.eps2d)
    colours = (render.values + (1 - render.alpha[..., None])).clamp(0, 1)
    return fineness.average(torch.cat([colours, render.alpha[..., None]], 2).cpu().numpy())


def silhouette_iou(ours: Bool[np.ndarray, "H W"], true: Bool[np.ndarray, "H W"]) -> float:
    """Intersection over union of two silhouettes; 1 if both are empty."""
    union = int((ours | true).sum())
    return int((ours & true).sum()) / union if union else 1.0


def border_f_score(
    ours: Bool[np.ndarray, "H W"], true: Bool[np.ndarray, "H W"], *, reach: float = BORDER_REACH
) -> float:
    """F-score of the borders of two silhouettes, with a tolerance.

    A silhouette's border are its pixels with one of the four neighbours outside; the edge of the
    picture is no border. Precision is the share of our border within `reach` of the true one, and
    recall the share of the true border within `reach` of ours. Source: Martin, Fowlkes, Malik,
    "Learning to detect natural image boundaries", TPAMI 2004, with distances in place of a
    matching.

    Args:
        ours: Silhouette that is scored.
        true: True silhouette.
        reach: Distance between pixel centres, in pixels.

    Returns:
        Harmonic mean of precision and recall; 1 if neither silhouette has a border, 0 if only one
        has.
    """
    rows, columns = (np.flatnonzero((ours | true).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return 1.0
    # A margin of one pixel keeps what is a border, and what is the edge of the picture.
    window = np.s_[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2]
    ours, true = ours[window], true[window]
    borders = [
        each & ~np.asarray(binary_erosion(each, border_value=1), bool) for each in (ours, true)
    ]
    if not borders[0].any() or not borders[1].any():
        return float(borders[0].any() == borders[1].any())
    precision, recall = (
        float((np.asarray(distance_transform_edt(~other))[border] <= reach).mean())
        for border, other in (borders, borders[::-1])
    )
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _score_view(
    ours: Float[np.ndarray, "H W 4"], alone: AloneView, truth: PartTruth
) -> list[float]:
    """Scores of one object in one view, in the order of `SCORES`."""
    view = truth.views[alone.view]
    rows, columns = alone.inside.shape
    window = np.s_[alone.top : alone.top + rows, alone.left : alone.left + columns]
    opaque = ours[..., 3] >= OPAQUE
    inside, seen = (alone.placed(each, view.camera) for each in (alone.inside, alone.seen))
    unseen = inside & ~seen
    rendered, image = ours[window][..., :3], view.image[window]
    photo = image[..., :3] + (1 - image[..., 3:])  # Over white, like all that it is compared with.
    enough = int((inside & seen).sum()) >= FEWEST_PIXELS
    return [
        silhouette_iou(opaque, inside),
        _psnr_of(rendered, alone.colours, alone.inside),
        _psnr_of(rendered, alone.in_scene, alone.inside & alone.seen),
        _psnr_of(rendered, photo, alone.visible),
        border_f_score(opaque, inside),
        silhouette_iou(opaque & ~unseen, inside & ~unseen) if enough else np.nan,
        _psnr_of(rendered, alone.colours, alone.inside & alone.seen),
        float(unseen.sum() / inside.sum()),
    ]


def _psnr_of(
    ours: Float[np.ndarray, "h w 3"],
    true: Float[np.ndarray, "h w 3"],
    pixels: Bool[np.ndarray, "h w"],
) -> float:
    """PSNR over some pixels, in dB; NaN if there are too few."""
    if int(pixels.sum()) < FEWEST_PIXELS:
        return np.nan
    return psnr(ours[pixels][None].astype(np.float64), true[pixels][None].astype(np.float64))


def _mean(values: Sequence[float] | Float[np.ndarray, "_"]) -> float:
    """Mean of the values that are known; NaN if none is."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else np.nan


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
