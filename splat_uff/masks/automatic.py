"""Masks of a photo, by clicks all over it, with any model that answers clicks.

A regular grid of clicks gives the masks of `segment_anything.SamAutomaticMaskGenerator` 1.0
(github.com/facebookresearch/segment-anything) with the same model; adaptive clicks ask only where
answers are lacking. Answers stay packed, and only as many are at the photo's size at a time as
256 MB hold. For a photo of 3840 x 2160 pixels, 192 masks take 0.3 GB besides the model; each mask
that is kept adds 1 MB.
"""

import math
import time
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from splat_uff.masks.clicks import Clicks
from splat_uff.masks.config import Prompting, SamSettings
from splat_uff.masks.records import MaskSet
from splat_uff.masks.segmenter import Encoded, Segmenter
from splat_uff.masks.sifting import (
    Box,
    Candidates,
    sift,
    unpacked,
    without_duplicates,
    without_small_regions,
)
from splat_uff.system.errors import InputError
from splat_uff.system.records import array_record

ROUND = 32
"""Number of adaptive clicks between two looks at what is covered."""
NOVELTY = 0.1
"""New masks per click below which a round of adaptive clicks counts as fruitless."""
GAIN = 0.002
"""Rise of the coverage below which it does, too."""
PATIENCE = 2
"""Number of fruitless rounds in a row after which no more clicks follow."""


@array_record
class Generated:
    """M masks of a photo, the best first."""

    masks: MaskSet
    quality: Float[np.ndarray, "M"]
    """Overlap with the true mask (IoU) that the model predicts for each."""
    stability: Float[np.ndarray, "M"]
    """Overlap of each with itself at a lower and a higher threshold; NaN for an empty mask."""
    boxes: Int[np.ndarray, "M 4"]
    """First and last column and row of each, in pixels: left, top, right, bottom."""
    points: Float[np.ndarray, "M 2"]
    """Click (x, y) that each answers, in pixels."""
    crops: Int[np.ndarray, "M 4"]
    """Crop that each was found in: left, top, right, bottom."""
    prompts: int
    """Number of clicks."""


