"""Viewing directions of cameras: poses from directions, and the point that cameras look at."""

import numpy as np
from jaxtyping import Float

LEAST_SPREAD = 0.05
"""Mean squared sine below which optical axes count as parallel along a direction."""


def pose_along(
    position: Float[np.ndarray, "3"],
    forward: Float[np.ndarray, "3"],
    right: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "4 4"]:
    """Pose (world from camera) of an OpenCV camera.

    Args:
        position: Position of the pinhole, in the world.
        forward: Unit vector along the optical axis.
        right: Unit vector to the right, orthogonal to `forward`.
    """
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = position
    return pose


def right_of(forward: Float[np.ndarray, "3"], up: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """Unit vector to the right of an upright view along `forward`, not parallel to `up`."""
    right = np.cross(forward, up)
    return right / np.linalg.norm(right)


def any_across(direction: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """Any unit vector orthogonal to a direction."""
    return right_of(direction, np.eye(3)[np.abs(direction).argmin()])


def point_of_axes(
    positions: Float[np.ndarray, "V 3"],
    forward: Float[np.ndarray, "V 3"],
    about: Float[np.ndarray, "3"],
) -> tuple[Float[np.ndarray, "3"], bool]:
    """Point nearest to all optical axes in least squares, and whether they determine it fully.

    Args:
        positions: Positions of the cameras.
        forward: Unit vectors along the optical axes.
        about: Point to which the result is nearest along directions that nearly parallel axes leave
            undetermined. Sums are also taken about it, for precision: coordinates may be metres
            from the centre of the Earth.
    """
    across = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    total = across.mean(axis=0)
    offsets = (across @ (positions - about)[:, :, None]).mean(axis=0)[:, 0]
    spread, directions = np.linalg.eigh(total)
    if spread[0] >= LEAST_SPREAD:
        return about + np.linalg.solve(total, offsets), True
    known = spread >= LEAST_SPREAD
    within = directions[:, known]
    return about + within @ (within.T @ offsets / spread[known]), False
