"""Gaussians as a standard 3DGS `.ply`, the file that every splat viewer opens."""

from pathlib import Path

import numpy as np
import torch

from splat_uff.errors import InputError
from splat_uff.files import replacing
from splat_uff.render.records import Gaussians

MOST_GAUSSIANS = 50_000_000
MOST_HEADER = 1 << 16
"""Bytes in which a header must end; those of splats have some 2000."""


def save_ply(path: Path, gaussians: Gaussians) -> None:
    """Write the columns of the 3DGS reference: x y z nx ny nz f_dc f_rest opacity scale rot."""
    with replacing(path) as temporary:
        write_table(temporary, table_of(gaussians))


def table_of(gaussians: Gaussians) -> np.ndarray:
    """The columns of the 3DGS reference as a structured array, one row per Gaussian."""
    columns = _columns(gaussians)
    table = np.empty(len(gaussians), dtype=[(name, "<f4") for name in columns])
    for name, values in columns.items():
        table[name] = values
    return table


def write_table(path: Path, table: np.ndarray) -> None:
    """Write the rows and columns of a structured array as the vertices of a `.ply`."""
    from plyfile import PlyData, PlyElement

    PlyData([PlyElement.describe(table, "vertex")], byte_order="<").write(str(path))


def load_ply(path: Path) -> Gaussians:
    """Read a 3DGS `.ply`.

    Raises:
        InputError: If the file is missing, truncated, lacks a column, or holds numbers that are
            not finite or rotations of length 0.
    """
    table = read_table(path)
    rest = sum(name.startswith("f_rest_") for name in table.dtype.names or ())
    with np.errstate(over="ignore"):  # What float32 cannot hold becomes infinite.
        read = {name: np.asarray(table[name], dtype=np.float32) for name in _names(rest)}
    if not all(np.isfinite(values).all() for values in read.values()):
        raise InputError(f"{path} holds NaN or infinite numbers; export it again.")
    if not np.any([read[f"rot_{i}"] for i in range(4)], axis=0).all():
        raise InputError(f"{path} holds rotations of length 0; export it again.")

    def stack(prefix: str, count: int) -> np.ndarray:
        return np.stack([read[f"{prefix}{i}"] for i in range(count)], axis=1)

    means = np.stack([read["x"], read["y"], read["z"]], axis=1)
    # Files hold the higher degrees channel by channel.
    shN = stack("f_rest_", rest) if rest else np.zeros((len(means), 0), np.float32)
    shN = shN.reshape(len(means), 3, rest // 3).transpose(0, 2, 1)
    parts = means, stack("rot_", 4), stack("scale_", 3), read["opacity"], stack("f_dc_", 3)[:, None]
    return Gaussians(*(torch.from_numpy(np.ascontiguousarray(part)) for part in (*parts, shN)))


def read_table(path: Path) -> np.ndarray:
    """Read every column of a 3DGS `.ply`, those that we do not know included.

    Returns:
        Structured array, one row per Gaussian, with the types of the file.

    Raises:
        InputError: If the file is missing, truncated or lacks a column.
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
        missing = [name for name in _names(rest) if name not in names]
        if missing:
            raise ValueError(f"no column {missing[0]}")
        if any(isinstance(prop, PlyListProperty) for prop in table.properties):
            raise ValueError("columns of lists")
        return np.array(table.data)
    except (PlyParseError, KeyError, ValueError, OSError, UnicodeDecodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a 3DGS .ply ({error}); export it again.") from None


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


def _names(rest: int) -> list[str]:
    return [
        *("x", "y", "z", "opacity"),
        *(f"f_dc_{i}" for i in range(3)),
        *(f"f_rest_{i}" for i in range(rest)),
        *(f"scale_{i}" for i in range(3)),
        *(f"rot_{i}" for i in range(4)),
    ]


def _columns(gaussians: Gaussians) -> dict[str, np.ndarray]:
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in gaussians.tensors().items()}
    means, zeros = arrays["means"], np.zeros(len(gaussians), np.float32)
    columns = {name: means[:, axis] for axis, name in enumerate("xyz")}
    columns |= dict.fromkeys(("nx", "ny", "nz"), zeros)
    columns |= {f"f_dc_{c}": arrays["sh0"][:, 0, c] for c in range(3)}
    rest = arrays["shN"].transpose(0, 2, 1).reshape(len(gaussians), -1)
    columns |= {f"f_rest_{i}": rest[:, i] for i in range(rest.shape[1])}
    columns["opacity"] = arrays["opacity_logits"]
    columns |= {f"scale_{i}": arrays["log_scales"][:, i] for i in range(3)}
    columns |= {f"rot_{i}": arrays["quats"][:, i] for i in range(4)}
    return columns
