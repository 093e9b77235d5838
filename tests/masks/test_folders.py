"""Masks come back from their folders as they went in, and odd ones are refused."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splat_uff.capture.mask_images import read_mask
from splat_uff.capture.records import Capture, View
from splat_uff.geometry.cameras import Camera
from splat_uff.masks.fit import MaskFit
from splat_uff.masks.folders import read_masks, write_masks
from splat_uff.masks.places import pictures_in
from splat_uff.masks.records import MaskSet
from splat_uff.masks.tree import build_tree
from splat_uff.system.errors import InputError

RADAR = Path(__file__).parents[3] / "shared" / "data" / "radar"


def make_view(name, size=8, source=16):
    camera = Camera(np.eye(4), np.eye(3), size, size)
    image = np.zeros((size, size, 4), np.float32)
    return View(name, camera, image, source_size=(source, source))


def make_capture(folder, names=("r_0", "r_1"), **sizes):
    views = tuple(make_view(name, **sizes) for name in names)
    return Capture("scene", folder, views, views, True, np.eye(4), "imported")


def read_folder(folder, view):
    return MaskFit().pack(((path, read_mask(path)) for path in pictures_in(folder)), view)


def random_masks(seed, count=5, size=16):
    return np.random.default_rng(seed).random((count, size, size)) < 0.5


@pytest.fixture
def capture(tmp_path):
    for name in ("r_0", "r_1"):
        for split in ("train", "val"):
            write_masks(tmp_path, split, name, MaskSet.of(random_masks(len(name + split))))
    return make_capture(tmp_path)


def test_read_masks_returns_what_write_masks_wrote(tmp_path):
    masks = random_masks(1, count=12)
    write_masks(tmp_path, "train", "r_0", MaskSet.of(masks))
    [(read, tree)] = read_masks(make_capture(tmp_path, ("r_0",), size=16))
    assert (read.unpack() == masks).all()
    assert (tree.inside == build_tree(MaskSet.of(masks)).inside).all()


def test_write_masks_stores_the_tree(tmp_path):
    masks = MaskSet.of(random_masks(1))
    write_masks(tmp_path, "val", "r_0", masks)
    stored = np.load(tmp_path / "val_seg_hierarchy" / "r_0_inside.npy")
    assert (stored == build_tree(masks).inside).all()
    picture = Image.open(tmp_path / "val_seg" / "r_0" / "000.png")
    assert picture.mode == "L"
    assert set(np.unique(picture)) == {0, 255}


def test_write_masks_replaces_what_was_there(tmp_path):
    write_masks(tmp_path, "train", "r_0", MaskSet.of(random_masks(1, count=7)))
    write_masks(tmp_path, "train", "r_0", MaskSet.of(random_masks(2, count=3)))
    assert len(list((tmp_path / "train_seg" / "r_0").iterdir())) == 3


def test_write_masks_keeps_order_beyond_a_thousand(tmp_path):
    masks = np.eye(1100, 1104, dtype=bool).reshape(1100, 24, 46)
    write_masks(tmp_path, "train", "r_0", MaskSet.of(masks))
    names = sorted(path.name for path in (tmp_path / "train_seg" / "r_0").iterdir())
    assert names[-1] == "1099.png"


def test_read_masks_reduces_at_half_coverage(capture):
    quarters = random_masks(len("r_0train")).reshape(-1, 8, 2, 8, 2).sum((2, 4))
    assert (read_masks(capture)[0][0].unpack() == (quarters >= 2)).all()


def test_read_masks_reads_the_held_out_views_too(capture):
    quarters = random_masks(len("r_0val")).reshape(-1, 8, 2, 8, 2).sum((2, 4))
    assert (read_masks(capture, split="val")[0][0].unpack() == (quarters >= 2)).all()


def test_read_masks_takes_file_names_in_lexicographic_order(tmp_path):
    folder = tmp_path / "train_seg" / "r_0"
    folder.mkdir(parents=True)
    for index in (0, 1, 2, 10):
        pixels = np.zeros((8, 8), np.uint8)
        pixels.flat[index] = 255
        Image.fromarray(pixels).save(folder / f"{index}.png")
    [(masks, _)] = read_masks(make_capture(tmp_path, ("r_0",), source=8))
    assert masks.unpack().reshape(4, -1).argmax(1).tolist() == [0, 1, 10, 2]


def test_read_masks_drops_those_left_empty(tmp_path):
    masks = np.zeros((2, 16, 16), dtype=bool)
    masks[0, :8], masks[1, 0, 0] = True, True
    write_masks(tmp_path, "train", "r_0", MaskSet.of(masks))
    [(read, tree)] = read_masks(make_capture(tmp_path, ("r_0",)))
    assert len(read) == len(tree.inside) == 1


def test_read_masks_lets_a_view_be_without(capture):
    for path in (capture.folder / "train_seg" / "r_1").iterdir():
        path.unlink()
    (masks, tree) = read_masks(capture)[1]
    assert len(masks) == 0
    assert tree.inside.shape == (0, 0)


def remove_all(folder):
    for path in folder.glob("train_seg/*/*.png"):
        path.unlink()


def truncate(folder):
    path = folder / "train_seg" / "r_1" / "002.png"
    path.write_bytes(path.read_bytes()[:50])


def resize(size):
    return lambda folder: Image.new("L", size).save(folder / "train_seg" / "r_1" / "003.png")


DAMAGES = {
    "no folder": (lambda f: (f / "train_seg").rename(f / "elsewhere"), "no .*train_seg;"),
    "no masks": (remove_all, "train_seg holds no mask of any of the 2 training views"),
    "truncated": (truncate, r"002\.png is not a whole image"),
    "far too coarse": (resize((1, 1)), r"003\.png is 1x1, under a quarter"),
    "other proportions": (resize((16, 8)), r"003\.png is 16x8"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_read_masks_answers_bad_input_with_one_line(capture, damage):
    spoil, message = DAMAGES[damage]
    spoil(capture.folder)
    with pytest.raises(InputError, match=message) as caught:
        read_masks(capture)
    assert "\n" not in str(caught.value)


def test_mask_set_at_reads_single_pixels():
    masks = random_masks(4, size=13)
    pixels = np.array([0, 7, 8, 168, 100, 7])
    assert (MaskSet.of(masks).at(pixels) == masks.reshape(5, -1)[:, pixels]).all()


def test_masks_of_a_large_capture_fit_in_memory(tmp_path):
    masks = np.zeros((60, 800, 800), dtype=bool)
    masks[np.arange(60), np.arange(60)] = True
    write_masks(tmp_path, "train", "r_0", MaskSet.of(masks))
    view = make_view("r_0", size=800, source=800)
    tracemalloc.start()
    bag = read_folder(tmp_path / "train_seg" / "r_0", view)
    build_tree(bag)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # What all views keep, and what the views in the making at one time need besides.
    assert 100 * bag.packed.nbytes + 4 * peak < 600e6


@pytest.mark.skipif(not RADAR.exists(), reason="the radar capture is not here")
def test_build_tree_repeats_the_stored_hierarchy_of_radar():
    view = make_view("r_0", size=400, source=400)
    tree = build_tree(read_folder(RADAR / "train_seg" / "r_0", view), p_iou=0.9)
    stored = RADAR / "train_seg_hierarchy"
    assert (tree.inside == np.load(stored / "r_0_inside.npy")).all()
    assert (tree.same == np.load(stored / "r_0_same.npy")).all()


def test_write_masks_never_removes_the_masks_of_a_view_below(tmp_path):
    below = MaskSet.of(random_masks(1, count=7))
    write_masks(tmp_path, "train", "cam0/000", below)
    with pytest.raises(InputError, match="masks of other views"):
        write_masks(tmp_path, "train", "cam0", MaskSet.of(random_masks(2)))
    assert len(list((tmp_path / "train_seg" / "cam0" / "000").iterdir())) == 7
