"""Reader of SuperSplat's compressed `.ply`: chunks of 256 Gaussians with packed columns.

Element `chunk` holds the range of centres, log scales and colours of 256 Gaussians each; element
`vertex` holds, as uint32, centres and scales (11, 10 and 11 bits), rotations (2 bits for the
largest component, 10 for each other one) and colours (8 bits, RGBA); element `sh`, if there,
holds higher harmonics as bytes. Source:
https://developer.playcanvas.com/user-manual/gaussian-splatting/formats/ply.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt32

from splat_uff.formats.ply import read_elements, read_header
from splat_uff.formats.quantised import (
    Fields,
    blocks_of,
    check_count,
    damaged,
    dc_of,
    logits_of,
    quats_of,
)
from splat_uff.formats.records import REST_COUNTS, SplatFile, empty_table, is_antialiased
from splat_uff.system.errors import InputError, reason_of

KIND = "compressed .ply"
CHUNK = 256
"""Number of Gaussians that share a range."""
PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
RANGES = tuple(f"{end}_{axis}" for end in ("min", "max") for axis in "xyz") + tuple(
    f"{end}_scale_{axis}" for end in ("min", "max") for axis in "xyz"
)
COLOURS = tuple(f"{end}_{channel}" for end in ("min", "max") for channel in "rgb")
"""Ranges of colours, which older files lack; their colours are in [0, 1]."""
_HARMONICS = (np.arange(256, dtype=np.float32) - 127.5) / 32
_HARMONICS[[0, 255]] = -4, 4  # The ends of the range are kept exactly.


def read_compressed_ply(path: Path) -> SplatFile:
    """Read a compressed `.ply`, with the comments in its header.

    Raises:
        InputError: If the file is missing, truncated, has other columns, or its counts contradict
            each other or the file's size.
    """
    try:
        header = read_header(path)
        elements = read_elements(path)
    except (ValueError, OSError) as error:
        raise damaged(path, KIND, reason_of(error)) from None
    chunks, rows, rest = _checked(path, elements)
    table = empty_table(len(rows), len(rest.dtype.names or ()))
    names = rest.dtype.names or ()
    order = [names.index(f"f_rest_{index}") for index in range(len(names))]
    codes = rest.view("u1").reshape(len(rows), -1) if names else np.empty((len(rows), 0), "u1")
    for part, fields in blocks_of(table):
        _decode(chunks, np.arange(part.start, part.stop) // CHUNK, rows[part], fields)
        if names:
            fields.rest[:] = _HARMONICS[codes[part][:, order]].reshape(fields.rest.shape)
    return SplatFile(table, comments=header.comments, antialiased=is_antialiased(header.comments))


def _checked(
    path: Path, elements: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Elements `chunk`, `vertex` and `sh` with the right columns and counts."""
    missing = {"chunk", "vertex"} - elements.keys()
    if missing:
        raise damaged(path, KIND, f"no element {min(missing)}")
    chunks, rows = elements["chunk"], elements["vertex"]
    rest = elements.get("sh", np.empty(len(rows), []))
    check_count(path, KIND, len(rows))
    coloured = any(name in COLOURS for name in chunks.dtype.names or ())
    _require(path, rows, PACKED, "<u4")
    _require(path, chunks, RANGES + COLOURS * coloured, "<f4")
    if len(chunks) != -(-len(rows) // CHUNK):
        raise damaged(path, KIND, f"{len(chunks)} chunks of {CHUNK} for {len(rows)} Gaussians")
    columns = len(rest.dtype.names or ())
    if columns not in REST_COUNTS[:4] or len(rest) != len(rows):
        raise damaged(path, KIND, f"{len(rest)} rows of {columns} harmonics")
    _require(path, rest, [f"f_rest_{i}" for i in range(columns)], "u1")
    return chunks, rows, rest


def _require(path: Path, rows: np.ndarray, names: tuple[str, ...] | list[str], kind: str) -> None:
    for name in names:
        if name not in (rows.dtype.names or ()) or rows.dtype[name] != np.dtype(kind):
            raise InputError(
                f"{path} is a compressed .ply without a column {name} of the usual type; export "
                "it again with SuperSplat or splat-transform."
            )


def _decode(
    chunks: np.ndarray, chunk: Int[np.ndarray, "N"], rows: np.ndarray, fields: Fields
) -> None:
    colours = _unit(rows["packed_color"], ((24, 8), (16, 8), (8, 8), (0, 8)))
    with np.errstate(invalid="ignore", over="ignore"):  # Ranges may hold any number.
        for axis, letter in enumerate("xyz"):
            for packed, name, field in (
                ("packed_position", letter, fields.centres),
                ("packed_scale", f"scale_{letter}", fields.log_scales),
            ):
                bits = ((21, 11), (11, 10), (0, 11))[axis]
                share = _unit(rows[packed], (bits,))[:, 0]
                field[:, axis] = _between(chunks, chunk, name, share)
        for axis, channel in enumerate("rgb"):
            shown = colours[:, axis]
            if f"min_{channel}" in (chunks.dtype.names or ()):
                shown = _between(chunks, chunk, channel, shown)
            fields.dc[:, axis] = dc_of(shown)
    fields.opacity_logits[:] = logits_of((rows["packed_color"] & 255).astype(np.uint8))
    three = (_unit(rows["packed_rotation"], ((20, 10), (10, 10), (0, 10))) - 0.5) * 2**0.5
    fields.quats[:] = quats_of((rows["packed_rotation"] >> 30).astype(np.int64), three)


def _unit(
    packed: UInt32[np.ndarray, "N"], bits: tuple[tuple[int, int], ...]
) -> Float[np.ndarray, "N B"]:
    """Shares in [0, 1] of bit fields, each given by its lowest bit and its width."""
    shares = [((packed >> low) & ((1 << wide) - 1)) / ((1 << wide) - 1) for low, wide in bits]
    return np.stack(shares, axis=1)


def _between(
    chunks: np.ndarray, chunk: np.ndarray, name: str, share: Float[np.ndarray, "N"]
) -> Float[np.ndarray, "N"]:
    least, most = (chunks[f"{end}_{name}"].astype(np.float64)[chunk] for end in ("min", "max"))
    return least * (1 - share) + most * share
