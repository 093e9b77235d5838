"""Where cameras look: poses from directions, and the point and the up that many of them share."""

import numpy as np
from jaxtyping import Float

LEAST_SPREAD = 0.05
"""Mean squared sine below which optical axes count as parallel in a direction."""


def pose_along(
    position: Float[np.ndarray, "3"],
    forward: Float[np.ndarray, "3"],
    right: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "4 4"]:
    """Pose, world from camera, of an OpenCV camera.

    Args:
        position: Of its pinhole, in the world.
        forward: Unit vector along its optical axis.
        right: Unit vector across that.
    """
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = position
    return pose


def right_of(forward: Float[np.ndarray, "3"], up: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """Unit vector to the right of who looks along `forward`, upright; they are not parallel."""
    right = np.cross(forward, up)
    return right / np.linalg.norm(right)


def any_across(direction: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """A unit vector across a direction, whatever that is."""
    return right_of(direction, np.eye(3)[np.abs(direction).argmin()])


def point_of_axes(
    positions: Float[np.ndarray, "V 3"],
    forward: Float[np.ndarray, "V 3"],
    about: Float[np.ndarray, "3"],
) -> tuple[Float[np.ndarray, "3"], bool]:
    """The point nearest to all optical axes by least squares, and whether they fix it whole.

    Args:
        positions: Of the cameras.
        forward: Unit vectors along their optical axes.
        about: In directions in which nearly parallel axes leave the point open, it is as near to
            this one as can be. Sums are taken about it: coordinates may be metres from the middle
            of the Earth.
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
