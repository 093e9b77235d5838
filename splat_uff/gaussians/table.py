"""The table in a 3DGS `.ply`, read with checks and without torch."""

import re
from pathlib import Path

import numpy as np

from splat_uff.gaussians.formats import refuse_other_formats
from splat_uff.gaussians.rows import usable_rows
from splat_uff.system.errors import InputError, reason_of
from splat_uff.system.files import MOST_HEADER, check_ply_counts

MOST_GAUSSIANS = 50_000_000
FITTED_FOCAL = "fitted_focal"
MOST_FOCAL = 1e6
"""Focal length in pixels from which a header's value is ignored."""
REST_COUNTS = (0, 9, 24, 45, 72)
"""Number of columns of higher harmonics for degree 0 to 4."""


def read_table(path: Path) -> np.ndarray:
    """Read every column and row of a 3DGS `.ply`, including those that we cannot use.

    Returns:
        Structured array with one row per Gaussian and the file's types. At least one row can be
        drawn; `usable_rows` tells which.

    Raises:
        InputError: If the file is missing, truncated, of another format, lacks a column, or has no
            row that can be drawn.
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
        raise InputError(
            f"{path} is not a 3DGS .ply ({reason_of(error)}); export it again."
        ) from None
    rows = usable_rows(read)
    if not rows.kept.any():
        raise InputError(f"{path} holds no Gaussian that can be drawn ({rows}); export it again.")
    return read


def write_table(path: Path, table: np.ndarray, *, fitted_focal: float = 0.0) -> None:
    """Write the rows and columns of a structured array as the vertices of a `.ply`.

    Args:
        path: File to write.
        table: Structured array with one row per Gaussian.
        fitted_focal: Focal length, in pixels, of the photos to which the Gaussians were fitted,
            written as a comment in the header; 0 writes none.
    """
    from plyfile import PlyData, PlyElement

    comments = [f"{FITTED_FOCAL} {fitted_focal!r}"] if fitted_focal else []
    element = PlyElement.describe(table, "vertex")
    PlyData([element], byte_order="<", comments=comments).write(str(path))


def read_fitted_focal(path: Path) -> float:
    """Read the focal length that `write_table` put into a `.ply` header; 0 if there is none."""
    with path.open("rb") as file:
        header = file.read(MOST_HEADER).partition(b"end_header")[0]
    found = re.search(rf"^comment {FITTED_FOCAL} ([0-9.e+]+)\s*$".encode(), header, re.MULTILINE)
    try:
        focal = float(found[1]) if found else 0.0
    except ValueError:
        return 0.0
    return focal if focal < MOST_FOCAL else 0.0


def needed_columns(rest: int, scales: int = 3) -> list[str]:
    """Names of the columns that describe a Gaussian.

    Args:
        rest: Number of columns of higher harmonics.
        scales: Number of scale columns: 3, or 2 for flat Gaussians (2DGS).
    """
    return [
        *("x", "y", "z", "opacity"),
        *(f"f_dc_{i}" for i in range(3)),
        *(f"f_rest_{i}" for i in range(rest)),
        *(f"scale_{i}" for i in range(scales)),
        *(f"rot_{i}" for i in range(4)),
    ]
