"""Splats from elsewhere as stored in their file: every row, and whether it can be drawn."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from splat_uff.formats.read import read_splats
from splat_uff.formats.records import SplatFile
from splat_uff.formats.rows import usable_rows
from splat_uff.gaussians.precision import judge_precision
from splat_uff.system.progress import notice
from splat_uff.system.records import array_record


@array_record
class SourceSplats:
    """Rows of a file; a run's Gaussians are the kept rows, in order."""

    content: SplatFile
    kept: Bool[np.ndarray, "M"]

    @property
    def table(self) -> np.ndarray:
        """Structured array [M]: 3DGS columns and any others in the file, with their types."""
        return self.content.table

    @property
    def drawn(self) -> np.ndarray:
        """Rows that are kept."""
        return self.table[self.kept]


def read_source(path: Path) -> SourceSplats:
    """Read a file of splats without printing notices.

    Raises:
        InputError: If it is missing, damaged, of another format, or has no row that can be drawn.
    """
    content = read_splats(path)
    return SourceSplats(content, usable_rows(content.table).kept)


def read_given(path: Path) -> SourceSplats:
    """Read a file of splats that a person passed, and print a notice for each oddity in it.

    Raises:
        InputError: In the same cases as `read_source`.
    """
    content = read_splats(path)
    table = content.table
    rows, names = usable_rows(table), table.dtype.names or ()
    source = SourceSplats(content, rows.kept)
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
    if content.antialiased:
        notice(f"{path} says that its Gaussians are to be drawn antialiased; they are.")
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
