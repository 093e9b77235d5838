"""Making the masks of every view with Segment Anything, one photo at a time."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from splat_uff.capture.images import to_bytes
from splat_uff.capture.records import Capture, View
from splat_uff.masks.config import MADE_BY, SamSettings
from splat_uff.masks.folders import own_folder
from splat_uff.system.errors import InputError, argument
from splat_uff.system.files import replacing_folder, require_apart, visible_entries
from splat_uff.system.progress import notice, track

SAMPLED = 1 << 20
"""Number of bytes at either end of a checkpoint that its fingerprint covers."""


def write_sam_masks(
    capture: Capture,
    sam: Any,
    checkpoint: Path,
    settings: SamSettings,
    *,
    folder: Path | None = None,
    keep: bool = False,
) -> int:
    """Make the masks of all views that lack masks of the same weights, settings and photo.

    Each view's folder appears whole or not at all, so the same call continues after an
    interruption.

    Args:
        capture: Capture whose views are segmented, at the size that they are trained on.
        sam: Model, as loaded by `load_sam`.
        checkpoint: File of the model's weights, for the fingerprint.
        settings: Settings of the mask generator.
        folder: Folder for `NAME/000.png` ...; `train_seg` and `val_seg` of the capture if None.
        keep: Keep all existing masks, whatever made them and with whatever settings.

    Returns:
        Number of views whose masks were made.

    Raises:
        InputError: If masks from elsewhere are in the way, or the masks of two views would be the
            same files.
    """
    from segment_anything import SamAutomaticMaskGenerator

    if settings.min_mask_region_area:
        _require_opencv()
    generator = SamAutomaticMaskGenerator(sam, **dataclasses.asdict(settings))
    weights = _fingerprint(checkpoint)
    jobs = [(view, folder or capture.folder / "train_seg") for view in capture.train]
    jobs += [(view, folder or capture.folder / f"{capture.held_out}_seg") for view in capture.val]
    _check_places(jobs)
    due = []
    for view, place in jobs:
        key = _key(view, weights, settings)
        if keep and (place / view.name).is_dir() and visible_entries(place / view.name):
            continue
        if _made_by(place / view.name) != key:
            due.append((view, place / view.name, key))
    if len(due) < len(jobs):
        notice(f"{len(jobs) - len(due)} of {len(jobs)} views have their masks already.")
    for view, place, key in track(due, "SAM", len(due)):
        found = generator.generate(_as_bytes(view))
        with replacing_folder(place) as temporary:
            digits = max(3, len(str(len(found))))
            for index, entry in enumerate(found):
                picture = Image.fromarray(entry["segmentation"].astype(np.uint8) * np.uint8(255))
                picture.save(temporary / f"{index:0{digits}d}.png", compress_level=1)
            (temporary / MADE_BY).write_text(json.dumps({"key": key}) + "\n", encoding="utf-8")
    return len(due)


def _check_places(jobs: Sequence[tuple[View, Path]]) -> None:
    """Check that no two views have their masks in the same place."""
    names: dict[Path, list[str]] = {}
    for view, place in jobs:
        if view.name in names.setdefault(place, []):
            raise InputError(
                f"a training view and a held-out view are both called {view.name}, so their masks "
                f"would be the same files in {place}; leave "
                f"{argument('folder', flag='--output')} out."
            )
        names[place].append(view.name)
    for place, known in names.items():
        require_apart(place, known)


def are_unfinished(capture: Capture) -> bool:
    """Whether `write_sam_masks` was interrupted in the capture's own folder."""
    places = [own_folder(capture, "train") / view.name for view in capture.train]
    places += [own_folder(capture, "val") / view.name for view in capture.val]
    return any((place / MADE_BY).is_file() for place in places) and not all(
        place.is_dir() for place in places
    )


def _key(view: View, weights: str, settings: SamSettings) -> str:
    digest = hashlib.sha256(f"{weights} {dataclasses.asdict(settings)}".encode())
    digest.update(_as_bytes(view).tobytes())
    return digest.hexdigest()


def _made_by(place: Path) -> str | None:
    """Key of the masks in a folder; None if there are none.

    Raises:
        InputError: If there are masks from elsewhere, which must not be replaced.
    """
    if not place.is_dir() or not visible_entries(place):
        return None
    try:
        return str(json.loads((place / MADE_BY).read_text(encoding="utf-8"))["key"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{place} holds masks from elsewhere; remove them, or pass another "
            f"{argument('folder', flag='--output')}."
        ) from None


def _as_bytes(view: View) -> UInt8[np.ndarray, "H W 3"]:
    """Photo over white in bytes, the input of SAM."""
    return to_bytes(view.composite(np.ones(3)))


def _fingerprint(checkpoint: Path) -> str:
    """Fingerprint of a file of gigabytes: a hash of its length, its beginning and its end."""
    length = checkpoint.stat().st_size
    digest = hashlib.sha256(str(length).encode())
    with checkpoint.open("rb") as file:
        digest.update(file.read(SAMPLED))
        file.seek(max(0, length - SAMPLED))
        digest.update(file.read())
    return digest.hexdigest()[:16]


def _require_opencv() -> None:
    try:
        import cv2  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "min_mask_region_area needs OpenCV; pip install opencv-python-headless, or leave it 0."
        ) from None
