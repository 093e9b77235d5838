"""A stand-in for Segment Anything on built-in scenes, which counts what it is asked.

A click is answered as SAM does, by masks of three granularities that contain it, from the masks
that the scene simulates for the view (`splat_uff.scenes.simulated`). Each answer has a border of
its own, a bit off the simulated one, and a quality that falls with how far off it is. Where no mask
contains the click, and in place of a missing granularity, it answers with a blob of a quality
that a generator of masks drops.
"""

import hashlib

import numpy as np
import torch
from jaxtyping import Float, UInt8
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from splat_uff.masks.records import MaskSet
from splat_uff.masks.segmenter import Answers
from splat_uff.system.records import array_record

SIDE = 256
"""Resolution of the mask logits, as of SAM."""
SLOPE = 20.0
"""Rise of the logits per pixel of theirs; so steep, masks of 4 pixels and more are stable."""
WOBBLE = 0.35
"""Standard deviation by which the borders of an answer are off, in pixels of the logits."""
ENCODER_SECONDS, PROMPT_SECONDS = 58.0, 8.0 / 64
"""Cost of a photo and of a click with ViT-H of Segment Anything on 2 cores."""


class StandIn:
    """Segmenter of the photos of a scene whose masks are known.

    Args:
        known: Masks of each photo, by `photo_key`.
    """

    fingerprint = "stand-in"
    threshold = 0.0

    def __init__(self, known: dict[str, MaskSet]) -> None:
        self._known = known
        self.photos = 0
        self.prompts = 0

    @property
    def seconds(self) -> float:
        """Seconds that SAM's ViT-H would have taken on 2 cores, without the generator's own."""
        return self.photos * ENCODER_SECONDS + self.prompts * PROMPT_SECONDS

    def encode(self, image: UInt8[np.ndarray, "H W 3"]) -> "Seen":
        """Look up the masks of a photo."""
        self.photos += 1
        masks = self._known[photo_key(image)]
        order = np.argsort(masks.unpack().sum(axis=(1, 2)), kind="stable")
        masks = MaskSet(masks.packed[order], masks.height, masks.width)
        whole = masks.unpack()
        height, width = image.shape[:2]
        rows = ((np.arange(SIDE) + 0.5) * height / SIDE).astype(int)
        columns = ((np.arange(SIDE) + 0.5) * width / SIDE).astype(int)
        small = whole[:, rows][:, :, columns]
        signed = np.zeros(small.shape, np.float32)
        for index, mask in enumerate(small):
            signed[index] = ndimage.distance_transform_edt(mask)
            signed[index] -= ndimage.distance_transform_edt(~mask)
        ys, xs = np.indices((SIDE, SIDE), np.float32) - SIDE / 2
        return Seen(self, whole, signed, SIDE / 8 - np.hypot(xs, ys), (height, width))


@array_record
class Seen:
    """A photo whose masks are known, from the smallest to the largest."""

    model: StandIn
    masks: np.ndarray
    signed: np.ndarray
    """Distance from the border of each mask, in pixels of the logits, above 0 inside."""
    blob: np.ndarray
    """The same of a disc in the middle, for want of a mask."""
    size: tuple[int, int]

    def answer(self, points: Float[np.ndarray, "P 2"]) -> Answers:
        """Answer clicks by the smallest, the middle and the largest mask that contain them."""
        self.model.prompts += len(points)
        logits = np.empty((len(points), 3, SIDE, SIDE), np.float32)
        quality = np.empty((len(points), 3), np.float32)
        for number, (x, y) in enumerate(points):
            rng = np.random.default_rng([int(x * 16), int(y * 16)])
            inside = np.flatnonzero(self.masks[:, int(y), int(x)])
            chosen = inside[[0, len(inside) // 2, -1]] if len(inside) > 3 else inside
            for slot in range(3):
                off = np.float32(rng.normal(0, WOBBLE))
                if slot < len(chosen):
                    distance = self.signed[chosen[slot]] + off
                    quality[number, slot] = 0.97 - 0.08 * abs(off) + rng.normal(0, 0.02)
                else:
                    distance = self.blob + np.float32(8 * off)
                    quality[number, slot] = rng.uniform(0.4, 0.8)
                logits[number, slot] = np.clip(SLOPE * distance, -SLOPE, SLOPE)
        return Answers(torch.from_numpy(logits), torch.from_numpy(quality))

    def upsample(self, logits: Float[Tensor, "K h w"]) -> Float[Tensor, "K H W"]:
        """Logits at the size of the photo."""
        return functional.interpolate(logits[None], self.size, mode="bilinear")[0]


def photo_key(image: UInt8[np.ndarray, "H W 3"]) -> str:
    """Hash of a photo's pixels, under which its masks are known."""
    return hashlib.sha256(image.tobytes()).hexdigest()
