"""Files of splats as tests need them: written column by column, in whatever types."""

from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement

COLUMNS = [
    *("x", "y", "z", "opacity", "f_dc_0", "f_dc_1", "f_dc_2"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
]


def make_table(count=5, *, columns=COLUMNS, kinds=None, seed=0):
    """Random rows; `kinds` are types of columns that are not float32."""
    rng = np.random.default_rng(seed)
    types = [(name, (kinds or {}).get(name, "<f4")) for name in columns]
    table = np.empty(count, types)
    for name in columns:
        table[name] = rng.normal(size=count)
    return table


def write_ply(path: Path, table, *, byte_order="<", text=False) -> Path:
    """Write rows as vertices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    element = PlyElement.describe(table, "vertex")
    PlyData([element], text=text, byte_order=byte_order).write(str(path))
    return path
