"""Reader of PlayCanvas' SOG, versions 1 and 2: a `.sog`, its unpacked folder, or its `meta.json`.

A SOG is a `meta.json` with images of lossless WebP, in which each pixel is a Gaussian: centres (16
bits per axis in two images, of signed logarithms), scales, rotations (the three smaller components,
and in alpha 252 plus the index of the largest), colours with opacity, and optionally labels of a
palette of harmonics. Version 2 looks bytes up in tables of 256 numbers; version 1 places them
between two. Axes are those of the `.ply` from which it was made. Source:
https://developer.playcanvas.com/user-manual/gaussian-splatting/formats/sog; for version 1, the
reader in https://github.com/playcanvas/splat-transform.
"""

from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from jaxtyping import Float, UInt8

from splat_uff.formats.quantised import (
    Fields,
    blocks_of,
    check_count,
    check_ratio,
    damaged,
    logits_of,
    quats_of,
)
from splat_uff.formats.records import REST_COUNTS, SplatFile, empty_table
from splat_uff.formats.sog_files import META, Read, decode_image, most_bytes, open_source
from splat_uff.system.errors import InputError, reason_of

KIND = ".sog"
MOST_META = 1 << 24
PALETTE_COLUMNS = 64
"""Entries of the palette in each row of its image."""
MOST_BANDS = 3
MOST_PALETTE = 1 << 16
"""Number of entries that a label of 16 bits can name."""
FREE_PIXELS = 1 << 16
"""Pixels by which an image may exceed the number of Gaussians, or half of that if it is more."""
Three = Annotated[list[float], msgspec.Meta(min_length=3, max_length=3)]
Four = Annotated[list[float], msgspec.Meta(min_length=4, max_length=4)]
Table = Annotated[list[float], msgspec.Meta(min_length=1, max_length=256)]
One = Annotated[list[str], msgspec.Meta(min_length=1)]
Two = Annotated[list[str], msgspec.Meta(min_length=2)]


class _Version(msgspec.Struct):
    version: int = 1


class _Images(msgspec.Struct):
    files: One


class _Means(msgspec.Struct):
    files: Two
    mins: Three
    maxs: Three
    shape: list[int] = []


class _Coded(msgspec.Struct):
    files: One
    codebook: Table


class _CodedHarmonics(msgspec.Struct):
    files: Two
    codebook: Table
    count: int
    bands: Annotated[int, msgspec.Meta(ge=1, le=3)]


class _Meta(msgspec.Struct):
    """Content of a `meta.json` of version 2."""

    count: int
    means: _Means
    scales: _Coded
    quats: _Images
    sh0: _Coded
    shN: _CodedHarmonics | None = None
    antialias: bool = False


class _ScaleRange(msgspec.Struct):
    files: One
    mins: Three
    maxs: Three


class _ColourRange(msgspec.Struct):
    files: One
    mins: Four
    maxs: Four


class _HarmonicsRange(msgspec.Struct):
    files: Two
    mins: float
    maxs: float


class _OldMeta(msgspec.Struct):
    """Content of a `meta.json` of version 1."""

    means: _Means
    scales: _ScaleRange
    quats: _Images
    sh0: _ColourRange
    shN: _HarmonicsRange | None = None
    antialias: bool = False

    @property
    def count(self) -> int:
        """Number of Gaussians."""
        return self.means.shape[0] if self.means.shape else 0


Pixels = UInt8[np.ndarray, "N 4"]
"""RGBA of N Gaussians."""


