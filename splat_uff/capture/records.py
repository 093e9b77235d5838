"""Records of a capture: images with cameras, and ground truth if there is any."""

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
    """Image as `image` describes it, or a handle to it."""
    truth: GroundTruth | None = None
    """True segments, at the size of their own files, which may differ from the image's."""
    source_size: tuple[int, int] | None = None
    """Height and width of the photo in its file, before it was reduced."""
    whole_size: tuple[int, int] | None = None
    """Height and width according to the camera; the file may be a reduced twin."""
    lens: Lens | None = None
    """Lens of the photo in the file, if it had to be undistorted; its masks have to be, too."""
    other_turn: int = 1
    """EXIF orientation that turns a picture made with the opposite reading of the photo's EXIF data
    to the orientation in which it was read; 1 if both are the same."""
    stated_turn: int = 1
    """EXIF orientation stated in the photo's file."""
    follows_turn: bool = False
    """Whether the photo was turned according to `stated_turn`."""
    keys: tuple[str, ...] = ()
    """Other possible names of its masks, by preference; relative paths."""

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Heights and widths of the photo before it was reduced: its file's, then its camera's."""
        own = self.source_size or (self.camera.height, self.camera.width)
        return (own,) if self.whole_size in (None, own) else (own, self.whole_size)

    @property
    def mask_names(self) -> tuple[str, ...]:
        """Possible names of its masks, its own name first."""
        return tuple(dict.fromkeys((self.name, *self.keys)))

    @property
    def image(self) -> Float[np.ndarray, "H W 4"]:
        """Image, float32 in [0, 1], colour multiplied by alpha; opaque photos have alpha 1."""
        return self.photo.load() if isinstance(self.photo, Kept) else self.photo

    def composite(self, background: Float[np.ndarray, "3"]) -> Float[np.ndarray, "H W 3"]:
        """Photo composited over a constant background colour."""
        return self.image[..., :3] + (1 - self.image[..., 3:]) * background


@array_record
class SparsePoints:
    """Sparse points of a scene, from structure from motion."""

    positions: Float[np.ndarray, "P 3"]
    colours: Float[np.ndarray, "P 3"]
    """Colours, sRGB in [0, 1]."""

    def moved(self, similarity: Float[np.ndarray, "4 4"]) -> "SparsePoints":
        """Points transformed by a similarity."""
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
    """Origin of the 2D masks: `simulated`, `imported` or `none`."""
    points: SparsePoints | None = None
    """Sparse points of the scene, in our world, if the layout has any."""
    left_out: frozenset[str] = frozenset()
    """Possible names of masks of photos, listed or in the folder, that are not views."""
    held_out: str = "val"
    """Split of the files that `val` holds: `val` or `test`."""
    virtual: bool = False
    """Whether the photos were rendered from splats that came without any."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the training images."""
        camera = self.train[0].camera
        return camera.height, camera.width

    @property
    def focal(self) -> float:
        """Median focal length of the training images, in pixels."""
        return float(np.median([view.camera.focal for view in self.train]))

    @property
    def reduction(self) -> float:
        """Median factor by which the sides of the training photos were reduced."""
        return float(
            np.median(
                [
                    max(view.shapes[0]) / max(view.camera.height, view.camera.width)
                    for view in self.train
                ]
            )
        )
