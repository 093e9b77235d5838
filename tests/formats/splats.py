"""Files of splats as tests need them: written column by column, in whatever types."""

from pathlib import Path

import numpy as np

from splat_uff.formats.read import read_splats

COLUMNS = [
    *("x", "y", "z", "opacity", "f_dc_0", "f_dc_1", "f_dc_2"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
]
PLY_TYPES = {
    **{"i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint"},
    **{"f4": "float", "f8": "double"},
}


def make_table(count=5, *, columns=COLUMNS, kinds=None, seed=0):
    """Random rows; `kinds` are types of columns that are not float32."""
    rng = np.random.default_rng(seed)
    types = [(name, (kinds or {}).get(name, "<f4")) for name in columns]
    table = np.empty(count, types)
    for name in columns:
        table[name] = rng.normal(size=count)
    return table


def read_table(path: Path) -> np.ndarray:
    """Rows and columns of a file of splats."""
    return read_splats(path).table


def write_ply(path: Path, table, *, byte_order="<", text=False, comments=()) -> Path:
    """Write rows as vertices."""
    return write_elements(
        path, {"vertex": table}, byte_order=byte_order, text=text, comments=comments
    )


def write_elements(path: Path, elements, *, byte_order="<", text=False, comments=()) -> Path:
    """Write structured arrays as the elements of a `.ply`, by no code of the package."""
    path.parent.mkdir(parents=True, exist_ok=True)
    binary = {"<": "binary_little_endian", ">": "binary_big_endian"}[byte_order]
    lines = ["ply", f"format {'ascii' if text else binary} 1.0"]
    lines += [f"comment {comment}" for comment in comments]
    content = b""
    for name, rows in elements.items():
        lines.append(f"element {name} {len(rows)}")
        kinds = [
            (column, rows.dtype[column].newbyteorder(byte_order)) for column in rows.dtype.names
        ]
        lines += [f"property {PLY_TYPES[kind.str[1:]]} {column}" for column, kind in kinds]
        if text:
            content += "".join(" ".join(map(repr, row)) + "\n" for row in rows.tolist()).encode()
        else:
            content += rows.astype(kinds).tobytes()
    path.write_bytes(("\n".join([*lines, "end_header"]) + "\n").encode() + content)
    return path
