"""Moves between our world and that of splats in the frame of their capture."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from splat_uff.formats.records import SplatFile, marks
from splat_uff.gaussians.ply import table_of
from splat_uff.gaussians.precision import judge_precision
from splat_uff.gaussians.source import SourceSplats, read_source
from splat_uff.gaussians.turn import turn_gaussians
from splat_uff.render.records import Gaussians

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
