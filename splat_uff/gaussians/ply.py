"""Gaussians as a standard 3DGS `.ply`, the file that every splat viewer opens."""

from pathlib import Path

import numpy as np
import torch

from splat_uff.files import replacing
from splat_uff.gaussians.table import needed_columns, read_table, write_table
from splat_uff.render.records import Gaussians


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


def load_ply(path: Path) -> Gaussians:
    """Read a 3DGS `.ply`.

    Raises:
        InputError: If the file is missing, truncated, lacks a column, or holds numbers that are
            not finite or rotations of length 0.
    """
    table = read_table(path)
    rest = sum(name.startswith("f_rest_") for name in table.dtype.names or ())
    read = {name: np.asarray(table[name], dtype=np.float32) for name in needed_columns(rest)}

    def stack(prefix: str, count: int) -> np.ndarray:
        return np.stack([read[f"{prefix}{i}"] for i in range(count)], axis=1)

    means = np.stack([read["x"], read["y"], read["z"]], axis=1)
    # Files hold the higher degrees channel by channel.
    shN = stack("f_rest_", rest) if rest else np.zeros((len(means), 0), np.float32)
    shN = shN.reshape(len(means), 3, rest // 3).transpose(0, 2, 1)
    parts = means, stack("rot_", 4), stack("scale_", 3), read["opacity"], stack("f_dc_", 3)[:, None]
    return Gaussians(*(torch.from_numpy(np.ascontiguousarray(part)) for part in (*parts, shN)))


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
