"""The seam between the generator of masks and the models that answer clicks."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from splat_uff.geometry.cameras import Camera
from splat_uff.masks.records import MaskSet
from splat_uff.system.records import array_record


@array_record
class Answers:
    """Masks with which a model answers P clicks: M for each, of different granularity."""

    logits: Float[Tensor, "P M h w"]
    """Mask logits at the model's own resolution; `Encoded.upsample` takes them to the photo."""
    quality: Float[Tensor, "P M"]
    """Overlap with the true mask (IoU) that the model predicts for each."""


@runtime_checkable
class Encoded(Protocol):
    """A photo that a model has seen."""

    def answer(self, points: Float[np.ndarray, "P 2"]) -> Answers:
        """Answer clicks, each by itself and as one on an object.

        Args:
            points: Pixels (x, y) of the photo; its top left corner is (0, 0).
        """
        ...

    def upsample(self, logits: Float[Tensor, "K h w"]) -> Float[Tensor, "K H W"]:
        """Mask logits at the size of the photo."""
        ...


@runtime_checkable
class Guide(Protocol):
    """Knowledge of where to click in a photo, which grows with every photo that has its masks."""

    @property
    def fingerprint(self) -> str:
        """Text that differs for other knowledge; masks are kept under it."""
        ...

    def where(self, camera: Camera) -> Bool[np.ndarray, "H W"]:
        """Pixels that show the scene."""
        ...

    def seeds(self, camera: Camera) -> Float[np.ndarray, "P 2"]:
        """Clicks (x, y), in pixels, on what other photos show."""
        ...

    def add(self, camera: Camera, masks: MaskSet) -> None:
        """Learn the masks of a photo."""
        ...


@runtime_checkable
class Segmenter(Protocol):
    """A model that answers clicks on photos, such as Segment Anything."""

    @property
    def fingerprint(self) -> str:
        """Text that differs for other weights and other models; masks are kept under it."""
        ...

    @property
    def threshold(self) -> float:
        """Logit above which a pixel is in the mask."""
        ...

    def encode(self, image: UInt8[np.ndarray, "H W 3"]) -> Encoded:
        """Look at a photo: the slow part, once for all clicks."""
        ...
