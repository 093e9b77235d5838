"""Masks in folders, as Blender-HS keeps them: one binary PNG per mask, one folder per view."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from splat_uff.capture.images import area_resize, read_binary
from splat_uff.capture.lenses import undistortion
from splat_uff.capture.records import Capture, View
from splat_uff.errors import InputError
from splat_uff.files import replacing, replacing_folder
from splat_uff.masks.bags import Bags
from splat_uff.masks.records import MaskSet
from splat_uff.masks.tree import build_tree
from splat_uff.memory import Memory


def read_masks(capture: Capture, *, split: str = "train", memory: Memory | None = None) -> Bags:
    """Read the masks of every view of a capture and find their inclusion tree.

    Masks come from `<split>_seg/<view>/*.png` in lexicographic order of file names and are
    averaged down to the size of the view's image; a pixel stays in a mask of which at least half
    covers it. Masks left empty are dropped. The tree is always built from the masks as reduced:
    a stored hierarchy describes the masks at full size, and after reduction a thin child can
    cover all of its parent, or vanish, so that the stored relation no longer holds.

    Args:
        capture: As read from the folder that also holds the masks.
        split: `train`, or `val` for the held-out views; the views of the capture that are read.
        memory: Budget that the masks count towards.

    Returns:
        For each view, in the order of the capture, its masks and their tree.

    Raises:
        InputError: If a folder of masks is missing, a mask is damaged or does not fit the photo, or
            no view has any mask.
    """
    views = capture.train if split == "train" else capture.val
    files_split = "train" if split == "train" else capture.held_out
    folder = capture.folder / f"{files_split}_seg"
    if not folder.is_dir():
        raise InputError(
            f"no {folder}; expected one folder of mask PNGs per view, so make masks first."
        )

    bags = Bags.of(views, lambda view: read_view_masks(folder / view.name, view), memory=memory)
    if views and not any(bags.counts):
        raise InputError(f"{folder} holds no mask; expected PNGs in it, so make masks first.")
    return bags


def read_view_masks(folder: Path, view: View) -> MaskSet:
    """Read the masks of one view, reduced to the size of its image.

    Raises:
        InputError: If the folder is missing, or a mask is damaged or does not fit the photo.
    """
    if not folder.is_dir():
        raise InputError(
            f"no folder {folder}; expected the masks of view {view.name}, so make them again."
        )
    paths = sorted(folder.glob("*.png"), key=lambda path: path.name)
    return pack_masks(((path, read_binary(path)) for path in paths), view)


def pack_masks(found: Iterable[tuple[Path, Bool[np.ndarray, "_ _"]]], view: View) -> MaskSet:
    """Masks of one view, reduced to the size of its image; those left empty are dropped.

    Args:
        found: Masks and the files that they are from, one after the other.
        view: Whose masks.

    Raises:
        InputError: If a mask does not fit the photo.
    """
    height, width = view.camera.height, view.camera.width
    packed = []
    for path, mask in found:
        check_fits(path, mask, view)
        reduced = reduce_mask(mask, view)
        if reduced.any():
            packed.append(np.packbits(reduced))
    array = np.array(packed, dtype=np.uint8).reshape(len(packed), (height * width + 7) // 8)
    return MaskSet(array, height, width)


def write_masks(folder: Path, split: str, name: str, masks: MaskSet) -> None:
    """Write the masks of one view and their tree as Blender-HS does.

    Args:
        folder: Of the capture.
        split: `train` or `val`; the masks go to `<split>_seg`, trees to `<split>_seg_hierarchy`.
        name: Of the view.
        masks: Numbered with leading zeros, so that lexicographic order is theirs.
    """
    digits = max(3, len(str(len(masks) - 1)))
    with replacing_folder(folder / f"{split}_seg" / name) as temporary:
        for index, mask in enumerate(masks.unpack()):
            picture = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
            picture.save(temporary / f"{index:0{digits}d}.png", compress_level=1)
    tree = build_tree(masks)
    for relation, matrix in (("inside", tree.inside), ("same", tree.same)):
        path = folder / f"{split}_seg_hierarchy" / f"{name}_{relation}.npy"
        with replacing(path) as temporary:
            np.save(temporary, matrix)


def check_fits(path: Path, mask: Bool[np.ndarray, "H W"], view: View) -> None:
    """Accept masks at the size of the training image, of the photo, or of an even part of it.

    Raises:
        InputError: If a mask is of another size.
    """
    reduced = (view.camera.height, view.camera.width)
    photo = view.source_size or reduced
    divides = photo[0] * mask.shape[1] == photo[1] * mask.shape[0] and photo[0] % mask.shape[0] == 0
    large_enough = mask.shape[0] >= reduced[0] and mask.shape[1] >= reduced[1]
    if mask.shape != reduced and not (divides and large_enough):
        raise InputError(
            f"{path} is {mask.shape[1]}x{mask.shape[0]}, its photo {photo[1]}x{photo[0]}; expected "
            "masks of the same size, so make the masks of this view again."
        )


def reduce_mask(mask: Bool[np.ndarray, "H W"], view: View) -> Bool[np.ndarray, "h w"]:
    """A mask as the training image sees it: undistorted as its photo was, and averaged down.

    A pixel of the coarser grid belongs to it where at least one half is covered.
    """
    height, width = view.camera.height, view.camera.width
    soft = mask.astype(np.float32)
    if view.lens is not None:
        found = undistortion(view.lens.resized(mask.shape[1], mask.shape[0]))
        if found is not None:
            soft = found.apply(soft[..., None])[..., 0]
    elif mask.shape == (height, width):
        return mask
    # Fractional weights round, and must not push a pixel covered exactly to one half below it.
    return area_resize(soft, height, width) >= 0.5 - 1e-5
