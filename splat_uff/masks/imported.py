"""Masks from any tool: a folder of pictures, label maps, or run-length encoded JSON per view."""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped
from scipy.ndimage import find_objects

from splat_uff.capture.mask_images import (
    has_negative,
    largest_of,
    read_label_map,
    read_mask,
    states_negative,
)
from splat_uff.capture.records import Capture, View
from splat_uff.masks.bags import Bags
from splat_uff.masks.config import MADE_BY
from splat_uff.masks.fit import MaskFit
from splat_uff.masks.places import MOST_MASKS, Place, Places, pictures_in
from splat_uff.system.errors import InputError, reason_of
from splat_uff.system.files import map_array, visible_entries
from splat_uff.system.memory import Memory
from splat_uff.system.progress import notice

MOST_JSON = 1 << 30
MOST_PIXELS = 2**26
"""Maximum number of pixels in one array of label maps, all levels together."""
MOST_COUNTED = 2**16
"""Largest label up to which the labels of a map are counted one by one."""
MOST_WORK = 2 * 10**10
"""Maximum of labels times pixels in one label map."""


def import_masks(
    source: Path,
    capture: Capture,
    *,
    split: str = "train",
    alone: bool = False,
    memory: Memory | None = None,
) -> Bags:
    """Read the masks of every view, whatever their format, and build their inclusion trees.

    For a view NAME (its file name without ending, with its folders if names repeat), `source` holds
    one of

    * `NAME/`: one picture per mask, as `read_mask` reads it;
    * `NAME.json`: COCO's run-length encoding, as a list of masks (segment-anything's), or under
      `annotations` (SA-1B's, SAM 2's);
    * `NAME.npy`: label map [H, W], or several levels [L, H, W]; 0 is no segment, unless any array
      has -1, which is then no segment while 0 is an ordinary one;
    * `NAME.png`, and further levels as `NAME_1.png`, `NAME_2.png` ...: label maps, as
      `read_label_map` reads them.

    NAME may keep the ending of the photo (`NAME.jpg.png`), and pictures may have any ending. Masks
    have the photo's size times any factor, within a pixel of rounding, and are reduced or enlarged
    to the training image. Views without masks have an empty bag; a notice counts them.

    Args:
        source: Folder of masks.
        capture: Capture whose views the masks belong to.
        split: `train`, or `val` for the held-out views.
        alone: Whether the folder is for this split only. Otherwise, a name that a training and a
            held-out view share means the training view, and the held-out view's masks are only
            found under the path of its photo, such as `val/r_0`.
        memory: Memory budget that the masks count towards.

    Raises:
        InputError: If no training view has a mask, or a file is damaged or does not fit its photo.
    """
    if not source.is_dir():
        raise InputError(f"no folder {source}; expected the masks of the views in it.")
    views = capture.train if split == "train" else capture.val
    others = capture.train if split != "train" and not alone else ()
    places = Places(source, views, others, capture.left_out | _other_names(capture, split))
    reading = _Reading(places, _any_negative(source, capture))
    fit = MaskFit()

    bags = Bags.of(
        views,
        lambda view: fit.pack(reading.masks(view), view, straight=reading.made_here(view)),
        memory=memory,
    )
    fit.say()
    if {view.name for view in others} & {view.name for view in views} and not any(bags.counts):
        notice(
            f"held-out views have the names of training views, so what is in {source} are the "
            f"masks of these; expected {source / capture.held_out / views[0].name} for the others."
        )
    if split == "train":
        _see_coverage(source, views, bags)
    return bags


def _see_coverage(source: Path, views: Sequence[View], bags: Bags) -> None:
    """Print a notice on the number of training views without masks, if there are any.

    Raises:
        InputError: If no training view has masks.
    """
    without = [view.name for view, count in zip(views, bags.counts, strict=True) if not count]
    if len(without) == len(views):
        raise InputError(
            f"{source} holds no mask of any of the {len(views)} training views, the first "
            f"{views[0].name} (found {_some_of(source)}); expected {views[0].name}/000.png ..., or "
            f"{views[0].name}.json, .npy or .png, so make masks first."
        )
    if without:
        notice(
            f"masks: {len(views) - len(without)} of {len(views)} training views have some; one "
            f"without is fitted, but teaches nothing about segments ({without[0]}"
            f"{', ...' if len(without) > 1 else ''})."
        )


@dataclass(frozen=True)
class _Reading:
    """Reader of the masks of views."""

    places: Places
    lifts: bool
    """Whether -1 is no segment in label maps, and 0 a label."""

    def masks(self, view: View) -> Iterator[tuple[Path, Bool[np.ndarray, "_ _"]]]:
        """Yield the masks of a view, each with its file."""
        place = self.places.of(view)
        if place.folder is not None:
            for path in pictures_in(place.folder):
                yield path, read_mask(path)
        elif place.encoded is not None:
            for mask in _read_encoded(place.encoded):
                yield place.encoded, mask
        elif place.array is not None:
            for level in _read_levels(place.array):
                yield from ((place.array, mask) for mask in _split(level, place.array, self.lifts))
        for path in place.levels:
            labels = read_label_map(path, lifts=self.lifts)
            yield from ((path, mask) for mask in _split(labels, path))

    def made_here(self, view: View) -> bool:
        """Whether `splat-uff masks` made the masks of a view, from its undistorted photo."""
        place: Place = self.places.of(view)
        return place.folder is not None and (place.folder / MADE_BY).is_file()


