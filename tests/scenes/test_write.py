"""Built-in scenes as files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from splat_uff.capture import read_capture
from splat_uff.scenes.catalogue import RECIPES
from splat_uff.scenes.write import write_scene

TINY = replace(RECIPES["toy"], photo_size=48, truth_size=24, num_train=2, num_val=2)


def write(folder, **options):
    folder.mkdir()
    write_scene(folder, "toy", TINY, rng=np.random.default_rng(0), **options)
    return folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write(tmp_path_factory.mktemp("scenes") / "toy")


def channel(path):
    with Image.open(path) as image:
        return np.asarray(image)[..., 0]


def test_write_scene_has_the_files_of_blender_hs(scene):
    for split, count in (("train", 2), ("val", 2), ("val_rotate", 2)):
        assert len(list((scene / split).glob("r_*.png"))) == count
        assert (scene / f"transforms_{split}.json").is_file()
    for degrees in (10, 45, 90, 135):
        assert (scene / f"transforms_val_rotate_{degrees}.json").is_file()
        ending = "" if degrees == 10 else f"_{degrees}"
        for word in ("", "_rotate"):
            assert channel(scene / "val_visible" / f"r_0{word}{ending}.png").shape == (24, 24)
    ids = tifffile.imread(scene / "gt_seg" / "train" / "r_1_seg_objects.tif")
    assert ids.shape == (24, 24, 3)
    assert ids.dtype == np.uint8


def test_write_scene_is_read_back_with_its_truth(scene):
    capture = read_capture(scene)
    assert (len(capture.train), len(capture.val)) == (2, 2)
    assert capture.has_alpha
    truth = capture.val[0].truth
    assert truth is not None
    assert set(np.unique(truth.collections)) == {0, 1, 2, 3}
    record = json.loads((scene / "scene.json").read_text())
    assert set(map(str, np.unique(truth.objects))) - {"0"} <= set(record["objects"])


def test_write_scene_depth_image_rounds_the_exact_depth(scene):
    exact = np.load(scene / "val_depth" / "r_0_z.npy")
    level = channel(scene / "val_depth" / "r_0_depth.png")
    assert np.array_equal(level == 0, exact == 0)
    solid = exact > 0
    assert np.abs(8 * (1 - level[solid] / 256) - exact[solid]).max() <= 8 / 256 / 2 + 1e-6


def test_write_scene_covisibility_lies_on_the_foreground(scene):
    ids = tifffile.imread(scene / "gt_seg" / "val" / "r_0_seg_objects.tif")[..., 0]
    small = channel(scene / "val_visible" / "r_0.png") > 0
    large = channel(scene / "val_visible" / "r_0_135.png") > 0
    assert not (small | large)[ids == 0].any()
    assert large.sum() < small.sum()  # The further the turn, the less is seen from both.


def test_write_scene_repeats_itself_to_the_byte(scene, tmp_path):
    again = write(tmp_path / "again")
    files = [path.relative_to(scene) for path in scene.rglob("*") if path.is_file()]
    assert len(files) > 30
    for path in files:
        assert (again / path).read_bytes() == (scene / path).read_bytes(), path


def test_write_scene_hands_over_ids_at_the_size_of_the_photos(tmp_path):
    given = {}
    folder = write(
        tmp_path / "toy", on_ids=lambda split, view, *ids: given.update({(split, view): ids})
    )
    assert set(given) == {(split, f"r_{index}") for split in ("train", "val") for index in (0, 1)}
    objects, collections = given["val", "r_0"]
    assert objects.shape == collections.shape == (48, 48)
    with Image.open(folder / "val" / "r_0.png") as photo:
        alpha = np.asarray(photo)[..., 3]
    assert (objects[alpha == 255] > 0).all()
    assert (objects[alpha == 0] == 0).all()


def test_write_scene_passes_on_an_error_of_its_callback(tmp_path):
    def refuse(*_):
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write(tmp_path / "toy", on_ids=refuse)
