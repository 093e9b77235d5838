"""SAM3D: masks of one view, lifted to 3D by inverse rendering and cross-view prompting.

Source: Cen et al., "Segment Anything in 3D with NeRFs" (NeurIPS 2023), with an occupancy per
Gaussian instead of the voxel grid. Blending is linear, and so is the loss of the inverse rendering
in the occupancy, so one step of gradient descent is a sum over pixels: a Gaussian gains its blend
weight inside the mask, and loses `OUTSIDE` times that outside.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix

from splat_uff.capture import View
from splat_uff.geometry.cameras import Camera
from splat_uff.masks.records import MaskSet
from splat_uff.render import Gaussians, blend_weights
from splat_uff.system.progress import track
from splat_uff.system.records import array_record

OUTSIDE = 0.5
"""Weight of pixels outside a mask relative to those inside (lambda); docs/research/choices.md."""
LEAST_IOU = 0.5
"""Least IoU of a view's answer with the rendered mask; views with a lower one are skipped."""
OCCUPIED = 0.5
"""Least share of occupied Gaussians at a pixel that belongs to a lifted mask."""
CHUNK = 128
"""Number of masks that are rendered at a time."""


@array_record
class Lifted:
    """Masks of some views, each as the set of Gaussians in it."""

    occupied: Bool[np.ndarray, "M N"]
    source: Int[np.ndarray, "M"]
    """Source view of each mask, as an index into the lifted views."""


def lift_masks(
    gaussians: Gaussians,
    views: Sequence[View],
    bags: Sequence[MaskSet],
    sources: Sequence[int],
    *,
    outside: float = OUTSIDE,
) -> Lifted:
    """Lift all masks of some views, one view after the other.

    The occupancy of a mask starts from its own view. It is then rendered in every other view, the
    nearest in angle first; its most certain pixel prompts that view; the answer is the best of the
    masks that contain the prompt, and is lifted, too, unless it fits worse than `LEAST_IOU`.

    Args:
        gaussians: Fitted Gaussians.
        views: Views to prompt in, including the sources.
        bags: Masks of each view, at its size.
        sources: Indices, in `views`, of the views whose masks are lifted.
        outside: Weight of pixels outside a mask relative to those inside.
    """
    weights = [blend_weights(gaussians, view.camera) for view in views]
    turned = [matrix.T.tocsr() for matrix in weights]
    centres = np.stack([view.camera.centre for view in views])
    directions = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    occupied, origin = [], []
    for place, source in enumerate(track(sources, "lift", len(sources))):
        masks = bags[source].flat()
        gained = _lift(turned[source], masks, outside)
        nearest = np.argsort(-(directions @ directions[source]), kind="stable")
        for view in nearest[nearest != source]:
            rendered = weights[view] @ (gained > 0).astype(np.float32)
            answers, accepted = _prompt(bags[view], rendered)
            answered = bags[view].flat()[answers[accepted]]
            gained[:, accepted] += _lift(turned[view], answered, outside)
        occupied.append((gained > 0).T)
        origin.append(np.full(len(masks), place))
    return Lifted(np.concatenate(occupied), np.concatenate(origin))


def render_lifted(lifted: Lifted, gaussians: Gaussians, camera: Camera) -> MaskSet:
    """Render every lifted mask, in order; masks that the camera does not see are empty."""
    weights = blend_weights(gaussians, camera)
    packed = []
    for start in range(0, len(lifted.occupied), CHUNK):
        share = weights @ lifted.occupied[start : start + CHUNK].T.astype(np.float32)
        packed.append(np.packbits(share.T >= OCCUPIED, axis=1))
    return MaskSet(np.concatenate(packed), camera.height, camera.width)


def _lift(
    turned: csr_matrix, masks: Bool[np.ndarray, "M P"], outside: float
) -> Float[np.ndarray, "N M"]:
    """Occupancy that each Gaussian gains from the masks of one view."""
    return turned @ np.where(masks.T, np.float32(1), np.float32(-outside))


def _prompt(
    bag: MaskSet, rendered: Float[np.ndarray, "P M"]
) -> tuple[Int[np.ndarray, "M"], Bool[np.ndarray, "M"]]:
    """Mask that a view answers each rendered mask with, and whether it is good enough to use."""
    count = rendered.shape[1]
    if len(bag) == 0:
        return np.zeros(count, np.int64), np.zeros(count, bool)
    prompts = rendered.argmax(axis=0)
    known = bag.flat().astype(np.float32)
    shown = (rendered >= OCCUPIED).astype(np.float32)
    joint = known @ shown
    union = known.sum(axis=1)[:, None] + shown.sum(axis=0) - joint
    ious = np.where(bag.at(prompts), joint / np.maximum(union, 1), 0)
    return ious.argmax(axis=0), ious.max(axis=0) >= LEAST_IOU
