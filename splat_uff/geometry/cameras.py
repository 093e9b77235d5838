"""Pinhole cameras: intrinsics, poses, projection and rays.

Cameras are OpenCV: +x right, +y down, +z forward, pixel centres at half-integers. Files in the
OpenGL convention (+x right, +y up, -z forward) are converted once, by `world_from_cam_of_opengl`.
"""

import numpy as np
from jaxtyping import Float

from splat_uff.system.records import array_record

OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
"""Matrix that flips the y and z axes; it is its own inverse."""


@array_record
class Camera:
    """One pinhole camera."""

    world_from_cam: Float[np.ndarray, "4 4"]
    """Rigid pose with OpenCV axes, in world units."""
    K: Float[np.ndarray, "3 3"]
    """Intrinsics in pixels."""
    width: int
    height: int

    @property
    def cam_from_world(self) -> Float[np.ndarray, "4 4"]:
        """Inverse of the pose; gsplat calls it `viewmat`."""
        rotation, centre = self.world_from_cam[:3, :3], self.world_from_cam[:3, 3]
        matrix = np.eye(4)
        matrix[:3, :3] = rotation.T
        matrix[:3, 3] = -rotation.T @ centre
        return matrix

    @property
    def focal(self) -> float:
        """Focal length in pixels, the geometric mean of both axes."""
        return float(np.sqrt(self.K[0, 0] * self.K[1, 1]))

    @property
    def centre(self) -> Float[np.ndarray, "3"]:
        """Position of the pinhole in the world."""
        return self.world_from_cam[:3, 3]

    def resized(self, width: int, height: int) -> "Camera":
        """Return the camera with another number of pixels over the same field of view."""
        scale = np.diag([width / self.width, height / self.height, 1.0])
        return Camera(self.world_from_cam, scale @ self.K, width, height)

    def window(self, left: int, top: int, width: int, height: int) -> "Camera":
        """Return the camera that sees a rectangle of this one's pixels, at the same scale."""
        K = self.K.copy()
        K[:2, 2] -= left, top
        return Camera(self.world_from_cam, K, width, height)


def camera_from_opengl(
    world_from_gl: Float[np.ndarray, "4 4"], *, angle_x: float, width: int, height: int
) -> Camera:
    """Build a camera from a Blender pose and its horizontal field of view.

    Args:
        world_from_gl: Rigid pose with OpenGL axes, as in `transforms_*.json`.
        angle_x: Horizontal field of view in radians, Blender's `camera_angle_x`.
        width: Image width in pixels.
        height: Image height in pixels.
    """
    focal = 0.5 * width / np.tan(0.5 * angle_x)
    K = np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    return Camera(world_from_gl @ OPENCV_FROM_OPENGL, K, width, height)


def project(
    camera: Camera, points: Float[np.ndarray, "P 3"]
) -> tuple[Float[np.ndarray, "P 2"], Float[np.ndarray, "P"]]:
    """Project world points to pixels; also returns their depth (z, not the distance)."""
    in_cam = points @ camera.cam_from_world[:3, :3].T + camera.cam_from_world[:3, 3]
    depth = in_cam[:, 2]
    homogeneous = in_cam @ camera.K.T
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = homogeneous[:, :2] / homogeneous[:, 2:]
    return pixels, depth


def unproject(
    camera: Camera, pixels: Float[np.ndarray, "P 2"], depth: Float[np.ndarray, "P"]
) -> Float[np.ndarray, "P 3"]:
    """World points seen at `pixels` with the given depths (z); the inverse of `project`."""
    rays = _camera_rays(camera, pixels)
    rotation = camera.world_from_cam[:3, :3]
    return (rays * depth[:, None]) @ rotation.T + camera.centre


def pixel_centres(camera: Camera) -> Float[np.ndarray, "P 2"]:
    """Centres of all pixels in row-major order, P = height * width."""
    ys, xs = np.mgrid[: camera.height, : camera.width]
    return np.stack([xs.ravel() + 0.5, ys.ravel() + 0.5], axis=1)


def ray_directions(camera: Camera, pixels: Float[np.ndarray, "P 2"]) -> Float[np.ndarray, "P 3"]:
    """Unit directions in the world of the rays through `pixels`."""
    rays = _camera_rays(camera, pixels) @ camera.world_from_cam[:3, :3].T
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _camera_rays(camera: Camera, pixels: Float[np.ndarray, "P 2"]) -> Float[np.ndarray, "P 3"]:
    """Rays in camera axes, scaled so that z is 1."""
    homogeneous = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1)
    return homogeneous @ np.linalg.inv(camera.K).T
