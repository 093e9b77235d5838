"""Cameras of a built-in scene, with NeRF-synthetic's distance, lens and conventions."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from splat_uff.geometry.axes import pose_along
from splat_uff.geometry.cameras import OPENCV_FROM_OPENGL
from splat_uff.scenes.parts import rotation

DISTANCE = 4.0311289
"""Distance of the cameras from the origin, in world units."""
ANGLE_X = 0.6911112070083618
"""Horizontal field of view, in radians."""
TURNS = (10, 45, 90, 135)
"""Angles between a held-out view and its rotated twins, in degrees."""


@runtime_checkable
class TrainPoses(Protocol):
    """Function that draws the training cameras of a scene; OpenGL axes."""

    def __call__(
        self, count: int, *, rng: np.random.Generator
    ) -> list[Float[np.ndarray, "4 4"]]: ...


@runtime_checkable
class ValPoses(Protocol):
    """Function that places the held-out cameras of a scene; OpenGL axes."""

    def __call__(self, count: int) -> list[Float[np.ndarray, "4 4"]]: ...


@dataclass(frozen=True)
class Cameras:
    """Cameras of a scene. The held-out ones, rotated about z by `TURNS`, must stay in the open."""

    train: TrainPoses
    val: ValPoses
    angle_x: float = ANGLE_X
    """Horizontal field of view, in radians."""


def train_poses(count: int, *, rng: np.random.Generator) -> list[Float[np.ndarray, "4 4"]]:
    """Draw cameras uniformly from the upper hemisphere, except near the pole; OpenGL axes."""
    return [
        _look_at_origin(azimuth, height)
        for azimuth, height in zip(
            rng.uniform(0, 2 * np.pi, count), rng.uniform(0.02, 0.93, count), strict=True
        )
    ]


def val_poses(count: int) -> list[Float[np.ndarray, "4 4"]]:
    """Cameras spread evenly around the scene, 15 to 50 degrees above the horizon; OpenGL axes."""
    golden = np.pi * (3 - np.sqrt(5))
    heights = 0.26 + 0.5 * ((np.arange(count) * 0.7548777) % 1)
    return [_look_at_origin(1 + golden * index, height) for index, height in enumerate(heights)]


def turned_pose(pose: Float[np.ndarray, "4 4"], *, degrees: float) -> Float[np.ndarray, "4 4"]:
    """Rotate a camera about the vertical axis z, counter-clockwise when seen from above."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation("z", degrees=degrees)
    return matrix @ pose


def _look_at_origin(azimuth: float, height: float) -> Float[np.ndarray, "4 4"]:
    """Level OpenGL pose at `height` (z over distance) that looks at the origin."""
    flat = np.sqrt(1 - height**2)
    back = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), height])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    return pose_along(DISTANCE * back, -back, right) @ OPENCV_FROM_OPENGL


AROUND = Cameras(train_poses, val_poses)
"""Cameras around a scene that look at the origin."""