@torch.no_grad()
def generate_masks(
    segmenter: Segmenter,
    image: UInt8[np.ndarray, "H W 3"],
    settings: SamSettings,
    prompting: Prompting,
    *,
    where: Bool[np.ndarray, "h w"] | None = None,
    seeds: Float[np.ndarray, "P 2"] | None = None,
) -> Generated:
    """Segment a photo into masks of all sizes.

    Args:
        segmenter: Model that answers clicks.
        image: Photo.
        settings: Thresholds, crops and the density of a grid.
        prompting: Kind of clicks, and how many at most.
        where: Pixels of the photo (H x W) that may be clicked; all if None.
        seeds: Clicks (x, y) in pixels that come first, and count as any others.

    Raises:
        InputError: If `where` is not of the photo's size, or a seed lies outside the photo.
    """
    size = image.shape[:2]
    _check(size, where, seeds)
    crops = crop_boxes(size, settings)
    parts, prompts, seconds = [], 0, 0.0
    for number, (crop, layer) in enumerate(crops):
        left, top, right, bottom = crop
        encoded = segmenter.encode(image[top:bottom, left:right])
        start = time.perf_counter()
        asking = _Asking(encoded, settings, segmenter.threshold, crop, size)
        free = None if where is None else where[top:bottom, left:right]
        first = _within(seeds, crop)
        if prompting.clicks == "grid":
            found, asked = _ask_grid(asking, layer, free, first)
        else:
            share = -(-(prompting.prompts - prompts) // (len(crops) - number))
            limit = prompting.seconds_per_photo
            rest = (limit - seconds) / (len(crops) - number) if limit else math.inf
            found, asked = _ask_adaptively(asking, share, start + rest, free, first)
        seconds += time.perf_counter() - start
        prompts += asked
        parts.append(without_duplicates(found, found.quality, settings.box_nms_thresh))
    found = Candidates.join(parts)
    if len(crops) > 1:
        sides = (found.crops[:, 2:] - found.crops[:, :2]).astype(np.int64)
        areas = torch.from_numpy(sides.prod(axis=1))
        found = without_duplicates(found, (1 / areas).numpy(), settings.crop_nms_thresh)
    if settings.min_mask_region_area and len(found):
        found = without_small_regions(found, settings, size)
    return _finished(found, size, prompts)


def crop_boxes(size: tuple[int, int], settings: SamSettings) -> list[tuple[Box, int]]:
    """The whole photo and its crops, each with its layer.

    Layer i has 2**i x 2**i crops, which overlap by a share of the photo's shorter side that is
    halved with each layer.
    """
    height, width = size
    boxes: list[tuple[Box, int]] = [((0, 0, width, height), 0)]
    for layer in range(1, settings.crop_n_layers + 1):
        across = 2**layer
        overlap = int(settings.crop_overlap_ratio * min(size) * (2 / across))
        wide, high = (
            math.ceil((overlap * (across - 1) + side) / across) for side in (width, height)
        )
        for column, row in product(range(across), range(across)):
            left, top = column * (wide - overlap), row * (high - overlap)
            box = left, top, min(left + wide, width), min(top + high, height)
            boxes.append((box, layer))
    return boxes


def grid_points(side: int, size: tuple[int, int]) -> Float[np.ndarray, "P 2"]:
    """Centres (x, y) of the cells of a regular grid, in pixels, row by row."""
    half = 1 / (2 * side)
    line = np.linspace(half, 1 - half, side)
    xs, ys = np.meshgrid(line, line)
    return np.stack([xs.ravel(), ys.ravel()], axis=1) * np.array(size[::-1])


@array_record
class _Asking:
    """A crop of a photo that answers clicks."""

    encoded: Encoded
    settings: SamSettings
    threshold: float
    crop: Box
    size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the crop."""
        left, top, right, bottom = self.crop
        return bottom - top, right - left

    def ask(self, points: Float[np.ndarray, "P 2"]) -> Candidates:
        """Answers to a batch of clicks that pass the thresholds."""
        return sift(self.encoded, points, self.settings, self.threshold, self.crop, self.size)


def _ask_grid(
    asking: _Asking,
    layer: int,
    where: Bool[np.ndarray, "h w"] | None,
    seeds: Float[np.ndarray, "P 2"],
) -> tuple[Candidates, int]:
    settings = asking.settings
    side = int(settings.points_per_side / settings.crop_n_points_downscale_factor**layer)
    points = grid_points(side, asking.shape) if side else np.zeros((0, 2))
    if where is not None:
        columns, rows = points.astype(np.int64).T
        points = points[where[rows, columns]]
    points = np.concatenate([seeds, points])
    batch = settings.points_per_batch
    parts = [asking.ask(points[i : i + batch]) for i in range(0, len(points), batch)]
    return Candidates.join(parts), len(points)


def _ask_adaptively(
    asking: _Asking,
    budget: int,
    deadline: float,
    where: Bool[np.ndarray, "h w"] | None,
    seeds: Float[np.ndarray, "P 2"],
) -> tuple[Candidates, int]:
    """Rounds of clicks, until they bring nothing new, or clicks or time are spent."""
    clicks = Clicks(asking.shape, where)
    found, asked, fruitless = Candidates.join([]), 0, 0
    rounds = 0
    points = seeds[:budget]
    while fruitless < PATIENCE:
        before, news = clicks.coverage, 0
        for first in range(0, len(points), asking.settings.points_per_batch):
            if time.perf_counter() >= deadline:
                return found, asked
            some = points[first : first + asking.settings.points_per_batch]
            answers = asking.ask(some)
            clicks.heed(some, answers, asking.crop)
            news += _count_new(answers, found, asking.settings.box_nms_thresh)
            found, asked = Candidates.join([found, answers]), asked + len(some)
        if rounds >= 2:  # The seeds and the first grid may find nothing.
            idle = news < NOVELTY * len(points) and clicks.coverage - before < GAIN
            fruitless = fruitless + 1 if idle else 0
        rest = budget - asked
        points = clicks.coarse(rest)[:rest] if rounds == 0 else clicks.best(min(ROUND, rest))
        rounds += 1
        if len(points) == 0 and rounds > 1:
            break
    return found, asked


def _count_new(answers: Candidates, known: Candidates, limit: float) -> int:
    """Number of answers whose boxes are no duplicates of known ones."""
    from torchvision.ops import box_iou

    if len(answers) == 0 or len(known) == 0:
        return len(answers)
    new, old = (torch.from_numpy(each.boxes).float() for each in (answers, known))
    overlap = box_iou(new, old)
    return int((~(overlap > limit).any(dim=1)).sum())


def _within(seeds: Float[np.ndarray, "P 2"] | None, crop: Box) -> Float[np.ndarray, "Q 2"]:
    """Seeds inside a crop, in its pixels."""
    if seeds is None:
        return np.zeros((0, 2))
    left, top, right, bottom = crop
    inside = (seeds >= (left, top)).all(axis=1) & (seeds < (right, bottom)).all(axis=1)
    return seeds[inside].astype(np.float64) - (left, top)


def _check(
    size: tuple[int, int],
    where: Bool[np.ndarray, "h w"] | None,
    seeds: Float[np.ndarray, "P 2"] | None,
) -> None:
    height, width = size
    if where is not None and where.shape != size:
        raise InputError(
            f"where is of {where.shape[1]}x{where.shape[0]} pixels, the photo of {width}x{height}; "
            "pass one value for each pixel."
        )
    if seeds is None or len(seeds) == 0:
        return
    inside = np.isfinite(seeds).all(axis=1) & (seeds >= 0).all(axis=1)
    inside &= (seeds < (width, height)).all(axis=1)
    if not inside.all():
        x, y = seeds[~inside][0]
        raise InputError(
            f"a seed lies at ({x:g}, {y:g}), outside the photo of {width}x{height} pixels; pass "
            "columns and rows of its pixels."
        )


def _finished(found: Candidates, size: tuple[int, int], prompts: int) -> Generated:
    height, width = size
    packed = np.zeros((len(found), -(-height * width // 8)), np.uint8)
    for index, mask in enumerate(unpacked(found, size)):
        packed[index] = np.packbits(mask.reshape(-1))
    return Generated(
        MaskSet(packed, height, width),
        found.quality,
        found.stability,
        found.boxes,
        found.points,
        found.crops,
        prompts,
    )
