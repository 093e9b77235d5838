"""Bag of 2D masks of one image, one bit per pixel, and their inclusion tree."""

import numpy as np
from jaxtyping import Bool, Int, UInt8

from splat_uff.system.records import array_record


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

    def run_starts(self) -> Int[np.ndarray, "R"]:
        """First pixels of the runs of row-major pixels that lie in the same masks.

        There are far fewer runs than pixels, and finding them takes a few operations on packed
        bits.
        """
        changed = np.zeros(self.packed.shape[1], np.uint8)
        for row in self.packed:
            before = row >> 1  # The pixel before each.
            before[1:] |= row[:-1] << 7
            changed |= row ^ before
        changed[:1] |= 0x80
        return np.flatnonzero(np.unpackbits(changed, count=self.height * self.width))


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
        starts = masks.run_starts()
        members, region = _unique_columns(masks.at(starts))
        lengths = np.diff(np.append(starts, pixels))
        return Regions(members, np.repeat(region.astype(np.int32), lengths))


def _unique_columns(
    bits: Bool[np.ndarray, "M C"],
) -> tuple[Bool[np.ndarray, "M U"], Int[np.ndarray, "C"]]:
    """Distinct columns in lexicographic order, and the place of each column among them."""
    rows = np.packbits(bits.T, axis=1)
    words = np.zeros((len(rows), -(-rows.shape[1] // 8) * 8), np.uint8)
    words[:, : rows.shape[1]] = rows
    # Numbers sort much faster than strings of bytes; the first byte counts most.
    words = words.view(">u8").astype(np.uint64)
    order = np.lexsort(words.T[::-1])
    new = np.ones(len(order), bool)
    new[1:] = (words[order[1:]] != words[order[:-1]]).any(axis=1)
    place = np.empty(len(order), np.int64)
    place[order] = np.cumsum(new) - 1
    return bits[:, order[new]], place


@array_record
class MaskTree:
    """Inclusion of the masks of one image (docs/method.md, "Masks")."""

    inside: Bool[np.ndarray, "M M"]
    """Whether row is strictly inside column: False on the diagonal and for equal masks."""
    same: Bool[np.ndarray, "M M"]
    """Whether row and column count as the same mask; True on the diagonal."""
