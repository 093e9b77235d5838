"""Masks in folders, as in Blender-HS: one binary PNG per mask, one folder per view."""

from pathlib import Path

import numpy as np
from PIL import Image

from splat_uff.capture.partnet import MASKS as PARTNET
from splat_uff.capture.partnet import find_views
from splat_uff.capture.records import Capture
from splat_uff.masks.bags import Bags
from splat_uff.masks.imported import import_masks
from splat_uff.masks.records import MaskSet
from splat_uff.masks.tree import build_tree
from splat_uff.system.errors import InputError
from splat_uff.system.files import replacing, replacing_folder, visible_entries
from splat_uff.system.memory import Memory


def own_folder(capture: Capture, split: str) -> Path:
    """Folder of a split's masks inside a capture's own folder; it need not exist.

    Args:
        capture: Capture whose folder is searched.
        split: `train`, or `val` for the held-out views.
    """
    folder = capture.folder / f"{'train' if split == 'train' else capture.held_out}_seg"
    partnet = capture.folder / PARTNET
    is_there = partnet.is_dir() and not folder.is_dir() and bool(find_views(capture.folder))
    return partnet if is_there else folder


def read_masks(capture: Capture, *, split: str = "train", memory: Memory | None = None) -> Bags:
    """Read the masks in a capture's own folder and build their inclusion trees.

    Masks are read from `<split>_seg/<view>/*.png` in lexicographic order of file names, in
    PartNet's layout from `seg/<number of the view>/`, and averaged down to the size of the view's
    image; a pixel stays in a mask that covers at least half of it. Masks left empty are dropped.
    The trees are always built from the reduced masks: a stored hierarchy describes the masks at
    full size, and reduction can make a thin child cover all of its parent, or vanish, so that the
    stored relation no longer holds.

    Args:
        capture: Capture read from the folder that also holds the masks.
        split: Views whose masks are read: `train`, or `val` for the held-out ones.
        memory: Memory budget that the masks count towards.

    Returns:
        For each view, in the order of the capture, its masks and their tree.

    Raises:
        InputError: If the folder of masks is missing, a mask is damaged or does not fit the photo,
            or no training view has any mask.
    """
    folder = own_folder(capture, split)
    if not folder.is_dir():
        raise InputError(
            f"no {folder}; expected one folder of mask PNGs per view, so make masks first."
        )
    alone = folder.name != PARTNET
    return import_masks(folder, capture, split=split, alone=alone, memory=memory)


def write_masks(folder: Path, split: str, name: str, masks: MaskSet) -> None:
    """Write the masks of one view and their tree as Blender-HS does.

    Args:
        folder: Folder of the capture.
        split: `train` or `val`; the masks go to `<split>_seg`, trees to `<split>_seg_hierarchy`.
        name: Name of the view.
        masks: Masks to write; files are numbered with leading zeros, so that they sort in order.

    Raises:
        InputError: If masks of another view are in the way, such as those of `cam0/000` for `cam0`.
    """
    place = folder / f"{split}_seg" / name
    if place.is_dir() and any(entry.is_dir() for entry in visible_entries(place)):
        raise InputError(
            f"{place} holds the masks of other views in folders of its own; rename the photo "
            f"{name}."
        )
    digits = max(3, len(str(len(masks) - 1)))
    with replacing_folder(place) as temporary:
        for index, mask in enumerate(masks.unpack()):
            picture = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
            picture.save(temporary / f"{index:0{digits}d}.png", compress_level=1)
    tree = build_tree(masks)
    for relation, matrix in (("inside", tree.inside), ("same", tree.same)):
        path = folder / f"{split}_seg_hierarchy" / f"{name}_{relation}.npy"
        with replacing(path) as temporary:
            np.save(temporary, matrix)