def read_sog(path: Path) -> SplatFile:
    """Read a SOG from a `.sog`, an unpacked folder, or the `meta.json` in it.

    Raises:
        InputError: If a file is missing, damaged, of another version, not of the size that
            `meta.json` explains, or named so that it would lie in another folder.
    """
    with open_source(path) as read:
        meta = _read_meta(path, read(META, MOST_META))
        count = meta.count
        check_count(path, KIND, count)

        def load(name: str) -> Pixels:
            most = count + max(count // 2, FREE_PIXELS)
            content = read(name, most_bytes(count))
            image = decode_image(path, name, content, least=count, most=most)
            return image.reshape(-1, 4)[:count]

        check_ratio(path, KIND, 3 * count, len(read(meta.means.files[0], most_bytes(count))))
        palette = np.empty((0, 3, 0), np.float32)
        if meta.shN is not None:
            palette = _read_palette(path, meta.shN, read)
        low, high = map(load, meta.means.files[:2])
        quats, scales = load(meta.quats.files[0]), load(meta.scales.files[0])
        colours = load(meta.sh0.files[0])
        labels = None if meta.shN is None else load(meta.shN.files[1])
    table = empty_table(count, palette.shape[1] * palette.shape[2])
    for rows, fields in blocks_of(table):
        _decode_centres(path, meta.means, low[rows], high[rows], fields)
        _decode_quats(quats[rows], fields)
        if isinstance(meta, _Meta):
            _decode_coded(path, meta, scales[rows], colours[rows], fields)
        else:
            _decode_ranges(path, meta, scales[rows], colours[rows], fields)
        if labels is not None:
            fields.rest[:] = _labelled(path, labels[rows], palette)
    return SplatFile(table, antialiased=meta.antialias)


def _read_meta(path: Path, raw: bytes) -> _Meta | _OldMeta:
    try:
        version = msgspec.json.decode(raw, type=_Version).version
        if version not in (1, 2):
            raise InputError(
                f"{path} is a SOG of version {version}; expected 1 or 2, so export it as one of "
                "those."
            )
        return msgspec.json.decode(raw, type=_Meta if version == 2 else _OldMeta)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise damaged(path, KIND, f"{META}: {reason_of(error)}") from None


def _numbers(path: Path, values: list[float]) -> Float[np.ndarray, "K"]:
    """Numbers as float32, which must be finite."""
    with np.errstate(over="ignore"):
        numbers = np.array(values, np.float64).astype(np.float32)
    if not np.isfinite(numbers).all():
        raise damaged(path, KIND, f"{META}: a number beyond float32")
    return numbers


def _span(path: Path, mins: list[float], maxs: list[float]) -> list[Float[np.ndarray, "K"]]:
    return [_numbers(path, each).astype(np.float64) for each in (mins, maxs)]


def _looked_up(
    path: Path, codebook: list[float], codes: UInt8[np.ndarray, "*N"]
) -> Float[np.ndarray, "*N"]:
    numbers = _numbers(path, codebook)
    if codes.size and codes.max() >= len(numbers):
        raise damaged(path, KIND, f"a code above the {len(numbers)} of its table")
    return numbers[codes]


def _placed(
    path: Path, mins: list[float], maxs: list[float], codes: UInt8[np.ndarray, "N K"]
) -> Float[np.ndarray, "N K"]:
    """Bytes as numbers between two limits per column."""
    least, most = _span(path, mins, maxs)
    return least + (most - least) * (codes / 255)


def _decode_centres(path: Path, means: _Means, low: Pixels, high: Pixels, fields: Fields) -> None:
    least, most = _span(path, means.mins, means.maxs)
    codes = low[:, :3] + high[:, :3] * np.float64(256)
    logs = least + (most - least) * (codes / 65535)
    with np.errstate(over="ignore"):
        fields.centres[:] = np.sign(logs) * np.expm1(np.abs(logs))


def _decode_quats(pixels: Pixels, fields: Fields) -> None:
    """Rotations; those whose alpha names no component are none, that is, of w = 1."""
    three = (pixels[:, :3] / np.float32(127.5) - 1) * np.float32(0.5**0.5)
    largest = pixels[:, 3].astype(np.int64) - 252
    fields.quats[:] = quats_of(np.maximum(largest, 0), three)
    fields.quats[largest < 0] = 1, 0, 0, 0


def _decode_coded(path: Path, meta: _Meta, scales: Pixels, colours: Pixels, fields: Fields) -> None:
    """Scales and colours of version 2."""
    fields.log_scales[:] = _looked_up(path, meta.scales.codebook, scales[:, :3])
    fields.dc[:] = _looked_up(path, meta.sh0.codebook, colours[:, :3])
    fields.opacity_logits[:] = logits_of(colours[:, 3])


def _decode_ranges(
    path: Path, meta: _OldMeta, scales: Pixels, colours: Pixels, fields: Fields
) -> None:
    """Scales and colours of version 1, with opacities as logits."""
    fields.log_scales[:] = _placed(path, meta.scales.mins, meta.scales.maxs, scales[:, :3])
    placed = _placed(path, meta.sh0.mins, meta.sh0.maxs, colours)
    fields.dc[:], fields.opacity_logits[:] = placed[:, :3], placed[:, 3]


def _labelled(
    path: Path, pixels: Pixels, palette: Float[np.ndarray, "P 3 K"]
) -> Float[np.ndarray, "N 3 K"]:
    labels = pixels[:, 0] + pixels[:, 1] * np.int64(256)
    if labels.max() >= len(palette):
        raise damaged(path, KIND, f"a label above the {len(palette)} of its palette")
    return palette[labels]


def _read_palette(
    path: Path, harmonics: _CodedHarmonics | _HarmonicsRange, read: Read
) -> Float[np.ndarray, "P 3 K"]:
    """Harmonics that each label stands for.

    The image has 64 entries per row, each of K pixels side by side. Version 1 gives K by the width
    of the image alone.
    """
    name = harmonics.files[0]
    most = MOST_PALETTE * REST_COUNTS[MOST_BANDS] // 3
    image = decode_image(path, name, read(name, most_bytes(most)), least=1, most=most)
    height, width = image.shape[:2]
    count, coefficients = height * PALETTE_COLUMNS, width // PALETTE_COLUMNS
    expected = [rest // 3 for rest in REST_COUNTS[1 : MOST_BANDS + 1]]
    if isinstance(harmonics, _CodedHarmonics):
        expected = [REST_COUNTS[harmonics.bands] // 3]
        if not 0 < harmonics.count <= count:
            raise damaged(path, KIND, f"a palette of {harmonics.count}; its image holds {count}")
        count = harmonics.count
    if width % PALETTE_COLUMNS or coefficients not in expected:
        raise damaged(path, KIND, f"{name} is {width} pixels wide; no harmonics have that width")
    codes = image[..., :3].reshape(-1, coefficients, 3)[:count].transpose(0, 2, 1)
    if isinstance(harmonics, _CodedHarmonics):
        return _looked_up(path, harmonics.codebook, codes)
    low, high = _numbers(path, [harmonics.mins, harmonics.maxs])
    return low + (high - low) * (codes / np.float32(255))
