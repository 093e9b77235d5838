"""Rotation of Gaussians about the origin: means, quats and view-dependent colours."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from splat_uff.render.harmonics import basis_values
from splat_uff.render.records import Gaussians

SAMPLES = 64
"""Directions from which a rotation of the harmonics is computed; 15 would determine it."""


def turn_gaussians(gaussians: Gaussians, turn: Float[np.ndarray, "3 3"]) -> Gaussians:
    """Apply `x -> turn @ x` to Gaussians.

    Args:
        gaussians: Gaussians to turn; their order and the precision of their means are kept.
        turn: Orthogonal matrix, which may mirror.
    """
    if np.array_equal(turn, np.eye(3)):
        return gaussians
    means = gaussians.means.double() @ torch.from_numpy(np.array(turn.T, np.float64))
    # A Gaussian is symmetric about its centre, so -turn has the same effect as turn.
    proper = turn if np.linalg.det(turn) > 0 else -turn
    quats = torch.from_numpy(turn_quats(proper, gaussians.quats.double().numpy()))
    mixed = torch.from_numpy(harmonics_turn(turn, gaussians.sh_degree))
    tensors = gaussians.tensors() | {
        "means": means.to(gaussians.means.dtype),
        "quats": quats.float(),
        "shN": torch.einsum("kj,njc->nkc", mixed.float(), gaussians.shN),
    }
    return replace(gaussians, **tensors)


def harmonics_turn(turn: Float[np.ndarray, "3 3"], degree: int) -> Float[np.ndarray, "K K"]:
    """Matrix that turns the coefficients of the harmonics above degree 0.

    The turned function has at d the value of the old one at `turn.T @ d`. Each degree is closed
    under rotations, so the matrix is exact.

    Args:
        turn: Orthogonal matrix.
        degree: Degree of the harmonics, 0 to 3; K is (degree + 1)**2 - 1.
    """
    if degree == 0:
        return np.zeros((0, 0))
    golden = np.arange(SAMPLES) * np.pi * (1 + 5**0.5)
    heights = 1 - 2 * (np.arange(SAMPLES) + 0.5) / SAMPLES
    flat = np.sqrt(1 - heights**2)
    directions = np.stack([flat * np.cos(golden), flat * np.sin(golden), heights], axis=1)
    there, here = basis_values(directions, degree), basis_values(directions @ turn, degree)
    return np.linalg.lstsq(there, here, rcond=None)[0]


def turn_quats(
    turn: Float[np.ndarray, "3 3"], quats: Float[np.ndarray, "N 4"]
) -> Float[np.ndarray, "N 4"]:
    """Rotations followed by another one; quaternions (wxyz) keep their lengths.

    Args:
        turn: Rotation matrix.
        quats: Rotations to turn.
    """
    x, y, z, w = Rotation.from_matrix(turn).as_quat()
    product = np.array([[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]])
    return quats @ product.T
