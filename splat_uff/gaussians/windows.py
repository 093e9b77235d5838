"""What one step of the fit looks at: a photo, a reduced copy of it, or a window of it."""

import math

import numpy as np
from jaxtyping import Float

from splat_uff.capture import View
from splat_uff.capture.images import area_resize
from splat_uff.geometry.cameras import Camera
from splat_uff.system.records import array_record

LEAST_SIDE = 16
"""Least width and height of a window in pixels, so that SSIM's window of 11 pixels fits in."""


@array_record
class Looked:
    """A photo, a reduced copy of it, or a window of it, and the camera that sees just that."""

    photo: Camera
    """Camera of the whole photo, at the size that is looked at."""
    camera: Camera
    """Camera that sees what is looked at: the same camera, or that of the window."""
    image: Float[np.ndarray, "H W 4"]
    """RGBA, 0 to 1."""
    share: float
    """Share of the photo's pixels."""
    place: tuple[slice, slice]
    """Rows and columns of the photo, at the size that is looked at."""


def reduction(width: int, height: int, most: int) -> int:
    """Factor by which a photo is reduced to at most `most` pixels; 1 if a side would be too short.

    It is a whole number, since pixels are then averaged many times faster.
    """
    factor = math.ceil((width * height / most) ** 0.5)
    return factor if min(width, height) // factor >= LEAST_SIDE else 1


def look_at(view: View, most: int, rng: np.random.Generator, *, coarse: bool = False) -> Looked:
    """Return a whole photo or, if it has more than `most` pixels, a window of it drawn at random.

    The window has the photo's shape and at most so many pixels, but for sides of at least
    `LEAST_SIDE`. Windows that would stick out are moved inside, so that pixels near the photo's
    edges are seen at least half as often as others (in a corner, a quarter).

    Args:
        view: Photo with its camera.
        most: Most pixels of a window.
        rng: Generator that draws the place; nothing is drawn for a whole photo.
        coarse: Whether to look at the whole photo, reduced to at most `most` pixels, in place of a
            window.
    """
    width, height = view.camera.width, view.camera.height
    if width * height <= most:
        return Looked(view.camera, view.camera, view.image, 1.0, (slice(None), slice(None)))
    if coarse and (by := reduction(width, height, most)) > 1:
        return _reduced(view, by)
    factor = (most / (width * height)) ** 0.5
    sides = [max(min(LEAST_SIDE, each), int(each * factor)) for each in (width, height)]
    middle = rng.random(2) * (width, height)
    left, top = (
        int(np.clip(round(at - side / 2), 0, whole - side))
        for at, side, whole in zip(middle.tolist(), sides, (width, height), strict=True)
    )
    place = slice(top, top + sides[1]), slice(left, left + sides[0])
    image, share = np.ascontiguousarray(view.image[place]), sides[0] * sides[1] / (width * height)
    return Looked(view.camera, view.camera.window(left, top, *sides), image, share, place)


def _reduced(view: View, by: int) -> Looked:
    """The whole photo, reduced by a factor; a few rows and columns at its end may be cut off."""
    width, height = view.camera.width // by, view.camera.height // by
    camera = view.camera.window(0, 0, by * width, by * height).resized(width, height)
    image = area_resize(view.image[: by * height, : by * width], height, width)
    return Looked(camera, camera, image, 1.0, (slice(None), slice(None)))
