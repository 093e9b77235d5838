"""The masks of a capture's views, from wherever the user said."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from splat_uff.capture.records import Capture, View
from splat_uff.errors import InputError
from splat_uff.masks.classical import segment_colours
from splat_uff.masks.folders import read_masks
from splat_uff.masks.imported import import_masks
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.masks.tree import build_tree
from splat_uff.progress import track

OWN, CLASSICAL = "", "classical"
"""Masks in the capture's folder; masks made from colours alone. Anything else is a folder."""


def mask_origin_of(capture: Capture, source: str) -> str:
    """Where masks come from: `simulated`, `imported`, `classical` or `none`."""
    if source == CLASSICAL:
        return "classical"
    return "imported" if source else capture.masks


def gather_masks(
    capture: Capture, source: str, *, split: str = "train"
) -> list[tuple[MaskSet, MaskTree]]:
    """Masks of every view of a split, and their inclusion trees.

    Args:
        capture: Whose views.
        source: `OWN`, `CLASSICAL`, or a folder of masks in any format of `import_masks`.
        split: `train`, or `val` for the held-out views.

    Raises:
        InputError: If there are none, or a file is damaged or does not fit its photo.
    """
    views = capture.train if split == "train" else capture.val
    if source == CLASSICAL:
        with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
            return list(track(pool.map(_segment, views), "masks", len(views)))
    if source:
        return import_masks(Path(source), views, needed=split == "train")
    if split == "train" and capture.masks == "none":
        raise InputError(
            f"{capture.folder} has photos but no masks (no train_seg folder); pass --masks DIR "
            "with the masks of any tool, or --masks classical to try without."
        )
    return read_masks(capture, split=split)


def gather_held_out(capture: Capture, source: str) -> list[MaskSet]:
    """Masks of the held-out views, which a run never sees; empty where there are none."""
    if not capture.val:
        return []
    if source not in (OWN, CLASSICAL) and not any(_has_any(source, view) for view in capture.val):
        return []
    if source == OWN and not (capture.folder / f"{capture.held_out}_seg").is_dir():
        return []
    return [masks for masks, _ in gather_masks(capture, source, split="val")]


def _segment(view: View) -> tuple[MaskSet, MaskTree]:
    masks = segment_colours(view.image)
    return masks, build_tree(masks)


def _has_any(source: str, view: View) -> bool:
    place = Path(source) / view.name
    files = (place.with_name(place.name + ending) for ending in (".json", ".npy", ".png"))
    return place.is_dir() or any(path.is_file() for path in files)
