"""Figures of masks with known answers, and the choice of the worst views."""

import json

import numpy as np
import pytest

from splat_uff.masks.judge import MaskFigures, judge_masks, judge_views, with_agreement
from splat_uff.masks.records import MaskSet
from splat_uff.masks.tree import build_tree
from splat_uff.masks.verdict import judgement_of
from splat_uff.system.errors import InputError
from tests.features.scenes import tiny_scene


def judged(masks: np.ndarray, scene: np.ndarray | None = None) -> MaskFigures:
    packed = MaskSet.of(masks)
    flat = None if scene is None else scene.ravel()
    return judge_masks("r_0", packed, build_tree(packed), flat)


def box(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((10, 20), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_judge_masks_by_hand():
    """Two halves that cross, one mask inside, and one apart, of 200 pixels."""
    masks = np.stack([box(0, 10, 0, 8), box(0, 10, 4, 12), box(0, 5, 0, 2), box(0, 10, 16, 18)])
    figures = judged(masks)
    assert figures.masks == 4
    assert figures.coverage == pytest.approx(140 / 200)
    assert figures.overlap == pytest.approx(190 / 140)
    assert figures.crossing == pytest.approx(1 / 2)  # Of two pairs that overlap, one is nested.
    shares = (figures.smallest, figures.median, figures.largest)
    assert shares == pytest.approx((10 / 200, 50 / 200, 80 / 200))
    assert figures.outside is None
    assert figures.agreement is None


def test_judge_masks_within_the_scene():
    """Coverage counts opaque pixels alone; the mask of the background counts nowhere."""
    scene = box(0, 10, 0, 10)
    masks = np.stack([box(0, 5, 0, 12), ~scene, np.ones((10, 20), bool), np.zeros((10, 20), bool)])
    figures = judged(masks[:1], scene)
    assert figures.coverage == pytest.approx(50 / 100)
    assert figures.outside == pytest.approx(10 / 60)
    with_background = judged(masks[[0, 1, 3]], scene)
    assert with_background == figures
    assert judged(masks[2:3], scene).masks == 1  # Half of it is the scene.


def test_judge_masks_counts_the_same_mask_once():
    twice = np.stack([box(0, 10, 0, 10), box(0, 10, 0, 10), box(2, 4, 2, 4)])
    assert judged(twice) == judged(twice[1:])


@pytest.mark.parametrize("count", [0, 1])
def test_judge_masks_without_any(count):
    figures = judged(np.zeros((count, 10, 20), bool), box(0, 5, 0, 5))
    assert figures == MaskFigures("r_0", 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_judge_views_refuses_masks_of_other_photos():
    scene = tiny_scene()
    views = scene.capture.train
    with pytest.raises(InputError, match="4 views and masks of 3"):
        judge_views(views, scene.bags[:3], has_alpha=True)
    small = MaskSet.of(np.ones((1, 10, 20), bool))
    with pytest.raises(InputError, match="20 x 10 pixels, its photo 24 x 24"):
        judge_views(views, [(small, build_tree(small)), *scene.bags[1:]], has_alpha=True)


def usual(number: int) -> MaskFigures:
    return MaskFigures(f"r_{number}", 40 + number, 0.97, 2.5, 0.2, 0.001, 0.01, 0.5, 0.02)


def test_judgement_names_what_is_wrong():
    figures = [usual(number) for number in range(20)]
    good = np.linspace(0.7, 0.8, 20)
    found, kept = good.copy(), good.copy()
    figures[3] = MaskFigures("r_3", 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    figures[5] = MaskFigures("r_5", 9, 0.4, 1.2, 0.2, 0.001, 0.01, 0.5, 0.02)
    found[7] = kept[5] = 0.1
    judgement = judgement_of(with_agreement(figures, found, kept), count=4)
    first, *others = judgement.worst
    assert (first.view, first.reasons) == ("r_3", ("no masks of the scene",))
    by_name = {bad.view: bad for bad in others}
    assert set(by_name) == {"r_5", "r_7", "r_0"}
    assert by_name["r_7"].reasons == ("its neighbours lack its masks (IoU 0.10, usually 0.75)",)
    assert "masks cover 40% of the scene, usually 97%" in by_name["r_5"].reasons
    assert any("it lacks masks" in reason for reason in by_name["r_5"].reasons)
    assert any("few masks: 9" in reason for reason in by_name["r_5"].reasons)
    assert by_name["r_0"].reasons == ()


def test_judgement_without_gaussians_ranks_by_what_stands_out():
    figures = [usual(number) for number in range(20)]
    figures[11] = MaskFigures("r_11", 50, 0.97, 2.5, 0.9, 0.001, 0.01, 0.5, 0.02)
    figures[12] = MaskFigures("r_12", 50, 0.80, 2.5, 0.2, 0.001, 0.01, 0.5, 0.02)
    worst = judgement_of(figures).worst
    assert len(worst) == 10
    assert [bad.view for bad in worst[:2]] == ["r_11", "r_12"]
    assert worst[0].reasons == ("90% of overlapping masks cross, usually 20%",)
    assert all(bad.agreement is None for bad in worst)


def test_judgement_record_is_json():
    figures = with_agreement([usual(0), usual(1)], np.array([0.5, np.nan]), np.full(2, np.nan))
    judgement = judgement_of(figures)
    record = json.loads(json.dumps(judgement.record(), allow_nan=False))
    assert record["means"]["agreement"] == record["views"][0]["agreement"] == 0.5
    assert record["views"][1]["found"] is None
    assert [each["view"] for each in record["worst"]] == ["r_0", "r_1"]
    assert judgement_of([]).record() == {"means": {}, "views": [], "worst": []}
