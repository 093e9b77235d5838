"""A bag of 2D masks of one image, one bit a pixel, and the tree of which lies inside which."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt8


@dataclass(frozen=True)
class MaskSet:
    """M binary masks of one image, packed along its row-major pixels."""

    packed: UInt8[np.ndarray, "M B"]
    """`np.packbits` of each flattened mask; B = ceil(height * width / 8)."""
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, which: slice) -> "MaskSet":
        """Some of the masks."""
        return MaskSet(self.packed[which], self.height, self.width)

    @staticmethod
    def of(masks: Bool[np.ndarray, "M H W"]) -> "MaskSet":
        """Pack masks given as booleans."""
        count, height, width = masks.shape
        return MaskSet(np.packbits(masks.reshape(count, height * width), axis=1), height, width)

    def unpack(self) -> Bool[np.ndarray, "M H W"]:
        """All masks as booleans; eight times the memory of the set."""
        return self.flat().reshape(len(self), self.height, self.width)

    def flat(self) -> Bool[np.ndarray, "M P"]:
        """As `unpack`, with the pixels of a mask in one row."""
        flat = np.unpackbits(self.packed, axis=1, count=self.height * self.width)
        return flat.astype(bool)

    def at(self, pixels: Int[np.ndarray, "P"]) -> Bool[np.ndarray, "M P"]:
        """Which masks contain which flattened pixels, without unpacking the rest."""
        return (self.packed[:, pixels >> 3] >> (7 - (pixels & 7)).astype(np.uint8)) & 1 != 0


@dataclass(frozen=True)
class MaskTree:
    """Inclusion of the masks of one image (METHOD.md section 2)."""

    inside: Bool[np.ndarray, "M M"]
    """Row is inside column, strictly: the diagonal and equal masks are False."""
    same: Bool[np.ndarray, "M M"]
    """Pairs of masks that count as one and the same; the diagonal is True."""
