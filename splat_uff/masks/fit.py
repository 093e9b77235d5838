"""Fitting masks to the size of the training image and the orientation of its photo."""

import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from splat_uff.capture.images import area_resize
from splat_uff.capture.lenses import undistortion
from splat_uff.capture.mask_images import SIDEWAYS, as_photo, has_any_shape
from splat_uff.capture.records import View
from splat_uff.masks.records import MaskSet
from splat_uff.system.errors import InputError, argument
from splat_uff.system.progress import notice

COARSEST = 4
"""Maximum factor by which masks may be coarser than the training image."""
_TURNED, _UNSURE, _COARSE = range(3)
_SAID = {
    _TURNED: "the masks of {count} were made the other way round, as the photo's EXIF "
    "orientation says, and are turned ({first}).",
    _UNSURE: "the masks of {count} do not tell by their shape whether they follow the EXIF "
    "orientation that the photo states: they are taken to lie as it is read ({first}).",
    _COARSE: "the masks of {count} are smaller than the training images, and are enlarged "
    "({first}).",
}


class MaskFit:
    """Fitting of masks to their views, collecting notices for the user; threads may share it."""

    def __init__(self) -> None:
        """Start without notices."""
        self._views: dict[int, dict[str, None]] = {}
        self._lock = threading.Lock()

    def pack(
        self,
        found: Iterable[tuple[Path, Bool[np.ndarray, "_ _"]]],
        view: View,
        *,
        straight: bool = False,
    ) -> MaskSet:
        """Fit the masks of one view to the size of its image, dropping those left empty.

        Args:
            found: Pairs of a mask's file and the mask; may be a generator.
            view: View that the masks belong to.
            straight: Whether they were made from the undistorted photo.

        Raises:
            InputError: If a mask does not fit the photo.
        """
        height, width = view.camera.height, view.camera.width
        packed = []
        for path, mask in found:
            reduced = reduce_mask(self._oriented(mask, path, view), view, straight=straight)
            if reduced.any():
                packed.append(np.packbits(reduced))
        array = np.array(packed, dtype=np.uint8).reshape(len(packed), (height * width + 7) // 8)
        return MaskSet(array, height, width)

    def say(self) -> None:
        """Print one notice per kind of change that was made to masks."""
        for kind, views in sorted(self._views.items()):
            count = "1 view" if len(views) == 1 else f"{len(views)} views"
            notice(_SAID[kind].format(count=count, first=min(views)))

    def _oriented(
        self, mask: Bool[np.ndarray, "_ _"], path: Path, view: View
    ) -> Bool[np.ndarray, "_ _"]:
        trained = view.camera.height, view.camera.width
        if mask.shape == trained and not has_any_shape(mask.shape, view.shapes):
            return mask  # The short side of very flat pictures may round by more than a pixel.
        turned = as_photo(mask, path, shapes=view.shapes, other_turn=view.other_turn)
        if turned.shape[0] * COARSEST < trained[0] and turned.shape[1] * COARSEST < trained[1]:
            raise InputError(
                f"{path} is {mask.shape[1]}x{mask.shape[0]}, under a quarter of the training "
                f"image's {trained[1]}x{trained[0]}; expected finer masks, or a smaller "
                f"{argument('size')}."
            )
        if turned.shape[0] < trained[0] or turned.shape[1] < trained[1]:
            self._note(_COARSE, view)
        if turned is not mask:
            self._note(_TURNED, view)
        elif view.other_turn != 1:
            upright = mask.shape[::-1] if view.other_turn in SIDEWAYS else mask.shape
            if has_any_shape(upright, view.shapes):
                self._note(_UNSURE, view)
        return turned

    def _note(self, kind: int, view: View) -> None:
        with self._lock:
            self._views.setdefault(kind, {})[view.name] = None


def reduce_mask(
    mask: Bool[np.ndarray, "H W"], view: View, *, straight: bool = False
) -> Bool[np.ndarray, "h w"]:
    """Reduce a mask to the size of the training image, undistorting it like its photo.

    A pixel of the coarser grid belongs to the mask if at least half of it is covered.

    Args:
        mask: Mask in the orientation in which the photo was read.
        view: View that the mask belongs to.
        straight: Whether the mask is already undistorted.
    """
    height, width = view.camera.height, view.camera.width
    lens = None if straight else view.lens
    if lens is None and mask.shape == (height, width):
        return mask
    soft = mask.astype(np.float32)
    if lens is not None:
        found = undistortion(lens.resized(mask.shape[1], mask.shape[0]))
        if found is not None:
            soft = found.apply(soft[..., None])[..., 0]
    # Rounding of fractional weights must not push an exactly half-covered pixel below one half.
    return area_resize(soft, height, width) >= 0.5 - 1e-5
