"""Dense feature maps of a capture's views, read from files or computed without weights."""

import zipfile
from collections.abc import Sequence
from dataclasses import field
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from splat_uff.baselines.descriptor import CHANNELS, SIGMAS, describe
from splat_uff.capture import Capture
from splat_uff.capture.rotated import ANGLES, read_rotated
from splat_uff.evaluate.score import scored_camera
from splat_uff.geometry.cameras import Camera
from splat_uff.render import Gaussians
from splat_uff.render.compositing import WHITE, render_over_white
from splat_uff.system.errors import InputError, reason_of
from splat_uff.system.files import map_array, visible_entries, visible_files
from splat_uff.system.progress import track
from splat_uff.system.records import array_record

DIMENSION = 64
"""Maximum feature dimension; longer features are reduced by PCA over the training views."""
FEWEST_PER_SCALE = 4
MOST_NUMBERS = 2**28
"""Maximum number of values in one file: 1 GiB of float32."""
SAMPLED = 400
"""Approximate number of pixels of each map that PCA and standardisation use."""

Maps = tuple[Float[np.ndarray, "_ _ _"], ...]


@array_record
class FeatureMaps:
    """Feature maps of the views of a capture: one vector per pixel, float16."""

    name: str
    train: Maps
    """Maps of the training views, at the size of their images."""
    val: Maps = ()
    """Maps of the held-out views, at the size of the ground truth; empty if there are none."""
    rotated: dict[int, Maps] = field(default_factory=dict)
    """Maps of the rotated held-out views, by degrees."""
    scales: tuple[slice, ...] = (slice(None),)
    """Range of the D channels that belongs to each scale."""
    share: float = 1.0
    """Share of the variance that PCA kept."""


def describe_capture(capture: Capture, gaussians: Gaussians) -> FeatureMaps:
    """Colour and gradient statistics of all views, standardised over the training views.

    Rotated views need not have photos, so their renderings are described.

    Args:
        capture: Capture whose photos are described, over white.
        gaussians: Fitted Gaussians, to render the rotated views.
    """
    photos = track(capture.train, "describe", len(capture.train))
    train = [describe(view.composite(WHITE)) for view in photos]
    sample = np.concatenate([_sample(each) for each in train])
    mean, deviation = sample.mean(axis=0), np.maximum(sample.std(axis=0), 1e-6)

    def standardised(found: Float[np.ndarray, "H W D"]) -> Float[np.ndarray, "H W D"]:
        return ((found - mean) / deviation).astype(np.float16)

    def seen_by(camera: Camera) -> Float[np.ndarray, "H W D"]:
        return standardised(describe(render_over_white(gaussians, camera)))

    val = tuple(
        _fit(standardised(describe(view.composite(WHITE))), scored_camera(view))
        for view in capture.val
    )
    rotated = {
        degrees: tuple(seen_by(twin.camera) for twin in twins)
        for degrees in ANGLES
        if (twins := read_rotated(capture, degrees)) is not None
    }
    scales = tuple(slice(k * CHANNELS, (k + 1) * CHANNELS) for k in range(len(SIGMAS)))
    name = "colour and gradient statistics"
    return FeatureMaps(name, tuple(map(standardised, train)), val, rotated, scales)


