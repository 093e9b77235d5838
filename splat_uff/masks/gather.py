"""Masks of a capture's views, from the source that the user chose."""

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
"""Sources of masks: the capture's own folder, and colours alone. Any other source is a folder."""


def mask_origin_of(capture: Capture, source: str) -> str:
    """Origin of the masks: `simulated`, `imported`, `classical` or `none`."""
    if source == CLASSICAL:
        return "classical"
    return "imported" if source else capture.masks


def lacks_masks(capture: Capture) -> bool:
    """Whether a capture's folder has no masks, or an unfinished set made by Segment Anything."""
    return capture.masks == "none" or are_unfinished(capture)


def gather_masks(
    capture: Capture, source: str, *, split: str = "train", memory: Memory | None = None
) -> Bags:
    """Read or make the masks of every view of a split, and build their inclusion trees.

    Args:
        capture: Capture whose views need masks.
        source: `OWN`, `CLASSICAL`, or a folder of masks in any format of `import_masks`.
        split: `train`, or `val` for the held-out views.
        memory: Memory budget that the masks count towards.

    Raises:
        InputError: If there are no masks, or a file is damaged or does not fit its photo.
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
    """Read the masks of the held-out views, which a run never uses; empty if there are none."""
    if not capture.val:
        return Bags([])
    if source == OWN and not own_folder(capture, "val").is_dir():
        return Bags([])
    bags = gather_masks(capture, source, split="val", memory=memory)
    return bags if any(bags.counts) else Bags([])
