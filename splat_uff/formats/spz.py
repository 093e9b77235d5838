"""Reader of Niantic's `.spz`, versions 1 to 4.

Versions 1 to 3 are one gzip stream; version 4 has a plain header and one zstd stream for each of
centres, opacities, colours, scales, rotations and harmonics. Centres are fixed-point numbers of 24
bits (float16 in version 1), and the rest bytes, but for rotations from version 3 on, which are 32
bits. Axes are x right, y up, z back (RUB) unless a record names others; those of a 3DGS `.ply` are
x right, y down, z forward (RDF). Source: `README.md`, `extensions/README.md` and
`src/cc/load-spz.cc` of https://github.com/nianticlabs/spz.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from splat_uff.formats.quantised import (
    Fields,
    blocks_of,
    check_count,
    check_ratio,
    damaged,
    logits_of,
    quats_of,
    read_whole,
)
from splat_uff.formats.records import REST_COUNTS, SplatFile, empty_table
from splat_uff.system.errors import InputError, reason_of
from splat_uff.system.progress import notice

KIND = ".spz"
MAGIC = b"NGSP"
ANTIALIASED, HAS_RECORDS = 1, 2
"""Bits of the header's flags."""
MOST_DEGREE, MOST_KEPT_DEGREE = 4, 3
MOST_FRACTIONAL_BITS = 24
COLOUR_RANGE = 0.15
"""Shown colours per unit of `f_dc`: a byte is 255 (0.5 + 0.15 f_dc)."""
MOST_RECORDS = 1 << 20
"""Bytes of records behind the splats that are unpacked."""
AXES = 0xADBE0003
"""Type of the record that names the axes, `SPZ_ADOBE_coordinate_system`."""
RUB = 4
"""Number of the format's own axes in that record."""
_SECTIONS = ("centres", "alphas", "colours", "scales", "rotations", "harmonics")
Sections = Mapping[str, bytes | memoryview]
_ODD = (
    *("y", "z", "x"),
    *("xy", "yz", "", "xz", ""),
    *("y", "xyz", "y", "z", "x", "z", "x"),
)
"""Axes in which each higher harmonic is odd, so that mirroring one of them changes its sign."""


@dataclass(frozen=True)
class _Header:
    version: int
    number: int
    """Number of Gaussians."""
    degree: int
    fractional_bits: int
    flags: int

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each section."""
        per_row = (
            *(6 if self.version == 1 else 9, 1, 3, 3),
            *(4 if self.version >= 3 else 3, REST_COUNTS[self.degree]),
        )
        return {name: size * self.number for name, size in zip(_SECTIONS, per_row, strict=True)}


def read_spz(path: Path) -> SplatFile:
    """Read an `.spz`, in the frame of a 3DGS `.ply`.

    Harmonics of degree 4 are left out, with a notice.

    Raises:
        InputError: If the file is missing, truncated, of another version, unpacks to more than its
            header explains, or is of version 4 and the package zstandard is missing.
    """
    content = read_whole(path, KIND)
    if content.startswith(b"\x1f\x8b"):
        header, sections, records = _unpack_gzip(path, content)
    elif content.startswith(MAGIC):
        header, sections, records = _unpack_zstd(path, content)
    else:
        raise damaged(path, KIND, "it starts neither as gzip nor as NGSP")
    flips = _flips(path, records if header.flags & HAS_RECORDS else b"")
    degree = min(header.degree, MOST_KEPT_DEGREE)
    if header.degree > degree:
        notice(f"{path} has harmonics of degree {header.degree}; those up to {degree} are used.")
    table = empty_table(header.number, REST_COUNTS[degree])
    rows = {
        name: np.frombuffer(section, np.uint8).reshape(header.number, -1)
        for name, section in sections.items()
        if section
    }
    for part, fields in blocks_of(table):
        _decode(header, {name: each[part] for name, each in rows.items()}, flips, fields)
    return SplatFile(table, antialiased=bool(header.flags & ANTIALIASED))


def _read_header(path: Path, start: bytes) -> _Header:
    """The fields that all versions share, checked."""
    if len(start) < 16 or not start.startswith(MAGIC):
        raise damaged(path, KIND, "no NGSP header in it")
    header = _Header(*struct.unpack_from("<2I3B", start, 4))
    if not 1 <= header.version <= 4:
        raise InputError(
            f"{path} is an .spz of version {header.version}; expected 1 to 4, so export it as one "
            "of those."
        )
    check_count(path, KIND, header.number)
    if header.degree > MOST_DEGREE:
        raise damaged(path, KIND, f"harmonics of degree {header.degree}; expected 0 to 4")
    if header.fractional_bits > MOST_FRACTIONAL_BITS:
        raise damaged(path, KIND, f"{header.fractional_bits} fractional bits; expected 0 to 24")
    return header


def _unpack_gzip(path: Path, content: bytes) -> tuple[_Header, Sections, bytes]:
    """Header, sections, and the records behind them, of versions 1 to 3."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        header = _read_header(path, unpacker.decompress(content, 16))
        if header.version == 4:
            raise damaged(path, KIND, "version 4 in a gzip stream")
        needed = sum(header.sizes.values())
        check_ratio(path, KIND, needed, len(content))
        body = unpacker.decompress(unpacker.unconsumed_tail, needed + MOST_RECORDS)
    except zlib.error as error:
        raise damaged(path, KIND, reason_of(error)) from None
    if len(body) >= needed + MOST_RECORDS:
        raise damaged(path, KIND, f"more than the {needed:,} bytes that its header explains")
    if len(body) < needed or not unpacker.eof:
        raise damaged(path, KIND, "it is cut off")
    sections: dict[str, memoryview] = {}
    start = 0
    for name, size in header.sizes.items():
        sections[name] = memoryview(body)[start : start + size]
        start += size
    return header, sections, body[needed:]


