"""Writing SuperSplat's compressed `.ply`, which packs Gaussians in chunks of 256."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8, UInt32

from splat_uff.formats.packing import Packable, packable, smallest_three
from splat_uff.formats.ply import write_ply
from splat_uff.formats.records import SH_C0, marks

CHUNK = 256
PACKED = ("packed_position", "packed_rotation", "packed_scale", "packed_color")


def write_compressed_ply(path: Path, table: np.ndarray, *, antialiased: bool = False) -> None:
    """Write a compressed `.ply`: every row, in another order.

    The layout is that of PlayCanvas, as read by SuperSplat and by
    https://github.com/playcanvas/splat-transform (version 2.7). Rows are sorted so that
    the 256 of a chunk lie near each other (`chunk_order`): centres (11, 10 and 11 bits), logarithms
    of scales (the same) and colours 0.5 + 0.282 f_dc (8 bits each) are counted between the least
    and greatest of their chunk. Opacities have steps of 1/255, quaternions 10 bits for each of the
    smallest three components, and higher harmonics steps of 1/32 within ±4.

    Args:
        path: File to write.
        table: Columns of `needed_columns` [N], finite, in the frame of a 3DGS `.ply`.
        antialiased: Whether a comment says that the splats were fitted with antialiasing, as Brush
            writes it.

    Raises:
        InputError: If a column is missing or a number cannot be written.
    """
    columns = packable(table)
    columns = columns.ordered(chunk_order(columns.centres))
    groups = {
        ("x", "y", "z"): columns.centres,
        ("scale_x", "scale_y", "scale_z"): columns.log_scales,
        ("r", "g", "b"): 0.5 + SH_C0 * columns.dc,
    }
    bounds, parts, names = [], [], []
    for axes, values in groups.items():
        low, high = _bounds(values)
        bounds += [low, high]
        parts.append(_within(values, low, high))
        names += [f"{end}_{axis}" for end in ("min", "max") for axis in axes]
    vertices = _packed(columns, parts)
    rest = _rest_bytes(columns.rest)
    elements = {
        "chunk": _rows(np.concatenate(bounds, axis=1), names, "<f4"),
        "vertex": _rows(vertices, PACKED, "<u4"),
    }
    if rest.size:
        by_channel = rest.transpose(0, 2, 1).reshape(len(rest), -1)
        names = [f"f_rest_{i}" for i in range(by_channel.shape[1])]
        elements["sh"] = _rows(by_channel, names, "u1")
    write_ply(path, elements, marks(antialiased=antialiased))


def _rows(values: np.ndarray, names: Sequence[str], kind: str) -> np.ndarray:
    """The rows of a matrix, with a named column for each of its columns."""
    rows = np.ascontiguousarray(values, kind)
    return rows.view([(name, kind) for name in names])[:, 0]


def chunk_order(centres: Float[np.ndarray, "N 3"]) -> Int[np.ndarray, "N"]:
    """Order of points in which each 256, from the first on, lie near each other.

    Points are halved across their longest side until a chunk is left. That makes smaller chunks
    than a curve does.
    """
    order = np.arange(len(centres))
    waiting = [(0, len(centres))]
    while waiting:
        start, stop = waiting.pop()
        if stop - start <= CHUNK:
            continue
        members = order[start:stop]
        axis = np.ptp(centres[members], axis=0).argmax()
        order[start:stop] = members[np.argsort(centres[members, axis], kind="stable")]
        middle = start + -(-(stop - start) // CHUNK) // 2 * CHUNK
        waiting += [(start, middle), (middle, stop)]
    return order


def _rest_bytes(rest: Float[np.ndarray, "N K 3"]) -> UInt8[np.ndarray, "N K 3"]:
    """Round harmonics, which are read as the middle of their step.

    What lies between two steps, as 0 does, goes to either in turn: harmonics that were never
    fitted would otherwise all be too great.
    """
    steps = 32 * rest + 128
    numbers = np.floor(steps)
    odd = np.indices(rest.shape, np.uint8).sum(axis=0, dtype=np.uint8) % 2
    return np.clip(numbers - ((numbers == steps) & (odd == 1)), 0, 255).astype(np.uint8)


def _bounds(
    values: Float[np.ndarray, "N 3"],
) -> tuple[Float[np.ndarray, "C 3"], Float[np.ndarray, "C 3"]]:
    """Least and greatest values of each chunk, as float32, which the file holds."""
    starts = np.arange(0, len(values), CHUNK)
    low = np.minimum.reduceat(values, starts).astype(np.float32)
    return low, np.maximum.reduceat(values, starts).astype(np.float32)


def _within(
    values: Float[np.ndarray, "N 3"],
    low: Float[np.ndarray, "C 3"],
    high: Float[np.ndarray, "C 3"],
) -> Float[np.ndarray, "N 3"]:
    """Place of each value between the bounds of its chunk, 0 to 1."""
    chunk = np.arange(len(values)) // CHUNK
    start = low.astype(np.float64)
    span = high - start
    span[span == 0] = 1
    return np.clip((values - start[chunk]) / span[chunk], 0, 1)


def _packed(columns: Packable, parts: list[Float[np.ndarray, "N 3"]]) -> UInt32[np.ndarray, "N 4"]:
    """Four numbers of 32 bits a Gaussian: centre, rotation, scales, colour and opacity."""
    largest, others = smallest_three(columns.quats)
    centres, scales, colours = parts
    rotations = [*(others * np.sqrt(0.5) + 0.5).T]
    fields = (
        ([*centres.T], (11, 10, 11), None),
        (rotations, (10, 10, 10), largest),
        ([*scales.T], (11, 10, 11), None),
        ([*colours.T, columns.alphas], (8, 8, 8, 8), None),
    )
    packed = np.zeros((len(columns), 4), np.uint32)
    for word, (values, widths, first) in enumerate(fields):
        if first is not None:
            packed[:, word] = first
        for value, bits in zip(values, widths, strict=True):
            most = (1 << bits) - 1
            number = np.clip(np.rint(value * most), 0, most).astype(np.uint32)
            packed[:, word] = packed[:, word] << np.uint32(bits) | number
    return packed
