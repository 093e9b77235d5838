"""Splats from a file of any format, as a table with the columns of a 3DGS `.ply`."""

from collections.abc import Callable, Mapping
from pathlib import Path

from splat_uff.formats.compressed_ply import read_compressed_ply
from splat_uff.formats.detect import Format, detect
from splat_uff.formats.ksplat import read_ksplat
from splat_uff.formats.ply import read_elements, read_header
from splat_uff.formats.records import (
    MOST_GAUSSIANS,
    REST_COUNTS,
    SplatFile,
    is_antialiased,
    needed_columns,
)
from splat_uff.formats.rows import usable_rows
from splat_uff.formats.sog import read_sog
from splat_uff.formats.splat import read_splat
from splat_uff.formats.spz import read_spz
from splat_uff.system.errors import InputError, reason_of


def read_splats(path: Path) -> SplatFile:
    """Read every column and row of a file of splats, including those that we cannot use.

    Args:
        path: File in one of the formats of `Format`, recognised by its content; or the folder or
            `meta.json` of an unpacked SOG.

    Returns:
        Columns with the file's types. At least one row can be drawn; `usable_rows` tells which.

    Raises:
        InputError: If the file is missing, truncated, of another format, lacks a column, or has no
            row that can be drawn.
    """
    content = _READERS[detect(path)](path)
    rows = usable_rows(content.table)
    if not rows.kept.any():
        raise InputError(f"{path} holds no Gaussian that can be drawn ({rows}); export it again.")
    return content


def _read_ply(path: Path) -> SplatFile:
    try:
        header = read_header(path)
        vertex = header.element("vertex")
        names = [column.name for column in vertex.columns]
        if not 0 < vertex.count <= MOST_GAUSSIANS:
            raise InputError(f"{path} has {vertex.count} Gaussians; expected 1 to 50 million.")
        rest = sum(name.startswith("f_rest_") for name in names)
        if rest not in REST_COUNTS:
            raise InputError(f"{path} has {rest} f_rest columns; expected 0, 9, 24, 45 or 72.")
        scales = 2 if "scale_1" in names and "scale_2" not in names else 3
        missing = [name for name in needed_columns(rest, scales) if name not in names]
        if missing:
            raise ValueError(f"no column {missing[0]}")
        others = read_elements(path)
        if vertex.has_lists:
            raise ValueError("columns of lists")
        table = others.pop("vertex")
    except (ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path} is not a 3DGS .ply ({reason_of(error)}); export it again."
        ) from None
    return SplatFile(
        table,
        comments=header.comments,
        antialiased=is_antialiased(header.comments),
        others=others,
    )


_READERS: Mapping[Format, Callable[[Path], SplatFile]] = {
    "ply": _read_ply,
    "compressed-ply": read_compressed_ply,
    "splat": read_splat,
    "ksplat": read_ksplat,
    "spz": read_spz,
    "sog": read_sog,
}
