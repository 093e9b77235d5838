"""Masks of other tools: every format gives the same masks, and bad files are one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splat_uff.capture.records import Capture, View
from splat_uff.geometry.cameras import Camera
from splat_uff.masks.classical import REGIONS, segment_colours
from splat_uff.masks.gather import gather_held_out, gather_masks, mask_origin_of
from splat_uff.masks.imported import import_masks
from splat_uff.system.errors import InputError
from tests.masks.test_rle import as_text, runs_of

SIZE = 16
CAMERA = Camera(np.eye(4), np.array([[20.0, 0, 8], [0, 20, 8], [0, 0, 1]]), SIZE, SIZE)


def make_view(name):
    image = np.ones((SIZE, SIZE, 4), np.float32)
    return View(name, CAMERA, image, source_size=(2 * SIZE, 2 * SIZE))


VIEWS = (make_view("a"), make_view("b"))


def capture_of(*views):
    return Capture("made", Path("made"), views, (), False, np.eye(4), masks="none")


CAPTURE = capture_of(*VIEWS)


def blocks(size=SIZE):
    """Two masks beside each other, and one around both."""
    masks = np.zeros((3, size, size), bool)
    half, quarter = size // 2, size // 4
    masks[0, quarter:half, quarter:half] = True
    masks[1, quarter:half, half : half + quarter] = True
    masks[2] = masks[0] | masks[1]
    return masks


def write_pngs(folder, name, masks):
    (folder / name).mkdir(parents=True)
    for index, mask in enumerate(masks):
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / name / f"{index}.png")


def write_generator(folder, name, masks, *, text=False, wrapped=False):
    """As segment_anything's automatic generator returns them, or as SAM 2 and SA-1B keep them."""
    entries = []
    for mask in masks:
        counts = runs_of(mask)
        encoded = {"size": list(mask.shape), "counts": as_text(counts) if text else counts}
        entries.append(
            {
                "segmentation": encoded, "area": int(mask.sum()), "bbox": [0, 0, 1, 1],
                "predicted_iou": 0.9, "point_coords": [[1.0, 1.0]], "stability_score": 0.95,
                "crop_box": [0, 0, *mask.shape],
            }
        )  # fmt: skip
    record = {"image": {"file_name": f"{name}.jpg"}, "annotations": entries} if wrapped else entries
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(record))


def write_levels(folder, name, masks):
    levels = np.stack([masks[0] + 2 * masks[1].astype(int), masks[2].astype(int)])
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{name}.npy", levels.astype(np.uint16))


def write_label_pngs(folder, name, masks, *, sixteen=False):
    folder.mkdir(exist_ok=True)
    kind = np.uint16 if sixteen else np.uint8
    for ending, labels in (("", masks[0] * 300 + masks[1] * 2), ("_1", masks[2] * 7)):
        values = labels if sixteen else np.minimum(labels, 200)
        Image.fromarray(values.astype(kind)).save(folder / f"{name}{ending}.png")


FORMATS = {
    "folders of PNGs": write_pngs,
    "segment-anything": write_generator,
    "SAM 2": lambda *args: write_generator(*args, text=True, wrapped=True),
    "label maps in levels": write_levels,
    "label PNGs": write_label_pngs,
    "label PNGs of 16 bits": lambda *args: write_label_pngs(*args, sixteen=True),
}


@pytest.mark.parametrize("size", [SIZE, 2 * SIZE], ids=["as trained", "as the photo"])
@pytest.mark.parametrize("kind", FORMATS)
def test_import_masks_reads_the_same_from_every_format(tmp_path, kind, size):
    for view in VIEWS:
        FORMATS[kind](tmp_path / "masks", view.name, blocks(size))
    expected = {mask.tobytes() for mask in blocks()}
    for masks, tree in import_masks(tmp_path / "masks", CAPTURE):
        assert {mask.tobytes() for mask in masks.unpack()} == expected
        assert tree.inside.sum() == 2  # Both lie inside the third.


def test_label_maps_of_one_level_are_one_map(tmp_path):
    labels = blocks()[0] * 5 + blocks()[1] * 9
    for view in VIEWS:
        np.save(tmp_path / f"{view.name}.npy", labels)
    assert [len(masks) for masks, _ in import_masks(tmp_path, CAPTURE)] == [2, 2]


@pytest.mark.parametrize("kind", ["u1", "i1", ">u2", "<i4", ">i4", "u8", "i8", "f4", "?"])
def test_label_maps_may_have_any_type_of_number(kind, tmp_path):
    labels = (blocks()[0] * (1 if kind == "?" else 5)).astype(kind)
    for view in VIEWS:
        np.save(tmp_path / f"{view.name}.npy", labels)
    for masks, _ in import_masks(tmp_path, CAPTURE):
        assert (masks.unpack() == blocks()[0]).all()


@pytest.mark.parametrize("kind", ["u1", "<u2", ">u2"])
def test_the_largest_unsigned_label_is_nothing_in_any_order_of_bytes(kind, tmp_path):
    labels = np.where(blocks()[0], 1, np.where(blocks()[1], 0, -1)).astype(kind)
    for view in VIEWS:
        np.save(tmp_path / f"{view.name}.npy", labels)
    for masks, _ in import_masks(tmp_path, CAPTURE):
        assert {mask.tobytes() for mask in masks.unpack()} == {
            mask.tobytes() for mask in blocks()[:2]
        }