def _unpack_zstd(path: Path, content: bytes) -> tuple[_Header, Sections, bytes]:
    """Header, sections, and the records before them, of version 4."""
    if len(content) < 32:
        raise damaged(path, KIND, f"{len(content)} bytes; its header alone takes 32")
    header = _read_header(path, content)
    if header.version != 4:
        raise damaged(path, KIND, f"version {header.version} without gzip")
    streams, listed_at = struct.unpack_from("<BI", content, 15)
    start = listed_at + 16 * streams
    if listed_at < 32 or start > len(content):
        raise damaged(path, KIND, "its list of streams lies outside of it")
    check_ratio(path, KIND, sum(header.sizes.values()), len(content))
    listed = list(struct.iter_unpack("<2Q", content[listed_at:start]))
    sections = {}
    for name, size in header.sizes.items():
        if not size and (not listed or listed[0][1]):
            sections[name] = b""  # Empty streams may be left out.
            continue
        packed, unpacked = listed.pop(0) if listed else (0, 0)
        if unpacked != size:
            raise damaged(path, KIND, f"{unpacked:,} bytes of {name}; its header explains {size:,}")
        if start + packed > len(content):
            raise damaged(path, KIND, "it is cut off")
        sections[name] = _unpack_stream(path, content[start : start + packed], size)
        start += packed
    return header, sections, content[32:listed_at]


def _unpack_stream(path: Path, packed: bytes, size: int) -> bytes:
    """Unpack one zstd frame, of which no more is unpacked than it should hold."""
    try:
        import zstandard
    except ModuleNotFoundError:
        raise InputError(
            f"{path} is an .spz of version 4, which needs zstandard; pip install zstandard, or "
            "export version 3."
        ) from None
    if not size:
        return b""
    try:
        with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
            content = reader.read(size)
            more = reader.read(1)
    except (zstandard.ZstdError, ValueError) as error:
        raise damaged(path, KIND, reason_of(error)) from None
    if len(content) < size or more:
        raise damaged(path, KIND, f"a stream does not unpack to the {size:,} bytes announced")
    return content


def _flips(path: Path, records: bytes) -> Float[np.ndarray, "3"]:
    """Signs by which the axes of a file differ from those of a `.ply`.

    Records are a type, a length (uint32 each) and as many bytes; unknown ones are skipped.
    """
    axes, start = RUB, 0
    while start + 8 <= len(records):
        kind, length = struct.unpack_from("<2I", records, start)
        start += 8
        if kind == AXES and length == 4 and start + 4 <= len(records):
            axes = struct.unpack_from("<I", records, start)[0] or RUB
        start += length
    if axes > 8:
        raise InputError(
            f"{path} has axes of number {axes}, which are turned; expected those of numbers 0 to "
            "8, so export it with the format's own axes, RUB."
        )
    right, up, forward = (axes - 1 >> bit & 1 for bit in range(3))
    return np.array([1 if right else -1, -1 if up else 1, 1 if forward else -1], np.float32)


def _decode(
    header: _Header, rows: dict[str, np.ndarray], flips: Float[np.ndarray, "3"], fields: Fields
) -> None:
    fields.centres[:] = _centres(header, rows["centres"]) * flips
    fields.opacity_logits[:] = logits_of(rows["alphas"][:, 0])
    fields.dc[:] = (rows["colours"] / np.float32(255) - 0.5) / COLOUR_RANGE
    fields.log_scales[:] = rows["scales"] / np.float32(16) - 10
    turns = np.append(flips.prod() * flips, np.float32(1))  # Signs of x, y, z, w.
    quats = (_quats_of_32_bits if header.version >= 3 else _quats_of_24_bits)(rows["rotations"])
    fields.quats[:] = (quats * turns)[:, [3, 0, 1, 2]]
    count = fields.rest.shape[2]
    signs = dict(zip("xyz", flips, strict=True))
    mirrored = np.array([np.prod([signs[axis] for axis in odd]) for odd in _ODD[:count]])
    if count:
        harmonics = rows["harmonics"][:, : 3 * count].reshape(-1, count, 3).transpose(0, 2, 1)
        fields.rest[:] = (harmonics.astype(np.float32) - 128) * (mirrored / 128)


def _centres(header: _Header, rows: np.ndarray) -> Float[np.ndarray, "N 3"]:
    if header.version == 1:
        return rows.view("<f2").astype(np.float32)
    low, middle, high = (rows[:, byte::3].astype(np.int32) for byte in range(3))
    fixed = low | middle << 8 | high << 16
    fixed -= (fixed & 1 << 23) << 1  # The highest bit is the sign.
    return fixed.astype(np.float32) / np.float32(2**header.fractional_bits)


def _quats_of_24_bits(rows: np.ndarray) -> Float[np.ndarray, "N 4"]:
    """Rotations xyzw of versions 1 and 2: x, y and z as bytes, w positive."""
    three = rows / 127.5 - 1  # In float64, because w is a small difference of large numbers.
    return quats_of(np.full(len(rows), 3), three)


def _quats_of_32_bits(rows: np.ndarray) -> Float[np.ndarray, "N 4"]:
    """Rotations xyzw of versions 3 and 4.

    The highest 2 bits name the largest component, which is positive; the others follow in order,
    each as a sign and 9 bits of its size in units of sqrt(1/2).
    """
    packed = rows.view("<u4")[:, 0]
    parts = np.stack([packed >> low & 1023 for low in (20, 10, 0)], axis=1)
    sizes = (parts & 511).astype(np.float32) * np.float32(0.5**0.5 / 511)
    three = np.where(parts >> 9, -sizes, sizes)
    return quats_of((packed >> 30).astype(np.int64), three)
