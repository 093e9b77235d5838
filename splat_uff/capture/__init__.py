"""Captures: posed images, read from the layouts people have."""

from pathlib import Path

from splat_uff.capture.blender import read_blender
from splat_uff.capture.records import Capture, GroundTruth, View
from splat_uff.errors import InputError

__all__ = ["Capture", "GroundTruth", "View", "read_capture"]


def read_capture(folder: Path, *, size: int = 200) -> Capture:
    """Read the capture in `folder`, whichever supported layout it has.

    Args:
        folder: NeRF-synthetic or Blender-HS.
        size: Pixels of the longer image side to train at; photos are averaged down to it.

    Raises:
        InputError: If the folder is missing, of no supported layout, or holds bad files.
    """
    if size < 1:
        raise InputError(f"size is {size}; expected at least 1 pixel.")
    if not folder.is_dir():
        raise InputError(f"no folder {folder}; pass the folder of a capture.")
    if (folder / "transforms_train.json").exists():
        return read_blender(folder, size=size)
    entries = sorted(entry.name for entry in folder.iterdir())
    found = ", ".join(entries[:5]) + (", ..." if len(entries) > 5 else "")
    raise InputError(
        f"no transforms_train.json in {folder} (found {found or 'nothing'}); pass the folder of a "
        "NeRF-synthetic or Blender-HS capture, which holds it."
    )
