"""Lenses: intrinsics with distortion, and undistorting photos to a pinhole camera.

Models and their parameters are COLMAP's (`PINHOLE`, `OPENCV`, `OPENCV_FISHEYE`, ...), evaluated by
pycolmap; `transforms.json` uses a subset of them under other names.
"""

import signal
import threading
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates

from splat_uff.system.errors import InputError
from splat_uff.system.records import array_record

PINHOLES = ("SIMPLE_PINHOLE", "PINHOLE")
STRONGEST_ZOOM = 3.0
"""Maximum zoom; a lens that still leaves corners blank is not plausible for a camera."""
NEGLIGIBLE = 0.05
"""Maximum distortion, in pixels, that is left uncorrected."""
NO_CENTRE = 1.0
"""Distance to the edge, in pixels, within which a principal point is missing or a share of 1."""
SHORTEST = 0.04
"""Shortest focal length, in widths (171 degrees); a shorter one is not in pixels."""


@dataclass(frozen=True)
class Lens:
    """Intrinsics of one camera, in pixels of its photos."""

    model: str
    """Camera model, by COLMAP's name."""
    width: int
    height: int
    params: tuple[float, ...]
    """Parameters of the model, in COLMAP's order."""

    @property
    def K(self) -> Float[np.ndarray, "3 3"]:
        """Intrinsic matrix: focal lengths and principal point, without the distortion."""
        if self.model == "PINHOLE":  # Avoids pycolmap, which is slow to import.
            fx, fy, cx, cy = self.params
            return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)
        return np.array(_camera(self).calibration_matrix(), dtype=np.float64)

    def resized(self, width: int, height: int) -> "Lens":
        """The same lens for photos of another size, in pixels."""
        if (width, height) == (self.width, self.height):
            return self
        if self.model == "PINHOLE":
            factors = np.tile([width / self.width, height / self.height], 2)
            return Lens(self.model, width, height, tuple((factors * self.params).tolist()))
        camera = _camera(self)
        camera.rescale(width, height)
        return Lens(self.model, width, height, tuple(float(value) for value in camera.params))

    def project(self, rays: Float[np.ndarray, "P 2"]) -> Float[np.ndarray, "P 2"]:
        """Pixels that rays (x / z, y / z) project to, distortion included."""
        homogeneous = np.concatenate([rays, np.ones((len(rays), 1))], axis=1)
        return np.asarray(_camera(self).img_from_cam(homogeneous), dtype=np.float64)


def make_lens(model: str, width: int, height: int, params: tuple[float, ...], where: str) -> Lens:
    """Make a lens, checking that its parameters are plausible.

    Args:
        model: Camera model, by COLMAP's name.
        width: Width of the photos, in pixels.
        height: Height of the photos, in pixels.
        params: Parameters of the model, in COLMAP's order.
        where: Prefix of the error message, for example a file and a camera.

    Raises:
        InputError: If the model is unknown, or a number is missing, not finite or out of range.
    """
    lens = Lens(model, width, height, params)
    if model != "PINHOLE":
        _check_params(lens, where)
    elif len(params) != 4:
        raise InputError(f"{where} has {len(params)} parameters of a PINHOLE; expected 4.")
    K = lens.K
    focal, centre = np.diag(K)[:2], K[:2, 2]
    size = np.array([width, height], dtype=np.float64)
    if not np.isfinite(params).all() or not (focal > SHORTEST * size.max()).all():
        raise InputError(
            f"{where} has focal lengths {focal.tolist()} for {width}x{height} pixels; expected "
            "lengths in pixels, no shares of the width, so export the cameras again."
        )
    on_edge = (np.abs(centre) <= NO_CENTRE).any() and (size > 8 * NO_CENTRE).all()
    if not (np.abs(centre - size / 2) < size).all() or on_edge:
        raise InputError(
            f"{where} has the principal point cx = {centre[0]:g}, cy = {centre[1]:g} for "
            f"{width}x{height} pixels; expected one in pixels near the middle, so correct it, or "
            "leave it out for the middle."
        )
    return lens


