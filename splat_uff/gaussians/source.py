"""Splats from elsewhere as stored in their file: every row, and whether it can be drawn."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from splat_uff.gaussians.precision import judge_precision
from splat_uff.gaussians.rows import usable_rows
from splat_uff.gaussians.table import read_table
from splat_uff.system.progress import notice
from splat_uff.system.records import array_record


@array_record
class SourceSplats:
    """Rows of a file; a run's Gaussians are the kept rows, in order."""

    table: np.ndarray
    """Structured array [M]: 3DGS columns and any others in the file, with their types."""
    kept: Bool[np.ndarray, "M"]

    @property
    def drawn(self) -> np.ndarray:
        """Rows that are kept."""
        return self.table[self.kept]


def read_source(path: Path) -> SourceSplats:
    """Read a 3DGS `.ply` without printing notices.

    Raises:
        InputError: If it is missing, damaged, of another format, or has no row that can be drawn.
    """
    table = read_table(path)
    return SourceSplats(table, usable_rows(table).kept)


def read_given(path: Path) -> SourceSplats:
    """Read a 3DGS `.ply` that a person passed, and print a notice for each oddity in it.

    Raises:
        InputError: In the same cases as `read_source`.
    """
    table = read_table(path)
    rows, names = usable_rows(table), table.dtype.names or ()
    source = SourceSplats(table, rows.kept)
    if rows.dropped:
        notice(
            f"{path}: {rows.dropped} of {len(table)} Gaussians cannot be drawn ({rows}) and are "
            "left out; an export gives them back, with segment 0."
        )
    if "f_rest_45" in names:
        notice(
            f"{path} has spherical harmonics of degree 4; degrees 0 to 3 are read, and an export "
            "gives all back."
        )
    if "scale_2" not in names:
        notice(f"{path} has two scales for each Gaussian (2DGS); they are read as flat.")
    precision = judge_precision(centres_of(source.drawn))
    if precision.is_lost and table.dtype["x"].itemsize <= 4:
        notice(
            f"the scene of {path} lies {precision}; that precision is lost already, so write x, y, "
            "z of 64 bits, or move splats and poses nearer to the origin."
        )
    return source


def centres_of(table: np.ndarray) -> Float[np.ndarray, "N 3"]:
    """Centres of a table's rows, as float64."""
    return np.stack([table[axis] for axis in "xyz"], axis=1).astype(np.float64)