def read_maps(folder: Path, capture: Capture) -> FeatureMaps:
    """Read feature maps from any extractor.

    `folder/train/NAME.npy` (or `.pt`, a tensor) holds H x W x C numbers for the training view NAME,
    at any resolution over the whole image; the ending may be in any case. `folder/val/` and
    `folder/val_rotate[_DEGREES]/`, both optional, hold those of the held-out views and of their
    rotated twins. For features at several scales, `folder` holds one such folder per scale, in the
    order of their names.

    Vectors are scaled to unit length and, if they are longer than `DIMENSION` numbers in total,
    reduced to that by PCA (about 0, which preserves angles).

    Args:
        folder: Folder of feature maps, in the layout above.
        capture: Capture whose views the maps belong to.

    Raises:
        InputError: If a training view has no map, a file is not an array of H x W x C finite
            numbers, or C differs.
    """
    if not folder.is_dir():
        raise InputError(f"no folder {folder}; expected feature maps, as {folder}/train/NAME.npy.")
    places = [folder] if (folder / "train").is_dir() else _scales(folder)
    dimension = max(DIMENSION // len(places), FEWEST_PER_SCALE)
    parts = [_read_scale(place, capture, dimension) for place in places]
    ends = np.cumsum([0, *(part.train[0].shape[2] for part in parts)]).tolist()
    angles = [a for a in ANGLES if all(a in part.rotated for part in parts)]
    return FeatureMaps(
        folder.resolve().name,
        _joined([part.train for part in parts]),
        _joined([part.val for part in parts]) if all(part.val for part in parts) else (),
        {angle: _joined([part.rotated[angle] for part in parts]) for angle in angles},
        tuple(slice(start, end) for start, end in pairwise(ends)),
        float(np.mean([part.share for part in parts])),
    )


def _read_scale(folder: Path, capture: Capture, dimension: int) -> FeatureMaps:
    paths = _find(folder / "train", [view.name for view in capture.train])
    missing = [view.name for view, path in zip(capture.train, paths, strict=True) if path is None]
    if missing:
        raise InputError(
            f"{folder}/train has no {missing[0]}.npy or .pt ({len(missing)} of {len(paths)} views "
            "have none); expected one map for each training view."
        )
    known = [path for path in paths if path is not None]
    samples, channels = [], None
    for path in known:
        found = _unit(_read(path))
        channels = channels or found.shape[2]
        if found.shape[2] != channels:
            raise InputError(
                f"{path} has {found.shape[2]} numbers a pixel, {known[0]} {channels}; expected "
                "the same features in every view."
            )
        samples.append(_sample(found))
    basis, share = _basis(np.concatenate(samples), dimension)

    def read(path: Path, camera: Camera) -> Float[np.ndarray, "H W D"]:
        found = _read(path)
        if found.shape[2] != channels:
            raise InputError(
                f"{path} has {found.shape[2]} numbers a pixel, {known[0]} {channels}; expected "
                "the same features in every view."
            )
        return _fit((_unit(found) @ basis).astype(np.float16), camera)

    train = [
        read(path, view.camera)
        for path, view in zip(track(known, "features", len(known)), capture.train, strict=True)
    ]
    held_out = [(view.name, scored_camera(view)) for view in capture.val]
    val = _read_all(folder / "val", held_out, read)
    rotated = {}
    for degrees in ANGLES:
        twins = read_rotated(capture, degrees)
        if twins is None:
            continue
        named = [(view.name, twin.camera) for view, twin in zip(capture.val, twins, strict=True)]
        place = folder / f"val_rotate_{degrees}"
        if degrees == ANGLES[0] and not place.is_dir():
            place = folder / "val_rotate"
        found = _read_all(place, named, read)
        if found:
            rotated[degrees] = found
    return FeatureMaps(folder.name, tuple(train), val, rotated, share=share)


def _read_all(folder: Path, views: Sequence[tuple[str, Camera]], read) -> Maps:
    """Read the maps of all views; empty if any view has none."""
    paths = _find(folder, [name for name, _ in views])
    if not paths or any(path is None for path in paths):
        return ()
    return tuple(read(path, camera) for path, (_, camera) in zip(paths, views, strict=True))


def _scales(folder: Path) -> list[Path]:
    places = [place for place in visible_entries(folder) if (place / "train").is_dir()]
    if not places:
        raise InputError(
            f"{folder} has no train folder; expected feature maps as {folder}/train/NAME.npy, or "
            "one such folder a scale."
        )
    return places


def _find(folder: Path, names: Sequence[str]) -> list[Path | None]:
    """Find the file of each view's map, `.npy` before `.pt`; None if there is none."""
    known: dict[str, Path] = {}
    for path in visible_files(folder, (".npy", ".pt")) if folder.is_dir() else ():
        name = path.relative_to(folder).as_posix().removesuffix(path.suffix)
        if name not in known or path.suffix.lower() == ".npy":
            known[name] = path
    return [known.get(name) for name in names]


def _read(path: Path) -> Float[np.ndarray, "H W C"]:
    """Read one map; its header is checked before its values, and no objects are unpickled."""
    try:
        if path.suffix.lower() == ".npy":
            mapped = map_array(path)
        else:
            if path.stat().st_size > 4 * MOST_NUMBERS:
                raise ValueError(f"{path.stat().st_size} bytes")
            mapped = zipfile.is_zipfile(path)  # Files in torch's old format cannot be mapped.
            tensor = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
            if not isinstance(tensor, torch.Tensor):
                raise ValueError(f"a {type(tensor).__name__}")
            mapped = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        if mapped.ndim != 3 or mapped.dtype.kind != "f" or not 0 < mapped.size <= MOST_NUMBERS:
            raise ValueError(f"{mapped.dtype} of shape {mapped.shape}")
        found = np.array(mapped, dtype=np.float32)
    except Exception as error:  # The parsers of both formats raise their own errors.
        raise InputError(
            f"{path} is no feature map ({reason_of(error)}); "
            "expected H x W x C floating point numbers."
        ) from None
    if not np.isfinite(found).all():
        raise InputError(f"{path} holds numbers that are not finite; extract it again.")
    return found


def _sample(found: Float[np.ndarray, "H W D"]) -> Float[np.ndarray, "S D"]:
    """Sample of rows, evenly spaced with a stride that is coprime to most widths."""
    flat = found.reshape(-1, found.shape[2])
    return flat[:: max(len(flat) // SAMPLED, 1) | 1].astype(np.float64)


def _basis(
    sample: Float[np.ndarray, "S C"], dimension: int
) -> tuple[Float[np.ndarray, "C D"], float]:
    """Directions of the largest second moments, and their share of the total."""
    if sample.shape[1] <= dimension:
        return np.eye(sample.shape[1], dtype=np.float32), 1.0
    moments, directions = np.linalg.eigh(sample.T @ sample / len(sample))
    share = moments[-dimension:].sum() / max(moments.sum(), 1e-30)
    return directions[:, ::-1][:, :dimension].astype(np.float32), float(share)


def _unit(found: Float[np.ndarray, "H W C"]) -> Float[np.ndarray, "H W C"]:
    lengths = np.linalg.norm(found, axis=2, keepdims=True)
    return found / np.maximum(lengths, 1e-9)


def _fit(found: Float[np.ndarray, "h w D"], camera: Camera) -> Float[np.ndarray, "H W D"]:
    """Resize a map to a camera's size, bilinearly, and averaging if it becomes smaller."""
    if found.shape[:2] == (camera.height, camera.width):
        return found
    image = torch.from_numpy(found.astype(np.float32)).permute(2, 0, 1)[None]
    size = (camera.height, camera.width)
    resized = torch.nn.functional.interpolate(
        image, size, mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0].permute(1, 2, 0).numpy().astype(np.float16)


def _joined(scales: Sequence[Maps]) -> Maps:
    return tuple(np.concatenate(maps, axis=2) for maps in zip(*scales, strict=True))