def _some_of(folder: Path) -> str:
    """First names in a folder, for error messages."""
    names = [entry.name + ("/" if entry.is_dir() else "") for entry in visible_entries(folder)]
    return ", ".join([*names[:3], *(["..."] if len(names) > 3 else [])]) or "nothing"


def _other_names(capture: Capture, split: str) -> set[str]:
    """Possible names of the masks of the other split's views."""
    views = capture.val if split == "train" else capture.train
    return {name for view in views for name in view.mask_names}


def _all_places(source: Path, capture: Capture) -> Iterator[Place]:
    """Yield the places of the masks of all views, of both splits."""
    for views, others in ((capture.train, ()), (capture.val, capture.train)):
        left_out = {name for view in (*capture.train, *capture.val) for name in view.mask_names}
        places = Places(source, views, others, left_out | capture.left_out)
        yield from (places.of(view) for view in views)


def _any_negative(source: Path, capture: Capture) -> bool:
    """Whether any label map of any view has -1, which is then no segment in all of them."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for found in pool.map(_first_negative, _all_places(source, capture)):
            if found is not None:
                pool.shutdown(wait=False, cancel_futures=True)
                notice(
                    f"{found.name} has labels of -1: these are nothing, and 0 is a segment, in all."
                )
                return True
    return False


def _first_negative(place: Place) -> Path | None:
    """First label map of a view that has -1."""
    for path in place.levels:
        if states_negative(path):
            return path
    if place.array is not None:
        levels = _read_levels(place.array)
        if has_negative(levels, largest_of(levels.dtype)):
            return place.array
    return None


def _read_encoded(path: Path) -> Iterator[Bool[np.ndarray, "H W"]]:
    from splat_uff.masks.rle import decode_rle

    try:
        if path.stat().st_size > MOST_JSON:
            raise ValueError(f"{path.stat().st_size} bytes")
        record = json.loads(path.read_text(encoding="utf-8-sig"))
        entries = record.get("annotations") if isinstance(record, dict) else record
        if not isinstance(entries, list) or len(entries) > MOST_MASKS:
            raise ValueError("no list of masks")
        for entry in entries:
            encoded = entry.get("segmentation", entry) if isinstance(entry, dict) else entry
            yield decode_rle(encoded)
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(
            f"{path} holds no masks ({reason_of(error)}); expected COCO's run-length encoding."
        ) from None


def _read_levels(path: Path) -> Shaped[np.ndarray, "L H W"]:
    """Read levels of label maps; integers keep the type of the file."""
    try:
        mapped = map_array(path)
        if mapped.ndim not in (2, 3) or mapped.dtype.kind not in "iubf":
            raise ValueError(f"{mapped.dtype} of shape {mapped.shape}")
        if not 0 < mapped.size <= MOST_PIXELS:
            raise ValueError(f"shape {mapped.shape}")
        levels = np.array(mapped)
        if levels.dtype.kind == "f":
            if not (np.abs(levels) < 2**31).all() or (levels != np.rint(levels)).any():
                raise ValueError(f"{mapped.dtype} that are not whole")
            levels = levels.astype(np.int32)
    except ValueError as error:
        raise InputError(
            f"{path} is no label map ({reason_of(error)}); expected whole numbers, "
            "H x W or L x H x W."
        ) from None
    return levels[None] if levels.ndim == 2 else levels


def _split(
    labels: Shaped[np.ndarray, "H W"], path: Path, lifts: bool = False
) -> Iterator[Bool[np.ndarray, "H W"]]:
    """Yield a mask per label, except for 0, or if `lifts` is set, for -1."""
    nothing = largest_of(labels.dtype)
    few = labels.dtype.kind in "iu" and labels.min() >= 0 and labels.max() <= MOST_COUNTED
    # Counting is many times faster than sorting, and a box than the whole picture.
    labels = labels.astype(np.int32) if few else labels
    known = np.flatnonzero(np.bincount(labels.ravel())) if few else np.unique(labels)
    if len(known) > MOST_MASKS or len(known) * labels.size > MOST_WORK:
        raise InputError(
            f"{path} has {len(known)} labels on {labels.shape[1]}x{labels.shape[0]} pixels; "
            f"expected at most {MOST_MASKS}, and {MOST_WORK // labels.size} at that size, so "
            "reduce it to the size of the training images."
        )
    boxes = find_objects(labels) if few else []
    for label in known.tolist():
        if label >= 0 and label != nothing if lifts else label > 0:
            box = boxes[label - 1] if few and label > 0 else (slice(None), slice(None))
            mask = np.zeros(labels.shape, bool)
            mask[box] = labels[box] == label
            yield mask
