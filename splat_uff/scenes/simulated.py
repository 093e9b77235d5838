"""Simulated masks, as flawed as a segmenter's, made from the ground truth of one view.

Built-in scenes cannot ship with masks from SAM, as we cannot distribute its weights. These masks
are made from the true objects and collections, with the typical errors of automatic masks: parts
are missed, merged with their neighbours, split, or found piece by piece; borders are jagged; the
whole and the background are found in some views only. Views are independent of each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from splat_uff.masks.records import MaskSet
from splat_uff.system.records import array_record


@dataclass(frozen=True)
class Flaws:
    """Errors of the masks of a view; the defaults are used for every scene."""

    missed: float = 0.28
    """Chance that an object has no mask at all."""
    merged: float = 0.26
    """Chance that an object or a collection absorbs an object that it touches."""
    split: float = 0.2
    """Chance that an object is split in two pieces, each of which may be missing."""
    apart: float = 0.25
    """Chance that something visible as separate components has masks only for the components."""
    collection: float = 0.85
    """Chance that a collection has a mask."""
    groups: float = 1.5
    """Mean number of masks of touching objects that do not form a collection."""
    whole: float = 0.6
    """Chance that the foreground as a whole has a mask."""
    background: float = 0.45
    """Chance that the background has a mask."""
    jitter: float = 0.003
    """Jitter of borders, in geometric means of the mask's thickness and the longer image side."""
    smallest: float = 1e-4
    """Smallest share of the image that a mask may cover."""
    duplicate: float = 0.88
    """Lowest IoU at which the later of two masks is dropped."""


SIMULATED = Flaws()
"""Flaws in all built-in scenes, chosen so that the masks score like real ones: a mean NC
(`masks_covering`) between 0.60 and 0.72, on scenes with few large and with many thin parts."""


def simulate_masks(
    objects: Int[np.ndarray, "H W"],
    collections: Int[np.ndarray, "H W"],
    *,
    rng: np.random.Generator,
    flaws: Flaws = SIMULATED,
) -> MaskSet:
    """Imitate the masks that an automatic segmenter finds in one view.

    Args:
        objects: True object of each pixel, 0 is background.
        collections: True collection of each pixel, 0 is background.
        rng: Generator that draws every flaw; use one per view to make views independent.
        flaws: Kinds and frequencies of errors.

    Returns:
        Masks, from the largest to the smallest; there may be none.
    """
    height, width = objects.shape
    noise = _border_noise(height, width, rng)
    crops = []
    for crop in _ideal_crops(objects, collections, flaws, rng):
        rough = _roughen(crop, noise, flaws, rng)
        if rough.area >= max(4.0, flaws.smallest * height * width):
            crops.append(rough)
    kept = _without_duplicates([crops[i] for i in rng.permutation(len(crops))], flaws.duplicate)
    kept.sort(key=lambda crop: -crop.area)
    masks = np.zeros((len(kept), height, width), dtype=bool)
    for mask, crop in zip(masks, kept, strict=True):
        crop.paste(mask)
    return MaskSet.of(masks)


