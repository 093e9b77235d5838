"""Position and up direction of a scene, estimated from its cameras, and a path around it.

The path circles the point that the cameras look at, at their distance and elevation. If they stand
on one side only, it swings to and fro between them.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from splat_uff.capture.records import CAMERA_DISTANCE
from splat_uff.geometry.axes import LEAST_SPREAD, any_across, point_of_axes, pose_along, right_of
from splat_uff.geometry.cameras import Camera

FULL_CIRCLE = np.deg2rad(200)
"""Range of azimuths, in radians, above which cameras surround the scene."""
COVERING_SHARE = 0.9
"""Share of the cameras in that range, so that a stray one behind the scene makes no circle."""
STEEPEST = np.deg2rad(80)
"""Maximum elevation of the path, in radians; straight above, no direction is up in the picture."""


def turntable_cameras(cameras: Sequence[Camera], count: int, size: int) -> list[Camera]:
    """Square cameras on a path around the scene, as far, as high and as wide as the given ones.

    All look at the point nearest to the optical axes of the given cameras. Their distance to it and
    their elevation are the medians of the given cameras'. Up is perpendicular to the given cameras'
    x axes, and as close as possible to the mean of their -y axes. The picture is the largest square
    inside a given photo.

    If the given cameras surround the scene, the path is a full circle; otherwise it swings from the
    middle of their azimuths to either end and back. Both are loops: the frame after the last would
    be the first.

    Args:
        cameras: One camera or more, for example those of the training views. If their axes are
            nearly parallel, the path looks at the point nearest to the origin, where our captures
            have their scene.
        count: Number of cameras on the path, at least 1.
        size: Width and height of the pictures, in pixels.

    Raises:
        ValueError: If there is no camera.
    """
    if not cameras:
        raise ValueError("cameras is empty; a path is made of at least one camera.")
    poses = np.stack([camera.world_from_cam for camera in cameras])
    centre = shared_point(poses[:, :3, 3], poses[:, :3, 2])
    up = shared_up(poses[:, :3, :3])
    ahead, left = _axes_across(up)
    offsets = poses[:, :3, 3] - centre
    distances = np.linalg.norm(offsets, axis=1)
    sines = offsets @ up / np.maximum(distances, 1e-12)
    elevation = np.median(np.arcsin(np.clip(sines, -1, 1))).clip(-STEEPEST, STEEPEST)
    middle, width = _smallest_arc(np.arctan2(offsets @ left, offsets @ ahead))
    turns = 2 * np.pi * np.arange(count) / count
    azimuths = middle + (turns if width > FULL_CIRCLE else width / 2 * np.sin(turns))
    shape = [
        np.sqrt(each.K[0, 0] * each.K[1, 1]) / min(each.width, each.height) for each in cameras
    ]
    focal = size * float(np.median(shape))
    K = np.array([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    path = []
    for azimuth in azimuths:
        level = np.cos(azimuth) * ahead + np.sin(azimuth) * left
        outward = np.cos(elevation) * level + np.sin(elevation) * up
        position = centre + np.median(distances) * outward
        pose = pose_along(position, -outward, right_of(-outward, up))
        path.append(Camera(pose, K, size, size))
    return path


def shared_point(
    positions: Float[np.ndarray, "V 3"], forward: Float[np.ndarray, "V 3"]
) -> Float[np.ndarray, "3"]:
    """Point nearest to all optical axes, by least squares.

    In directions that nearly parallel axes leave undetermined, it is as near to the origin as
    possible. If it is behind most cameras, it is a point in front of the mean camera instead.
    """
    point, _ = point_of_axes(positions, forward, np.zeros(3))
    if np.median(((point - positions) * forward).sum(axis=1)) > 0:
        return point
    return positions.mean(axis=0) + CAMERA_DISTANCE * forward.mean(axis=0)


def shared_up(rotations: Float[np.ndarray, "V 3 3"]) -> Float[np.ndarray, "3"]:
    """Unit vector perpendicular to all x axes and nearest to the mean of the -y axes.

    The mean alone would lean in the viewing direction: the -y axes of cameras that look down point
    ahead of them, which cancels out only if the cameras stand on all sides.
    """
    right, mean = rotations[:, :, 0], -rotations[:, :, 1].mean(axis=0)
    sideways = right.T @ right / len(right)
    up = np.linalg.solve(sideways + LEAST_SPREAD * np.eye(3), LEAST_SPREAD * mean)
    if np.linalg.norm(up) < 0.1:  # Half of them are upside down.
        up = np.linalg.eigh(sideways)[1][:, 0]
    return up / np.linalg.norm(up)


def _axes_across(up: Float[np.ndarray, "3"]) -> tuple[np.ndarray, np.ndarray]:
    """Two axes that form a right-handed frame with `up` as the third."""
    first = any_across(up)
    return first, np.cross(up, first)


def _smallest_arc(azimuths: Float[np.ndarray, "V"]) -> tuple[float, float]:
    """Middle and width, in radians, of the smallest arc with `COVERING_SHARE` of the azimuths."""
    ordered = np.sort(azimuths % (2 * np.pi))
    held = int(np.ceil(COVERING_SHARE * len(ordered)))
    ends = np.concatenate([ordered, ordered + 2 * np.pi])[held - 1 : held - 1 + len(ordered)]
    first = int((ends - ordered).argmin())
    return float(ordered[first] + ends[first]) / 2, float(ends[first] - ordered[first])
