"""Places to click next: where nothing answers yet, or only what is coarse for its surroundings."""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from splat_uff.masks.sifting import Candidates

CANVAS = 256
"""Longer side of the canvas on which places are compared; the resolution of models' own masks."""
COARSE = 8
"""Number of clicks along each side of the first round."""
EXPLAINED = 0.3
"""Worth of a pixel whose finest mask is of the usual size; 1 where nothing answered."""
FRUITLESS = 0.05
"""Least share of clicks around a pixel that counts as having found something new."""
SAME = 0.7
"""Overlap of boxes above which a click's finest mask is nothing new."""
NEIGHBOURHOOD = 0.125
"""Standard deviation of what counts as around a click, in longer sides of the canvas."""
INTERIOR = 3.0
"""Most distance from earlier clicks that counts, in distances from the nearest border of a mask."""
LEAST = 0.2
"""Score of a click below which none is left to ask: worth times the root of canvas pixels."""


class Clicks:
    """Clicks on one photo and what they answered so far.

    A click scores the root of its distance from earlier ones, but of no more than a multiple of its
    distance from the borders of the masks known so far, as what is asked at borders is ambiguous.
    It scores less where clicks around found nothing new, and where an earlier click's finest mask
    answers already, unless that mask is much larger than those of clicks around it.

    Args:
        size: Height and width of the photo.
        where: Pixels that may be clicked; all if None.
    """

    def __init__(self, size: tuple[int, int], where: Bool[np.ndarray, "H W"] | None) -> None:
        scale = min(1.0, CANVAS / max(size))
        height, width = (max(1, round(side * scale)) for side in size)
        self._rows = ((np.arange(height) + 0.5) * size[0] / height).astype(np.int64)
        self._columns = ((np.arange(width) + 0.5) * size[1] / width).astype(np.int64)
        self._scale = np.array([width / size[1], height / size[0]])
        self._open = np.ones((height, width), bool)
        if where is not None:
            self._open = where[np.ix_(self._rows, self._columns)]
        self._distance = np.full((height, width), np.inf)
        self._finest = np.full((height, width), np.inf)
        self._asked: list[tuple[int, int]] = []
        self._answered: list[tuple[int, int]] = []
        self._fruitful: list[tuple[int, int]] = []
        self._boxes = np.zeros((0, 4))
        self._sizes: list[float] = []

    @property
    def coverage(self) -> float:
        """Share of the pixels that may be clicked which are in some click's finest mask."""
        return float(np.isfinite(self._finest[self._open]).mean()) if self._open.any() else 1.0

    def coarse(self, most: int) -> Float[np.ndarray, "P 2"]:
        """Clicks of the first round: in each cell of a grid the free pixel nearest its centre."""
        if not self._open.any():
            return np.zeros((0, 2))
        side = max(1, min(COARSE, int(most**0.5)))
        spans = []
        for axis in (1, 0):  # Rows that have any free pixel, then columns.
            free = np.flatnonzero(self._open.any(axis=axis))
            spans.append(np.linspace(free[0], free[-1] + 1, side + 1))
        chosen = []
        for top, bottom in zip(spans[0][:-1], spans[0][1:], strict=True):
            for left, right in zip(spans[1][:-1], spans[1][1:], strict=True):
                cell = np.s_[int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))]
                rows, columns = np.nonzero(self._open[cell])
                if len(rows) == 0:
                    continue
                rows, columns = rows + cell[0].start, columns + cell[1].start
                off = np.hypot(rows + 0.5 - (top + bottom) / 2, columns + 0.5 - (left + right) / 2)
                nearest = off.argmin()
                place = int(rows[nearest]), int(columns[nearest])
                if self._distance[place] > min(right - left, bottom - top) / 2:
                    chosen.append(place)
        return self._points(chosen)

    def best(self, most: int) -> Float[np.ndarray, "P 2"]:
        """Clicks (x, y) of the next round in pixels of the photo, at most so many; or none."""
        worth, distance = self._worth(), self._distance.copy()
        reach = INTERIOR * self._interior()
        ys, xs = np.indices(distance.shape, dtype=np.float32)
        chosen = []
        for _ in range(most):
            score = worth * np.sqrt(np.minimum(distance, reach))
            place = np.unravel_index(score.argmax(), score.shape)
            if not score[place] >= LEAST:
                break
            chosen.append((int(place[0]), int(place[1])))
            np.minimum(distance, np.hypot(ys - place[0], xs - place[1]), out=distance)
        return self._points(chosen)

    def heed(self, points: Float[np.ndarray, "P 2"], found: Candidates, crop: tuple) -> None:
        """Take in what clicks answered.

        Args:
            points: Clicks, in pixels of the crop.
            found: Masks that they answered, numbered by `clicks` from 0.
            crop: Left and top of the crop that the canvas shows, within the photo.
        """
        ys, xs = np.indices(self._distance.shape) + 0.5
        size = len(self._rows), len(self._columns)
        areas = np.array([np.count_nonzero(found.within_box(k)) for k in range(len(found))])
        for number, (x, y) in enumerate(points * self._scale):
            np.minimum(self._distance, np.hypot(xs - x, ys - y), out=self._distance)
            place = min(int(y), size[0] - 1), min(int(x), size[1] - 1)
            self._asked.append(place)
            answers = np.flatnonzero(found.clicks == number)
            answers = answers[areas[answers] > 0]
            if len(answers) == 0:
                continue
            finest = int(answers[areas[answers].argmin()])
            area = float(areas[finest])
            self._answered.append(place)
            self._sizes.append(float(np.log(area)))
            box = found.boxes[finest]
            if not (_overlaps(self._boxes, box) > SAME).any():
                self._boxes = np.concatenate([self._boxes, box[None]])
                self._fruitful.append(place)
            self._paint(found, finest, crop, area)

    def _paint(self, found: Candidates, index: int, crop: tuple, area: float) -> None:
        left, top, right, bottom = found.boxes[index] - np.array([*crop[:2], *crop[:2]])
        rows = np.flatnonzero((self._rows >= top) & (self._rows <= bottom))
        columns = np.flatnonzero((self._columns >= left) & (self._columns <= right))
        if len(rows) == 0 or len(columns) == 0:
            return
        inside = found.within_box(index)[
            np.ix_(self._rows[rows] - top, self._columns[columns] - left)
        ]
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        known = self._finest[window]
        self._finest[window] = np.where(inside, np.minimum(known, area), known)

    def _worth(self) -> Float[np.ndarray, "h w"]:
        """Worth of asking at each pixel, without regard to distances."""
        worth = np.where(self._open, 1.0, 0.0)
        if not self._asked:
            return worth
        asked = self._around(self._asked, np.ones(len(self._asked)))
        fruitful = self._around(self._fruitful, np.ones(len(self._fruitful)))
        rate = np.maximum((fruitful + 1) / (asked + 1), FRUITLESS)
        if self._sizes:
            answered = self._around(self._answered, np.ones(len(self._answered)))
            mean = float(np.mean(self._sizes))
            excess = self._around(self._answered, np.array(self._sizes) - mean)
            usual = mean + excess / (answered + 1)
            known = np.isfinite(self._finest)
            longer = np.exp((np.log(self._finest[known]) - usual[known]) / 2)  # As lengths.
            worth[known] = self._open[known] * np.clip(EXPLAINED * longer, EXPLAINED / 2, 1)
        return worth * rate

    def _around(
        self, places: list[tuple[int, int]], values: Float[np.ndarray, "P"]
    ) -> Float[np.ndarray, "h w"]:
        """Sum of the values of clicks around each pixel, which fade with distance; 1 at a click."""
        image = np.zeros(self._open.shape)
        np.add.at(image, tuple(np.array(places, np.int64).reshape(-1, 2).T), values)
        radius = NEIGHBOURHOOD * max(image.shape)
        blurred = ndimage.gaussian_filter(image, radius, mode="constant", truncate=3.0)
        return blurred * (2 * np.pi * radius**2)

    def _interior(self) -> Float[np.ndarray, "h w"]:
        """Distance of each pixel from the nearest border of what is known or may be clicked."""
        border = ~self._open
        for each in (self._finest, self._open):
            beside = each[:, 1:] != each[:, :-1]
            border[:, 1:] |= beside
            border[:, :-1] |= beside
            beside = each[1:] != each[:-1]
            border[1:] |= beside
            border[:-1] |= beside
        if not border.any():
            return np.full(border.shape, float(max(border.shape)))
        return np.asarray(ndimage.distance_transform_edt(~border)) + 0.5

    def _points(self, places: list[tuple[int, int]]) -> Float[np.ndarray, "P 2"]:
        rows, columns = np.array(places, np.int64).reshape(-1, 2).T
        return np.stack([self._columns[columns] + 0.5, self._rows[rows] + 0.5], axis=1)


def _overlaps(boxes: Float[np.ndarray, "K 4"], box: Int[np.ndarray, "4"]) -> Float[np.ndarray, "K"]:
    """Overlap (IoU) of boxes, whose last rows and columns count, with one more."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2]) + 1
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1)
    return shared / (areas + (box[2:] - box[:2] + 1).prod() - shared)
