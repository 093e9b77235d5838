"""Moves between our world and that of splats in the frame of their capture."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from splat_uff.formats.records import SplatFile, marks
from splat_uff.gaussians.ply import table_of
from splat_uff.gaussians.precision import judge_precision
from splat_uff.gaussians.source import SourceSplats, centres_of, read_source
from splat_uff.gaussians.turn import harmonics_turn, turn_gaussians, turn_quats
from splat_uff.render.records import Gaussians

HARMONICS = 15
"""Coefficients of degree 1 to 3 in each channel."""
UNTURNED = 1e-9
"""Largest difference from the identity for which a rotation is taken to be the identity."""


def move_gaussians(gaussians: Gaussians, similarity: Float[np.ndarray, "4 4"]) -> Gaussians:
    """Move Gaussians to another world; a camera that moves with them sees the same picture.

    Args:
        gaussians: Gaussians to move, whose order is kept; float64 means are moved in float64.
        similarity: Scale, rotation and translation.

    Returns:
        Gaussians with float32 means.

    Raises:
        ValueError: If the matrix mirrors or shears.
    """
    scale, rotation = split_similarity(similarity)
    turned = turn_gaussians(gaussians.moved(gaussians.means.double()), rotation)
    means = turned.means * scale + torch.from_numpy(similarity[:3, 3].astype(np.float64))
    tensors = turned.tensors() | {
        "means": means.float(),
        "log_scales": gaussians.log_scales + float(np.log(scale)),
    }
    return replace(turned, **tensors)


def move_table(table: np.ndarray, similarity: Float[np.ndarray, "4 4"]) -> np.ndarray:
    """Move the rows of a file to another frame: centres, rotations, scales, harmonics, normals.

    Columns keep their types, and those that have no place in space their values. Harmonics of
    degree 4, which nothing here turns, are left out if the rotation is not the identity. Rows that
    cannot be drawn are moved, too.

    Args:
        table: Structured array [M] of 3DGS columns.
        similarity: Scale, rotation and translation.

    Raises:
        ValueError: If the matrix mirrors or shears.
    """
    scale, rotation = split_similarity(similarity)
    moved = table.copy()
    names = set(table.dtype.names or ())
    with np.errstate(invalid="ignore", over="ignore"):  # Of rows with NaN or infinite values.
        for axis, values in zip("xyz", move_centres(centres_of(table), similarity).T, strict=True):
            moved[axis] = values
        for name in names & {"scale_0", "scale_1", "scale_2"}:
            moved[name] = table[name] + np.log(scale)
        if np.array_equal(rotation, np.eye(3)):
            return moved
        quats = np.stack([table[f"rot_{i}"] for i in range(4)], axis=1).astype(np.float64)
        for i, values in enumerate(turn_quats(rotation, quats).T):
            moved[f"rot_{i}"] = values
        if names >= {"nx", "ny", "nz"}:
            normals = np.stack([table[name] for name in ("nx", "ny", "nz")], axis=1)
            for name, values in zip(("nx", "ny", "nz"), (normals @ rotation.T).T, strict=True):
                moved[name] = values
        return _turn_harmonics(moved, rotation)


def _turn_harmonics(table: np.ndarray, rotation: Float[np.ndarray, "3 3"]) -> np.ndarray:
    """Rows with turned harmonics of degree 1 to 3; higher ones are left out."""
    names = [name for name in table.dtype.names or () if name.startswith("f_rest_")]
    each = len(names) // 3
    kept = min(each, HARMONICS)
    if not kept:
        return table
    rest = np.stack([table[f"f_rest_{i}"] for i in range(3 * each)], axis=1)
    rest = rest.reshape(len(table), 3, each)[:, :, :kept].astype(np.float64)
    turned = rest @ harmonics_turn(rotation, int((kept + 1) ** 0.5) - 1).T
    dropped = {f"f_rest_{i}" for i in range(3 * kept, 3 * each)}
    columns = [(name, table.dtype[name]) for name in table.dtype.names or () if name not in dropped]
    moved = np.empty(len(table), columns)
    for name, _ in columns:
        moved[name] = table[name]
    for i, values in enumerate(turned.reshape(len(table), -1).T):
        moved[f"f_rest_{i}"] = values
    return moved


def move_centres(
    centres: Float[np.ndarray, "N 3"], similarity: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "N 3"]:
    """Move points to another world, in float64 throughout."""
    return centres.astype(np.float64) @ similarity[:3, :3].T + similarity[:3, 3]


def split_similarity(
    similarity: Float[np.ndarray, "4 4"], *, tolerance: float = 1e-9
) -> tuple[float, Float[np.ndarray, "3 3"]]:
    """Scale and rotation of a similarity; a rotation near the identity becomes the identity.

    Raises:
        ValueError: If the matrix is not a similarity: it mirrors, shears, or is not finite.
    """
    if not np.isfinite(similarity).all():
        raise ValueError("the matrix is not finite.")
    determinant = float(np.linalg.det(similarity[:3, :3].astype(np.float64)))
    if determinant <= 0:
        raise ValueError("the matrix mirrors or is flat; expected scale, rotation, translation.")
    scale = determinant ** (1 / 3)
    left, _, right = np.linalg.svd(similarity[:3, :3] / scale)
    rotation = left @ right
    if not np.allclose(similarity[:3, :3], scale * rotation, rtol=0, atol=tolerance * scale):
        raise ValueError("the matrix shears; expected scale, rotation, translation.")
    if np.allclose(rotation, np.eye(3), rtol=0, atol=UNTURNED):
        rotation = np.eye(3)
    return scale, rotation


def source_splats(
    gaussians: Gaussians, source_from_world: Float[np.ndarray, "4 4"], original: Path
) -> SourceSplats:
    """Rows of a run's Gaussians for an export, with those of the original file that it left out.

    Args:
        gaussians: Gaussians in our world.
        source_from_world: Similarity of the capture, scale and translation only.
        original: File from which the Gaussians were read, if it exists; its rows and columns are
            returned unchanged, including those that we cannot use.

    Returns:
        Structured array of 3DGS columns in the frame of the capture, or in that of the original.
        Without an original, `x y z` are 64-bit if 32 bits would change the shape of the scene.

    Raises:
        InputError: If the original is damaged.
    """
    if original.is_file():
        return read_source(original)
    centres = move_centres(gaussians.means.numpy(), source_from_world)
    wide = judge_precision(centres).is_lost
    table = table_of(move_gaussians(gaussians, source_from_world), centres if wide else None)
    comments = marks(fitted_focal=gaussians.fitted_focal, antialiased=gaussians.antialiased)
    content = SplatFile(table, comments=tuple(comments), antialiased=gaussians.antialiased)
    return SourceSplats(content, np.ones(len(table), bool))
