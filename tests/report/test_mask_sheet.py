"""Sheets of masks, looked at pixel by pixel, and the table of a judgement."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from splat_uff.masks.judge import judge_views
from splat_uff.masks.records import MaskSet
from splat_uff.masks.tree import build_tree
from splat_uff.masks.verdict import BadView, MaskJudgement, judgement_of
from splat_uff.report.judgement import judgement_table
from splat_uff.report.mask_sheet import (
    COLUMNS,
    GAP,
    HEAD,
    MARGIN,
    SIDE,
    _chosen,
    _levels,
    write_mask_sheet,
)
from splat_uff.system.errors import InputError
from tests.features.scenes import tiny_scene


@pytest.fixture(scope="module")
def scene():
    return tiny_scene()


def drawn(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.int64)


def test_levels_paint_the_largest_small_mask_and_the_smallest_mask():
    whole, half, quarter, corner = np.zeros((4, 8, 8), bool)
    whole[:] = True
    half[:, :4], quarter[:4, :4], corner[:2, :2] = True, True, True
    masks = MaskSet.of(np.stack([whole, quarter, half, corner]))
    levels = _levels(masks, build_tree(masks), None)
    assert levels.count == 4
    assert levels.fine[[0, 3, 7, 7], [0, 3, 0, 7]].tolist() == [1, 2, 3, 4]
    assert levels.coarse[[0, 3, 7, 7], [0, 3, 0, 7]].tolist() == [2, 2, 3, 4]
    nothing = _levels(masks[:0], build_tree(masks[:0]), None)
    assert not nothing.fine.any()
    assert not nothing.coarse.any()


def test_chosen_views_are_the_bad_ones_and_an_even_choice():
    names = [f"r_{number}" for number in range(20)]
    assert _chosen(names, [], 5) == [0, 5, 10, 14, 19]
    assert _chosen(names, ["r_7", "r_3", "elsewhere"], 4) == [7, 3, 0, 19]
    assert _chosen(names, ["r_7", "r_3"], 1) == [7]
    assert _chosen(names[:3], [], 24) == [0, 1, 2]


def test_write_mask_sheet_shows_every_view_and_its_masks(tmp_path, scene):
    path = tmp_path / "sheet.png"
    write_mask_sheet(path, scene.capture, scene.bags)
    pixels = drawn(path)
    assert pixels.shape[1] > 2 * len(COLUMNS) * SIDE
    assert pixels.shape[0] > 2 * SIDE
    colourful = pixels.max(axis=2) - pixels.min(axis=2) > 60
    assert colourful.mean() > 0.02
    first = path.read_bytes()
    write_mask_sheet(path, scene.capture, scene.bags)
    assert path.read_bytes() == first


def test_write_mask_sheet_darkens_what_is_in_no_mask(tmp_path, scene):
    none = MaskSet.of(np.zeros((0, 24, 24), bool))
    bare = [(none, build_tree(none))] * 4
    opaque = replace(scene.capture, has_alpha=False)
    write_mask_sheet(tmp_path / "bare.png", opaque, bare, most=1)
    write_mask_sheet(tmp_path / "full.png", opaque, scene.bags, most=1)
    bare_pixels, full = drawn(tmp_path / "bare.png"), drawn(tmp_path / "full.png")
    assert bare_pixels.shape == full.shape
    left = MARGIN + 2 * (SIDE + GAP)
    fine = [pixels[HEAD + 20 :, left : left + SIDE] for pixels in (bare_pixels, full)]
    spread = [(pixels.max(axis=2) - pixels.min(axis=2)).max() for pixels in fine]
    assert spread[0] == 0
    assert spread[1] > 60


def test_write_mask_sheet_writes_reasons_in_red(tmp_path, scene):
    bad = BadView("r_2", 0.1, ("no masks of the scene",))
    plain, flagged = tmp_path / "plain.png", tmp_path / "flagged.png"
    opaque = replace(scene.capture, has_alpha=False)
    write_mask_sheet(plain, opaque, scene.bags)
    write_mask_sheet(flagged, opaque, scene.bags, judgement=MaskJudgement((), (bad,)))

    def is_red(pixels):
        return (pixels == (192, 24, 42)).all(axis=2)

    assert not is_red(drawn(plain)).any()
    assert is_red(drawn(flagged)).sum() > 50


def test_write_mask_sheet_refuses_what_does_not_fit(tmp_path, scene):
    with pytest.raises(InputError, match="no views"):
        write_mask_sheet(tmp_path / "x.png", replace(scene.capture, train=()), [])
    with pytest.raises(InputError, match="4 views and masks of 2"):
        write_mask_sheet(tmp_path / "x.png", scene.capture, scene.bags[:2])
    assert not list(tmp_path.iterdir())


def test_judgement_table_names_the_worst_views(scene):
    none = MaskSet.of(np.zeros((0, 24, 24), bool))
    bags = [*scene.bags[:3], (none, build_tree(none))]
    judgement = judgement_of(judge_views(scene.capture.train, bags, has_alpha=True))
    console = Console(width=80)
    with console.capture() as capture:
        console.print(judgement_table(judgement))
    text = capture.get()
    assert "Masks of 4 views" in text
    assert text.index("no masks of the scene") < text.index("nothing stands out")
    assert "unknown whether neighbouring views agree" in text
    assert max(map(len, text.splitlines())) <= 80
