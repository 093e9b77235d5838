"""Captures: posed images, read from the layouts people have."""

from pathlib import Path

from splat_uff.capture.blender import read_blender
from splat_uff.capture.colmap import find_model, read_colmap
from splat_uff.capture.llff import read_llff
from splat_uff.capture.nerfstudio import read_nerfstudio
from splat_uff.capture.partnet import find_views, read_partnet
from splat_uff.capture.records import Capture, GroundTruth, View
from splat_uff.system.errors import InputError
from splat_uff.system.files import visible_entries
from splat_uff.system.memory import Memory

__all__ = ["Capture", "GroundTruth", "View", "read_capture"]


def read_capture(folder: Path, *, size: int = 400, memory: Memory | None = None) -> Capture:
    """Read the capture in `folder`, in any supported layout.

    Layouts are tried in this order: NeRF-synthetic or Blender-HS (`transforms_train.json`),
    nerfstudio or instant-ngp (`transforms.json`), COLMAP (`sparse/0`), LLFF (`poses_bounds.npy`),
    PartNet (`view-00/meta.txt`).

    Args:
        folder: Folder of the capture.
        size: Longer side of the training images, in pixels; larger photos are averaged down to it.
        memory: Memory budget that the photos count towards.

    Raises:
        InputError: If the folder is missing, has no supported layout, or holds bad files.
    """
    if size < 1:
        raise InputError(f"size is {size}; expected at least 1 pixel.")
    if not folder.is_dir():
        raise InputError(f"no folder {folder}; pass the folder of a capture.")
    if (folder / "transforms_train.json").exists():
        return read_blender(folder, size=size, memory=memory)
    if (folder / "transforms.json").exists():
        return read_nerfstudio(folder, size=size, memory=memory)
    if find_model(folder) is not None:
        return read_colmap(folder, size=size, memory=memory)
    if (folder / "poses_bounds.npy").exists():
        return read_llff(folder, size=size, memory=memory)
    if find_views(folder):
        return read_partnet(folder, size=size, memory=memory)
    entries = [entry.name for entry in visible_entries(folder)]
    found = ", ".join(entries[:5]) + (", ..." if len(entries) > 5 else "")
    raise InputError(
        f"no capture in {folder} (found {found or 'nothing'}); pass a folder with "
        "transforms_train.json (NeRF-synthetic, Blender-HS), transforms.json (nerfstudio), "
        "sparse/0 (COLMAP), poses_bounds.npy (LLFF) or view-00 (PartNet)."
    )
