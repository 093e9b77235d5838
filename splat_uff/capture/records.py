"""What a capture is once read: images with cameras, and ground truth where there is any."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from splat_uff.capture.lenses import Lens
from splat_uff.geometry.cameras import Camera
from splat_uff.system.memory import Kept
from splat_uff.system.records import array_record

CAMERA_DISTANCE = 1.5
"""Median distance of the cameras from the origin in our world."""


@array_record
class GroundTruth:
    """True segments of one view; ids are positive, 0 is background."""

    objects: Int[np.ndarray, "H W"]
    collections: Int[np.ndarray, "H W"]


@array_record
class View:
    """One posed image."""

    name: str
    """File name without ending, for example `r_0`; with its folder where names repeat."""
    camera: Camera
    photo: Float[np.ndarray, "H W 4"] | Kept
    """The image, or where it is kept."""
    truth: GroundTruth | None = None
    """At the size of its own files, which need not be the size of the image."""
    source_size: tuple[int, int] | None = None
    """Height and width of the photo in its file, before it was reduced."""
    whole_size: tuple[int, int] | None = None
    """Height and width that the camera says, where the file may be a reduced twin."""
    lens: Lens | None = None
    """What took the photo in the file, where that had to be undistorted; masks have to be, too."""
    other_turn: int = 1
    """EXIF orientation that turns pictures of the photo the other way round, as its file also could
    be read, to the way in which it was; 1 where there is no other."""
    stated_turn: int = 1
    """EXIF orientation that the photo's file states."""
    follows_turn: bool = False
    """Whether the photo was turned upright as it states."""
    keys: tuple[str, ...] = ()
    """What else its masks may be called, by preference; relative paths without ending."""

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Heights and widths of the photo before it was reduced: in its file, by its camera."""
        own = self.source_size or (self.camera.height, self.camera.width)
        return (own,) if self.whole_size in (None, own) else (own, self.whole_size)

    @property
    def mask_names(self) -> tuple[str, ...]:
        """All that its masks may be called, its own name first."""
        return tuple(dict.fromkeys((self.name, *self.keys)))

    @property
    def image(self) -> Float[np.ndarray, "H W 4"]:
        """float32 in [0, 1], colour already multiplied by alpha; opaque photos have alpha 1."""
        return self.photo.load() if isinstance(self.photo, Kept) else self.photo

    def composite(self, background: Float[np.ndarray, "3"]) -> Float[np.ndarray, "H W 3"]:
        """The photo over a constant background colour."""
        return self.image[..., :3] + (1 - self.image[..., 3:]) * background


@array_record
class SparsePoints:
    """Points of a scene, as structure from motion leaves them."""

    positions: Float[np.ndarray, "P 3"]
    colours: Float[np.ndarray, "P 3"]
    """sRGB in [0, 1]."""

    def moved(self, similarity: Float[np.ndarray, "4 4"]) -> "SparsePoints":
        """The points in another world."""
        positions = self.positions @ similarity[:3, :3].T + similarity[:3, 3]
        return SparsePoints(positions, self.colours)


@array_record
class Capture:
    """A scene as photographed: training and held-out views in one normalised world."""

    name: str
    folder: Path
    train: tuple[View, ...]
    val: tuple[View, ...]
    has_alpha: bool
    """Whether alpha cuts the scene out of its background."""
    source_from_world: Float[np.ndarray, "4 4"]
    """Similarity from our world (median camera distance 1.5) to the world of the files."""
    masks: str
    """Where the 2D masks come from: `simulated`, `imported` or `none`."""
    points: SparsePoints | None = None
    """Of the scene, in our world, where the layout has some."""
    left_out: frozenset[str] = frozenset()
    """Names of photos that are in the files, or in the folder, and are no view's."""
    held_out: str = "val"
    """Which split of the files `val` holds: `val` or `test`."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the training images."""
        camera = self.train[0].camera
        return camera.height, camera.width

    @property
    def focal(self) -> float:
        """Focal length of the training images in pixels, their median."""
        return float(np.median([view.camera.focal for view in self.train]))

    @property
    def reduction(self) -> float:
        """Pixels of the photos' files that went into one, along a side; their median."""
        return float(
            np.median(
                [
                    max(view.shapes[0]) / max(view.camera.height, view.camera.width)
                    for view in self.train
                ]
            )
        )
