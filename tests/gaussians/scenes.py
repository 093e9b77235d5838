"""Small captures: opaque balls seen from all around, so that hulls and fits have known answers."""

from pathlib import Path

import numpy as np

from splat_uff.capture.records import Capture, View
from splat_uff.geometry.cameras import Camera, pixel_centres, ray_directions

RADIUS = 0.35


def look_at_origin(azimuth: float, elevation: float, size: int) -> Camera:
    """A camera at distance 1.5 from the origin; the world's +z is up."""
    flat = np.cos(elevation)
    back = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
    right = np.cross(-back, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(-back, right), -back], axis=1)
    pose[:3, 3] = 1.5 * back
    K = np.array([[1.5 * size, 0, size / 2], [0, 1.5 * size, size / 2], [0, 0, 1.0]])
    return Camera(pose, K, size, size)


def ball_view(camera: Camera, name: str) -> View:
    """A ball of `RADIUS` around the origin, coloured by where on it a ray lands."""
    directions = ray_directions(camera, pixel_centres(camera))
    along = -directions @ camera.centre
    root = along**2 - (camera.centre @ camera.centre - RADIUS**2)
    hit = root >= 0
    points = camera.centre + (along - np.sqrt(root.clip(0)))[:, None] * directions
    colours = np.where(hit[:, None], 0.5 + 0.4 * np.sin(6 * points), 0)
    image = np.concatenate([colours, hit[:, None]], axis=1).astype(np.float32)
    return View(name, camera, image.reshape(camera.height, camera.width, 4))


def ball_capture(views: int = 8, size: int = 24, has_alpha: bool = True) -> Capture:
    """The ball from `views` sides."""
    cameras = [look_at_origin(2.4 * k, 0.9 * np.sin(1.7 * k), size) for k in range(views)]
    photos = tuple(ball_view(camera, f"r_{k}") for k, camera in enumerate(cameras))
    return Capture("ball", Path(), photos, (), has_alpha, np.eye(4), "none")
