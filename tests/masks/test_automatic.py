"""Our generator of masks, beside the one of `segment_anything` with small models."""

import dataclasses
import sys
import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from splat_uff.masks.automatic import generate_masks
from splat_uff.masks.config import GRID, Prompting, SamSettings
from splat_uff.masks.sam import SamSegmenter
from splat_uff.masks.segmenter import Answers
from splat_uff.masks.sifting import fill_and_clear
from splat_uff.system.errors import InputError
from splat_uff.system.records import array_record
from tests.baselines.test_prompts import small_sam  # noqa: F401

LOOSE = SamSettings(points_per_side=5, pred_iou_thresh=0.0, stability_score_thresh=0.0)
MIDDLING = dataclasses.replace(LOOSE, box_nms_thresh=0.95, crop_nms_thresh=0.95)


def noise(height, width, seed=0):
    small = np.random.default_rng(seed).random((height // 8 + 1, width // 8 + 1, 3))
    return (np.kron(small, np.ones((8, 8, 1)))[:height, :width] * 255).astype(np.uint8)


def stand_for_opencv(patch):
    """OpenCV, or its one function that `segment_anything` calls, by scikit-image."""
    try:
        import cv2  # noqa: F401
    except ImportError:
        from skimage.measure import label

        def components(image, connectivity):
            assert connectivity == 8
            labels = label(image, connectivity=2)
            sizes = np.bincount(labels.ravel())
            return len(sizes), labels, np.stack([sizes * 0, sizes], axis=1), None

        module = types.SimpleNamespace(connectedComponentsWithStats=components)
        patch.setitem(sys.modules, "cv2", module)


@pytest.fixture
def opencv(monkeypatch):
    stand_for_opencv(monkeypatch)


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({}, (48, 48)),
        ({}, (40, 72)),
        ({"box_nms_thresh": 1.0}, (72, 40)),
        ({"points_per_batch": 7, "box_nms_thresh": 0.9}, (64, 64)),
        ({"pred_iou_thresh": 0.02}, (48, 33)),
        ({"pred_iou_thresh": 1.0}, (48, 33)),
        ({"stability_score_thresh": 0.93, "stability_score_offset": 0.001}, (50, 70)),
        ({"crop_n_layers": 1}, (120, 160)),
        ({"crop_n_layers": 2, "crop_n_points_downscale_factor": 2}, (90, 130)),
        ({"crop_n_layers": 1, "crop_overlap_ratio": 0.1, "points_per_batch": 9}, (130, 70)),
        ({"min_mask_region_area": 30}, (64, 80)),
        ({"min_mask_region_area": 100000}, (64, 80)),
        ({"min_mask_region_area": 60, "crop_n_layers": 1}, (100, 80)),
    ],
)
def test_a_grid_gives_the_masks_of_segment_anything_to_the_bit(
    small_sam, opencv, changes, size  # noqa: F811
):  # fmt: skip
    from segment_anything import SamAutomaticMaskGenerator

    chosen = dataclasses.replace(MIDDLING, **changes)
    image = noise(*size)
    theirs = SamAutomaticMaskGenerator(small_sam, **dataclasses.asdict(chosen)).generate(image)
    ours = generate_masks(SamSegmenter(small_sam, "small"), image, chosen, GRID)
    assert len(ours.masks) == len(theirs)
    assert theirs or changes.get("pred_iou_thresh") == 1.0
    for index, mask in enumerate(ours.masks.unpack()):
        entry = theirs[index]
        np.testing.assert_array_equal(mask, entry["segmentation"])
        left, top, right, bottom = ours.boxes[index].tolist()
        assert [left, top, right - left, bottom - top] == entry["bbox"]
        assert ours.quality[index] == np.float32(entry["predicted_iou"])
        np.testing.assert_equal(ours.stability[index], np.float32(entry["stability_score"]))
        assert ours.points[index].tolist() == entry["point_coords"][0]
        x, y, width, height = entry["crop_box"]
        assert ours.crops[index].tolist() == [x, y, x + width, y + height]


