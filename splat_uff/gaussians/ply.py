"""Gaussians from the columns of files, and as a standard 3DGS `.ply`, which every viewer opens."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from splat_uff.formats.ply import write_ply
from splat_uff.formats.read import read_splats
from splat_uff.formats.records import SplatFile, marks
from splat_uff.formats.rows import finite_parts, usable_rows
from splat_uff.render.records import Gaussians
from splat_uff.system.errors import InputError


def save_ply(path: Path, gaussians: Gaussians) -> None:
    """Write the 3DGS reference's columns: x y z nx ny nz f_dc f_rest opacity scale rot."""
    comments = marks(fitted_focal=gaussians.fitted_focal, antialiased=gaussians.antialiased)
    write_ply(path, {"vertex": table_of(gaussians)}, comments)


def table_of(gaussians: Gaussians, centres: Float[np.ndarray, "N 3"] | None = None) -> np.ndarray:
    """The columns of the 3DGS reference as a structured array, one row per Gaussian.

    Args:
        gaussians: Gaussians to write.
        centres: float64 centres that replace the means, for 64-bit columns `x y z`.
    """
    columns = _columns(gaussians)
    kinds = dict.fromkeys(columns, "<f4")
    if centres is not None:
        columns |= {name: centres[:, axis] for axis, name in enumerate("xyz")}
        kinds |= dict.fromkeys("xyz", "<f8")
    table = np.empty(len(gaussians), dtype=list(kinds.items()))
    for name, values in columns.items():
        table[name] = values
    return table


def load_ply(path: Path) -> Gaussians:
    """Read splats in which every row can be drawn; centres become float32.

    Raises:
        InputError: If the file is missing, truncated, of another format, lacks a column, or holds
            Gaussians that cannot be drawn.
    """
    content = read_splats(path)
    rows = usable_rows(content.table)
    if rows.dropped:
        raise InputError(
            f"{path} holds {rows.dropped} Gaussians that cannot be drawn ({rows}); export it again."
        )
    gaussians = gaussians_of(content.table, content)
    return replace(gaussians, means=gaussians.means.float())


def gaussians_of(table: np.ndarray, content: SplatFile | None = None) -> Gaussians:
    """Make Gaussians of rows that can all be drawn; means are float64 if the columns are.

    Args:
        table: Rows to convert.
        content: File that the rows are from, which tells how they are to be drawn.
    """
    parts = finite_parts(table)
    arrays = vars(parts).items()
    made = Gaussians.of(
        {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays}
    )
    if content is None:
        return made
    return replace(made, fitted_focal=content.fitted_focal, antialiased=content.antialiased)


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
