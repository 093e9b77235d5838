"""Reader of `.ksplat`, the format of GaussianSplats3D, version 0.1.

After a header of 4096 bytes and one of 1024 bytes per section, each section holds the lengths of
its partly filled buckets (uint32), the centres of all buckets (3 float32) and rows of Gaussians.
Compression level 0 stores float32. Levels 1 and 2 store centres as 16-bit offsets in the bucket and
the rest as float16; level 2 stores harmonics as bytes. Source: class `SplatBuffer` of
https://github.com/mkkellogg/GaussianSplats3D.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from splat_uff.formats.quantised import (
    Fields,
    blocks_of,
    check_count,
    damaged,
    dc_of,
    logits_of,
    read_whole,
)
from splat_uff.formats.records import REST_COUNTS, SplatFile, empty_table
from splat_uff.system.errors import InputError

KIND = ".ksplat"
HEADER, SECTION = 4096, 1024
"""Sizes of the headers in bytes."""
MOST_DEGREE = 2
SCALE_RANGE = 32767
"""Steps from the centre of a bucket to its side, if the section's header says nothing."""
HARMONICS_RANGE = 1.5
"""Limit of harmonics at level 2, if the header says nothing."""


@dataclass(frozen=True)
class _Header:
    sections: int
    """Number of sections for which there are headers; some may be empty."""
    count: int
    level: int
    least: float
    """Harmonic that a byte of 0 stands for, at level 2."""
    most: float


@dataclass(frozen=True)
class _Section:
    count: int
    bucket_size: int
    buckets: int
    step: float
    """Length of a step of a centre, in world units."""
    middle: int
    """Step at the centre of a bucket."""
    full: int
    partial: int
    degree: int
    lengths_at: int
    """First byte of the lengths of partly filled buckets."""
    buckets_at: int
    rows_at: int
    row: np.dtype
    end: int


def read_ksplat(path: Path) -> SplatFile:
    """Read a `.ksplat` of any compression level, with harmonics up to degree 2.

    Scales are stored as lengths; a length of 0 becomes a logarithm of minus infinity. Sections with
    fewer harmonics than others get zeros.

    Raises:
        InputError: If the file is missing, truncated, of another version, or its counts contradict
            each other or the file's size.
    """
    content = read_whole(path, KIND)
    header = _read_header(path, content)
    sections = _read_sections(path, content, header)
    found = sum(each.count for each in sections)
    if found != header.count:
        raise damaged(path, KIND, f"{found} Gaussians in its sections, {header.count} announced")
    rest = REST_COUNTS[max(each.degree for each in sections)]
    table = empty_table(header.count, rest)
    start = 0
    for section in sections:
        rows = np.frombuffer(content, section.row, section.count, section.rows_at)
        middles = _bucket_centres(path, content, section) if header.level else None
        with np.errstate(all="ignore"):  # Rows and buckets may hold any number.
            for part, fields in blocks_of(table[start : start + section.count]):
                _decode(header, section, rows[part], fields)
                if middles is not None:
                    steps = rows["centre"][part].astype(np.float64) - section.middle
                    fields.centres[:] = steps * section.step + middles[part]
        start += section.count
    return SplatFile(table)


def _read_header(path: Path, content: bytes) -> _Header:
    if len(content) < HEADER:
        raise damaged(path, KIND, f"{len(content)} bytes; its header alone takes {HEADER}")
    major, minor = content[:2]
    if major != 0 or minor < 1:
        raise InputError(
            f"{path} is a .ksplat of version {major}.{minor}; expected 0.1, so export it again "
            "with GaussianSplats3D 0.4."
        )
    sections, _, _, count, level = struct.unpack_from("<4IH", content, 4)
    if level > 2:
        raise damaged(path, KIND, f"compression level {level}; expected 0, 1 or 2")
    check_count(path, KIND, count)
    if HEADER + sections * SECTION > len(content):
        raise damaged(path, KIND, f"{sections} sections announced in {len(content)} bytes")
    least, most = struct.unpack_from("<2f", content, 36)
    least, most = least or -HARMONICS_RANGE, most or HARMONICS_RANGE
    if not np.isfinite([least, most]).all():
        raise damaged(path, KIND, "no finite range of harmonics")
    return _Header(sections, count, level, least, most)


