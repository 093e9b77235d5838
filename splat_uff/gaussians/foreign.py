"""Gaussians from elsewhere: a 3DGS `.ply` in the frame of its capture, brought into our world."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from splat_uff.gaussians.ply import load_ply
from splat_uff.render.records import Gaussians


def load_foreign(path: Path, source_from_world: Float[np.ndarray, "4 4"]) -> Gaussians:
    """Read Gaussians that were fitted elsewhere to the same capture.

    Args:
        path: 3DGS columns of any SH degree; other columns are passed over.
        source_from_world: Of the capture; scale and translation only.

    Raises:
        InputError: If the file is missing or damaged.
    """
    return move_gaussians(load_ply(path), np.linalg.inv(source_from_world))


def move_gaussians(gaussians: Gaussians, similarity: Float[np.ndarray, "4 4"]) -> Gaussians:
    """The same Gaussians in a world of another scale and origin.

    Args:
        gaussians: In any order, which stays.
        similarity: Without rotation, which would turn the spherical harmonics, too.

    Raises:
        ValueError: If there is a rotation.
    """
    scale = float(similarity[0, 0])
    if scale <= 0 or not np.allclose(similarity[:3, :3], scale * np.eye(3), atol=1e-9 * scale):
        raise ValueError("the similarity rotates; spherical harmonics would have to be turned.")
    means = gaussians.means.double() * scale + torch.from_numpy(similarity[:3, 3].copy())
    tensors = gaussians.tensors() | {
        "means": means.float(),
        "log_scales": gaussians.log_scales + float(np.log(scale)),
    }
    return Gaussians(**tensors)
