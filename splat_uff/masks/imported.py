"""Masks of any tool: folders of PNGs, label maps, or run-length encoded JSON, one a view."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Shaped

from splat_uff.capture.images import read_binary, read_label_map
from splat_uff.capture.records import View
from splat_uff.errors import InputError
from splat_uff.masks.bags import Bags
from splat_uff.masks.folders import pack_masks
from splat_uff.memory import Memory

MOST_MASKS = 10_000
"""Masks of one view that are read at most."""
MOST_JSON = 1 << 30
MOST_LABELS = 2**26
"""Numbers in one array of label maps."""


def import_masks(
    source: Path,
    views: tuple[View, ...],
    *,
    needed: bool = True,
    memory: Memory | None = None,
) -> Bags:
    """Read the masks of every view, whatever their format, and find their inclusion trees.

    For a view NAME (its file name without ending), `source` holds one of

    * `NAME/`: one binary PNG a mask;
    * `NAME.json`: COCO's run-length encoding, as a list of masks (segment-anything's), or under
      `annotations` (SA-1B's, SAM 2's);
    * `NAME.npy`: label map [H, W], or several levels [L, H, W]; 0 is no segment;
    * `NAME.png`, and further levels as `NAME_1.png`, `NAME_2.png` ...: label maps of 8 or 16 bits.

    Masks have the size of the photo, of an even part of it, or of the training image.

    Args:
        source: Folder.
        views: Whose masks to read.
        needed: Whether a view without masks is an error; else it has none.
        memory: Budget that the masks count towards.

    Raises:
        InputError: If a view has no masks, or a file is damaged or does not fit its photo.
    """
    if not source.is_dir():
        raise InputError(f"no folder {source}; expected the masks of the views in it.")

    bags = Bags.of(
        views, lambda view: pack_masks(_masks_of(source, view, needed), view), memory=memory
    )
    if views and not any(bags.counts):
        raise InputError(f"{source} holds no mask of any view; expected some, so make masks first.")
    return bags


def _masks_of(
    source: Path, view: View, needed: bool
) -> Iterator[tuple[Path, Bool[np.ndarray, "H W"]]]:
    place = source / view.name
    if place.is_dir():
        for path in sorted(place.glob("*.png"), key=lambda path: path.name)[:MOST_MASKS]:
            yield path, read_binary(path)
        return
    encoded, array = (place.with_name(place.name + ending) for ending in (".json", ".npy"))
    picture = place.with_name(place.name + ".png")
    if encoded.is_file():
        yield from ((encoded, mask) for mask in _read_encoded(encoded))
    elif array.is_file():
        for level in _read_levels(array):
            yield from ((array, mask) for mask in _split(level, array))
    elif picture.is_file():
        further = 1
        path = picture
        while path.is_file():
            yield from ((path, mask) for mask in _split(read_label_map(path), path))
            path = place.with_name(f"{place.name}_{further}.png")
            further += 1
    elif needed:
        raise InputError(
            f"{source} has no masks of view {view.name}; expected a folder {view.name} of PNGs, or "
            f"{view.name}.json, .npy or .png."
        )


def _read_encoded(path: Path) -> Iterator[Bool[np.ndarray, "H W"]]:
    from splat_uff.masks.rle import decode_rle

    try:
        if path.stat().st_size > MOST_JSON:
            raise ValueError(f"{path.stat().st_size} bytes")
        record = json.loads(path.read_text(encoding="utf-8"))
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