def _read_sections(path: Path, content: bytes, header: _Header) -> list[_Section]:
    """Sections that hold Gaussians, checked to lie in the file one after another."""
    sections, start = [], HEADER + header.sections * SECTION
    for index in range(header.sections):
        section = _read_section(path, content, header, index, start)
        start = section.end
        if section.count:
            sections.append(section)
    if not sections:
        raise damaged(path, KIND, "no section with Gaussians")
    return sections


def _read_section(path: Path, content: bytes, header: _Header, index: int, start: int) -> _Section:
    at = HEADER + index * SECTION
    count, most, bucket_size, buckets = struct.unpack_from("<4I", content, at)
    side, bucket_bytes = struct.unpack_from("<fH", content, at + 16)
    (middle,) = struct.unpack_from("<I", content, at + 24)
    full, partial, degree = struct.unpack_from("<2IH", content, at + 32)
    if degree > MOST_DEGREE:
        raise damaged(path, KIND, f"harmonics of degree {degree}; expected 0, 1 or 2")
    row = _row_type(header.level, REST_COUNTS[degree])
    buckets_at = start + 4 * partial
    rows_at = buckets_at + bucket_bytes * buckets
    end = rows_at + row.itemsize * most
    if count > most or end > len(content):
        raise damaged(path, KIND, f"section {index + 1} ends behind the file, or is overfull")
    if header.level and count:
        if bucket_bytes != 12 or full + partial > buckets:
            raise damaged(path, KIND, f"the buckets of section {index + 1} contradict each other")
        if not np.isfinite(side):
            raise damaged(path, KIND, f"section {index + 1} has buckets of no finite size")
    middle = middle or SCALE_RANGE
    return _Section(
        *(count, bucket_size, buckets, side / 2 / middle, middle, full, partial, degree),
        *(start, buckets_at, rows_at, row, end),
    )


def _row_type(level: int, rest: int) -> np.dtype:
    centre, other, harmonic = (("<f4", "<f4", "<f4"), ("<u2", "<f2", "<f2"), ("<u2", "<f2", "u1"))[
        level
    ]
    return np.dtype(
        [
            ("centre", centre, 3),
            ("scale", other, 3),
            ("quat", other, 4),
            ("rgba", "u1", 4),
            ("rest", harmonic, rest),
        ]
    )


def _decode(header: _Header, section: _Section, rows: np.ndarray, fields: Fields) -> None:
    """Decode rows; centres of levels above 0 are left as steps."""
    fields.centres[:] = rows["centre"]
    fields.log_scales[:] = np.log(rows["scale"].astype(np.float32))
    fields.quats[:] = rows["quat"]
    fields.dc[:] = dc_of(rows["rgba"][:, :3] / np.float32(255))
    fields.opacity_logits[:] = logits_of(rows["rgba"][:, 3])
    harmonics = rows["rest"].astype(np.float32)
    if header.level == 2:
        harmonics = header.least + harmonics / 255 * (header.most - header.least)
    fields.rest[:] = 0
    for degree in range(1, section.degree + 1):  # Degree by degree, and channel by channel in each.
        first, width = degree**2 - 1, 2 * degree + 1
        band = harmonics[:, 3 * first : 3 * (first + width)].reshape(-1, 3, width)
        fields.rest[:, :, first : first + width] = band


def _bucket_centres(path: Path, content: bytes, section: _Section) -> Float[np.ndarray, "N 3"]:
    """Centre of the bucket of each Gaussian: full buckets come first, then the others."""
    lengths = np.frombuffer(content, "<u4", section.partial, section.lengths_at).astype(np.int64)
    in_full = min(section.full * section.bucket_size, section.count)
    ends = in_full + np.cumsum(lengths)
    places = np.arange(section.count)
    held = ends[-1] if section.partial else in_full
    if held < section.count:
        raise damaged(path, KIND, f"buckets of {held} Gaussians, a section of {section.count}")
    bucket = np.where(
        places < in_full,
        places // max(section.bucket_size, 1),
        section.full + np.searchsorted(ends, places, side="right"),
    )
    centres = np.frombuffer(content, "<f4", 3 * section.buckets, section.buckets_at)
    return centres.reshape(-1, 3)[bucket]
