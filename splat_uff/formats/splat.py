"""Reader of antimatter15's `.splat`: rows of 32 bytes without a header.

A row holds the centre and the scales (3 + 3 float32, little-endian), colour and opacity (4 bytes,
RGBA) and the rotation (4 bytes, wxyz, as 128 + 128 q). Axes are those of the `.ply` from which it
was made. Source: `main.js` and `convert.py` of https://github.com/antimatter15/splat.
"""

from pathlib import Path

import numpy as np

from splat_uff.formats.quantised import (
    Fields,
    blocks_of,
    check_count,
    damaged,
    dc_of,
    logits_of,
    read_whole,
)
from splat_uff.formats.records import SplatFile, empty_table

KIND = ".splat"
ROW = np.dtype([("centre", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])


def read_splat(path: Path) -> SplatFile:
    """Read a `.splat`.

    Scales are stored as lengths; a length of 0 becomes a logarithm of minus infinity, and a
    negative one NaN. Rotations become unit quaternions, and a rotation of length 0 stays 0. The
    format has no view-dependent colour.

    Raises:
        InputError: If the file is missing, empty, too large, or no multiple of 32 bytes.
    """
    content = read_whole(path, KIND)
    if len(content) % ROW.itemsize:
        raise damaged(path, KIND, f"{len(content)} bytes, which is no multiple of {ROW.itemsize}")
    check_count(path, KIND, len(content) // ROW.itemsize)
    rows = np.frombuffer(content, ROW)
    table = empty_table(len(rows), 0)
    for part, fields in blocks_of(table):
        _decode(rows[part], fields)
    return SplatFile(table)


def _decode(rows: np.ndarray, fields: Fields) -> None:
    fields.centres[:] = rows["centre"]
    with np.errstate(divide="ignore", invalid="ignore"):
        fields.log_scales[:] = np.log(rows["scale"])
    fields.dc[:] = dc_of(rows["rgba"][:, :3] / np.float32(255))
    fields.opacity_logits[:] = logits_of(rows["rgba"][:, 3])
    quats = (rows["quat"].astype(np.float32) - 128) / 128
    lengths = np.linalg.norm(quats, axis=1, keepdims=True)
    fields.quats[:] = quats / np.where(lengths > 0, lengths, 1)
