"""Writing `.spz`, Niantic's compressed splats."""

import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from splat_uff.formats.packing import Packable, packable, smallest_three, to_bytes
from splat_uff.system.errors import InputError
from splat_uff.system.files import replacing

MAGIC = 0x5053474E
MOST_FRACTIONAL_BITS = 24
FURTHEST = 2.0**22
"""Coordinate, in world units, that signed numbers of 24 bits hold with one fractional bit."""
ANTIALIASED = 1
ZSTD_LEVEL = 12
FLIPPED = np.array([1.0, -1, -1])
"""Signs of x, y, z from right-down-forward, as in a `.ply`, to right-up-back."""
REST_FLIPPED = np.array([-1, -1, 1, -1, 1, 1, -1, 1, -1, 1, -1, -1, 1, -1, 1], np.float32)
"""Signs of the harmonics of degree 1 to 3 when y and z change sign."""


def write_spz(
    path: Path, table: np.ndarray, *, antialiased: bool = False, version: Literal[3, 4] = 3
) -> None:
    """Write an `.spz`: every row, in order.

    The layout is that of https://github.com/nianticlabs/spz. Its axes are right, up, back, so
    programs that keep to it see what they see in the `.ply`. Centres are fixed-point numbers of 24
    bits with as many fractional bits (1 to 24) as leave room for the furthest; logarithms of scales
    have steps of 1/16 from -10 to 5.94; f_dc has steps of 0.026 within ±3.33, higher harmonics of
    1/128 within ±1, opacities of 1/255, and quaternions 9 bits and a sign for each of the smallest
    three components. What lies outside is clipped.

    Args:
        path: File to write.
        table: Columns of `needed_columns` [N], finite, in the frame of a 3DGS `.ply`.
        antialiased: Whether the header says that the splats were fitted with antialiasing.
        version: Version of the format: 3 is gzip, which every program reads; 4 is zstd, for which
            the package zstandard is needed.

    Raises:
        InputError: If a column is missing, a number cannot be written, or a centre lies too far
            from the origin.
    """
    columns = _turned(packable(table))
    bits = _fractional_bits(columns.centres)
    sections = _sections(columns, bits)
    degree = [0, 3, 8, 15].index(columns.rest.shape[1])
    header = struct.pack(
        "<IIIBBB", MAGIC, version, len(columns), degree, bits, ANTIALIASED if antialiased else 0
    )
    content = _gzipped(header, sections) if version == 3 else _zstd(header, sections)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _turned(columns: Packable) -> Packable:
    """Turn from right-down-forward to right-up-back: by half a turn about x."""
    return Packable(
        centres=columns.centres * FLIPPED,
        quats=columns.quats * np.array([1, *FLIPPED]),
        log_scales=columns.log_scales,
        alphas=columns.alphas,
        dc=columns.dc,
        rest=columns.rest * REST_FLIPPED[: columns.rest.shape[1], None],
    )


def _fractional_bits(centres: Float[np.ndarray, "N 3"]) -> int:
    furthest = max(float(np.abs(centres).max()), 1e-9)
    bits = int(np.floor(23 - np.log2(furthest * (1 + 1e-6))))
    if bits < 1:
        raise InputError(
            f"centres lie up to {furthest:g} from the origin; spz holds up to {FURTHEST:g}. Move "
            "the origin nearer, or choose another format."
        )
    return min(bits, MOST_FRACTIONAL_BITS)


def _sections(columns: Packable, bits: int) -> list[bytes]:
    """Columns as the format stores them, one after the other."""
    fixed = np.rint(columns.centres * (1 << bits)).astype("<i4")
    largest, others = smallest_three(np.roll(columns.quats, -1, axis=1))  # wxyz to xyzw.
    sizes = np.minimum(np.rint(np.abs(others) * np.sqrt(2) * 511), 511).astype("<u4")
    signed = sizes | (others < 0).astype("<u4") << 9
    packed = largest.astype("<u4") << 30 | signed[:, 0] << 20 | signed[:, 1] << 10 | signed[:, 2]
    arrays: list[np.ndarray] = [
        np.ascontiguousarray(fixed).view(np.uint8).reshape(-1, 3, 4)[:, :, :3],
        to_bytes(255 * columns.alphas),
        to_bytes(0.15 * 255 * columns.dc + 127.5),
        to_bytes(16 * (columns.log_scales + 10)),
        packed.astype("<u4").view(np.uint8),
        to_bytes(128 * columns.rest + 128),
    ]
    return [array.tobytes() for array in arrays if array.size]


def _gzipped(header: bytes, sections: list[bytes]) -> bytes:
    """One gzip stream of all, without the time, so that equal splats are equal files."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(part) for part in (header, b"\0", *sections)]
    return b"".join(parts) + packer.flush()


def _zstd(header: bytes, sections: list[bytes]) -> bytes:
    """A zstd stream for each section, after a table of their sizes."""
    try:
        import zstandard
    except ImportError:
        raise InputError(
            "version 4 of spz needs zstandard, which is not there; pip install zstandard, or "
            "write version 3."
        ) from None
    packer = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    streams = [packer.compress(section) for section in sections]
    start = struct.pack("<BI12x", len(streams), 32)
    sizes = (
        struct.pack("<QQ", len(stream), len(section))
        for stream, section in zip(streams, sections, strict=True)
    )
    return b"".join((header, start, *sizes, *streams))