def _check_params(lens: Lens, where: str) -> None:
    """Check that COLMAP knows the model and accepts these parameters."""
    known = getattr(import_pycolmap().CameraModelId, lens.model, None)
    if known is None or lens.model == "INVALID":
        raise InputError(f"{where} has camera model {lens.model!r}; expected one of COLMAP's.")
    try:
        camera = _camera(lens)
        usable = camera.verify_params() and np.isfinite(camera.calibration_matrix()).all()
    except (ValueError, RuntimeError, TypeError):
        usable = False
    if not usable:
        raise InputError(
            f"{where} has focal lengths, principal point and distortion {lens.params} for "
            f"{lens.width}x{lens.height} pixels; expected those of a {lens.model} camera, so "
            "export the cameras again."
        )


@array_record
class Undistortion:
    """Mapping from photos of a lens to those of a pinhole camera of the same size."""

    K: Float[np.ndarray, "3 3"]
    """Intrinsics of the pinhole camera, zoomed in just far enough that no pixel is blank."""
    source: Float[np.ndarray, "2 H W"]
    """Row and column of each pixel's centre in the photo; 0 is the centre of the first pixel."""

    @property
    def height(self) -> int:
        """Height of the photos, in pixels."""
        return self.source.shape[1]

    @property
    def width(self) -> int:
        """Width of the photos, in pixels."""
        return self.source.shape[2]

    def apply(self, image: Float[np.ndarray, "H W C"]) -> Float[np.ndarray, "H W C"]:
        """Undistort an image of that size, with bilinear interpolation."""
        channels = [
            map_coordinates(channel, self.source, order=1, mode="nearest")
            for channel in np.moveaxis(image, 2, 0)
        ]
        return np.stack(channels, axis=2)


def undistortion_of(lens: Lens, height: int, width: int) -> Undistortion | None:
    """`undistortion` of the lens's photos, averaged down to the given size if they are larger."""
    return undistortion(lens.resized(min(width, lens.width), min(height, lens.height)))


@lru_cache(maxsize=2)
def undistortion(lens: Lens) -> Undistortion | None:
    """Mapping that undistorts a lens to a pinhole; None if it is one already.

    Raises:
        InputError: If no zoom up to `STRONGEST_ZOOM` fills the picture.
    """
    if lens.model in PINHOLES:
        return None
    K = lens.K
    edge = _edge(lens)
    moved = np.abs(lens.project((edge - K[:2, 2]) / np.diag(K)[:2]) - edge).max()
    if moved < NEGLIGIBLE:
        return None
    zoom = 1.0
    while not _fills(lens, edge, K, zoom):
        zoom *= 1.01
        if zoom > STRONGEST_ZOOM:
            raise InputError(
                f"a camera of model {lens.model} with parameters {lens.params} cannot be "
                "undistorted to a pinhole; check its distortion."
            )
    zoomed = K * np.array([[zoom, 1, 1], [1, zoom, 1], [1, 1, 1]])
    rows, columns = np.mgrid[: lens.height, : lens.width] + 0.5
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1)
    pixels = lens.project((centres - zoomed[:2, 2]) / np.diag(zoomed)[:2]) - 0.5
    source = pixels.T[::-1].reshape(2, lens.height, lens.width)
    return Undistortion(zoomed, np.ascontiguousarray(source, dtype=np.float32))


def _fills(lens: Lens, edge: Float[np.ndarray, "E 2"], K: np.ndarray, zoom: float) -> bool:
    pixels = lens.project((edge - K[:2, 2]) / (zoom * np.diag(K)[:2]))
    size = np.array([lens.width, lens.height])
    return bool(((pixels >= 0) & (pixels <= size)).all())


def _edge(lens: Lens) -> Float[np.ndarray, "E 2"]:
    """Points along the border of the picture."""
    along = np.linspace(0, 1, 65)
    sides = [
        np.stack([along, np.full(65, side)], axis=1)[:, order]
        for side in (0.0, 1.0)
        for order in ([0, 1], [1, 0])
    ]
    return np.concatenate(sides) * [lens.width, lens.height]


def import_pycolmap() -> ModuleType:
    """Import pycolmap, only when needed, and restore the handler of SIGTERM.

    pycolmap's logging library replaces that handler with one that prints a stack trace.
    """
    handler = signal.getsignal(signal.SIGTERM)
    import pycolmap

    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)
    return pycolmap


def _camera(lens: Lens):
    return import_pycolmap().Camera(
        model=lens.model, width=lens.width, height=lens.height, params=list(lens.params)
    )
