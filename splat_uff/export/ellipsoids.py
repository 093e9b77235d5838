"""Ellipsoids of Gaussians: their axes, and the box that they fill."""

import numpy as np
from jaxtyping import Float

FLOAT32 = float(np.finfo(np.float32).max)


def half_axes(
    quats: Float[np.ndarray, "N 4"], scales: Float[np.ndarray, "N 3"]
) -> Float[np.ndarray, "N 3 3"]:
    """Half axes of ellipsoids at one standard deviation.

    Args:
        quats: Rotations as wxyz, of any length above 0.
        scales: Standard deviations along the axes.

    Returns:
        For each ellipsoid, its three half axes as rows, in the frame of the rotations.
    """
    from scipy.spatial.transform import Rotation

    axes = Rotation.from_quat(np.roll(quats.astype(np.float64), -1, axis=1)).as_matrix()
    return axes.transpose(0, 2, 1) * scales[:, :, None]


def extent(
    means: Float[np.ndarray, "N 3"], axes: Float[np.ndarray, "N 3 3"], sigmas: float
) -> Float[np.ndarray, "2 3"]:
    """Smallest and largest coordinates of ellipsoids, rounded outwards to float32.

    Args:
        means: Centres, in the frame of the axes.
        axes: Half axes at one standard deviation.
        sigmas: Standard deviations at which the ellipsoids end.
    """
    reach = sigmas * np.sqrt((axes**2).sum(axis=1))
    low, high = (means - reach).min(axis=0), (means + reach).max(axis=0)
    low, high = np.clip([low, high], -FLOAT32, FLOAT32).astype(np.float32)
    return np.stack([np.nextafter(low, -np.inf), np.nextafter(high, np.inf)])
