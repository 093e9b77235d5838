"""Bag of 2D masks of one image, one bit per pixel, and their inclusion tree."""

import numpy as np
from jaxtyping import Bool, Int, UInt8

from splat_uff.system.records import array_record

# Bytes of packed pixels that are unpacked at a time, to limit the memory for large masks.
_CHUNK = 4096


@array_record
class MaskSet:
    """M binary masks of one image, packed along its row-major pixels."""

    packed: UInt8[np.ndarray, "M B"]
    """`np.packbits` of each flattened mask; B = ceil(height * width / 8)."""
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, which: slice) -> "MaskSet":
        """Slice of the masks."""
        return MaskSet(self.packed[which], self.height, self.width)

    @staticmethod
    def of(masks: Bool[np.ndarray, "M H W"]) -> "MaskSet":
        """Pack masks given as booleans."""
        count, height, width = masks.shape
        return MaskSet(np.packbits(masks.reshape(count, height * width), axis=1), height, width)

    def unpack(self) -> Bool[np.ndarray, "M H W"]:
        """Unpack all masks to booleans, which take eight times the memory of the set."""
        return self.flat().reshape(len(self), self.height, self.width)

    def flat(self) -> Bool[np.ndarray, "M P"]:
        """Unpack all masks, with the pixels of each mask in one row."""
        flat = np.unpackbits(self.packed, axis=1, count=self.height * self.width)
        return flat.astype(bool)

    def at(self, pixels: Int[np.ndarray, "P"]) -> Bool[np.ndarray, "M P"]:
        """Whether each mask contains each of some flattened pixels, without unpacking the rest."""
        return (self.packed[:, pixels >> 3] >> (7 - (pixels & 7)).astype(np.uint8)) & 1 != 0


@array_record
class Regions:
    """Regions that the borders of all masks divide an image into: pixels in the same masks."""

    members: Bool[np.ndarray, "M R"]
    """Whether each region lies in each mask."""
    of_pixel: Int[np.ndarray, "P"]
    """Region of each flattened pixel."""

    @property
    def sizes(self) -> Int[np.ndarray, "R"]:
        """Number of pixels of each region."""
        return np.bincount(self.of_pixel, minlength=self.members.shape[1])

    @staticmethod
    def of(masks: MaskSet) -> "Regions":
        """Find the regions; exact, and fast if neighbouring pixels are mostly in the same masks."""
        count, pixels = len(masks), masks.height * masks.width
        if count == 0 or pixels == 0:
            return Regions(np.zeros((count, min(pixels, 1)), bool), np.zeros(pixels, np.int32))
        keys, starts, last = [], [], None
        for first in range(0, masks.packed.shape[1], _CHUNK):
            bits = np.unpackbits(masks.packed[:, first : first + _CHUNK], axis=1)
            bits = bits[:, : pixels - 8 * first]  # Padding of the last byte is no pixel.
            key = np.packbits(bits, axis=0)
            new = np.ones(key.shape[1], bool)
            new[1:] = (key[:, 1:] != key[:, :-1]).any(axis=0)
            new[0] = last is None or bool((key[:, 0] != last).any())
            last = key[:, -1]
            keys.append(key[:, new].T)
            starts.append(np.flatnonzero(new) + 8 * first)
        runs = np.ascontiguousarray(np.concatenate(keys))
        whole = runs.view([("", np.uint8)] * runs.shape[1]).ravel()
        _, firsts, region = np.unique(whole, return_index=True, return_inverse=True)
        members = np.unpackbits(runs[firsts].T, axis=0, count=count).astype(bool)
        lengths = np.diff(np.append(np.concatenate(starts), pixels))
        return Regions(members, np.repeat(region.ravel().astype(np.int32), lengths))


@array_record
class MaskTree:
    """Inclusion of the masks of one image (docs/method.md, "Masks")."""

    inside: Bool[np.ndarray, "M M"]
    """Whether row is strictly inside column: False on the diagonal and for equal masks."""
    same: Bool[np.ndarray, "M M"]
    """Whether row and column count as the same mask; True on the diagonal."""