@given(seed=st.integers(0, 10**6), least=st.integers(1, 60), share=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_small_holes_and_islands_go_as_in_segment_anything(seed, least, share):
    from segment_anything.utils.amg import remove_small_regions

    mask = np.random.default_rng(seed).random((12, 17)) < share
    with pytest.MonkeyPatch.context() as patch:
        stand_for_opencv(patch)
        theirs, _ = remove_small_regions(mask, least, "holes")
        theirs, _ = remove_small_regions(theirs, least, "islands")
    ours = fill_and_clear(mask, least)
    np.testing.assert_array_equal(ours, theirs)
    assert fill_and_clear(ours, 1) is ours


@array_record
class Discs:
    """A stand-in model: discs that each answer with themselves, larger ones around, and noise."""

    centres: list
    radii: list
    asked: list
    encoded: list
    threshold: float = 0.0
    fingerprint: str = "discs"

    def encode(self, image):
        self.encoded.append(image.shape)
        return _Seen(self, image.shape[:2])


@array_record
class _Seen:
    model: Discs
    size: tuple

    def answer(self, points):
        self.model.asked.extend(points.tolist())
        height, width = self.size
        ys, xs = np.indices((64, 64)) + 0.5
        ys, xs = ys * height / 64, xs * width / 64
        logits, quality = (
            np.full((len(points), 3, 64, 64), -9, np.float32),
            np.zeros((len(points), 3)),
        )
        for number, (x, y) in enumerate(points):
            around = sorted(
                (radius, a, b)
                for (a, b), radius in zip(self.model.centres, self.model.radii, strict=True)
                if np.hypot(x - a, y - b) <= radius
            )
            for slot, (radius, a, b) in enumerate(around[:3]):
                logits[number, slot] = np.where(np.hypot(xs - a, ys - b) <= radius, 9, -9)
                quality[number, slot] = 0.95
        return Answers(torch.from_numpy(logits), torch.from_numpy(quality.astype(np.float32)))

    def upsample(self, logits):
        return functional.interpolate(logits[None], self.size, mode="nearest")[0]


def discs():
    """Large discs all over, and small ones crowded in one corner."""
    small = [(8 + 14 * i, 8 + 14 * j) for i in range(5) for j in range(5)]
    large = [(150, 40), (50, 150), (150, 150)]
    return Discs(small + large, [6] * 25 + [40] * 3, [], [])


SURE = SamSettings(points_per_side=32)
PHOTO = np.zeros((200, 200, 3), np.uint8)


def test_adaptive_clicks_find_what_a_grid_of_many_more_finds():
    grid, few = discs(), discs()
    whole = generate_masks(grid, PHOTO, SURE, GRID)
    found = generate_masks(few, PHOTO, SURE, Prompting(prompts=150))
    assert len(whole.masks) == 28
    assert len(found.masks) >= 25
    assert whole.prompts == len(grid.asked) == 1024
    assert found.prompts == len(few.asked) <= 150
    assert few.encoded == [(200, 200, 3)]
    coarse = generate_masks(discs(), PHOTO, SamSettings(points_per_side=12), GRID)
    assert coarse.prompts == 144
    assert len(coarse.masks) < len(found.masks)


def test_adaptive_clicks_are_the_same_each_time_and_end_when_nothing_is_new():
    one, two = discs(), discs()
    generate_masks(one, PHOTO, SURE, Prompting(prompts=5000))
    generate_masks(two, PHOTO, SURE, Prompting(prompts=5000))
    assert one.asked == two.asked
    assert len(one.asked) < 600
    assert len({tuple(point) for point in one.asked}) == len(one.asked)


@pytest.mark.parametrize("budget", [1, 5, 63, 64, 65, 130])
def test_no_more_clicks_than_the_budget_in_all_crops(budget):
    model = discs()
    chosen = dataclasses.replace(SURE, crop_n_layers=1)
    assert generate_masks(model, PHOTO, chosen, Prompting(prompts=budget)).prompts <= budget
    assert 1 <= len(model.asked) <= budget
    assert len(model.encoded) == 5


def test_clicks_keep_to_where_they_may_and_begin_with_the_seeds():
    where = np.zeros((200, 200), bool)
    where[100:180, 20:90] = True
    for prompting in (Prompting(prompts=90), GRID):
        model = discs()
        seeds = np.array([[3.5, 4.5], [199.0, 0.0]])
        found = generate_masks(model, PHOTO, SURE, prompting, where=where, seeds=seeds)
        assert model.asked[:2] == seeds.tolist()
        assert len(model.asked) > 30
        assert all(where[int(y), int(x)] for x, y in model.asked[2:])
        assert found.prompts == len(model.asked)
    nowhere = generate_masks(discs(), PHOTO, SURE, Prompting(), where=np.zeros((200, 200), bool))
    assert (nowhere.prompts, len(nowhere.masks)) == (0, 0)


def test_time_ends_the_clicks(monkeypatch):
    from splat_uff.masks import automatic

    clock = iter(range(1000))
    monkeypatch.setattr(automatic.time, "perf_counter", lambda: float(next(clock)))
    model = discs()
    found = generate_masks(model, PHOTO, SURE, Prompting(prompts=500, seconds_per_photo=2.5))
    assert found.prompts == 64 + 32  # Two batches begin before the time is over.


def test_what_does_not_fit_the_photo_is_refused_in_one_line():
    with pytest.raises(InputError, match="where is of 20x10 pixels, the photo of 200x200"):
        generate_masks(discs(), PHOTO, SURE, GRID, where=np.zeros((10, 20), bool))
    for seed in ((200.0, 1.0), (-1.0, 1.0), (np.nan, 1.0)):
        with pytest.raises(InputError, match="outside the photo of 200x200"):
            generate_masks(discs(), PHOTO, SURE, GRID, seeds=np.array([seed]))


def test_only_what_is_good_enough_is_upsampled(monkeypatch):
    upsampled, real = [], _Seen.upsample
    monkeypatch.setattr(
        _Seen, "upsample", lambda self, x: (upsampled.append(len(x)), real(self, x))[1]
    )
    monkeypatch.setattr("splat_uff.masks.sifting.WORK", 8 * 10 * 2**20)
    found = generate_masks(discs(), PHOTO, SURE, GRID)
    assert max(upsampled) == 10
    assert sum(upsampled) < 3 * 1024 / 2
    assert len(found.masks) == 28
