"""Masks of a capture whose Gaussians stand: classical ones know their geometry."""

import threading

from splat_uff.capture import Capture, View
from splat_uff.gaussians.surface import seen_surface
from splat_uff.masks.bags import Bags
from splat_uff.masks.gather import CLASSICAL, gather_held_out, gather_masks
from splat_uff.masks.geometric import segment_surfaces
from splat_uff.masks.records import MaskSet
from splat_uff.render import Gaussians
from splat_uff.system.memory import Memory


def gather_seen(
    gaussians: Gaussians, capture: Capture, source: str, *, memory: Memory | None = None
) -> Bags:
    """Read or make the masks of the training views; those of `CLASSICAL` know the geometry.

    Equal Gaussians and photos give equal masks.

    Args:
        gaussians: Gaussians fitted to the capture, as a run stores them.
        capture: Capture whose training views need masks.
        source: Source of the masks, as for `gather_masks`.
        memory: Memory budget that the masks count towards.

    Raises:
        InputError: If there are no masks, or a file is damaged or does not fit its photo.
    """
    if source != CLASSICAL:
        return gather_masks(capture, source, memory=memory)
    return _segment(gaussians, capture.train, memory)


def gather_seen_held_out(
    gaussians: Gaussians, capture: Capture, source: str, *, memory: Memory | None = None
) -> Bags:
    """Masks of the held-out views, as `gather_seen` has them; empty if there are none."""
    if source != CLASSICAL:
        return gather_held_out(capture, source, memory=memory)
    return _segment(gaussians, capture.val, memory)


def _segment(gaussians: Gaussians, views: tuple[View, ...], memory: Memory | None) -> Bags:
    rendering = threading.Lock()  # Some of numba's threading layers run one kernel at a time.

    def segment(view: View) -> MaskSet:
        with rendering:
            surface = seen_surface(gaussians, view.camera)
        return segment_surfaces(view.image, surface)

    return Bags.of(views, segment, memory=memory, threads=2)
