"""Contact sheet of masks over photos: whether masks are good is seen before anything is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from PIL import Image, ImageDraw, ImageFont

from splat_uff.capture.images import to_bytes
from splat_uff.capture.records import Capture, View
from splat_uff.masks.judge import OPAQUE, masks_of_scene, require_masks_of
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.masks.verdict import BadView, MaskJudgement
from splat_uff.report.paint import nested_colours, paint
from splat_uff.system.errors import InputError
from splat_uff.system.files import replacing
from splat_uff.system.records import array_record

MOST_VIEWS = 24
SIDE = 220
"""Longer side of one picture, in pixels."""
COLUMNS = ("photo", "coarse masks", "fine masks", "borders of all masks")
WIDTH = 2000
"""Width of the sheet that is filled with views side by side, in pixels."""
GAP, MARGIN, CAPTION, HEAD = 6, 20, 20, 84
COARSE = 0.25
"""Share of the scene up to which a mask is painted as coarse."""
STRENGTH = 0.65
"""Share of a mask's colour where it lies over the photo."""
UNMASKED = 0.45
"""Brightness of the photo where there is no mask."""
INK, WARNING = "#222222", "#c0182a"
COARSE_BORDER, FINE_BORDER = np.array([1.0, 0.1, 0.2]), np.array([1.0, 0.95, 0.2])


@array_record
class _Levels:
    """Masks of a view as label maps; 0 is no mask."""

    coarse: Int[np.ndarray, "H W"]
    """Largest mask of at most `COARSE`, or the smallest if all are larger."""
    fine: Int[np.ndarray, "H W"]
    """Smallest mask of each pixel."""
    regions: Int[np.ndarray, "H W"]
    """Regions that the borders of all masks divide the picture into."""
    count: int
    """Number of distinct masks of the scene."""


def write_mask_sheet(
    path: Path,
    capture: Capture,
    bags: Sequence[tuple[MaskSet, MaskTree]],
    *,
    judgement: MaskJudgement | None = None,
    most: int = MOST_VIEWS,
) -> None:
    """Write one PNG with the photo and the masks of some training views, coarse and fine.

    Pixels in no mask are dark. Views that were judged the worst come first, with the reasons in
    red; the others are chosen evenly, in the order of the capture.

    Args:
        path: File to write; an existing one is replaced.
        capture: Capture with the views.
        bags: Masks of its training views and their trees, for example from `gather_masks`.
        judgement: Judgement of these masks, if the worst views are to be shown.
        most: Most views to show.

    Raises:
        InputError: If there are no views, or the masks do not fit them.
    """
    require_masks_of(capture.train, bags)
    if not capture.train or most < 1:
        raise InputError("no views to draw masks of; expected at least one.")
    worst = judgement.worst if judgement else ()
    bad = {each.view: each for each in worst if each.reasons or each.agreement is not None}
    chosen = _chosen([view.name for view in capture.train], list(bad), most)
    cells = []
    for index in chosen:
        view, (masks, tree) = capture.train[index], bags[index]
        scene = view.image[..., 3] >= OPAQUE if capture.has_alpha else None
        levels = _levels(masks, tree, scene)
        cells.append((_captions(view, levels, bad.get(view.name)), _tiles(view, levels)))
    title = f"{capture.name}: masks of {len(chosen)} of {len(bags)} views"
    with replacing(path) as temporary:
        _sheet(title, cells).save(temporary, format="PNG", optimize=True)


def _chosen(names: Sequence[str], bad: Sequence[str], most: int) -> list[int]:
    """Indices of the views to show: the bad ones, then an even choice of the others."""
    places = {name: index for index, name in enumerate(names)}
    first = [places[name] for name in bad if name in places][:most]
    others = [index for index in range(len(names)) if index not in first]
    room = min(most - len(first), len(others))
    even = np.linspace(0, len(others) - 1, room).round().astype(int) if room else []
    return [*first, *(others[place] for place in even)]


def _levels(masks: MaskSet, tree: MaskTree, scene: Bool[np.ndarray, "H W"] | None) -> _Levels:
    regions, members = masks_of_scene(masks, tree, None if scene is None else scene.ravel())
    areas = members @ regions.sizes
    limit = COARSE * (masks.height * masks.width if scene is None else scene.sum())
    order = np.argsort(areas, kind="stable")  # Mask k + 1 is the k-th smallest.
    numbers = np.arange(1, len(order) + 1)[:, None]
    ordered = members[order]
    fine = np.where(ordered, numbers, len(order) + 1).min(axis=0, initial=len(order) + 1)
    fine[fine > len(order)] = 0
    small = ordered & (areas[order] <= limit)[:, None]
    coarse = np.where(small, numbers, 0).max(axis=0, initial=0)
    coarse = np.where(coarse == 0, fine, coarse)
    maps = (labels[regions.of_pixel] for labels in (coarse, fine))
    shape = masks.height, masks.width
    coarse, fine = (labels.reshape(shape) for labels in maps)
    return _Levels(coarse, fine, regions.of_pixel.reshape(shape), len(order))


