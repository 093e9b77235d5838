"""The 3D side of the page: splats, the cameras of the photos, and pictures laid over a view."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import viser
from jaxtyping import Bool, Float, UInt8
from viser.transforms import SO3

from splat_uff.capture import View
from splat_uff.capture.images import area_resize, reduced_size, to_bytes
from splat_uff.export.camera_path import shared_point, shared_up
from splat_uff.geometry.cameras import Camera
from splat_uff.render import Gaussians

THUMBNAIL = 96
"""Longer side of the photo in a frustum, in pixels."""
FRUSTUM = 0.05
"""Size of a frustum in our world, in which cameras are 1.5 from the centre."""
OVERLAY = 0.02
"""Distance of an overlaid picture from its camera, in our world."""
NEARER = 0.8
"""Initial distance of a browser's camera from the focus, as a share of the first camera's."""
SPREAD = 32.0
"""Factor by which splats are enlarged when sent and shrunk when shown, because the browser takes
covariances in half precision, in which those of small Gaussians would underflow."""


class Splats:
    """Gaussians drawn by the browser."""

    def __init__(self, server: viser.ViserServer, gaussians: Gaussians) -> None:
        self._server = server
        self._handle = server.scene.add_gaussian_splats(
            "/splats",
            centers=gaussians.means.numpy() * SPREAD,
            covariances=covariances(gaussians) * SPREAD**2,
            rgbs=np.zeros((len(gaussians), 3), np.uint8),
            opacities=np.zeros((len(gaussians), 1), np.uint8),
            scale=1 / SPREAD,
        )
        self._opacities = to_bytes(gaussians.opacities.numpy())

    @property
    def colours(self) -> UInt8[np.ndarray, "N 3"]:
        """Colours last sent."""
        return self._handle.rgbs.copy()

    @property
    def opacities(self) -> UInt8[np.ndarray, "N"]:
        """Opacities last sent; 0 for Gaussians that are not drawn."""
        return self._handle.opacities[:, 0].copy()

    def show(self, colours: UInt8[np.ndarray, "N 3"], visible: Bool[np.ndarray, "N"]) -> None:
        """Send new colours, and draw only the Gaussians in `visible`."""
        # Of two messages about one buffer, only the last one is sent. For 200 000 Gaussians this
        # takes 1.9 ms (median of 40); writing into the handle's packed buffer took 2.4 ms.
        with self._server.atomic():
            self._handle.rgbs = colours
            self._handle.opacities = np.where(visible, self._opacities, 0)[:, None]

    def replace(self, gaussians: Gaussians, colours: UInt8[np.ndarray, "N 3"]) -> None:
        """Send other Gaussians, in any number."""
        self._opacities = to_bytes(gaussians.opacities.numpy())
        self._handle.set_gaussians(
            gaussians.means.numpy() * SPREAD,
            covariances(gaussians) * SPREAD**2,
            colours,
            self._opacities[:, None],
        )


def covariances(gaussians: Gaussians) -> Float[np.ndarray, "N 3 3"]:
    """Covariance of each Gaussian, in world units squared."""
    axes = SO3(gaussians.quats.numpy()).as_matrix() * gaussians.scales.numpy()[:, None, :]
    return (axes @ axes.transpose(0, 2, 1)).astype(np.float32)


def wxyz_of(camera: Camera) -> Float[np.ndarray, "4"]:
    """Orientation of a camera in the world as a quaternion, wxyz."""
    return SO3.from_matrix(camera.world_from_cam[:3, :3]).wxyz


def fov_of(camera: Camera) -> float:
    """Vertical field of view in radians."""
    return float(2 * np.arctan(0.5 * camera.height / camera.K[1, 1]))


def client_camera(camera: viser.CameraHandle, *, longest: int | None = None) -> Camera:
    """Convert a browser's camera.

    Args:
        camera: Camera handle of the client.
        longest: Longer side of the image in pixels; by default, that of the browser's window.
    """
    height, width = max(camera.image_height, 1), max(camera.image_width, 1)
    pose = np.eye(4)
    pose[:3, :3] = SO3(np.asarray(camera.wxyz, np.float64)).as_matrix()
    pose[:3, 3] = camera.position
    focal = 0.5 * height / np.tan(0.5 * camera.fov)
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    found = Camera(pose, K, width, height)
    if longest is None:
        return found
    rows, columns = reduced_size(height, width, longest)
    return found.resized(columns, rows)


def look_through(client: viser.ClientHandle, camera: Camera, focus: np.ndarray) -> None:
    """Move a browser's camera to a photo's; it then turns about a point at the depth of `focus`."""
    forward = camera.world_from_cam[:3, 2]
    reach = max(float((focus - camera.centre) @ forward), 0.1)
    with client.atomic():
        client.camera.up_direction = -camera.world_from_cam[:3, 1]
        client.camera.position = camera.centre
        client.camera.look_at = camera.centre + reach * forward
        client.camera.fov = fov_of(camera)


def aim(server: viser.ViserServer, cameras: Sequence[Camera]) -> Float[np.ndarray, "3"]:
    """Let browsers start near the first camera, a little closer, upright and facing the focus.

    Returns:
        The focus: the point that all cameras look at.
    """
    if not cameras:
        return np.zeros(3)
    poses = np.stack([camera.world_from_cam for camera in cameras])
    focus = shared_point(poses[:, :3, 3], poses[:, :3, 2])
    server.scene.set_up_direction(shared_up(poses[:, :3, :3]))
    server.initial_camera.position = focus + NEARER * (cameras[0].centre - focus)
    server.initial_camera.look_at = focus
    return focus


class Cameras:
    """The cameras of the photos, shown as frustums with their photo."""

    def __init__(
        self,
        server: viser.ViserServer,
        views: Sequence[View],
        on_press: Callable[[], None],
        on_click: Callable[[Any, int], None],
    ) -> None:
        self._handles = [self._add(server, index, view) for index, view in enumerate(views)]
        for index, handle in enumerate(self._handles):
            # A coroutine runs before the click reaches the scene; a function, at any time.
            async def pressed(_: Any) -> None:
                on_press()

            handle.on_click(pressed)
            handle.on_click(lambda event, index=index: on_click(event, index))
        self._shown, self._entered = False, None
        self.show(False)

    def show(self, shown: bool) -> None:
        """Show or hide all cameras except the one that is looked through."""
        self._shown = shown
        for index, handle in enumerate(self._handles):
            handle.visible = shown and index != self._entered

    def enter(self, index: int | None) -> None:
        """Hide the camera that is looked through, whose photo would cover everything."""
        self._entered = index
        self.show(self._shown)

    def _add(self, server: viser.ViserServer, index: int, view: View) -> viser.CameraFrustumHandle:
        camera = view.camera
        height, width = reduced_size(camera.height, camera.width, THUMBNAIL)
        return server.scene.add_camera_frustum(
            f"/cameras/{index:04d}",
            fov=fov_of(camera),
            aspect=camera.width / camera.height,
            scale=FRUSTUM,
            thickness=0.001,
            color=(70, 90, 120),
            image=to_bytes(area_resize(view.composite(np.ones(3)), height, width)),
            jpeg_quality=80,
            wxyz=wxyz_of(camera),
            position=camera.centre,
        )


def overlay(
    server: viser.ViserServer, camera: Camera, picture: UInt8[np.ndarray, "H W 4"]
) -> viser.ImageHandle:
    """Lay a picture over the scene as seen from a camera."""
    pose = camera.world_from_cam
    # The optical axis need not meet the picture in its centre.
    middle = np.array([camera.width / 2, camera.height / 2, 1.0])
    place = pose[:3, :3] @ (np.linalg.inv(camera.K) @ middle * OVERLAY) + camera.centre
    return server.scene.add_image(
        "/overlay",
        picture,
        render_width=OVERLAY * camera.width / camera.K[0, 0],
        render_height=OVERLAY * camera.height / camera.K[1, 1],
        format="png",
        cast_shadow=False,
        receive_shadow=False,
        wxyz=wxyz_of(camera),
        position=place,
    )