def bad_text(content):
    return lambda folder: (folder / "a.json").write_text(content)


def bad_array(make):
    return lambda folder: np.save(folder / "a.npy", make(), allow_pickle=True)


BAD = {
    "no JSON": (bad_text("{"), "holds no masks"),
    "no list": (bad_text('{"masks": []}'), "no list of masks"),
    "deep JSON": (bad_text("[" * 100_000), "holds no masks"),
    "too many": (bad_text(json.dumps([0] * 10_001)), "no list of masks"),
    "no encoding": (bad_text('[{"segmentation": [[1, 2, 3]]}]'), "no size and counts"),
    "another size": (bad_text('[{"size": [3, 5], "counts": [15]}]'), "3"),
    "a polygon": (bad_text('[{"segmentation": {"size": [4, 4]}}]'), "no counts"),
    "no text": (lambda f: (f / "a.json").write_bytes(b"\xff\xfe\x00"), "holds no masks"),
    "a pickle": (bad_array(lambda: np.array([{"a": 1}], dtype=object)), "no label map"),
    "fractions": (bad_array(lambda: np.full((16, 16), 0.5)), "no label map"),
    "four axes": (bad_array(lambda: np.ones((1, 1, 16, 16), int)), "no label map"),
    "empty": (bad_array(lambda: np.zeros((0, 16), int)), "no label map"),
    "array cut off": (lambda f: (f / "a.npy").write_bytes(b"\x93NUMPY\x01"), "no label map"),
    "picture cut off": (lambda f: (f / "a.png").write_bytes(b"\x89PNG\r\n"), "a.png"),
    "lossy picture": (lambda f: Image.new("L", (16, 16)).save(f / "a.jpg"), "is a JPEG"),
    "other proportions": (
        lambda f: Image.new("L", (16, 12), 1).save(f / "a.png"),
        r"a\.png is 16x12, its photo 32x32; expected a mask of the photo's proportions",
    ),
    "far too coarse": (
        lambda f: Image.new("L", (3, 3), 1).save(f / "a.png"),
        r"a\.png is 3x3, under a quarter of the training image's 16x16",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_import_masks_says_what_is_wrong_in_one_line(tmp_path, kind):
    make, message = BAD[kind]
    make(tmp_path)
    write_levels(tmp_path, "b", blocks())
    with pytest.raises(InputError, match=message) as caught:
        import_masks(tmp_path, CAPTURE)
    assert "\n" not in str(caught.value)


def test_import_masks_wants_some(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        import_masks(tmp_path / "nowhere", CAPTURE)
    for view in VIEWS:
        np.save(tmp_path / f"{view.name}.npy", np.zeros((SIZE, SIZE), int))
    message = r"2 training views, the first a \(found a\.npy, b\.npy\); expected a/000"
    with pytest.raises(InputError, match=message):
        import_masks(tmp_path, CAPTURE)


def make_capture(tmp_path):
    return Capture("made", tmp_path, VIEWS, (make_view("c"),), False, np.eye(4), masks="none")


def test_masks_come_from_where_the_user_said(tmp_path):
    capture = make_capture(tmp_path)
    with pytest.raises(InputError, match="masks=DIR"):
        gather_masks(capture, "")
    for view in VIEWS:
        write_pngs(tmp_path / "mine", view.name, blocks())
    source = str(tmp_path / "mine")
    assert mask_origin_of(capture, source) == "imported"
    assert [len(masks) for masks, _ in gather_masks(capture, source)] == [3, 3]
    assert len(gather_held_out(capture, source)) == 0
    write_pngs(tmp_path / "mine", "c", blocks())
    assert [len(masks) for masks, _ in gather_held_out(capture, source)] == [3]
    assert mask_origin_of(capture, "classical") == "classical"


def coloured(rng, size=32):
    """Four flat fields of colour with some noise, cut out by alpha."""
    fields = np.array([[0.9, 0.1, 0.1], [0.1, 0.8, 0.2], [0.2, 0.2, 0.9], [0.9, 0.9, 0.2]])
    rows, columns = np.mgrid[:size, :size] // (size // 2)
    image = fields[2 * rows + columns] + rng.normal(0, 0.01, (size, size, 3))
    alpha = np.zeros((size, size, 1))
    alpha[2:-2, 2:-2] = 1
    return np.concatenate([image * alpha, alpha], axis=2).astype(np.float32), 2 * rows + columns


def test_classical_masks_find_fields_of_colour_and_are_nested():
    image, fields = coloured(np.random.default_rng(0))
    masks = segment_colours(image).unpack()
    solid = image[..., 3] > 0
    for field in range(4):
        truth = (fields == field) & solid
        assert max((mask & truth).sum() / (mask | truth).sum() for mask in masks) > 0.95
    assert not (masks & ~solid).any()
    for one in masks:
        for two in masks:
            joint = (one & two).sum()
            assert joint in (0, one.sum(), two.sum())
    assert len(masks) <= sum(REGIONS)


def test_classical_masks_repeat_themselves_and_may_be_none():
    image, _ = coloured(np.random.default_rng(1))
    np.testing.assert_array_equal(segment_colours(image).packed, segment_colours(image).packed)
    assert len(segment_colours(np.zeros((20, 20, 4), np.float32))) == 0
