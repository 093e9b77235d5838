"""The table in a 3DGS `.ply`: read with care, without torch."""

from pathlib import Path

import numpy as np

from splat_uff.errors import InputError

MOST_GAUSSIANS = 50_000_000
MOST_HEADER = 1 << 16
"""Bytes in which a header must end; those of splats have some 2000."""


def read_table(path: Path) -> np.ndarray:
    """Read every column of a 3DGS `.ply`, those that we do not know included.

    Returns:
        Structured array, one row per Gaussian, with the types of the file.

    Raises:
        InputError: If the file is missing, truncated, lacks a column, or holds numbers that are
            not finite or rotations of length 0.
    """
    from plyfile import PlyData, PlyListProperty, PlyParseError

    if not path.is_file():
        raise InputError(f"no file {path}; expected a 3DGS .ply.")
    try:
        _check_counts(path)
        table = PlyData.read(str(path), mmap="c")["vertex"]
        names = [prop.name for prop in table.properties]
        if not 0 < table.count <= MOST_GAUSSIANS:
            raise InputError(f"{path} has {table.count} Gaussians; expected 1 to 50 million.")
        rest = sum(name.startswith("f_rest_") for name in names)
        if rest not in (0, 9, 24, 45):
            raise InputError(f"{path} has {rest} f_rest columns; expected 0, 9, 24 or 45.")
        missing = [name for name in needed_columns(rest) if name not in names]
        if missing:
            raise ValueError(f"no column {missing[0]}")
        if any(isinstance(prop, PlyListProperty) for prop in table.properties):
            raise ValueError("columns of lists")
        read = np.array(table.data)
    except (PlyParseError, KeyError, ValueError, OSError, UnicodeDecodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a 3DGS .ply ({error}); export it again.") from None
    with np.errstate(over="ignore"):  # What float32 cannot hold becomes infinite.
        needed = {name: read[name].astype(np.float32) for name in needed_columns(rest)}
    if not all(np.isfinite(values).all() for values in needed.values()):
        raise InputError(f"{path} holds NaN or infinite numbers; export it again.")
    if not np.any([needed[f"rot_{i}"] for i in range(4)], axis=0).all():
        raise InputError(f"{path} holds rotations of length 0; export it again.")
    return read


def _check_counts(path: Path) -> None:
    """Refuse rows that the file cannot hold, for which `plyfile` would take memory first."""
    with path.open("rb") as file:
        header, end, _ = file.read(MOST_HEADER).partition(b"end_header")
    size = path.stat().st_size
    if header.startswith(b"ply") and not end and size > MOST_HEADER:
        raise ValueError(f"no end_header in its first {MOST_HEADER} bytes")
    for words in map(bytes.split, header.splitlines()):
        count = int(words[-1]) if words[:1] == [b"element"] and words[-1].isdigit() else 0
        if count > size:  # A row of whatever kind takes a byte or more.
            raise ValueError(f"{count} rows announced in {size} bytes")


def write_table(path: Path, table: np.ndarray) -> None:
    """Write the rows and columns of a structured array as the vertices of a `.ply`."""
    from plyfile import PlyData, PlyElement

    PlyData([PlyElement.describe(table, "vertex")], byte_order="<").write(str(path))


def needed_columns(rest: int) -> list[str]:
    """What a Gaussian is made of, with so many columns of higher harmonics."""
    return [
        *("x", "y", "z", "opacity"),
        *(f"f_dc_{i}" for i in range(3)),
        *(f"f_rest_{i}" for i in range(rest)),
        *(f"scale_{i}" for i in range(3)),
        *(f"rot_{i}" for i in range(4)),
    ]
