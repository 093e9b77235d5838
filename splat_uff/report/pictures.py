"""Pictures of a run: records of their content, and the overview as one PNG."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image, ImageDraw, ImageFont

from splat_uff.capture.images import to_bytes
from splat_uff.report.curves import Curves
from splat_uff.report.paint import nested_colours, paint
from splat_uff.system.errors import InputError
from splat_uff.system.files import replacing
from splat_uff.system.records import array_record

TILE = 200
"""Width of one picture in the overview, in pixels."""
GAP, MARGIN, TITLE_HEIGHT = 8, 20, 46
LARGEST_TITLE, SMALLEST_TITLE = 17, 8
"""Font sizes of titles, in pixels."""
WIDER = 1.25
"""Side of a window relative to the longer side of what is in it."""
SMALLEST_WINDOW = 8
"""Pixels of which what is in a window counts at least."""


@array_record
class ReportView:
    """Pictures of one held-out view, all of the photo's size."""

    name: str
    photo: Float[np.ndarray, "H W 3"]
    """Photo, sRGB in [0, 1], preferably composited over white like the labels."""
    rendering: Float[np.ndarray, "H W 3"]
    features: Float[np.ndarray, "H W 3"]
    """Features as colours, see `feature_colours`."""
    labels: Int[np.ndarray, "L H W"]
    """Segments at L granularities, from fine to coarse; 0 is none."""
    objects: Int[np.ndarray, "_ _"] | None = None
    """True objects, if there is ground truth."""
    collections: Int[np.ndarray, "_ _"] | None = None
    """True collections, which give related colours to the parts of one thing."""


