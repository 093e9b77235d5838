"""Blender captures: what is right is read right, what is wrong gets one line."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from splat_uff.capture import read_capture
from splat_uff.geometry.cameras import project
from splat_uff.system.errors import InputError


def looking_at_origin(azimuth, distance=4.0):
    """OpenGL pose on the horizontal circle, up is +z."""
    back = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    right = np.cross([0, 0, 1], back)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    pose[:3, 3] = distance * back
    return pose


def write_split(folder, split, count=3, *, size=8, distances=None):
    rng = np.random.default_rng(count)
    (folder / split).mkdir(parents=True)
    frames = []
    # Written in lexicographic order, as folders are listed.
    for index in sorted(range(count), key=str):
        distance = 4.0 if distances is None else distances[index]
        pose = looking_at_origin(index, distance).tolist()
        frames.append({"file_path": f"./{split}/r_{index}", "transform_matrix": pose})
        pixels = rng.integers(0, 256, (size, size, 4), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / split / f"r_{index}.png")
    record = {"camera_angle_x": 0.7, "frames": frames}
    (folder / f"transforms_{split}.json").write_text(json.dumps(record))


def write_truth(folder, split, name, *, size=4):
    (folder / "gt_seg" / split).mkdir(parents=True, exist_ok=True)
    ids = np.arange(size * size, dtype=np.uint8).reshape(size, size)
    for level in ("objects", "collections"):
        tifffile.imwrite(folder / "gt_seg" / split / f"{name}_seg_{level}.tif", ids)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "scene"
    write_split(folder, "train", 12)
    write_split(folder, "val", 2)
    return folder


def edit(folder, change, split="train"):
    path = folder / f"transforms_{split}.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_read_capture_orders_frames_by_number(folder):
    capture = read_capture(folder)
    assert [view.name for view in capture.train] == [f"r_{index}" for index in range(12)]
    assert capture.name == "scene"


def test_read_capture_puts_the_median_camera_at_one_and_a_half(tmp_path):
    write_split(tmp_path, "train", 3, distances=[2.0, 4.0, 10.0])
    capture = read_capture(tmp_path)
    distances = [np.linalg.norm(view.camera.centre) for view in capture.train]
    np.testing.assert_allclose(distances, [0.75, 1.5, 3.75])
    np.testing.assert_allclose(np.diag(capture.source_from_world), [4 / 1.5] * 3 + [1])


def test_read_capture_sees_the_origin_in_the_middle(folder):
    for view in read_capture(folder).train:
        pixels, depth = project(view.camera, np.zeros((1, 3)))
        np.testing.assert_allclose(pixels, [[4, 4]])
        np.testing.assert_allclose(depth, [1.5])


def test_read_capture_has_up_up(folder):
    for view in read_capture(folder).train:
        pixels, _ = project(view.camera, np.array([[0.0, 0.0, 0.1]]))
        assert pixels[0, 1] < 4


def test_read_capture_averages_down(folder):
    whole, half = read_capture(folder), read_capture(folder, size=4)
    blocks = whole.train[0].image.reshape(4, 2, 4, 2, 4).mean((1, 3))
    np.testing.assert_allclose(half.train[0].image, blocks, atol=1e-6)
    assert half.size == (4, 4)
    assert half.train[0].source_size == (8, 8)
    np.testing.assert_allclose(half.train[0].camera.K[0], whole.train[0].camera.K[0] / 2)


def test_read_capture_holds_out_val_with_truth_else_test(folder):
    assert read_capture(folder).held_out == "val"
    write_split(folder, "test", 5)
    capture = read_capture(folder)
    assert (capture.held_out, len(capture.val)) == ("test", 5)
    write_truth(folder, "val", "r_0")
    capture = read_capture(folder)
    assert (capture.held_out, len(capture.val)) == ("val", 2)


def test_read_capture_holds_out_nothing_where_nothing_is(tmp_path):
    write_split(tmp_path, "train")
    assert read_capture(tmp_path).val == ()


def test_read_capture_reads_truth_where_there_is_any(folder):
    write_truth(folder, "val", "r_1")
    capture = read_capture(folder)
    assert capture.val[0].truth is None
    assert capture.val[1].truth is not None
    np.testing.assert_array_equal(capture.val[1].truth.objects.ravel(), np.arange(16))


def test_read_capture_tells_where_masks_come_from(folder):
    assert read_capture(folder).masks == "none"
    (folder / "train_seg").mkdir()
    assert read_capture(folder).masks == "imported"
    (folder / "scene.json").write_text('{"masks": "simulated"}')
    assert read_capture(folder).masks == "simulated"


def test_read_capture_tells_whether_alpha_cuts(folder):
    assert read_capture(folder).has_alpha
    for path in folder.glob("*/*.png"):
        Image.open(path).convert("RGB").save(path)
    assert not read_capture(folder).has_alpha


def test_read_capture_accepts_endings_in_file_path(folder):
    expected = read_capture(folder).train[3].image

    def add_ending(record):
        for frame in record["frames"]:
            frame["file_path"] += ".png"

    edit(folder, add_ending)
    np.testing.assert_array_equal(read_capture(folder).train[3].image, expected)


def set_pose(value):
    def change(record):
        record["frames"][0]["transform_matrix"] = value

    return lambda folder: edit(folder, change)


def set_path(value):
    return lambda folder: edit(folder, lambda record: record["frames"][0].update(file_path=value))


def set_angle(value):
    return lambda folder: edit(folder, lambda record: record.update(camera_angle_x=value))


def set_text(text):
    return lambda folder: (folder / "transforms_train.json").write_text(text)


def drop_photos(folder):
    for path in (folder / "train").iterdir():
        path.unlink()


def truncate(folder):
    path = folder / "train" / "r_5.png"
    path.write_bytes(path.read_bytes()[:60])


def other_truth_size(folder):
    write_truth(folder, "val", "r_0")
    path = folder / "gt_seg" / "val" / "r_0_seg_objects.tif"
    tifffile.imwrite(path, np.zeros((9, 9), np.uint8))


def other_proportions(folder):
    write_truth(folder, "val", "r_0")
    for path in (folder / "gt_seg" / "val").iterdir():
        tifffile.imwrite(path, np.zeros((4, 6), np.uint8))


def drop_collections(folder):
    write_truth(folder, "val", "r_0")
    (folder / "gt_seg" / "val" / "r_0_seg_collections.tif").unlink()


SCALED = np.diag([2.0, 2.0, 2.0, 1.0])
MIRRORED = np.diag([-1.0, 1.0, 1.0, 1.0])
NAN = np.full((4, 4), np.nan)

DAMAGES = {
    "no transforms": (lambda f: (f / "transforms_train.json").unlink(), "no capture in"),
    "bad json": (set_text('{"frames": ['), "not readable JSON"),
    "deep json": (set_text("[" * 100_000), "not readable JSON"),
    "no object": (set_text("[]"), "no JSON object"),
    "not text": (lambda f: (f / "transforms_train.json").write_bytes(b"\xff\xfe"), "JSON"),
    "no angle": (
        lambda f: edit(f, lambda r: r.pop("camera_angle_x")),
        "neither fl_x nor camera_angle_x",
    ),
    "text angle": (set_angle("wide"), "camera_angle_x 'wide'"),
    "zero angle": (set_angle(0), "camera_angle_x 0"),
    "NaN angle": (set_angle(float("nan")), "camera_angle_x nan"),
    "no frames": (lambda f: edit(f, lambda r: r.update(frames=[])), "has no frames"),
    "odd frames": (lambda f: edit(f, lambda r: r.update(frames={"a": 1})), "has no frames"),
    "odd frame": (lambda f: edit(f, lambda r: r.update(frames=[7])), "has no file_path"),
    "no path": (set_path(None), "has no file_path"),
    "twice": (set_path("./train/r_1"), "r_1 twice"),
    "NaN pose": (set_pose(NAN.tolist()), "NaN or infinity"),
    "singular pose": (set_pose(np.zeros((4, 4)).tolist()), "rotation and translation"),
    "scaled pose": (set_pose(SCALED.tolist()), "rotation and translation"),
    "mirrored pose": (set_pose(MIRRORED.tolist()), "rotation and translation"),
    "huge pose": (set_pose(np.full((4, 4), 1e300).tolist()), "rotation and translation"),
    "short pose": (set_pose([[1, 2], [3, 4]]), "4x4 transform_matrix"),
    "ragged pose": (set_pose([[1, 2], [3]]), "4x4 transform_matrix"),
    "no pose": (set_pose(None), "4x4 transform_matrix"),
    "text pose": (set_pose([["a"] * 4] * 4), "4x4 transform_matrix"),
    "no image at all": (drop_photos, "none of the 12 frames of .* has its photo, the first train"),
    "truncated image": (truncate, r"r_5\.png is not a whole image"),
    "other size": (
        lambda f: Image.new("RGBA", (6, 8)).save(f / "train" / "r_3.png"),
        r"r_3\.png is 6x8, the first photo is 8x8",
    ),
    "val of other size": (
        lambda f: Image.new("RGBA", (6, 8)).save(f / "val" / "r_1.png"),
        r"val/r_1\.png is 6x8",
    ),
    "absolute path": (set_path("/etc/passwd"), "leads out of"),
    "path upwards": (set_path("../../elsewhere/r_0"), "leads out of"),
    "long path": (set_path("x" * 5000), "file_path 'xxx"),
    "long path with ending": (set_path("./train/r_" + "1" * 5000 + ".png"), "file_path './train"),
    "empty path": (set_path(""), "file_path ''"),
    "zero in path": (set_path("a\0b"), "file_path"),
    "truth of two sizes": (other_truth_size, "expected one size"),
    "truth of other proportions": (other_proportions, "is 6x4, .* their photo 8x8"),
    "half a truth": (drop_collections, r"no image .*r_0_seg_collections\.tif"),
    "bad scene.json": (
        lambda f: ((f / "train_seg").mkdir(), (f / "scene.json").write_text("{")),
        r"scene\.json is not readable JSON",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_read_capture_answers_bad_input_with_one_line(folder, damage):
    spoil, message = DAMAGES[damage]
    spoil(folder)
    with pytest.raises(InputError, match=message) as caught:
        read_capture(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_read_capture_refuses_cameras_at_the_origin(tmp_path):
    write_split(tmp_path, "train", 3, distances=[0.0, 0.0, 0.0])
    with pytest.raises(InputError, match="stand at the origin"):
        read_capture(tmp_path)


def test_read_capture_names_a_missing_folder(tmp_path):
    with pytest.raises(InputError, match=r"no folder .*nowhere"):
        read_capture(tmp_path / "nowhere")


def test_read_capture_refuses_a_size_of_zero(folder):
    with pytest.raises(InputError, match="size is 0"):
        read_capture(folder, size=0)