def _tiles(view: View, levels: _Levels) -> list[Image.Image]:
    """Pictures of one view in the order of `COLUMNS`, all of the same size."""
    height, width = levels.fine.shape
    scale = SIDE / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    whole = Image.fromarray(to_bytes(view.composite(np.ones(3)).clip(0, 1)))
    photo = np.asarray(whole.resize(size, Image.Resampling.LANCZOS), np.float64) / 255
    alpha = Image.fromarray(to_bytes(view.image[..., 3].clip(0, 1)))
    clear = np.asarray(alpha.resize(size, Image.Resampling.BILINEAR))[..., None] < 128
    rows = ((np.arange(size[1]) + 0.5) * height / size[1]).astype(int)
    columns = ((np.arange(size[0]) + 0.5) * width / size[0]).astype(int)
    fine, coarse, regions = (
        labels[np.ix_(rows, columns)] for labels in (levels.fine, levels.coarse, levels.regions)
    )
    grey = photo.mean(axis=2, keepdims=True)
    tiles = [photo]
    tables = nested_colours([fine.ravel(), coarse.ravel()])
    for labels, table in ((coarse, tables[1]), (fine, tables[0])):
        painted = STRENGTH * paint(labels, table) + (1 - STRENGTH) * grey
        bare = np.where(clear, grey, UNMASKED * grey)
        tile = np.where(labels[..., None] > 0, painted, bare)
        tile[_borders(labels)] *= 0.55
        tiles.append(tile)
    lined = np.where(clear, grey, 0.75 * grey) + np.zeros(3)
    lined[_borders(regions)] = FINE_BORDER
    lined[_borders(coarse)] = COARSE_BORDER
    tiles.append(lined)
    return [Image.fromarray(to_bytes(tile)) for tile in tiles]


def _borders(labels: Int[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Whether the pixel to the right or below has another label."""
    borders = np.zeros(labels.shape, bool)
    borders[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    borders[:-1] |= labels[1:] != labels[:-1]
    return borders


def _captions(view: View, levels: _Levels, bad: BadView | None) -> tuple[str, str]:
    """Caption of a view, and what is wrong with it."""
    count = f"{levels.count} mask{'' if levels.count == 1 else 's'}"
    parts = [view.name, count]
    if bad is not None and bad.agreement is not None:
        parts.append(f"agreement {bad.agreement:.2f}")
    return ",  ".join(parts), "; ".join(bad.reasons) if bad is not None else ""


def _sheet(title: str, cells: Sequence[tuple[tuple[str, str], list[Image.Image]]]) -> Image.Image:
    tall = max(tiles[0].height for _, tiles in cells)
    wide = max(tiles[0].width for _, tiles in cells)
    above = CAPTION * (2 if any(wrong for (_, wrong), _ in cells) else 1)
    cell = len(COLUMNS) * (wide + GAP) - GAP, above + tall
    across = min(max(WIDTH // cell[0], 1), len(cells))
    down = -(-len(cells) // across)
    width = 2 * MARGIN + across * (cell[0] + MARGIN) - MARGIN
    sheet = Image.new("RGB", (width, HEAD + down * (cell[1] + GAP) + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    fonts = {size: ImageFont.load_default(size=size) for size in (12, 14, 18)}
    draw.text((MARGIN, 14), title, INK, fonts[18])
    note = "Dark: in no mask. Red: borders of coarse masks; yellow: of all others."
    draw.text((MARGIN, 38), _fitting(note, fonts[14], width - 2 * MARGIN), INK, fonts[14])
    for column in range(across):
        left = MARGIN + column * (cell[0] + MARGIN)
        for place, name in enumerate(COLUMNS):
            centre = left + place * (wide + GAP) + wide / 2
            draw.text((centre, HEAD - 12), name, INK, fonts[14], anchor="mm")
    for number, (captions, tiles) in enumerate(cells):
        left = MARGIN + number % across * (cell[0] + MARGIN)
        top = HEAD + number // across * (cell[1] + GAP)
        name, wrong = captions
        draw.text((left, top + 2), name, WARNING if wrong else INK, fonts[14])
        draw.text((left, top + 19), _fitting(wrong, fonts[12], cell[0]), WARNING, fonts[12])
        for place, tile in enumerate(tiles):
            sheet.paste(tile, (left + place * (wide + GAP), top + above))
    return sheet


def _fitting(text: str, font: Any, width: float) -> str:
    """Text, cut off where it would not fit."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text} ...") > width:
        text = text[:-1]
    return f"{text} ..."
