"""The tool that renders a .blend as a Blender-HS capture, on a small scene that it makes itself."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from splat_uff.capture import read_capture
from splat_uff.capture.images import read_image
from splat_uff.capture.rotated import read_depths, read_rotated
from splat_uff.evaluate.score import scored_camera
from splat_uff.geometry.cameras import pixel_centres, project, unproject

TOOL = Path(__file__).parents[1] / "tools" / "render_blender_hs.py"
SIZE = 48
FEW = ("--size", str(SIZE), "--train", "3", "--val", "2", "--samples", "1")
BALL, BALL_RADIUS = np.array([-0.5, 0.4, 0.5]), 0.5
CUBE, HALF = np.array([0.7, 0.6, 0.25]), 0.25

spec = importlib.util.spec_from_file_location("render_blender_hs", TOOL)
assert spec is not None
assert spec.loader is not None
tool = importlib.util.module_from_spec(spec)
sys.modules["render_blender_hs"] = tool
spec.loader.exec_module(tool)


def run(*words):
    command = [sys.executable, str(TOOL), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_tool_begins_in_a_folder_that_only_a_file_manager_was_in(tmp_path):
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "Thumbs.db").touch()
    tool._begin(tmp_path, {"scene": "demo"})
    record = tmp_path / "scene.json"
    record.write_text(record.read_text(encoding="utf-8"), encoding="utf-8-sig")
    tool._begin(tmp_path, {"scene": "demo"})
    with pytest.raises(tool.Mistake, match="holds something else"):
        tool._begin(tmp_path, {"scene": "another"})
    record.unlink()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(tool.Mistake, match="holds something else"):
        tool._begin(tmp_path, {"scene": "demo"})


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    pytest.importorskip("bpy", reason="bpy is not installed")
    output = tmp_path_factory.mktemp("captures") / "demo"
    done = run("--demo", "--output", output, *FEW)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"5 objects in 2 collections, in {output}\n"
    return output


@pytest.fixture(scope="module")
def capture(demo):
    return read_capture(demo, size=SIZE)


def test_the_reader_reads_it(capture):
    assert (len(capture.train), len(capture.val)) == (3, 2)
    assert capture.has_alpha
    assert all(view.truth is not None for view in (*capture.train, *capture.val))


def test_ids_belong_to_the_photos(demo, capture):
    record = json.loads((demo / "scene.json").read_text())
    assert list(record["objects"].values()) == ["ball", "cube 0", "cube 1", "cube 2", "table"]
    assert list(record["collections"].values()) == ["furniture", "toys"]
    for view in (*capture.train, *capture.val):
        objects, collections = view.truth.objects, view.truth.collections
        assert ((view.image[..., 3] > 0.5) == (objects > 0)).mean() > 0.98
        assert ((collections == 1) == (objects == 5)).all()
        assert ((collections == 2) == ((objects > 0) & (objects < 5))).all()
        colour = view.image[objects == 1].mean(axis=0)
        assert colour[0] > 1.3 * colour[1]  # The ball is red.


def test_depth_is_exact(demo, capture):
    """The points of the ball lie on it, those of a cube on its faces."""
    record = json.loads((demo / "scene.json").read_text())
    scale, centre = record["scale"], np.array(record["centre"])
    for view, depth in zip(capture.val, read_depths(capture), strict=True):
        camera = scored_camera(view)
        points = unproject(camera, pixel_centres(camera), depth.exact.ravel())
        source = points * capture.source_from_world[0, 0] / scale + centre
        objects = view.truth.objects.ravel()
        assert ((depth.exact.ravel() > 0) == (objects > 0)).all()
        away = np.linalg.norm(source[objects == 1] - BALL, axis=1)
        np.testing.assert_allclose(away, BALL_RADIUS, atol=0.005)
        aside = np.abs(source[objects == 2] - CUBE)
        np.testing.assert_allclose(aside.max(axis=1), HALF, atol=1e-4)
        error = np.abs(depth.published - depth.exact)[depth.exact > 0]
        assert error.max() * capture.source_from_world[0, 0] <= 0.5 * 8 / 256 + 1e-6


@pytest.mark.parametrize("degrees", [10, 45, 90, 135])
def test_what_is_seen_from_both_sides_lands_on_what_is_seen_there(capture, degrees):
    twins = read_rotated(capture, degrees)
    for view, depth, twin in zip(capture.val, read_depths(capture), twins, strict=True):
        camera = scored_camera(view)
        assert twin.seen.any()
        assert not (twin.seen & (view.truth.objects == 0)).any()
        shown = twin.seen.ravel()
        points = unproject(camera, pixel_centres(camera), depth.exact.ravel())[shown]
        x, y = np.floor(project(twin.camera, points)[0]).astype(int).T
        assert ((x >= 0) & (x < SIZE) & (y >= 0) & (y < SIZE)).all()
        near = binary_dilation(twin.seen_there, np.ones((3, 3)))
        assert near[y, x].mean() > 0.97
        # A quarter turn and more hides much, ten degrees little.
        share = twin.seen.sum() / (view.truth.objects > 0).sum()
        assert share > 0.85 if degrees == 10 else share < 0.95


def test_the_same_command_goes_on_and_another_is_refused(demo):
    photo = demo / "val" / "r_1.png"
    missing = demo / "train" / "r_2.png"
    was, content = photo.stat().st_mtime_ns, read_image(missing)
    missing.unlink()
    assert run("--demo", "--output", demo, *FEW).returncode == 0
    assert photo.stat().st_mtime_ns == was
    assert (read_image(missing) == content).all()  # Cycles writes its seconds into files.
    other = run("--demo", "--output", demo, *FEW, "--seed", "1")
    assert other.returncode == 2
    assert other.stderr.startswith("error: ")
    assert "holds something else" in other.stderr


def test_a_file_is_rendered_as_it_renders(tmp_path):
    """What is hidden in renders is left out, what is hidden in the viewport only is not."""
    pytest.importorskip("bpy", reason="bpy is not installed")
    path = tmp_path / "scene.blend"
    make = f"""
