"""Writing `.splat`, the 32 bytes a Gaussian of the first viewer for browsers."""

from pathlib import Path

import numpy as np

from splat_uff.formats.packing import packable, to_bytes
from splat_uff.formats.records import SH_C0
from splat_uff.system.files import replacing

ROW = np.dtype([("centre", "<f4", 3), ("scales", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])
"""A Gaussian: centre and standard deviations in world units, colour and opacity, rotation wxyz."""


def write_splat(path: Path, table: np.ndarray, *, antialiased: bool = False) -> None:
    """Write a `.splat`: every row, in order.

    Rows are those of https://github.com/antimatter15/splat (2023): centres and standard deviations
    of 32 bits; colour (0.5 + 0.282 f_dc, as seen without the higher harmonics, which the format
    lacks) and opacity in steps of 1/255; components of the unit quaternion in steps of 1/128 from
    -1, so that 1 becomes 127/128. Colours outside 0 to 1 are clipped.

    Args:
        path: File to write.
        table: Columns of `needed_columns` [N], finite, in the frame of a 3DGS `.ply`.
        antialiased: Ignored: the format cannot say it.

    Raises:
        InputError: If a column is missing or a number cannot be written.
    """
    columns = packable(table)
    rows = np.empty(len(columns), ROW)
    rows["centre"] = columns.centres
    tiny, huge = np.log(np.finfo(np.float32).tiny), np.log(np.finfo(np.float32).max)
    rows["scales"] = np.exp(np.clip(columns.log_scales, tiny, huge - 1e-6))
    rows["rgba"][:, :3] = to_bytes(255 * (0.5 + SH_C0 * columns.dc))
    rows["rgba"][:, 3] = to_bytes(255 * columns.alphas)
    rows["quat"] = to_bytes(128 * columns.quats + 128)
    with replacing(path) as temporary:
        temporary.write_bytes(rows.tobytes())
