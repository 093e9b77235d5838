"""Answers to clicks, sifted as Segment Anything's automatic mask generator does.

Quality that the model predicts, stability under other thresholds, and duplicates by their boxes:
the rules are those of `segment_anything.SamAutomaticMaskGenerator` 1.0
(github.com/facebookresearch/segment-anything), and so are the results.
"""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy import ndimage
from torch import Tensor

from splat_uff.masks.config import SamSettings
from splat_uff.masks.segmenter import Answers, Encoded
from splat_uff.system.records import array_record

WORK = 256 * 2**20
"""Bytes that the logits of masks take at a time while they are at the photo's size."""
NEAR = 20.0
"""Distance in pixels at which a box counts as touching the border of a crop."""

Box = tuple[int, int, int, int]
"""Left, top, right and bottom of a crop in pixels; right and bottom are past the end."""


@array_record
class Candidates:
    """K masks of a photo, packed within their boxes, in the order in which they were found."""

    packed: tuple[bytes, ...]
    """Compressed bits of each mask within its box."""
    boxes: Int[np.ndarray, "K 4"]
    """First and last column and row of each mask: left, top, right, bottom; 0 if it is empty."""
    quality: Float[np.ndarray, "K"]
    """Overlap with the true mask (IoU) that the model predicts for each."""
    stability: Float[np.ndarray, "K"]
    """Overlap of each with itself at a lower and a higher threshold; NaN for nothing at both."""
    points: Float[np.ndarray, "K 2"]
    """Click (x, y) that each answers, in pixels of the photo."""
    clicks: Int[np.ndarray, "K"]
    """Number of that click."""
    crops: Int[np.ndarray, "K 4"]
    """Crop that each was found in: left, top, right, bottom."""

    def __len__(self) -> int:
        return len(self.packed)

    def pick(self, which: Int[np.ndarray, "J"] | Bool[np.ndarray, "K"]) -> "Candidates":
        """Some of the masks, in the order given."""
        chosen = np.arange(len(self))[which]
        rest = (self.boxes, self.quality, self.stability, self.points, self.clicks, self.crops)
        return Candidates(
            tuple(self.packed[index] for index in chosen), *(each[chosen] for each in rest)
        )

    @staticmethod
    def join(parts: Sequence["Candidates"]) -> "Candidates":
        """Masks of several records, one record after the other; of none, no masks."""
        names = ("boxes", "quality", "stability", "points", "clicks", "crops")
        whole = [NONE, *parts]
        return Candidates(
            tuple(bits for part in parts for bits in part.packed),
            *(np.concatenate([getattr(part, name) for part in whole]) for name in names),
        )

    def within_box(self, index: int) -> Bool[np.ndarray, "h w"]:
        """One mask within its box."""
        left, top, right, bottom = self.boxes[index].tolist()
        height, width = bottom - top + 1, right - left + 1
        bits = np.frombuffer(zlib.decompress(self.packed[index]), np.uint8)
        return np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)

    def whole(self, index: int, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
        """One mask of a photo of the given height and width."""
        left, top, right, bottom = self.boxes[index].tolist()
        mask = np.zeros(size, bool)
        mask[top : bottom + 1, left : right + 1] = self.within_box(index)
        return mask


NONE = Candidates(
    (),
    np.zeros((0, 4), np.int64),
    np.zeros(0, np.float32),
    np.zeros(0, np.float32),
    np.zeros((0, 2)),
    np.zeros(0, np.int64),
    np.zeros((0, 4), np.int64),
)
"""No masks."""


def sift(
    encoded: Encoded,
    points: Float[np.ndarray, "P 2"],
    settings: SamSettings,
    threshold: float,
    crop: Box,
    size: tuple[int, int],
) -> Candidates:
    """Answers to clicks that pass the thresholds of quality and stability.

    Only what passes the first is upsampled, as many at a time as `WORK` holds.

    Args:
        encoded: Crop of the photo, as the model has seen it.
        points: Clicks (x, y) in pixels of the crop.
        settings: Thresholds.
        threshold: Logit above which a pixel is in a mask.
        crop: Crop within the photo; masks at its borders inside the photo are dropped.
        size: Height and width of the photo.
    """
    answers: Answers = encoded.answer(points)
    masks_each = answers.quality.shape[1]
    quality = answers.quality.flatten()
    passed = torch.arange(len(quality), device=quality.device)
    if settings.pred_iou_thresh > 0:
        passed = passed[quality > settings.pred_iou_thresh]
    logits = answers.logits.flatten(0, 1)[passed.to(answers.logits.device)]
    chosen = passed.cpu().numpy()
    qualities = quality[passed].float().cpu().numpy()
    offset = np.array([*crop[:2], *crop[:2]])
    parts, most = [], _at_a_time(crop)
    for first in range(0, len(logits), most):
        large = encoded.upsample(logits[first : first + most])
        index, stability, masks, boxes = _firm(large, settings, threshold)
        del large
        inside = ~_at_border(boxes + offset, crop, size)
        origin = chosen[first + index[inside]]
        packed = tuple(_pack(masks[k], boxes[k]) for k in np.flatnonzero(inside))
        clicks = origin // masks_each
        parts.append(
            Candidates(
                packed,
                boxes[inside] + offset,
                qualities[first + index[inside]],
                stability[inside],
                points[clicks].astype(np.float64) + offset[:2],
                clicks,
                np.tile(np.array(crop), (len(clicks), 1)),
            )
        )
    return Candidates.join(parts)


def without_duplicates(
    found: Candidates, scores: Float[np.ndarray, "K"], limit: float
) -> Candidates:
    """Drop each mask whose box overlaps that of a mask of a higher score; the best come first."""
    return found.pick(_distinct(found.boxes, scores, limit))


def without_small_regions(
    found: Candidates, settings: SamSettings, size: tuple[int, int]
) -> Candidates:
    """Fill small holes and remove small islands; of duplicates, prefer masks without either."""
    least = settings.min_mask_region_area
    packed, boxes = list(found.packed), found.boxes.copy()
    unchanged = np.ones(len(found), np.float32)
    for index in range(len(found)):
        mask = found.whole(index, size)
        cleaned = fill_and_clear(mask, least)
        if cleaned is mask:
            continue
        unchanged[index] = 0
        boxes[index] = _boxes(torch.from_numpy(cleaned)[None])[0]
        packed[index] = _pack(cleaned, boxes[index])
    limit = max(settings.box_nms_thresh, settings.crop_nms_thresh)
    changed = Candidates(
        tuple(packed), boxes, found.quality, found.stability, found.points, found.clicks,
        found.crops,
    )  # fmt: skip
    return without_duplicates(changed, unchanged, limit)


def fill_and_clear(mask: Bool[np.ndarray, "H W"], least: int) -> Bool[np.ndarray, "H W"]:
    """Fill holes and then clear islands of fewer than `least` pixels, joined across corners.

    The largest island stays if all are small.

    Returns:
        The mask itself if there is nothing to do.
    """
    holes = _regions(~mask)
    small = np.bincount(holes.ravel()) < least
    small[0] = False
    filled = mask | small[holes] if small.any() else mask
    islands = _regions(filled)
    sizes = np.bincount(islands.ravel())[1:]
    if not (sizes < least).any():
        return filled
    keep = np.concatenate([[False], sizes >= least])
    if not keep.any():
        keep[1 + np.argmax(sizes)] = True
    return keep[islands]


def _regions(mask: Bool[np.ndarray, "H W"]) -> Int[np.ndarray, "H W"]:
    """Connected region of each pixel, numbered from 1 in reading order; 0 outside the mask."""
    labels = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, structure=np.ones((3, 3)), output=labels)
    return labels


