"""Masks of any tool: folders of pictures, label maps, or run-length encoded JSON, one a view."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Shaped

from splat_uff.capture.mask_images import lift_negative, read_label_map, read_mask
from splat_uff.capture.records import Capture, View
from splat_uff.errors import InputError
from splat_uff.masks.bags import Bags
from splat_uff.masks.config import MADE_BY
from splat_uff.masks.fit import MaskFit
from splat_uff.masks.places import MOST_MASKS, Place, Places, pictures_in
from splat_uff.memory import Memory
from splat_uff.progress import notice

MOST_JSON = 1 << 30
MOST_LABELS = 2**26
"""Numbers in one array of label maps."""


def import_masks(
    source: Path,
    capture: Capture,
    *,
    split: str = "train",
    alone: bool = False,
    memory: Memory | None = None,
) -> Bags:
    """Read the masks of every view, whatever their format, and find their inclusion trees.

    For a view NAME (its file name without ending, with its folders where names repeat), `source`
    holds one of

    * `NAME/`: one picture a mask, as `read_mask` takes it;
    * `NAME.json`: COCO's run-length encoding, as a list of masks (segment-anything's), or under
      `annotations` (SA-1B's, SAM 2's);
    * `NAME.npy`: label map [H, W], or several levels [L, H, W]; 0 is no segment, or -1 is, where
      any array has it, and then 0 is a segment like others;
    * `NAME.png`, and further levels as `NAME_1.png`, `NAME_2.png` ...: label maps, as
      `read_label_map` takes them.

    NAME may keep the ending of the photo (`NAME.jpg.png`), and pictures may have any ending. Masks
    have the photo's size times any factor, within a pixel of rounding, and are reduced or enlarged
    to the training image. Views without masks have an empty bag, and are counted in one line.

    Args:
        source: Folder.
        capture: Whose views.
        split: `train`, or `val` for the held-out views.
        alone: Whether the folder is that of this split. Elsewhere a name that training and held-out
            views share is that of the training view, and the held-out view's masks are looked for
            under the path of its photo only, as `val/r_0`.
        memory: Budget that the masks count towards.

    Raises:
        InputError: If no training view has a mask, or a file is damaged or does not fit its photo.
    """
    if not source.is_dir():
        raise InputError(f"no folder {source}; expected the masks of the views in it.")
    views = capture.train if split == "train" else capture.val
    taken = set()
    if split != "train" and not alone:
        taken = {name for view in capture.train for name in view.mask_names}
    places = Places(source, (*capture.train, *capture.val), taken)
    reading = _Reading(places, _any_negative(places.arrays(views)))
    fit = MaskFit()

    bags = Bags.of(
        views,
        lambda view: fit.pack(reading.masks(view), view, straight=reading.made_here(view)),
        memory=memory,
    )
    fit.say()
    if taken & {view.name for view in views} and not any(bags.counts):
        notice(
            f"held-out views have the names of training views, so what is in {source} are the "
            f"masks of these; expected {source / capture.held_out / views[0].name} for the others."
        )
    without = [view.name for view, count in zip(views, bags.counts, strict=True) if not count]
    if split == "train" and len(without) == len(views):
        raise InputError(
            f"{source} holds no mask of any of the {len(views)} training views, the first "
            f"{views[0].name}; expected {views[0].name}/000.png ..., or {views[0].name}.json, .npy "
            "or .png, so make masks first."
        )
    if without and split == "train":
        notice(
            f"masks: {len(views) - len(without)} of {len(views)} training views have some; one "
            f"without is fitted, but teaches nothing about segments ({without[0]}"
            f"{', ...' if len(without) > 1 else ''})."
        )
    return bags


@dataclass(frozen=True)
class _Reading:
    """Reads the masks of views from their places."""

    places: Places
    lifts: bool
    """Whether -1 is nothing in arrays, and 0 a label."""

    def masks(self, view: View) -> Iterator[tuple[Path, Bool[np.ndarray, "_ _"]]]:
        """Masks, and the files that they are from."""
        place = self.places.of(view)
        if place.folder is not None:
            for path in pictures_in(place.folder):
                yield path, read_mask(path)
        elif place.encoded is not None:
            for mask in _read_encoded(place.encoded):
                yield place.encoded, mask
        elif place.array is not None:
            for level in _read_levels(place.array):
                lifted = lift_negative(level, known=self.lifts)
                yield from ((place.array, mask) for mask in _split(lifted, place.array))
        for path in place.levels:
            yield from ((path, mask) for mask in _split(read_label_map(path), path))

    def made_here(self, view: View) -> bool:
        """Whether `splat-uff masks` made them, of photos that were undistorted already."""
        place: Place = self.places.of(view)
        return place.folder is not None and (place.folder / MADE_BY).is_file()


def _any_negative(paths: list[Path]) -> bool:
    """Whether any array of label maps has -1, which then is nothing in all of them."""
    for path in paths:
        if (_read_levels(path) < 0).any():
            notice(
                f"{path.name} has labels below 0: these are nothing, and 0 is a segment, in all."
            )
            return True
    return False


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
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{path} holds no masks ({reason}); expected COCO's run-length encoding."
        ) from None


def _read_levels(path: Path) -> Int[np.ndarray, "L H W"]:
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if mapped.ndim not in (2, 3) or mapped.dtype.kind not in "iub":
            raise ValueError(f"{mapped.dtype} of shape {mapped.shape}")
        if not 0 < mapped.size <= MOST_LABELS:
            raise ValueError(f"shape {mapped.shape}")
        levels = np.array(mapped).astype(np.int64)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            f"{path} is no label map ({error}); expected whole numbers, H x W or L x H x W."
        ) from None
    return levels[None] if levels.ndim == 2 else levels


def _split(labels: Shaped[np.ndarray, "H W"], path: Path) -> Iterator[Bool[np.ndarray, "H W"]]:
    known = np.unique(labels)
    if len(known) > MOST_MASKS:
        raise InputError(f"{path} has {len(known)} labels; expected at most {MOST_MASKS}.")
    for label in known:
        if label > 0:
            yield labels == label
