"""A folder that SuperSplat opens as layers: one `.ply` per part, named as the part.

SuperSplat and similar editors make a layer of every file that is dropped into them, and call it as
the file.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from splat_uff.formats.ply import write_ply
from splat_uff.render.harmonics import C0
from splat_uff.system.files import write_json

LONGEST_NAME = 120
"""Most bytes of a part's name in the name of its file; systems allow 255 in all."""
NOT_PLAIN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]+')
"""Characters that a file's name cannot have on some system."""


def file_name(number: str, name: str) -> str:
    """Name of a part's file, without its ending: its number, and its name as far as files allow.

    It never ends in a digit: SuperSplat plays files that are numbered at their end as a film.

    Example:
        >>> file_name("07", "cymbal / left")
        '07 cymbal left'
        >>> file_name("08", "leg 2"), file_name("09", "")
        ('08 leg 2 part', '09 part')
    """
    plain = " ".join(NOT_PLAIN.sub(" ", name).split())
    plain = plain.encode()[:LONGEST_NAME].decode(errors="ignore").rstrip(" .")
    ending = ["part"] if not plain or plain[-1].isdigit() else []
    return " ".join([number, *plain.split(), *ending])


def write_layers(
    folder: Path,
    names: Sequence[str],
    tables: Sequence[np.ndarray],
    colours: Float[np.ndarray, "S 3"],
    comments: Sequence[str],
) -> None:
    """Write one `.ply` per part, and `layers.json` with their names and colours.

    Args:
        folder: Folder to create.
        names: Names of the files, without ending.
        tables: Rows of each part.
        colours: sRGB colour of each part, in [0, 1]: the same in all exports of a run.
        comments: Comments for the headers.
    """
    folder.mkdir()
    for name, table in zip(names, tables, strict=True):
        write_ply(folder / f"{name}.ply", {"vertex": table}, comments)
    layers = [
        {"file": f"{name}.ply", "name": name, "colour": colour.round(4).tolist()}
        for name, colour in zip(names, colours, strict=True)
    ]
    write_json(folder / "layers.json", layers)


def painted(
    table: np.ndarray, labels: Int[np.ndarray, "N"], colours: Float[np.ndarray, "S 3"]
) -> np.ndarray:
    """The same Gaussians in the colours of their parts, from all sides.

    Args:
        table: Structured array [N] of 3DGS columns.
        labels: Part of each Gaussian, from 0; -1 for those in none, which are left out.
        colours: Colour of each part, in [0, 1].
    """
    inside = labels >= 0
    names = [name for name in table.dtype.names or () if not name.startswith("f_rest_")]
    flat = np.empty(int(inside.sum()), [(name, table.dtype[name]) for name in names])
    for name in names:
        flat[name] = table[name][inside]
    for channel in range(3):
        flat[f"f_dc_{channel}"] = (colours[labels[inside], channel] - 0.5) / C0
    return flat
