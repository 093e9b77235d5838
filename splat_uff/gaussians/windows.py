"""Windows of large photos: what one step of the fit looks at, however many pixels a photo has."""

import numpy as np
from jaxtyping import Float

from splat_uff.capture import View
from splat_uff.geometry.cameras import Camera
from splat_uff.system.records import array_record

LEAST_SIDE = 16
"""Least width and height of a window in pixels, so that SSIM's window of 11 pixels fits in."""


@array_record
class Looked:
    """A photo, or a window of it, and the camera that sees just that."""

    camera: Camera
    image: Float[np.ndarray, "H W 4"]
    """RGBA, 0 to 1."""
    share: float
    """Share of the photo's pixels."""
    place: tuple[slice, slice]
    """Rows and columns of the photo."""


def look_at(view: View, most: int, rng: np.random.Generator) -> Looked:
    """Return a whole photo or, if it has more than `most` pixels, a window of it drawn at random.

    The window has the photo's shape and at most so many pixels, but for sides of at least
    `LEAST_SIDE`. Windows that would stick out are moved inside, so that pixels near the photo's
    edges are seen at least half as often as others (in a corner, a quarter).

    Args:
        view: Photo with its camera.
        most: Most pixels of a window.
        rng: Generator that draws the place; nothing is drawn for a whole photo.
    """
    width, height = view.camera.width, view.camera.height
    if width * height <= most:
        return Looked(view.camera, view.image, 1.0, (slice(None), slice(None)))
    factor = (most / (width * height)) ** 0.5
    size = [max(min(LEAST_SIDE, each), int(each * factor)) for each in (width, height)]
    middle = rng.random(2) * (width, height)
    left, top = (
        int(np.clip(round(at - side / 2), 0, whole - side))
        for at, side, whole in zip(middle.tolist(), size, (width, height), strict=True)
    )
    place = slice(top, top + size[1]), slice(left, left + size[0])
    image, share = np.ascontiguousarray(view.image[place]), size[0] * size[1] / (width * height)
    return Looked(view.camera.window(left, top, *size), image, share, place)
