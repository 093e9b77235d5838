"""The masks of a capture's views, from wherever the user said."""

from pathlib import Path

from splat_uff.capture.records import Capture, View
from splat_uff.errors import InputError
from splat_uff.masks.bags import Bags
from splat_uff.masks.classical import segment_colours
from splat_uff.masks.folders import read_masks
from splat_uff.masks.imported import import_masks
from splat_uff.memory import Memory

OWN, CLASSICAL = "", "classical"
"""Masks in the capture's folder; masks made from colours alone. Anything else is a folder."""


def mask_origin_of(capture: Capture, source: str) -> str:
    """Where masks come from: `simulated`, `imported`, `classical` or `none`."""
    if source == CLASSICAL:
        return "classical"
    return "imported" if source else capture.masks


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
    views = capture.train if split == "train" else capture.val
    if source == CLASSICAL:
        return Bags.of(views, lambda view: segment_colours(view.image), memory=memory, threads=2)
    if source:
        return import_masks(Path(source), views, needed=split == "train", memory=memory)
    if split == "train" and capture.masks == "none":
        raise InputError(
            f"{capture.folder} has photos but no masks (no train_seg folder); pass --masks DIR "
            "with the masks of any tool, or --masks classical to try without."
        )
    return read_masks(capture, split=split, memory=memory)


def gather_held_out(capture: Capture, source: str, *, memory: Memory | None = None) -> Bags:
    """Masks of the held-out views, which a run never sees; empty where there are none."""
    if not capture.val:
        return Bags([])
    if source not in (OWN, CLASSICAL) and not any(_has_any(source, view) for view in capture.val):
        return Bags([])
    if source == OWN and not (capture.folder / f"{capture.held_out}_seg").is_dir():
        return Bags([])
    return gather_masks(capture, source, split="val", memory=memory)


def _has_any(source: str, view: View) -> bool:
    place = Path(source) / view.name
    files = (place.with_name(place.name + ending) for ending in (".json", ".npy", ".png"))
    return place.is_dir() or any(path.is_file() for path in files)
