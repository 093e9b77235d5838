"""Writing Gaussians to files that splat editors and viewers open."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.export.config import PartFormat
from splat_uff.export.glb import write_glb
from splat_uff.formats.detect import ENDINGS
from splat_uff.formats.ply import write_ply
from splat_uff.formats.write_compressed_ply import write_compressed_ply
from splat_uff.formats.write_sog import write_sog
from splat_uff.formats.write_splat import write_splat
from splat_uff.formats.write_spz import write_spz
from splat_uff.gaussians.ply import gaussians_of, table_of
from splat_uff.gaussians.precision import NO_ORIGIN, judge_precision, near_origin
from splat_uff.gaussians.source import centres_of
from splat_uff.system.errors import argument
from splat_uff.system.progress import notice

PART_ENDINGS: Mapping[str, str] = {**ENDINGS, "glb": ".glb"}
"""Ending of a file of each format."""
LEAST_SPZ_SCALE, MOST_SPZ_SCALE = -10.0, 5.9375
"""Least and greatest logarithm of a scale in an `.spz`."""
SHARE_TO_MENTION = 0.1
"""Share of clipped scales from which a line says so; flat Gaussians always have some."""
_WRITERS = {
    "splat": write_splat,
    "compressed-ply": write_compressed_ply,
    "spz": write_spz,
    "sog": write_sog,
}


def whole_labels(
    labels: Mapping[str, Int[np.ndarray, "N"]], kept: Bool[np.ndarray, "M"]
) -> dict[str, Int[np.ndarray, "M"]]:
    """Labels of all rows of a file; 0 for rows that the run left out."""
    whole = {name: np.zeros(len(kept), np.int32) for name in labels}
    for name, values in labels.items():
        whole[name][kept] = values
    return whole


def choose_origin(table: np.ndarray, format: str) -> Float[np.ndarray, "3"]:
    """Choose the origin of the parts' centres; print a notice if 32 bits are too few for them."""
    positions = centres_of(table)
    precision = judge_precision(positions)
    if not precision.is_lost:
        return NO_ORIGIN
    if format != "ply":
        origin = near_origin(positions)
        notice(
            f"the scene lies {precision}; files as {format} count their centres from the origin "
            f"{origin.tolist()}, which hierarchy.json keeps."
        )
        return origin
    if table.dtype["x"].itemsize > 4:
        notice(
            f"the scene lies {precision}; its .ply files have x, y, z of 64 bits. For viewers that "
            f"read 32-bit columns only, pass {argument('format', 'splat')}, which moves the origin."
        )
    return NO_ORIGIN


def move_origin(table: np.ndarray, origin: Float[np.ndarray, "3"]) -> np.ndarray:
    """The same rows with 64-bit centres relative to an origin; the table itself without one."""
    if not origin.any():
        return table
    kinds = [
        (name, "<f8" if name in ("x", "y", "z") else table.dtype[name])
        for name in table.dtype.names or ()
    ]
    moved = table.astype(kinds)
    for axis, name in enumerate("xyz"):
        moved[name] -= origin[axis]
    return moved


def warn_of_clipped_scales(table: np.ndarray) -> None:
    """Print a notice if scales do not fit into an `.spz`, which has e^-10 to e^5.9."""
    names = table.dtype.names or ()
    scales = [table[name] for name in ("scale_0", "scale_1", "scale_2") if name in names]
    outside = np.mean([(each < LEAST_SPZ_SCALE) | (each > MOST_SPZ_SCALE) for each in scales])
    if outside >= SHARE_TO_MENTION:
        notice(
            f"{outside:.0%} of the scales are below e^{LEAST_SPZ_SCALE:g} or above "
            f"e^{MOST_SPZ_SCALE:g} and are clipped in .spz; another {argument('scale_to')} or "
            "format keeps them."
        )


def with_labels(table: np.ndarray, labels: Mapping[str, Int[np.ndarray, "N"]]) -> np.ndarray:
    """Add named integer columns to a table."""
    kept = [(name, table.dtype[name]) for name in table.dtype.names or () if name not in labels]
    wider = np.empty(len(table), [*kept, *((name, "<i4") for name in labels)])
    for name, _ in kept:
        wider[name] = table[name]
    for name, values in labels.items():
        wider[name] = values
    return wider


def write_splats(
    path: Path,
    table: np.ndarray,
    format: PartFormat,
    origin: Float[np.ndarray, "3"] = NO_ORIGIN,
    *,
    comments: Sequence[str] = (),
    antialiased: bool = False,
) -> None:
    """Write Gaussians to a file; every row is written.

    Args:
        path: File to write.
        table: Rows of `source_splats` that can be drawn.
        format: File format. `ply` keeps every column, every bit and the order; docs/formats.md says
            what the others keep.
        origin: Origin that is subtracted from the centres in formats other than `ply`, which hold
            centres of 32 bits or fewer.
        comments: Comments for the header of a `ply`.
        antialiased: Whether the Gaussians are to be drawn antialiased, for formats that can say so.

    Raises:
        InputError: If a number does not fit into the format.
    """
    if format == "ply":
        write_ply(path, {"vertex": table}, comments)
        return
    if format == "glb":
        write_glb(path, table, origin=origin)
        return
    finite = table_of(gaussians_of(table), centres_of(table) - origin)
    _WRITERS[format](path, finite, antialiased=antialiased)
