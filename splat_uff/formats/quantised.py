"""Common steps of reading quantised splats: checks of sizes, and decoding of bytes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from splat_uff.formats.records import MOST_GAUSSIANS, SH_C0, needed_columns
from splat_uff.system.errors import InputError, reason_of
from splat_uff.system.records import array_record

LEAST_ALPHA = 1e-6
"""Opacity that stands for a byte of 0, and 1 minus it for 255, so that logits stay finite."""
MOST_RATIO = 1032
"""Highest ratio that the deflate algorithm reaches; real splats stay far below in any format."""
FREE_BYTES = 1 << 26
"""Unpacked size, in bytes, up to which no ratio is checked."""
BLOCK = 1 << 16
"""Gaussians that are decoded at once, so that intermediate numbers take little memory."""
_OTHERS = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
"""Components that remain, in order, if one of four is left out."""


@array_record
class Fields:
    """Views of the columns of N Gaussians; writing to them fills the table."""

    centres: Float[np.ndarray, "N 3"]
    opacity_logits: Float[np.ndarray, "N"]
    dc: Float[np.ndarray, "N 3"]
    rest: Float[np.ndarray, "N 3 K"]
    """Higher harmonics: coefficient k of channel c is column `f_rest_{c * K + k}`."""
    log_scales: Float[np.ndarray, "N 3"]
    quats: Float[np.ndarray, "N 4"]
    """Rotations, wxyz."""


def fields_of(table: np.ndarray) -> Fields:
    """Views of a table made by `empty_table`."""
    rest = len(table.dtype.names or ()) - len(needed_columns(0))
    rows = table.view("<f4").reshape(len(table), -1)
    return Fields(
        centres=rows[:, :3],
        opacity_logits=rows[:, 3],
        dc=rows[:, 4:7],
        rest=rows[:, 7 : 7 + rest].reshape(len(table), 3, rest // 3),
        log_scales=rows[:, 7 + rest : 10 + rest],
        quats=rows[:, 10 + rest :],
    )


def blocks_of(table: np.ndarray) -> Iterator[tuple[slice, Fields]]:
    """Rows of a table, and views of their columns, block by block."""
    for start in range(0, len(table), BLOCK):
        rows = slice(start, min(start + BLOCK, len(table)))
        yield rows, fields_of(table[rows])


def damaged(path: Path, kind: str, reason: str) -> InputError:
    """Error for a file that is not what its name or its first bytes say.

    Args:
        path: File.
        kind: Kind of file that was expected, with its article.
        reason: Observation, as a few words.
    """
    return InputError(f"{path} is not a readable {kind} ({reason}); export it again.")


def read_whole(path: Path, kind: str) -> bytes:
    """Read all bytes of a file.

    Raises:
        InputError: If there is no such file, or it cannot be read or is empty.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "not there"
        raise InputError(f"{path} is {found}; expected a {kind} file.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise damaged(path, kind, reason_of(error)) from None
    if not content:
        raise damaged(path, kind, "it is empty")
    return content


def check_count(path: Path, kind: str, count: int) -> None:
    """Check a number of Gaussians that a file announces.

    Raises:
        InputError: If it is 0, or above `MOST_GAUSSIANS`.
    """
    if not 0 < count <= MOST_GAUSSIANS:
        most = f"{MOST_GAUSSIANS:,}"
        raise damaged(path, kind, f"{count:,} Gaussians announced; expected 1 to {most}")


def check_ratio(path: Path, kind: str, unpacked: int, packed: int) -> None:
    """Check that the announced content of a compressed file can lie in its bytes.

    Args:
        path: File.
        kind: Kind of file, for the message.
        unpacked: Bytes that the header announces.
        packed: Bytes that are there.

    Raises:
        InputError: If no real scene compresses so well.
    """
    if unpacked > max(FREE_BYTES, MOST_RATIO * packed):
        raise damaged(path, kind, f"{unpacked:,} bytes announced in {packed:,}")


def logits_of(alphas: UInt8[np.ndarray, "*N"]) -> Float[np.ndarray, "*N"]:
    """Logits of opacities that are stored as bytes, 0 to 255."""
    levels = np.clip(np.arange(256) / 255, LEAST_ALPHA, 1 - LEAST_ALPHA)
    return np.log(levels / (1 - levels)).astype(np.float32)[alphas]


def dc_of(colours: Float[np.ndarray, "*N"]) -> Float[np.ndarray, "*N"]:
    """Harmonics of degree 0 of colours in [0, 1]."""
    return (colours - 0.5) / SH_C0


def quats_of(
    largest: Int[np.ndarray, "N"], three: Float[np.ndarray, "N 3"]
) -> Float[np.ndarray, "N 4"]:
    """Unit quaternions without their largest component, which is positive.

    Args:
        largest: Index of the component that was left out.
        three: Other components, in order.
    """
    four = np.empty((len(three), 4), three.dtype)
    missing = np.sqrt(np.maximum(0, 1 - np.einsum("ni,ni->n", three, three)))
    np.put_along_axis(four, _OTHERS[largest], three, axis=1)
    np.put_along_axis(four, largest[:, None], missing[:, None], axis=1)
    return four