@array_record
class _Crop:
    """Mask cropped to its bounding box, so that small masks cost little."""

    top: int
    left: int
    mask: Bool[np.ndarray, "h w"]

    @staticmethod
    def of(mask: Bool[np.ndarray, "H W"], top: int = 0, left: int = 0) -> "_Crop":
        """Shrink a mask to its bounding box."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows) == 0:
            return _Crop(top, left, np.zeros((0, 0), dtype=bool))
        inner = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return _Crop(top + int(rows[0]), left + int(columns[0]), inner)

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.mask))

    def paste(self, image: Bool[np.ndarray, "H W"]) -> None:
        """Write the mask into an image."""
        rows, columns = self.mask.shape
        image[self.top : self.top + rows, self.left : self.left + columns] |= self.mask

    def part(self, chosen: Bool[np.ndarray, "h w"]) -> "_Crop":
        """Keep the chosen pixels of the crop."""
        return _Crop.of(chosen, self.top, self.left)


def _ideal_crops(
    objects: Int[np.ndarray, "H W"],
    collections: Int[np.ndarray, "H W"],
    flaws: Flaws,
    rng: np.random.Generator,
) -> Iterator[_Crop]:
    """Yield the masks that are found, still with true borders."""
    areas = np.bincount(objects.ravel())
    areas[0] = 0
    contacts = _contact_lengths(objects, len(areas))
    boxes = ndimage.find_objects(objects)
    for object_id in np.flatnonzero(areas).tolist():
        if rng.random() >= flaws.missed:
            chosen = [object_id]
            if rng.random() < flaws.merged:
                chosen = _grow([object_id], 2, contacts, rng)
            yield from _pieces(_crop_of_ids(objects, chosen, boxes), flaws, rng)
    for _ in range(rng.poisson(flaws.groups) if areas.any() else 0):
        seed = rng.choice(len(areas), p=areas / areas.sum())
        chosen = _grow([int(seed)], int(rng.integers(2, 6)), contacts, rng)
        yield _crop_of_ids(objects, chosen, boxes)
    for collection in np.unique(collections[collections > 0]):
        if rng.random() < flaws.collection:
            found = collections == collection
            if rng.random() < flaws.merged:
                members = np.unique(objects[found]).tolist()
                members = _grow(members, len(members) + 1, contacts, rng)
                found |= objects == members[-1]
            yield from _components(_Crop.of(found), flaws, rng)
    # The scene's outline is found once: usually one of its sides becomes a mask, rarely both.
    side = rng.random()
    if side < flaws.whole:
        yield _Crop.of(objects > 0)
    if side >= 1 - flaws.background:
        yield _Crop.of(objects == 0)


def _pieces(crop: _Crop, flaws: Flaws, rng: np.random.Generator) -> Iterator[_Crop]:
    """Yield an object, or sometimes its two sides of a straight line, of which one may be lost."""
    if rng.random() >= flaws.split:
        yield from _components(crop, flaws, rng)
        return
    ys, xs = np.indices(crop.mask.shape)
    angle = rng.uniform(0, np.pi)
    along = np.cos(angle) * xs + np.sin(angle) * ys
    border = np.quantile(along[crop.mask], rng.uniform(0.25, 0.75))
    for side in (crop.mask & (along < border), crop.mask & (along >= border)):
        if rng.random() < 0.7:
            yield crop.part(side)


def _components(crop: _Crop, flaws: Flaws, rng: np.random.Generator) -> Iterator[_Crop]:
    """Yield a mask, or sometimes its connected components in place of the whole."""
    labels = np.zeros(crop.mask.shape, dtype=np.int32)
    ndimage.label(crop.mask, structure=np.ones((3, 3)), output=labels)
    if labels.max(initial=0) < 2 or rng.random() >= flaws.apart:
        yield crop
        return
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        yield _Crop(crop.top + box[0].start, crop.left + box[1].start, labels[box] == index)


def _crop_of_ids(objects: Int[np.ndarray, "H W"], chosen: list[int], boxes: list) -> _Crop:
    """Crop of the chosen objects, found within their bounding boxes."""
    rows, columns = zip(*(boxes[object_id - 1] for object_id in chosen), strict=True)
    top, left = min(span.start for span in rows), min(span.start for span in columns)
    window = objects[top : max(span.stop for span in rows), left : max(s.stop for s in columns)]
    return _Crop(top, left, np.isin(window, chosen, kind="table"))


def _grow(
    seeds: list[int], count: int, contacts: Int[np.ndarray, "K K"], rng: np.random.Generator
) -> list[int]:
    """Choose up to `count` objects, each touching an earlier one; long contacts are more likely."""
    chosen = list(seeds)
    while len(chosen) < count:
        weights = contacts[chosen].sum(axis=0)
        weights[chosen] = 0
        if not weights.any():
            break
        chosen.append(int(rng.choice(len(weights), p=weights / weights.sum())))
    return chosen


def _contact_lengths(objects: Int[np.ndarray, "H W"], num_ids: int) -> Int[np.ndarray, "K K"]:
    """Number of pixel edges at which two objects meet; background touches nothing."""
    lengths = np.zeros(num_ids * num_ids, dtype=np.int64)
    for first, second in (
        (objects[:, :-1], objects[:, 1:]),
        (objects[:-1], objects[1:]),
    ):
        meet = (first != second) & (first > 0) & (second > 0)
        pairs = first[meet].astype(np.int64) * num_ids + second[meet]
        lengths += np.bincount(pairs, minlength=len(lengths))
    matrix = lengths.reshape(num_ids, num_ids)
    return matrix + matrix.T


def _border_noise(height: int, width: int, rng: np.random.Generator) -> Float[np.ndarray, "H W"]:
    """Smooth periodic noise of unit variance, which can be read from any offset."""
    correlation = max(0.6, 0.006 * max(height, width))
    noise = rng.standard_normal((height, width), dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, correlation, mode="wrap", truncate=3.0)
    return smooth / smooth.std()


def _roughen(
    crop: _Crop, noise: Float[np.ndarray, "H W"], flaws: Flaws, rng: np.random.Generator
) -> _Crop:
    """Roughen the border: threshold the blurred mask at a level that varies with position."""
    height, width = noise.shape
    if crop.mask.size == 0:
        return crop
    # Large things are outlined coarsely; thin ones finely, or they would vanish.
    span = np.sqrt(_thickness(crop.mask) * max(height, width))
    wander = flaws.jitter * span * rng.uniform(0.5, 1.5)
    blur = max(wander, 0.3)
    margin = int(np.ceil(2 * blur)) + 1
    rows, columns = crop.mask.shape
    # Padded only up to the image's border, so that a mask touching it stays straight there.
    top, left = min(margin, crop.top), min(margin, crop.left)
    bottom = min(margin, height - crop.top - rows)
    right = min(margin, width - crop.left - columns)
    padded = np.pad(crop.mask, ((top, bottom), (left, right))).astype(np.float32)
    soft = ndimage.gaussian_filter(padded, blur, truncate=2.0, mode="nearest")
    ys = (np.arange(padded.shape[0]) + rng.integers(height)) % height
    xs = (np.arange(padded.shape[1]) + rng.integers(width)) % width
    # Near a straight border the blurred mask falls by 0.4 / blur per pixel.
    rough = soft > 0.5 + 0.4 * (wander / blur) * noise[np.ix_(ys, xs)]
    # Away from the border, even the strongest noise adds no pixels and makes no holes.
    rough = (rough & (soft > 0.02)) | (soft > 0.98)
    return _Crop.of(rough, crop.top - top, crop.left - left)


def _thickness(mask: Bool[np.ndarray, "h w"]) -> float:
    """Thickness in pixels: four times the area over the border's length, the side of a square."""
    border = sum(
        np.count_nonzero(np.diff(mask, axis=axis, prepend=False, append=False)) for axis in (0, 1)
    )
    return 4 * np.count_nonzero(mask) / border


def _without_duplicates(crops: list[_Crop], limit: float) -> list[_Crop]:
    """Drop each mask that has an IoU of at least `limit` with an earlier one."""
    areas = [crop.area for crop in crops]
    dropped: set[int] = set()
    for first, second in combinations(range(len(crops)), 2):
        if first in dropped or second in dropped:
            continue
        small, large = sorted((areas[first], areas[second]))
        # The intersection is at most the smaller one, which rules out most pairs.
        if small < limit * large:
            continue
        shared = _shared_pixels(crops[first], crops[second])
        if shared >= limit * (small + large - shared):
            dropped.add(second)
    return [crop for index, crop in enumerate(crops) if index not in dropped]


def _shared_pixels(first: _Crop, second: _Crop) -> int:
    top, left = max(first.top, second.top), max(first.left, second.left)
    bottom = min(first.top + first.mask.shape[0], second.top + second.mask.shape[0])
    right = min(first.left + first.mask.shape[1], second.left + second.mask.shape[1])
    if bottom <= top or right <= left:
        return 0
    cuts = [
        crop.mask[top - crop.top : bottom - crop.top, left - crop.left : right - crop.left]
        for crop in (first, second)
    ]
    return int(np.count_nonzero(cuts[0] & cuts[1]))
