"""The masks of a capture's views, from wherever the user said."""

from pathlib import Path

from splat_uff.capture.records import Capture
from splat_uff.masks.bags import Bags
from splat_uff.masks.classical import segment_colours
from splat_uff.masks.folders import own_folder, read_masks
from splat_uff.masks.generate import are_unfinished
from splat_uff.masks.imported import import_masks
from splat_uff.system.errors import InputError, argument, worded
from splat_uff.system.memory import Memory

OWN, CLASSICAL = "", "classical"
"""Masks in the capture's folder; masks made from colours alone. Anything else is a folder."""


def mask_origin_of(capture: Capture, source: str) -> str:
    """Where masks come from: `simulated`, `imported`, `classical` or `none`."""
    if source == CLASSICAL:
        return "classical"
    return "imported" if source else capture.masks


def lacks_masks(capture: Capture) -> bool:
    """Whether a capture's folder has no masks, or only some of those that were being made there."""
    return capture.masks == "none" or are_unfinished(capture)


def gather_masks(
    capture: Capture, source: str, *, split: str = "train", memory: Memory | None = None
) -> Bags:
    """Masks of every view of a split, and their inclusion trees.

    Args:
        capture: Whose views.
        source: `OWN`, `CLASSICAL`, or a folder of masks in any format of `import_masks`.
        split: `train`, or `val` for the held-out views.
        memory: Budget that the masks count towards.

    Raises:
        InputError: If there are none, or a file is damaged or does not fit its photo.
    """
    if source == CLASSICAL:
        views = capture.train if split == "train" else capture.val
        return Bags.of(views, lambda view: segment_colours(view.image), memory=memory, threads=2)
    if source:
        return import_masks(Path(source), capture, split=split, memory=memory)
    if split == "train" and capture.masks == "none":
        raise InputError(
            f"{capture.folder} has photos but no masks (no folder train_seg); pass "
            f"{argument('masks', 'DIR')} with the masks of any tool, "
            f"{worded('make_masks=FUNCTION', command='--sam-checkpoint FILE')} to make them, or "
            f"{argument('masks', 'classical')} to try without."
        )
    return read_masks(capture, split=split, memory=memory)


def gather_held_out(capture: Capture, source: str, *, memory: Memory | None = None) -> Bags:
    """Masks of the held-out views, which a run never sees; empty where there are none."""
    if not capture.val:
        return Bags([])
    if source == OWN and not own_folder(capture, "val").is_dir():
        return Bags([])
    bags = gather_masks(capture, source, split="val", memory=memory)
    return bags if any(bags.counts) else Bags([])
