"""Making the masks of every view with a model that answers clicks, one photo at a time."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from splat_uff.capture.images import to_bytes
from splat_uff.capture.records import Capture, View
from splat_uff.masks.config import GRID, MADE_BY, Prompting, SamSettings
from splat_uff.masks.folders import own_folder
from splat_uff.masks.records import MaskSet
from splat_uff.system.errors import InputError, argument
from splat_uff.system.files import replacing_folder, require_apart, visible_entries
from splat_uff.system.progress import notice, track

if TYPE_CHECKING:
    from splat_uff.masks.segmenter import Guide, Segmenter


def write_sam_masks(
    capture: Capture,
    sam: Any,
    checkpoint: Path,
    settings: SamSettings,
    *,
    folder: Path | None = None,
    keep: bool = False,
) -> int:
    """Make the masks of all views with Segment Anything's own generator: a whole grid of clicks.

    Regions are cleaned (`min_mask_region_area`) by `generate_masks`, whose masks are otherwise the
    same, since its own generator needs OpenCV for that. Masks of an earlier version stay valid.

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
    from splat_uff.masks.sam import SamSegmenter, fingerprint_of

    fingerprint = fingerprint_of(checkpoint)
    keys = {view: _key(view, fingerprint, settings, GRID) for view in _views(capture)}
    if settings.min_mask_region_area:
        from splat_uff.masks.automatic import generate_masks

        segmenter = SamSegmenter(sam, fingerprint)

        def clean(view: View) -> MaskSet:
            return generate_masks(segmenter, _as_bytes(view), settings, GRID).masks

        return _write_all(capture, clean, keys, folder, keep=keep)
    from segment_anything import SamAutomaticMaskGenerator

    generator = SamAutomaticMaskGenerator(sam, **dataclasses.asdict(settings))

    def make(view: View) -> MaskSet:
        height, width = view.image.shape[:2]
        found = [each["segmentation"] for each in generator.generate(_as_bytes(view))]
        return MaskSet.of(np.array(found, bool).reshape(-1, height, width))

    return _write_all(capture, make, keys, folder, keep=keep)


def write_masks_of(
    capture: Capture,
    segmenter: "Segmenter",
    settings: SamSettings,
    prompting: Prompting,
    *,
    folder: Path | None = None,
    keep: bool = False,
    guide: "Guide | None" = None,
) -> int:
    """Make the masks of all views that lack masks of the same model, settings and photo.

    Each view's folder appears whole or not at all, so the same call continues after an
    interruption. Where alpha cuts the scene out of its background, adaptive clicks fall on the
    scene alone.

    Args:
        capture: Capture whose views are segmented, at the size that they are trained on.
        segmenter: Model that answers clicks.
        settings: Settings of the mask generator.
        prompting: Kind of clicks, and how many at most.
        folder: Folder for `NAME/000.png` ...; `train_seg` and `val_seg` of the capture if None.
        keep: Keep all existing masks, whatever made them and with whatever settings.
        guide: Guide of adaptive clicks, to the scene and to what the photos before show. The masks
            of a photo then depend on those of the photos before it, in the order of the capture.

    Returns:
        Number of views whose masks were made.

    Raises:
        InputError: If masks from elsewhere are in the way, or the masks of two views would be the
            same files.
    """
    from splat_uff.masks.automatic import generate_masks

    guide = None if prompting.clicks == GRID.clicks else guide

    def make(view: View) -> MaskSet:
        image, where = _as_bytes(view), _clickable(view, prompting)
        if guide is None:
            return generate_masks(segmenter, image, settings, prompting, where=where).masks
        scene, seeds = guide.where(view.camera), guide.seeds(view.camera)
        where = scene if where is None else scene & where
        return generate_masks(segmenter, image, settings, prompting, where=where, seeds=seeds).masks

    weights = segmenter.fingerprint + (f" {guide.fingerprint}" if guide else "")
    keys = {view: _key(view, weights, settings, prompting) for view in _views(capture)}
    return _write_all(capture, make, keys, folder, keep=keep, guide=guide)


def _views(capture: Capture) -> list[View]:
    return [*capture.train, *capture.val]


def _write_all(
    capture: Capture,
    make: Callable[[View], MaskSet],
    keys: Mapping[View, str],
    folder: Path | None,
    *,
    keep: bool = False,
    guide: "Guide | None" = None,
) -> int:
    """Make and write the masks of the views that lack those of their key; return their number."""
    jobs = [(view, folder or capture.folder / "train_seg") for view in capture.train]
    jobs += [(view, folder or capture.folder / f"{capture.held_out}_seg") for view in capture.val]
    _check_places(jobs)
    due = set()
    for view, place in jobs:
        if keep and (place / view.name).is_dir() and visible_entries(place / view.name):
            continue
        if _made_by(place / view.name) != keys[view]:
            due.add(view)
    if len(due) < len(jobs):
        notice(f"{len(jobs) - len(due)} of {len(jobs)} views have their masks already.")
    steps = [(view, place / view.name) for view, place in jobs if guide or view in due]
    for view, place in track(steps, "masks", len(steps)):
        if view in due:
            masks = make(view)
            with replacing_folder(place) as temporary:
                _write(temporary, masks, keys[view])
        else:
            masks = _read(place, view)
        if guide:
            guide.add(view.camera, masks)
    return len(due)


def _read(folder: Path, view: View) -> MaskSet:
    """Masks that `_write` wrote for a view."""
    height, width = view.image.shape[:2]
    pictures = [np.asarray(Image.open(path)) > 0 for path in sorted(folder.glob("*.png"))]
    return MaskSet.of(np.array(pictures, bool).reshape(-1, height, width))


def _write(folder: Path, masks: MaskSet, key: str) -> None:
    digits = max(3, len(str(len(masks))))
    for index in range(len(masks)):
        picture = masks[index : index + 1].unpack()[0].astype(np.uint8) * np.uint8(255)
        Image.fromarray(picture).save(folder / f"{index:0{digits}d}.png", compress_level=1)
    (folder / MADE_BY).write_text(json.dumps({"key": key}) + "\n", encoding="utf-8")


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


def _key(view: View, weights: str, settings: SamSettings, prompting: Prompting) -> str:
    """Key of a view's masks; for a grid that of earlier versions, which knew nothing else."""
    said = f"{weights} {dataclasses.asdict(settings)}"
    if prompting.clicks != GRID.clicks:
        said += f" {dataclasses.asdict(prompting)}"
    digest = hashlib.sha256(said.encode())
    digest.update(_as_bytes(view).tobytes())
    where = _clickable(view, prompting)
    if where is not None:
        digest.update(np.packbits(where).tobytes())
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


def _clickable(view: View, prompting: Prompting) -> Bool[np.ndarray, "H W"] | None:
    """Pixels of the scene, if alpha cuts it out and clicks can follow it."""
    if prompting.clicks == GRID.clicks:
        return None
    alpha = view.image[..., 3]
    return alpha > 0.5 if alpha.min() < 0.5 < alpha.max() else None