def _distinct(
    boxes: Int[np.ndarray, "K 4"], scores: Float[np.ndarray, "K"], limit: float
) -> Int[np.ndarray, "J"]:
    from torchvision.ops import batched_nms

    kept = batched_nms(
        torch.from_numpy(boxes).float(), torch.from_numpy(scores), torch.zeros(len(boxes)), limit
    )
    return kept.numpy()


def _at_a_time(crop: Box) -> int:
    """Number of masks that are upsampled at a time; models pass through 1024 x 1024 pixels."""
    pixels = max((crop[2] - crop[0]) * (crop[3] - crop[1]), 1 << 20)
    return max(1, WORK // (8 * pixels))


def _firm(
    logits: Float[Tensor, "K H W"], settings: SamSettings, threshold: float
) -> tuple[
    Int[np.ndarray, "J"],
    Float[np.ndarray, "J"],
    Bool[np.ndarray, "J H W"],
    Int[np.ndarray, "J 4"],
]:
    """Which masks are stable, how stable, the masks, and their boxes."""
    offset = settings.stability_score_offset
    inner, outer = (_counts(logits > threshold + off) for off in (offset, -offset))
    stability = inner / outer
    kept = torch.arange(len(logits), device=logits.device)
    if settings.stability_score_thresh > 0:
        kept = kept[stability >= settings.stability_score_thresh]
    masks = logits[kept] > threshold
    return kept.cpu().numpy(), stability[kept].cpu().numpy(), masks.cpu().numpy(), _boxes(masks)


def _counts(masks: Bool[Tensor, "K H W"]) -> Int[Tensor, "K"]:
    """Number of pixels of each mask; on a CPU by NumPy, which counts bytes several times faster."""
    if masks.device.type != "cpu":
        return torch.count_nonzero(masks, dim=(1, 2))
    counts = [int(np.count_nonzero(mask)) for mask in masks.numpy()]
    return torch.tensor(counts, dtype=torch.int64)


def _boxes(masks: Bool[Tensor, "K H W"]) -> Int[np.ndarray, "K 4"]:
    """First and last column and row of each mask; 0 for an empty one."""
    spans = []
    for axis in (1, 2):
        line = masks.any(dim=axis).cpu().numpy()
        first = line.argmax(axis=1)
        last = line.shape[1] - 1 - line[:, ::-1].argmax(axis=1)
        spans.append((first, np.where(line.any(axis=1), last, 0)))
    (left, right), (top, bottom) = spans
    return np.stack([left, top, right, bottom], axis=1).astype(np.int64)


def _at_border(
    boxes: Int[np.ndarray, "K 4"], crop: Box, size: tuple[int, int]
) -> Bool[np.ndarray, "K"]:
    """Whether a box touches a border of its crop that is no border of the photo."""
    photo = np.array([0, 0, size[1], size[0]])
    near_crop = np.abs(boxes - np.array(crop)) <= NEAR
    near_photo = np.abs(boxes - photo) <= NEAR
    return np.any(near_crop & ~near_photo, axis=1)


def _pack(mask: Bool[np.ndarray, "H W"], box: Int[np.ndarray, "4"]) -> bytes:
    left, top, right, bottom = box.tolist()
    return zlib.compress(np.packbits(mask[top : bottom + 1, left : right + 1]).tobytes(), 1)


def unpacked(found: Candidates, size: tuple[int, int]) -> Iterator[Bool[np.ndarray, "H W"]]:
    """Masks at the photo's size, one at a time."""
    return (found.whole(index, size) for index in range(len(found)))
