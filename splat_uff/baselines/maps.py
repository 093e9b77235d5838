"""Dense feature maps of a capture's views: from files, or described without weights."""

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
from splat_uff.system.files import visible_entries, visible_files
from splat_uff.system.progress import track
from splat_uff.system.records import array_record

DIMENSION = 64
"""Features of more numbers are reduced to so many, by PCA over the training views."""
FEWEST_PER_SCALE = 4
MOST_NUMBERS = 2**28
"""Numbers in one file that are read at most: 1 GiB of float32."""
SAMPLED = 400
"""Pixels of each map that PCA and standardisation look at."""

Maps = tuple[Float[np.ndarray, "_ _ _"], ...]


@array_record
class FeatureMaps:
    """One vector a pixel for the views of a capture, float16."""

    name: str
    train: Maps
    """At the size of the training images."""
    val: Maps = ()
    """At the size of the ground truth; empty where there are none."""
    rotated: dict[int, Maps] = field(default_factory=dict)
    """Of the rotated held-out views, by degrees."""
    scales: tuple[slice, ...] = (slice(None),)
    """Which of the D numbers belong to which scale."""
    share: float = 1.0
    """Share of the variance that PCA kept."""


def describe_capture(capture: Capture, gaussians: Gaussians) -> FeatureMaps:
    """Colour and gradient statistics of all views, standardised over the training views.

    Of rotated views there need not be photos, so their renderings are described.

    Args:
        capture: Whose photos, over white.
        gaussians: For the rotated views.
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
    """Read feature maps of any extractor.

    `folder/train/NAME.npy` (or `.pt`, a tensor) holds H x W x C numbers of the training view NAME,
    at any resolution over the whole image; the ending may be in any case. `folder/val/` and
    `folder/val_rotate[_DEGREES]/`, both optional, those of the held-out views and of their rotated
    twins. For features at several scales, `folder` holds one such folder a scale, in the order of
    their names.

    Vectors are scaled to unit length, and reduced to `DIMENSION` numbers in all by PCA (about 0,
    which keeps angles) where they are longer.

    Args:
        folder: As above.
        capture: Whose views these are.

    Raises:
        InputError: If a training view has no map, or a file is no array of H x W x C finite
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
    """The maps of all views, or none at all where a view has none."""
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
    """The map of each view, `.npy` before `.pt`; None where there is none."""
    known: dict[str, Path] = {}
    for path in visible_files(folder, (".npy", ".pt")) if folder.is_dir() else ():
        name = path.relative_to(folder).as_posix().removesuffix(path.suffix)
        if name not in known or path.suffix.lower() == ".npy":
            known[name] = path
    return [known.get(name) for name in names]


def _read(path: Path) -> Float[np.ndarray, "H W C"]:
    """One file; its header is checked before its numbers are read, and nothing is unpickled."""
    try:
        if path.suffix.lower() == ".npy":
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
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
    except Exception as error:  # The parsers of both formats raise what they like.
        raise InputError(
            f"{path} is no feature map ({reason_of(error)}); "
            "expected H x W x C floating point numbers."
        ) from None
    if not np.isfinite(found).all():
        raise InputError(f"{path} holds numbers that are not finite; extract it again.")
    return found


def _sample(found: Float[np.ndarray, "H W D"]) -> Float[np.ndarray, "S D"]:
    """Some rows, evenly spaced in a stride that is prime to most widths."""
    flat = found.reshape(-1, found.shape[2])
    return flat[:: max(len(flat) // SAMPLED, 1) | 1].astype(np.float64)


def _basis(
    sample: Float[np.ndarray, "S C"], dimension: int
) -> tuple[Float[np.ndarray, "C D"], float]:
    """Directions of the largest second moments, and the share of them that these hold."""
    if sample.shape[1] <= dimension:
        return np.eye(sample.shape[1], dtype=np.float32), 1.0
    moments, directions = np.linalg.eigh(sample.T @ sample / len(sample))
    share = moments[-dimension:].sum() / max(moments.sum(), 1e-30)
    return directions[:, ::-1][:, :dimension].astype(np.float32), float(share)


def _unit(found: Float[np.ndarray, "H W C"]) -> Float[np.ndarray, "H W C"]:
    lengths = np.linalg.norm(found, axis=2, keepdims=True)
    return found / np.maximum(lengths, 1e-9)


def _fit(found: Float[np.ndarray, "h w D"], camera: Camera) -> Float[np.ndarray, "H W D"]:
    """A map at the size of a camera, bilinear, averaged where it becomes smaller."""
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
