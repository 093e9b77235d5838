"""Masks are found by the names of photos, whatever tool wrote them, and fitted to their views."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splat_uff.capture import read_capture
from splat_uff.capture.lenses import Lens
from splat_uff.capture.mask_images import turned
from splat_uff.capture.records import Capture
from splat_uff.masks.config import MADE_BY
from splat_uff.masks.fit import reduce_mask
from splat_uff.masks.gather import gather_held_out, gather_masks
from splat_uff.masks.imported import import_masks
from splat_uff.masks.places import Places
from splat_uff.system.errors import InputError
from tests.capture.test_blender import write_split
from tests.masks.test_imported import SIZE, blocks, make_view, write_generator, write_pngs


def capture_of(train, val=(), keys=None):
    views = [replace(make_view(name), keys=(keys or {}).get(name, ())) for name in (*train, *val)]
    count = len(train)
    held_out = tuple(views[count:])
    return Capture(
        "made", Path("made"), tuple(views[:count]), held_out, False, np.eye(4), masks="none"
    )


def counts(folder, capture, **options):
    return import_masks(folder, capture, **options).counts


def put_map(path, *, labels=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((SIZE, SIZE), np.uint8)
    for label in range(1, labels + 1):
        values[3 * label : 3 * label + 3] = label
    Image.fromarray(values).save(path)


# Names that contain each other


def test_a_map_of_another_photo_is_no_level(tmp_path):
    names = ["photo", "photo_1", "photo_2"]
    for index, name in enumerate(names, 1):
        put_map(tmp_path / f"{name}.png", labels=index)
    assert counts(tmp_path, capture_of(names)) == [1, 2, 3]
    # Also where the other photo is held out.
    assert counts(tmp_path, capture_of(["photo"], ["photo_1", "photo_2"])) == [1]


def test_a_map_of_a_photo_that_is_not_there_is_no_level(tmp_path):
    for name in ("photo", "photo_1", "photo_2", "photo_4"):
        put_map(tmp_path / f"{name}.png")
    assert counts(tmp_path, capture_of(["photo", "photo_2", "photo_4"])) == [2, 2, 2]


def test_levels_are_what_most_views_have(tmp_path):
    for name in ("a", "b", "c"):
        put_map(tmp_path / f"{name}.png")
        if name != "c":
            put_map(tmp_path / f"{name}_1.png", labels=1)
    assert counts(tmp_path, capture_of("abc")) == [3, 3, 2]


@pytest.mark.parametrize(
    "pair",
    [
        ("a.png", "a_1.png"),
        ("a.jpg.png", "a.jpg_1.png"),
        ("a.jpg.png", "a_1.jpg.png"),
        ("images/a.png", "images/a_1.png"),
    ],
)
def test_levels_are_found_whatever_the_map_is_called(tmp_path, pair):
    for path in pair:
        put_map(tmp_path / path)
    capture = capture_of("a", keys={"a": ("a.jpg", "images/a", "images/a.jpg")})
    assert counts(tmp_path, capture) == [4]


def test_a_map_of_a_photo_that_was_left_out_is_no_level(tmp_path):
    for name in ("a", "a_1", "b", "b_1"):
        put_map(tmp_path / f"{name}.png")
    capture = replace(capture_of("ab"), left_out=frozenset(["a_1", "b_1"]))
    assert counts(tmp_path, capture) == [2, 2]


def test_names_that_differ_in_case_are_two(tmp_path):
    put_map(tmp_path / "A.png", labels=1)
    put_map(tmp_path / "a.png", labels=2)
    assert counts(tmp_path, capture_of("aA")) == [2, 1]
    (tmp_path / "a.png").unlink()
    assert counts(tmp_path, capture_of("aA")) == [0, 1]


def test_a_short_name_that_two_photos_share_is_that_of_neither(tmp_path):
    keys = {"000": ("000.png",), "cam/000": ("cam/000.png", "000", "000.png")}
    put_map(tmp_path / "000.png")
    assert counts(tmp_path, capture_of(list(keys), keys=keys)) == [2, 0]


# The same name twice


def test_masks_lie_under_the_paths_of_photos_where_names_repeat(tmp_path):
    keys = {f"cam{k}/0": (f"images/cam{k}/0", f"images/cam{k}/0.png") for k in (0, 1)}
    capture = capture_of(list(keys), keys=keys)
    put_map(tmp_path / "cam0" / "0.png", labels=1)
    put_map(tmp_path / "images" / "cam1" / "0.png.png", labels=3)
    assert counts(tmp_path, capture) == [1, 3]


def test_masks_of_a_training_view_are_never_those_of_a_held_out_one(tmp_path, capsys):
    write_split(tmp_path / "scene", "train", 2, size=SIZE)
    write_split(tmp_path / "scene", "val", 2, size=SIZE)
    capture = read_capture(tmp_path / "scene", size=SIZE)
    masks = tmp_path / "masks"
    for name in ("r_0", "r_1"):
        put_map(masks / f"{name}.png")
    assert gather_masks(capture, str(masks)).counts == [2, 2]
    assert len(gather_held_out(capture, str(masks))) == 0
    said = capsys.readouterr().err
    assert "held-out views have the names of training views" in said
    put_map(masks / "val" / "r_1.png", labels=1)
    assert gather_held_out(capture, str(masks)).counts == [0, 1]
    for name in ("r_0", "r_1"):  # In the capture's own folder each split has its place.
        put_map(tmp_path / "scene" / "val_seg" / name / "0.png")
    assert gather_held_out(capture, "").counts == [1, 1]


# Endings, case, litter


@pytest.mark.parametrize(
    "name", ["a/0.PNG", "a/0.jpg", "a/0.Tif", "a.png/0.png", "A/0.bmp", "a/mask 1.webp"]
)
def test_folders_of_masks_may_have_any_ending(tmp_path, name):
    mask = Image.fromarray(blocks()[2].astype(np.uint8) * 255)
    (tmp_path / name).parent.mkdir()
    options = {"lossless": True} if name.endswith("webp") else {"quality": 95}
    mask.save(tmp_path / name, **options)
    capture = capture_of("a", keys={"a": ("a.png",)})
    [(masks, _)] = import_masks(tmp_path, capture)
    assert (masks.unpack() == blocks()[2]).all()


@pytest.mark.parametrize("name", ["a.PNG", "a.jpg.png", "A.tif", "a.JSON", "a.jpg.json", "a.npy"])
def test_files_of_masks_may_have_any_ending(tmp_path, name):
    path = tmp_path / name
    if name.lower().endswith("json"):
        write_generator(tmp_path, "made", blocks())
        path.write_bytes(b"\xef\xbb\xbf" + (tmp_path / "made.json").read_bytes())
    elif name.endswith("npy"):
        np.save(path, blocks()[0] + 2 * blocks()[1].astype(int))
    else:
        put_map(path)
    capture = capture_of("a", keys={"a": ("a.jpg",)})
    assert counts(tmp_path, capture) == [3 if name.lower().endswith("json") else 2]


def test_litter_is_no_mask(tmp_path):
    write_pngs(tmp_path, "a", blocks())
    (tmp_path / "a" / "._0.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "a" / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "._a.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "Thumbs.db").write_bytes(b"\0")
    assert counts(tmp_path, capture_of("a")) == [3]


def test_masks_that_cannot_be_read_are_named_and_not_passed_over(tmp_path):
    write_pngs(tmp_path, "a", blocks())
    (tmp_path / "a" / "7.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    with pytest.raises(InputError, match=r"7\.heic is HEIC"):
        import_masks(tmp_path, capture_of("a"))


def test_more_masks_than_are_read_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("splat_uff.masks.places.MOST_MASKS", 2)
    write_pngs(tmp_path, "a", blocks())
    with pytest.raises(InputError, match="holds 3 masks; expected at most 2"):
        import_masks(tmp_path, capture_of("a"))


# Views without masks


@pytest.mark.parametrize("how", ["nothing", "empty folder", "[]", "black map"])
def test_views_without_masks_are_counted(tmp_path, capsys, how):
    write_pngs(tmp_path, "a", blocks())
    if how == "empty folder":
        (tmp_path / "b").mkdir()
    elif how == "[]":
        (tmp_path / "b.json").write_text("[]")
    elif how == "black map":
        put_map(tmp_path / "b.png", labels=0)
    capture = capture_of("ab", "c")
    assert counts(tmp_path, capture) == [3, 0]
    assert "masks: 1 of 2 training views have some; one without" in capsys.readouterr().err
    assert len(gather_held_out(capture, str(tmp_path))) == 0


def test_folders_with_the_names_of_pictures_are_passed_over(tmp_path):
    write_pngs(tmp_path, "a", blocks())
    (tmp_path / "a" / "more.png").mkdir()
    (tmp_path / "a.png").mkdir()
    assert counts(tmp_path, capture_of("a")) == [3]


def test_an_empty_folder_gives_way_to_a_file(tmp_path):
    (tmp_path / "a").mkdir()
    put_map(tmp_path / "a.png")
    assert counts(tmp_path, capture_of("a")) == [2]


# Labels


def test_minus_one_in_any_array_is_nothing_in_all(tmp_path, capsys):
    labels = np.zeros((SIZE, SIZE), int)
    labels[4:8] = 1
    np.save(tmp_path / "a.npy", labels)
    np.save(tmp_path / "b.npy", np.where(labels == 1, -1, 0))
    capture = capture_of("ab")
    bags = import_masks(tmp_path, capture)
    assert bags.counts == [2, 1]
    assert "b.npy has labels of -1" in capsys.readouterr().err
    (tmp_path / "b.npy").unlink()
    assert counts(tmp_path, capture) == [1, 0]


@pytest.mark.parametrize("ending", ["png", "npy"])
def test_minus_one_in_16_bits_is_nothing_in_all(tmp_path, ending):
    labels = np.full((SIZE, SIZE), 65535, np.uint16)
    labels[4:8], labels[8:9] = 0, 1
    for name, values in (("a", labels), ("b", labels * 0)):
        path = tmp_path / f"{name}.{ending}"
        np.save(path, values) if ending == "npy" else Image.fromarray(values).save(path)
    assert counts(tmp_path, capture_of("a", "b")) == [2]
    assert counts(tmp_path, capture_of("b", "a")) == [1]  # As the held-out view has it.


# Sizes and orientations


@pytest.mark.parametrize("size", [8, 16, 21, 24, 32, 100])
def test_masks_may_have_any_size_of_the_photos_shape(tmp_path, size, capsys):
    mask = np.zeros((size, size), np.uint8)
    mask[: size // 2] = 255
    (tmp_path / "a").mkdir()
    Image.fromarray(mask).save(tmp_path / "a" / "0.png")
    [(masks, _)] = import_masks(tmp_path, capture_of("a"))
    expected = np.arange(SIZE)[:, None].repeat(SIZE, 1) < round(size // 2 * SIZE / size)
    assert (masks.unpack()[0] == expected).all()
    assert ("smaller than the training images" in capsys.readouterr().err) == (size < SIZE)


def wide_view(other_turn):
    view = make_view("a")
    camera = replace(view.camera, height=8)
    return replace(
        view, camera=camera, photo=view.image[:8], source_size=(16, 32), other_turn=other_turn
    )


def test_masks_made_the_other_way_round_are_turned(tmp_path, capsys):
    mask = np.zeros((16, 32), bool)
    mask[:8, :16] = True
    (tmp_path / "a").mkdir()
    Image.fromarray(turned(mask, 6)).save(tmp_path / "a" / "0.png")
    capture = replace(capture_of("a"), train=(wide_view(8),))
    [(masks, _)] = import_masks(tmp_path, capture)
    assert (masks.unpack()[0] == mask[::2, ::2]).all()
    assert "were made the other way round" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"0\.png is 16x32, its photo 32x16"):
        import_masks(tmp_path, replace(capture, train=(wide_view(1),)))


@pytest.mark.parametrize(("other_turn", "square"), [(3, False), (6, True), (2, True)])
def test_an_orientation_that_shapes_do_not_tell_is_said(tmp_path, capsys, other_turn, square):
    view = replace(make_view("a"), other_turn=other_turn) if square else wide_view(other_turn)
    (tmp_path / "a").mkdir()
    Image.new("L", view.source_size[::-1], 255).save(tmp_path / "a" / "0.png")
    import_masks(tmp_path, replace(capture_of("a"), train=(view,)))
    assert (
        "do not tell by their shape whether they follow the EXIF orientation"
        in capsys.readouterr().err
    )


# Lenses


def test_masks_that_were_made_here_are_not_undistorted_again(tmp_path):
    lens = Lens("SIMPLE_RADIAL", SIZE, SIZE, (20.0, 8.0, 8.0, 0.8))
    view = replace(make_view("a"), lens=lens, source_size=(SIZE, SIZE))
    capture = replace(capture_of("a"), train=(view,))
    write_pngs(tmp_path, "a", blocks())
    [(bent, _)] = import_masks(tmp_path, capture)
    assert (bent.unpack()[2] != blocks()[2]).any()
    assert (bent.unpack()[2] == reduce_mask(blocks()[2], view)).all()
    (tmp_path / "a" / MADE_BY).write_text(json.dumps({"key": "0"}))
    [(straight, _)] = import_masks(tmp_path, capture)
    assert (straight.unpack() == blocks()).all()


def test_places_of_nothing_are_empty(tmp_path):
    capture = capture_of("a")
    assert Places(tmp_path, capture.train).of(capture.train[0]).is_empty