import bpy
bpy.ops.wm.read_factory_settings(use_empty=True)
for number, name in enumerate(("shown", "hidden in renders", "hidden in the viewport")):
    bpy.ops.mesh.primitive_cube_add(size=1, location=(3 * number, 0, 0))
    bpy.context.object.name = name
bpy.data.objects["hidden in renders"].hide_render = True
bpy.data.objects["hidden in the viewport"].hide_viewport = True
bpy.ops.wm.save_as_mainfile(filepath={str(path)!r})
"""
    subprocess.run([sys.executable, "-c", make], check=True, capture_output=True)
    done = run(path, "--output", tmp_path / "out", *FEW)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "scene.json").read_text())
    assert list(record["objects"].values()) == ["hidden in the viewport", "shown"]
    assert record["centre"] == pytest.approx([3, 0, 0])


def refused(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["render_blender_hs.py", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        tool.main()
    assert stopped.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--demo", "--size", "4"), "--size is 4"),
        (("--demo", "--train", "0"), "--train is 0"),
        (("none.blend",), "no file none.blend"),
        (("none.blend", "--demo"), "not both"),
    ],
)
def test_mistakes_are_one_line(monkeypatch, capsys, tmp_path, words, said):
    line = refused(monkeypatch, capsys, *words, "--output", tmp_path / "out")
    assert line.startswith("error: ")
    assert said in line
    assert line.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_bpy_it_says_how_to_get_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "bpy", None)
    line = refused(monkeypatch, capsys, "--demo", "--output", tmp_path / "out")
    assert "-m pip install bpy" in line


def test_cameras_stand_around_the_origin_and_look_at_it():
    poses = [*tool.train_poses(20, np.random.default_rng(0)), *tool.val_poses(7)]
    for pose in (*poses, *(tool.turned(pose, 45) for pose in poses)):
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
        np.testing.assert_allclose(pose[:3, 3], tool.DISTANCE * pose[:3, 2], atol=1e-12)
        assert pose[2, 3] > 0