@array_record
class Report:
    """Content of the page by `write_report` and of the picture by `write_overview`."""

    scene: str
    metrics: dict[str, Any]
    """Content of `metrics.json`, as for `score_table`."""
    views: tuple[ReportView, ...]
    """Views, of which the first four are shown."""
    colours: tuple[Float[np.ndarray, "_ 3"], ...]
    """Table of colours for each of the L granularities, from `nested_colours`."""
    masks: str
    """Origin of the 2D masks: `simulated`, `imported` or `none`."""
    curves: Curves = field(default_factory=dict)
    """Training curves, from `read_log`."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the run, with names joined by dots: `gaussians.steps`."""
    sheet: Float[np.ndarray, "A B 3"] | None = None
    """All virtual photos side by side, if there are no others."""
    borders: Float[np.ndarray, "A B 3"] | None = None
    """Parts alone, before and after their borders were cleaned, if they were."""

    def __post_init__(self) -> None:
        for view in self.views:
            if len(view.labels) != len(self.colours) or not self.colours:
                raise InputError(
                    f"view {view.name} has {len(view.labels)} granularities and there are "
                    f"{len(self.colours)} tables of colours; expected as many, and at least one."
                )

    @property
    def num_segments(self) -> tuple[int, ...]:
        """Number of segments at each granularity, from fine to coarse."""
        return tuple(len(table) - 1 for table in self.colours)

    @property
    def shown(self) -> dict[str, int]:
        """Names of up to three granularities, coarse to fine, and their places.

        If there are many, the extremes are left out: two segments show little, and hundreds are
        hard to read.
        """
        last = len(self.colours) - 1
        if last < 2:
            return {"coarse": 1, "fine": 0} if last else {"segments": 0}
        edge = last // 5
        return {"coarse": last - edge, "medium": last // 2, "fine": edge}


@dataclass(frozen=True)
class Window:
    """Square of a picture around something in it; it may reach beyond the picture."""

    top: int
    """First row, in pixels."""
    left: int
    """First column, in pixels."""
    side: int

    @staticmethod
    def around(top: int, left: int, rows: int, columns: int) -> "Window":
        """Square around a rectangle, with an eighth of its side on either side."""
        side = int(np.ceil(WIDER * max(rows, columns, SMALLEST_WINDOW)))
        return Window(top + (rows - side) // 2, left + (columns - side) // 2, side)

    @staticmethod
    def of(inside: Bool[np.ndarray, "H W"]) -> "Window":
        """Square around the pixels that are true, of which there is at least one."""
        rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
        return Window.around(int(rows[0]), int(columns[0]), int(height), int(width))

    def cut(self, picture: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "S S 3"]:
        """The square of a picture, white beyond it."""
        side = self.side
        padded = np.pad(picture, ((side, side), (side, side), (0, 0)), constant_values=1)
        top, left = self.top + side, self.left + side
        return padded[top : top + side, left : left + side]


@array_record
class Picture:
    """One titled picture of a view."""

    title: str
    pixels: Float[np.ndarray, "H W 3"]
    """Colours, sRGB in [0, 1]."""
    is_flat: bool = False
    """Whether it shows segments, whose edges must stay sharp when enlarged."""


def view_pictures(report: Report) -> list[list[Picture]]:
    """Pictures of each shown view, in reading order."""
    views = report.views[:4]
    rows = []
    for view, truth in zip(views, _paint_truth(views), strict=True):
        row = [
            Picture("photo", view.photo),
            Picture("rendering", view.rendering),
            Picture("features (PCA)", view.features),
        ]
        for name, place in report.shown.items():
            title = f"{name}, {segments_in_words(report.num_segments[place])}"
            row.append(Picture(title, paint(view.labels[place], report.colours[place]), True))
        if truth is not None:
            row.append(Picture("true objects", truth, True))
        rows.append(row)
    return rows


def write_overview(path: Path, report: Report) -> None:
    """Write one PNG with a row for each of up to four views and a titled column for each picture.

    Args:
        path: File to write; an existing one is replaced.
        report: Report whose views are shown.

    Raises:
        InputError: If the report has no views.
    """
    rows = view_pictures(report)
    if not rows:
        raise InputError("the report has no views; expected at least one to draw the overview.")
    write_sheet(path, rows)


def write_sheet(path: Path, rows: Sequence[Sequence[Picture]]) -> None:
    """Write one PNG with a row of pictures for each view and a column for each title.

    Args:
        path: File to write; an existing one is replaced.
        rows: Rows of pictures, at least one of each; the first picture of a row sets its height.
    """
    titles = list(dict.fromkeys(picture.title for row in rows for picture in row))
    heights = [_height_at(row[0].pixels, TILE) for row in rows]
    width = 2 * MARGIN + len(titles) * (TILE + GAP) - GAP
    height = MARGIN + TITLE_HEIGHT + sum(heights) + GAP * (len(rows) - 1) + MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(sheet)
    font = _title_font(titles)
    for column, title in enumerate(titles):
        centre = MARGIN + column * (TILE + GAP) + TILE / 2
        draw.text((centre, MARGIN + TITLE_HEIGHT / 2 - 4), title, "#222", font, anchor="mm")
    top = MARGIN + TITLE_HEIGHT
    for row, row_height in zip(rows, heights, strict=True):
        for picture in row:
            left = MARGIN + titles.index(picture.title) * (TILE + GAP)
            sheet.paste(_enlarged(picture), (left, top))
        top += row_height + GAP
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)


def segments_in_words(number: int) -> str:
    """Write a number of segments in words: `1 segment`, `2 segments`."""
    return f"{number} segment{'' if number == 1 else 's'}"


def data_uri(picture: Float[np.ndarray, "H W 3"]) -> str:
    """Encode a picture as a `data:` URI that holds its PNG."""
    pixels = to_bytes(picture).astype(np.int64)
    codes, places = np.unique(pixels @ [1 << 16, 1 << 8, 1], return_inverse=True)
    if len(codes) <= 256:
        # With a palette, flat colours take a third of the space and stay exact.
        image = Image.fromarray(places.reshape(pixels.shape[:2]).astype(np.uint8))
        image.putpalette([int(code) >> shift & 255 for code in codes for shift in (16, 8, 0)])
    else:
        image = Image.fromarray(to_bytes(picture))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _paint_truth(views: tuple[ReportView, ...]) -> list[Float[np.ndarray, "H W 3"] | None]:
    """Paint the true objects of all views with one table, so that an id keeps its colour."""
    known = [view for view in views if view.objects is not None]
    if not known:
        return [None] * len(views)
    objects = np.concatenate([view.objects.ravel() for view in known if view.objects is not None])
    cuts = [objects]
    if all(view.collections is not None for view in known):
        cuts.append(
            np.concatenate([v.collections.ravel() for v in known if v.collections is not None])
        )
    table = nested_colours(cuts)[0]
    return [paint(view.objects, table) if view.objects is not None else None for view in views]


def _title_font(titles: Sequence[str]) -> Any:
    """Font of the titles, as large as possible with each title fitting its column."""
    sizes = range(LARGEST_TITLE, SMALLEST_TITLE, -1)
    fonts = (ImageFont.load_default(size=size) for size in sizes)
    fitting = (font for font in fonts if all(font.getlength(title) <= TILE for title in titles))
    return next(fitting, ImageFont.load_default(size=SMALLEST_TITLE))


def _height_at(picture: Float[np.ndarray, "H W 3"], width: int) -> int:
    return max(round(picture.shape[0] * width / picture.shape[1]), 1)


def _enlarged(picture: Picture) -> Image.Image:
    image = Image.fromarray(to_bytes(picture.pixels))
    method = Image.Resampling.NEAREST if picture.is_flat else Image.Resampling.LANCZOS
    return image.resize((TILE, _height_at(picture.pixels, TILE)), method)
