"""Rotated views and true depth of a Blender-HS capture, whole and damaged."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from splat_uff.capture import read_capture
from splat_uff.capture.rotated import ANGLES, read_depths, read_rotated
from splat_uff.system.errors import InputError


@pytest.fixture(scope="module")
def capture(toy):
    return read_capture(toy, size=64)


@pytest.fixture
def copy(capture, tmp_path):
    """The capture, with files of its own to spoil."""
    folder = tmp_path / "toy"
    folder.mkdir()
    for name in ("val_depth", "val_visible"):
        shutil.copytree(capture.folder / name, folder / name)
    for path in capture.folder.glob("transforms_*.json"):
        shutil.copy(path, folder)
    return replace(capture, folder=folder)


def test_read_depths_agrees_with_exact_depth_to_a_level_of_the_image(capture):
    depths = read_depths(capture)
    assert depths is not None
    assert len(depths) == len(capture.val)
    for depth in depths:
        assert depth.exact is not None
        assert ((depth.exact > 0) == (depth.published > 0)).all()
        assert np.abs(depth.exact - depth.published).max() <= 8 / 256 / 2.68 + 1e-3
        assert depth.exact.max() < 3  # Cameras are 1.5 from the middle.


@pytest.mark.parametrize("degrees", ANGLES)
def test_read_rotated_turns_cameras_about_the_vertical(capture, degrees):
    views = read_rotated(capture, degrees)
    assert views is not None
    for view, twin in zip(capture.val, views, strict=True):
        one, two = view.camera.centre, twin.camera.centre
        assert one[2] == pytest.approx(two[2], abs=1e-6)
        turned = np.degrees(np.arctan2(*one[:2]) - np.arctan2(*two[:2])) % 360
        assert min(turned, 360 - turned) == pytest.approx(degrees, abs=1e-4)
        assert twin.seen.shape == view.truth.objects.shape == (twin.camera.height,) * 2
        assert twin.seen.any()
        assert twin.seen_there.any()


def test_what_a_capture_does_not_have_is_none(copy):
    (copy.folder / "transforms_val_rotate_45.json").unlink()
    assert read_rotated(copy, 45) is None
    next(copy.folder.glob("val_visible/r_0_90.png")).unlink()
    assert read_rotated(copy, 90) is None
    for path in copy.folder.glob("val_depth/*_z.npy"):
        path.unlink()
    assert all(depth.exact is None for depth in read_depths(copy))
    next(copy.folder.glob("val_depth/r_0_depth.png")).unlink()
    assert read_depths(copy) is None


def test_what_belongs_to_validation_views_is_not_taken_for_that_of_test_views(capture):
    of_test = replace(capture, held_out="test")
    assert read_depths(of_test) is None
    assert read_rotated(of_test, 10) is None


def test_the_views_rotated_by_10_degrees_go_by_both_names(copy):
    expected = read_rotated(copy, 10)
    (copy.folder / "transforms_val_rotate_10.json").unlink()
    for one, two in zip(expected, read_rotated(copy, 10), strict=True):
        assert (one.camera.world_from_cam == two.camera.world_from_cam).all()


def spoil(folder, how):
    z, depth = folder / "val_depth" / "r_0_z.npy", folder / "val_depth" / "r_0_depth.png"
    seen, poses = folder / "val_visible" / "r_0_90.png", folder / "transforms_val_rotate_90.json"
    if how == "z truncated":
        z.write_bytes(z.read_bytes()[:200])
    elif how == "z pickled":
        np.save(z, np.array([{}], dtype=object), allow_pickle=True)
    elif how == "z of another size":
        np.save(z, np.ones((3, 3), np.float32))
    elif how == "z with NaN":
        np.save(z, np.full_like(np.load(z), np.nan))
    elif how == "depth of another size":
        Image.new("RGB", (5, 5)).save(depth)
        np.save(z, np.zeros((5, 5), np.float32))
    elif how == "depth truncated":
        depth.write_bytes(depth.read_bytes()[:100])
    elif how == "mask of another size":
        Image.new("RGB", (5, 5)).save(seen)
    elif how == "a view too few":
        record = json.loads(poses.read_text())
        record["frames"].pop()
        poses.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("z truncated", "r_0_z.npy is no depth"),
        ("z pickled", "r_0_z.npy is no depth"),
        ("z of another size", r"r_0_z.npy is no depth of .* \(3, 3\)"),
        ("z with NaN", "NaN or negative depth"),
        ("depth of another size", "r_0_depth.png is 5x5"),
        ("depth truncated", "r_0_depth.png is not a whole image"),
        ("mask of another size", "r_0_90.png is 5x5"),
        ("a view too few", "expected one for each of the"),
    ],
)
def test_damaged_files_are_named(how, said, copy):
    spoil(copy.folder, how)
    read = (lambda: read_depths(copy)) if how[0] in "zd" else (lambda: read_rotated(copy, 90))
    with pytest.raises(InputError, match=said) as caught:
        read()
    assert "\n" not in str(caught.value)
