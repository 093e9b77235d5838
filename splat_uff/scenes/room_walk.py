"""Cameras of the built-in scene `room`: a walk inside it.

The vertical axis z runs through the middle of the room, so the origin is where the cameras are, not
what they look at from outside.
"""

import numpy as np
from jaxtyping import Float

from splat_uff.geometry.axes import pose_along, right_of
from splat_uff.geometry.cameras import OPENCV_FROM_OPENGL
from splat_uff.scenes.poses import Cameras

LENS = float(np.radians(72))
"""Horizontal field of view, in radians: a wide lens, as for photos of rooms."""
REACH = (1.65, 1.25)
"""Half axes of the widest loop of the walk, in world units, along x and y."""
ROUNDS = 3
"""Number of times that the walk goes round the room."""
INNER = (0.80, 1.15)
"""Range of distances of the held-out cameras from the axis z, around which nothing is as high."""


def walk_poses(count: int, *, rng: np.random.Generator) -> list[Float[np.ndarray, "4 4"]]:
    """Walk round the room, looking across it, down, up, along the walk and, from the middle, out.

    Args:
        count: Number of cameras.
        rng: Generator that varies places and directions.

    Returns:
        OpenGL poses, world from camera, in world units.
    """
    poses = []
    for index in range(count):
        angle = 2 * np.pi * (ROUNDS * index + rng.uniform(-0.5, 0.5)) / count
        width, height, aside = rng.uniform(0.72, 1.0), rng.uniform(0.0, 0.55), rng.uniform(-1, 1)
        x, y = REACH[0] * width * np.cos(angle), REACH[1] * width * np.sin(angle)
        way = index % 5
        if way == 4:  # Low, in the middle of the room, where the floor is free.
            place = np.array([0.15 * np.cos(angle), 0.15 * np.sin(angle) - 0.4, height - 0.3])
            yaw = 2 * np.pi * ROUNDS * 1.618 * index / count
            out = np.array([np.cos(yaw), np.sin(yaw), 0.1 * aside - 0.1])
            poses.append(_look(place, place + out))
        elif way == 3:  # Ahead, past the wall on one side.
            ahead = angle + np.pi / 2 * (1 + 0.25 * aside)
            place = np.array([x, y, height])
            poses.append(_look(place, place + np.array([np.cos(ahead), np.sin(ahead), -0.15])))
        else:
            high, target = ((0.0, -0.35), (0.3, -0.8), (-0.1, 0.15))[way]
            across = np.array([-0.5 * x - 0.4 * aside * y, -0.5 * y + 0.4 * aside * x, target])
            poses.append(_look(np.array([x, y, height + high]), across))
    return poses


def inner_poses(count: int) -> list[Float[np.ndarray, "4 4"]]:
    """Held-out cameras around the middle, which look past it, slightly to far downwards.

    All stand in the cylinder around z that is free of furniture, so that cameras rotated about z by
    any angle stand in it, too, and look at the same middle of the room from another side.

    Returns:
        OpenGL poses, world from camera, in world units.
    """
    golden = np.pi * (3 - np.sqrt(5))
    poses = []
    for index in range(count):
        angle, share = 0.4 + golden * index, (index * 0.7548777) % 1
        radius = INNER[0] + (INNER[1] - INNER[0]) * ((index * 0.5698403) % 1)
        place = np.array([radius * np.cos(angle), radius * np.sin(angle), 0.15 + 0.5 * share])
        beyond = [-0.3 * place[0], -0.3 * place[1], -0.65 + 0.45 * ((index * 0.3819660) % 1)]
        poses.append(_look(place, np.array(beyond)))
    return poses


def _look(
    place: Float[np.ndarray, "3"], target: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "4 4"]:
    """Level OpenGL pose at `place` that looks at `target`."""
    forward = (target - place) / np.linalg.norm(target - place)
    right = right_of(forward, np.array([0.0, 0.0, 1.0]))
    return pose_along(place, forward, right) @ OPENCV_FROM_OPENGL


WALK = Cameras(walk_poses, inner_poses, LENS)
"""Cameras inside the room."""
