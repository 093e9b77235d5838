"""The table in a 3DGS `.ply`: read with care, without torch."""

from pathlib import Path

import numpy as np

from splat_uff.errors import InputError
from splat_uff.files import check_ply_counts
from splat_uff.gaussians.formats import refuse_other_formats
from splat_uff.gaussians.rows import usable_rows

MOST_GAUSSIANS = 50_000_000
REST_COUNTS = (0, 9, 24, 45, 72)
"""Columns of higher harmonics of degree 0 to 4."""


def read_table(path: Path) -> np.ndarray:
    """Read every column and row of a 3DGS `.ply`, those that we cannot use included.

    Returns:
        Structured array, one row per Gaussian, with the types of the file. `usable_rows` says which
        of them can be drawn; at least one can.

    Raises:
        InputError: If the file is missing, truncated, of another format, lacks a column, or no row
            of it can be drawn.
    """
    from plyfile import PlyData, PlyListProperty, PlyParseError

    refuse_other_formats(path)
    try:
        check_ply_counts(path)
        table = PlyData.read(str(path), mmap="c")["vertex"]
        names = [prop.name for prop in table.properties]
        if not 0 < table.count <= MOST_GAUSSIANS:
            raise InputError(f"{path} has {table.count} Gaussians; expected 1 to 50 million.")
        rest = sum(name.startswith("f_rest_") for name in names)
        if rest not in REST_COUNTS:
            raise InputError(f"{path} has {rest} f_rest columns; expected 0, 9, 24, 45 or 72.")
        scales = 2 if "scale_1" in names and "scale_2" not in names else 3
        missing = [name for name in needed_columns(rest, scales) if name not in names]
        if missing:
            raise ValueError(f"no column {missing[0]}")
        if any(isinstance(prop, PlyListProperty) for prop in table.properties):
            raise ValueError("columns of lists")
        read = np.array(table.data)
    except (PlyParseError, KeyError, ValueError, OSError, UnicodeDecodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a 3DGS .ply ({error}); export it again.") from None
    rows = usable_rows(read)
    if not rows.kept.any():
        raise InputError(f"{path} holds no Gaussian that can be drawn ({rows}); export it again.")
    return read


def write_table(path: Path, table: np.ndarray) -> None:
    """Write the rows and columns of a structured array as the vertices of a `.ply`."""
    from plyfile import PlyData, PlyElement

    PlyData([PlyElement.describe(table, "vertex")], byte_order="<").write(str(path))


def needed_columns(rest: int, scales: int = 3) -> list[str]:
    """What a Gaussian is made of.

    Args:
        rest: Columns of higher harmonics.
        scales: 3, or 2 for flat Gaussians (2DGS).
    """
    return [
        *("x", "y", "z", "opacity"),
        *(f"f_dc_{i}" for i in range(3)),
        *(f"f_rest_{i}" for i in range(rest)),
        *(f"scale_{i}" for i in range(scales)),
        *(f"rot_{i}" for i in range(4)),
    ]
