"""Gaussians turned about the origin: centres, rotations, and the colours that each side shows."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation
from torch import Tensor

from splat_uff.render.harmonics import basis_values
from splat_uff.render.records import Gaussians

SAMPLES = 64
"""Directions by which a turn of the harmonics is found; 15 would determine it."""


def turn_gaussians(gaussians: Gaussians, turn: Float[np.ndarray, "3 3"]) -> Gaussians:
    """The same Gaussians after `x -> turn @ x`.

    Args:
        gaussians: In any order, which stays; means keep their precision.
        turn: Orthogonal; a mirroring is allowed.
    """
    if np.array_equal(turn, np.eye(3)):
        return gaussians
    means = gaussians.means.double() @ torch.from_numpy(np.array(turn.T, np.float64))
    # A Gaussian is its own mirror image in its middle, so that -turn turns it as turn does.
    proper = turn if np.linalg.det(turn) > 0 else -turn
    x, y, z, w = Rotation.from_matrix(proper).as_quat()
    quats = _multiply(torch.tensor([w, x, y, z]), gaussians.quats.double())
    mixed = torch.from_numpy(harmonics_turn(turn, gaussians.sh_degree))
    tensors = gaussians.tensors() | {
        "means": means.to(gaussians.means.dtype),
        "quats": quats.float(),
        "shN": torch.einsum("kj,njc->nkc", mixed.float(), gaussians.shN),
    }
    return replace(gaussians, **tensors)


def harmonics_turn(turn: Float[np.ndarray, "3 3"], degree: int) -> Float[np.ndarray, "K K"]:
    """Matrix that turns coefficients of the harmonics above degree 0.

    The turned function has at d the value of the old one at `turn.T @ d`, and each degree is closed
    under turns, so that the matrix is exact.

    Args:
        turn: Orthogonal.
        degree: 0 to 3; K is (degree + 1)**2 - 1.
    """
    if degree == 0:
        return np.zeros((0, 0))
    golden = np.arange(SAMPLES) * np.pi * (1 + 5**0.5)
    heights = 1 - 2 * (np.arange(SAMPLES) + 0.5) / SAMPLES
    flat = np.sqrt(1 - heights**2)
    directions = np.stack([flat * np.cos(golden), flat * np.sin(golden), heights], axis=1)
    there, here = basis_values(directions, degree), basis_values(directions @ turn, degree)
    return np.linalg.lstsq(there, here, rcond=None)[0]


def _multiply(left: Float[Tensor, "4"], right: Float[Tensor, "N 4"]) -> Float[Tensor, "N 4"]:
    """Product of quaternions, wxyz: first turn by the right one, then by the left one."""
    w, x, y, z = left.double()
    matrix = torch.stack(
        [
            torch.stack([w, -x, -y, -z]),
            torch.stack([x, w, -z, y]),
            torch.stack([y, z, w, -x]),
            torch.stack([z, -y, x, w]),
        ]
    )
    return right @ matrix.T
