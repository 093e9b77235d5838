"""Films that go round a scene: their paths, their frames, and what they refuse."""

import gc
import sys
import warnings
from itertools import pairwise
from types import SimpleNamespace

import imageio.v2 as imageio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.transform import Rotation

from splat_uff.export.turntable import Film, turntable_cameras, write_turntable
from splat_uff.geometry.cameras import Camera, project
from splat_uff.run.open import open_run
from splat_uff.system.errors import InputError

SEEDS = st.integers(0, 2**32 - 1)
FEW = {"frames": 4, "size": 64, "most": 12}


@pytest.fixture(scope="module")
def run(trained):
    return open_run(trained)


def camera_at(position, target, up, *, focal=100.0, width=80, height=60):
    """A camera that looks from a position to a target."""
    forward = target - position
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = position
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    return Camera(pose, K, width, height)


def on_sphere(azimuths, elevations, *, radius=1.5, target=(0, 0, 0), turn=None):
    """Cameras at azimuths and elevations (degrees) about a target; the world may be turned."""
    turn = np.eye(3) if turn is None else turn
    a, e = np.deg2rad(azimuths), np.deg2rad(elevations) * np.ones(len(azimuths))
    outward = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=1) @ turn.T
    target = np.array(target, float)
    return [camera_at(target + radius * each, target, turn[:, 2]) for each in outward]


def positions(path):
    return np.stack([camera.centre for camera in path])


def read_film(path):
    """Frames of a film. imageio leaves it to the garbage collector to close ffmpeg's pipes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        frames = [np.asarray(frame)[..., :3] for frame in imageio.mimread(path)]
        gc.collect()
    return frames


def assert_looks_upright_at(path, target, up):
    """Every camera has the target in the middle of its picture, level, and never upside down."""
    for camera in path:
        rotation = camera.world_from_cam[:3, :3]
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-9)
        assert np.linalg.det(rotation) > 0
        pixels, depth = project(camera, np.array([target], float))
        np.testing.assert_allclose(pixels[0], [camera.width / 2, camera.height / 2], atol=1e-6)
        assert depth[0] > 0
        assert -rotation[:, 1] @ up > 0.1
        assert abs(rotation[:, 0] @ up) < 1e-9


@settings(max_examples=25)
@given(seed=SEEDS)
def test_cameras_all_round_give_a_circle_that_closes(seed):
    rng = np.random.default_rng(seed)
    turn = Rotation.random(random_state=seed).as_matrix()
    target = rng.normal(size=3)
    azimuths = np.arange(0, 360, 12) + rng.uniform(0, 360)
    cameras = on_sphere(azimuths, 25, radius=2, target=target, turn=turn)
    path = turntable_cameras(cameras, 24, 50)
    up = turn[:, 2]
    assert_looks_upright_at(path, target, up)
    offsets = positions(path) - target
    np.testing.assert_allclose(np.linalg.norm(offsets, axis=1), 2)
    np.testing.assert_allclose(np.arcsin(offsets @ up / 2), np.deg2rad(25))
    steps = np.linalg.norm(np.roll(offsets, -1, axis=0) - offsets, axis=1)
    np.testing.assert_allclose(steps, steps[0])  # Also from the last to the first.
    level = offsets - np.outer(offsets @ up, up)
    np.testing.assert_allclose(level[12], -level[0])


@settings(max_examples=25)
@given(seed=SEEDS)
def test_a_dome_has_up_and_medians_although_its_axes_differ_much(seed):
    rng = np.random.default_rng(seed)
    azimuths, elevations = rng.uniform(0, 360, 150), rng.uniform(2, 88, 150)
    path = turntable_cameras(on_sphere(azimuths, elevations), 16, 40)
    rotations = np.stack([camera.world_from_cam[:3, :3] for camera in path])
    assert (-rotations[:, 2, 1] > 0.3).all()  # +z stays up.
    offsets = positions(path)
    np.testing.assert_allclose(np.linalg.norm(offsets, axis=1), 1.5)
    tilted = np.rad2deg(np.arcsin(offsets[:, 2] / 1.5))
    assert np.abs(tilted - np.median(elevations)).max() < 6
    assert np.ptp(np.unwrap(np.arctan2(offsets[:, 1], offsets[:, 0]))) > np.deg2rad(300)


def test_up_does_not_lean_to_where_cameras_on_one_side_look():
    cameras = on_sphere(np.linspace(-70, 70, 15), 50)
    mean = np.mean([-camera.world_from_cam[:3, 1] for camera in cameras], axis=0)
    assert np.rad2deg(np.arccos(mean[2] / np.linalg.norm(mean))) > 35
    offsets = positions(turntable_cameras(cameras, 12, 40))
    assert np.ptp(np.rad2deg(np.arcsin(offsets[:, 2] / 1.5))) < 5


@settings(max_examples=25)
@given(seed=SEEDS, reach=st.floats(5, 90))
def test_cameras_on_one_side_give_a_swing_within_their_range(seed, reach):
    rng = np.random.default_rng(seed)
    middle = rng.uniform(-180, 180)
    azimuths = middle + np.array([-reach, *rng.uniform(-reach, reach, 20), reach])
    path = turntable_cameras(on_sphere(azimuths, 0), 32, 40)
    assert_looks_upright_at(path, (0, 0, 0), [0, 0, 1])
    x, y, z = positions(path).T
    np.testing.assert_allclose(z, 0, atol=1e-9)
    swing = (np.rad2deg(np.arctan2(y, x)) - middle + 180) % 360 - 180
    assert np.abs(swing).max() <= reach + 1e-6
    assert np.ptp(swing) > reach / 2
    assert swing[8] == pytest.approx(swing.max())  # A quarter later at one end,
    assert swing[24] == pytest.approx(swing.min())  # and three quarters later at the other.
    assert swing[16] == pytest.approx(swing[0])
    assert np.abs(np.diff([*swing, swing[0]])).max() < 2 * np.pi * np.ptp(swing) / 2 / 32 + 1e-6


def test_a_stray_camera_behind_the_scene_makes_no_circle():
    cameras = on_sphere([*np.linspace(-30, 30, 20), 180], 10)
    offsets = positions(turntable_cameras(cameras, 16, 40))
    assert (offsets[:, 0] > 1.2).all()


def test_parallel_cameras_look_at_the_scene_at_the_origin():
    """As LLFF takes photos: side by side on a plane, all to the front."""
    rng = np.random.default_rng(0)
    ahead, up = np.array([0, 0, 1.0]), np.array([0, -1.0, 0])
    places = np.stack([rng.uniform(-0.4, 0.4, 20), rng.uniform(-0.2, 0.2, 20), np.full(20, -1.5)])
    cameras = [camera_at(at, at + ahead, up) for at in places.T]
    path = turntable_cameras(cameras, 16, 40)
    target = np.append(places[:2].mean(axis=1), 0)
    assert_looks_upright_at(path, target, up)
    offsets = positions(path) - target
    assert (offsets[:, 2] < -1.4).all()
    assert np.ptp(offsets[:, 0]) > 0.3
    assert np.abs(offsets[:, 0]).max() < 0.5


def test_one_camera_stays_where_it_is():
    (camera,) = on_sphere([40], 30)
    path = turntable_cameras([camera], 5, 60)
    assert len(path) == 5
    for each in path:
        np.testing.assert_allclose(each.world_from_cam, camera.world_from_cam, atol=1e-9)
        assert (each.width, each.height, each.K[0, 0]) == (60, 60, 100.0)


@pytest.mark.parametrize("positions_too", [False, True])
def test_cameras_that_look_outward_or_upside_down_give_a_path_all_the_same(positions_too):
    """Neither has a point in front of all, or a mean of -y axes."""
    outward = on_sphere(np.arange(0, 360, 30), 0, radius=-0.2 if positions_too else -1e-9)
    turned = on_sphere(np.arange(0, 360, 30), 10)
    for camera in turned[::2]:
        camera.world_from_cam[:3, :2] *= -1
    for cameras in (outward, turned):
        for camera in turntable_cameras(cameras, 6, 40):
            rotation = camera.world_from_cam[:3, :3]
            np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-9)
            assert np.isfinite(camera.centre).all()


@pytest.mark.parametrize(("width", "height"), [(80, 60), (60, 80), (60, 60)])
def test_the_picture_is_the_largest_square_in_a_photo(width, height):
    cameras = [
        Camera(camera.world_from_cam, np.diag([90.0, 90, 1]), width, height)
        for camera in on_sphere(np.arange(0, 360, 40), 20)
    ]
    (camera, *_) = turntable_cameras(cameras, 3, 120)
    assert camera.K.tolist() == [[180, 0, 60], [0, 180, 60], [0, 0, 1]]


def test_no_camera_no_path():
    with pytest.raises(ValueError, match="cameras is empty"):
        turntable_cameras([], 4, 64)


@pytest.mark.parametrize("ending", [".gif", ".mp4", ".GIF"])
def test_a_film_has_the_frames_that_were_asked_for(run, tmp_path, ending):
    output = tmp_path / "films" / f"toy{ending}"
    assert write_turntable(run, output, Film(**FEW)) == output
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    frames = read_film(output)
    assert [frame.shape for frame in frames] == [(64, 64, 3)] * 4
    assert all((a != b).any() for a, b in pairwise(frames))
    assert all(frame.min() < 150 for frame in frames)


def test_a_gif_loops_at_the_pace_that_was_asked_for(run, tmp_path):
    output = write_turntable(run, tmp_path / "toy.gif", Film(**FEW | {"frames": 12}))
    with Image.open(output) as film:
        assert film.info["loop"] == 0
        durations = []
        for index in range(film.n_frames):
            film.seek(index)
            durations.append(film.info["duration"])
    assert sum(durations) == 500
    assert set(durations) == {40, 50}


def test_a_film_of_odd_size_gets_a_pixel_more(run, tmp_path):
    output = write_turntable(run, tmp_path / "toy.mp4", Film(**FEW | {"size": 65, "frames": 2}))
    assert read_film(output)[0].shape == (66, 66, 3)


def test_segments_split_from_frame_to_frame(run, tmp_path, monkeypatch):
    asked = []
    nodes = type(run).nodes

    def noting(self, num_segments):
        asked.append(num_segments)
        return nodes(self, num_segments)

    monkeypatch.setattr(type(run), "nodes", noting)
    write_turntable(run, tmp_path / "toy.gif", Film(frames=5, size=64, fewest=2, most=32))
    assert asked == [2, 4, 8, 16, 32]
    most = run.hierarchy.tree.most_segments
    write_turntable(run, tmp_path / "toy.gif", Film(frames=2, size=64, most=10 * most))
    assert asked[-1] == most
    write_turntable(
        run, tmp_path / "toy.gif", Film(frames=2, size=64, fewest=9 * most, most=10 * most)
    )
    assert asked[-2:] == [most, most]


def test_the_share_of_the_photo_is_one_end_and_the_other(run, tmp_path):
    """All photo is what the cameras see; without, one segment has one colour."""
    few = {"frames": 2, "size": 64, "fewest": 1, "most": 1}
    path = turntable_cameras([view.camera for view in run.capture.train], 2, 64)
    shown = read_film(write_turntable(run, tmp_path / "a.gif", Film(**few, photo=1.0)))
    for frame, camera in zip(shown, path, strict=True):
        assert np.abs(frame / 255 - run.render(camera)).mean() < 0.02
    plain = read_film(write_turntable(run, tmp_path / "b.gif", Film(**few, photo=0.0)))[0]
    shares = (255.0 - plain).reshape(-1, 3)
    # Between white and one colour, up to the palette.
    assert np.linalg.svd(shares, compute_uv=False)[1] < 0.02 * np.linalg.norm(shares)


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"frames": 1}, "frames is 1; expected at least 2"),
        ({"size": 63}, "size is 63; expected 64 to 2048"),
        ({"size": 2049}, "size is 2049"),
        ({"frames_per_second": 0}, "frames_per_second is 0; expected 1 to 60"),
        ({"frames_per_second": 61}, "frames_per_second is 61"),
        ({"fewest": 0}, "fewest is 0 and most 200"),
        ({"fewest": 9, "most": 8}, "fewest is 9 and most 8"),
        ({"photo": -0.1}, "photo is -0.1; expected a share"),
        ({"photo": float("nan")}, "photo is nan"),
    ],
)
def test_arguments_out_of_range_are_refused(run, tmp_path, given_, words):
    with pytest.raises(InputError, match=words) as raised:
        write_turntable(run, tmp_path / "toy.gif", Film(**given_))
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["toy.webm", "toy", "toy.gif.txt"])
def test_other_endings_are_refused(run, tmp_path, name):
    with pytest.raises(InputError, match=r"expected a name that ends in \.mp4 or \.gif") as raised:
        write_turntable(run, tmp_path / name, Film(**FEW))
    assert name in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_replaced_by_a_film(run, tmp_path):
    (tmp_path / "toy.gif").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        write_turntable(run, tmp_path / "toy.gif", Film(**FEW))


def no_program():
    raise RuntimeError("No ffmpeg exe could be found.")


@pytest.mark.parametrize("module", [None, SimpleNamespace(get_ffmpeg_exe=no_program)])
def test_without_ffmpeg_one_is_told_what_to_do(run, tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", module)
    with pytest.raises(InputError, match=r"pip install imageio-ffmpeg, or write a \.gif"):
        write_turntable(run, tmp_path / "toy.mp4", Film(**FEW))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("frame", [1, 3])
@pytest.mark.parametrize("ending", [".gif", ".mp4"])
def test_a_film_that_fails_leaves_nothing_and_spares_the_older_one(
    run, tmp_path, monkeypatch, ending, frame
):
    output = tmp_path / f"toy{ending}"
    output.write_bytes(b"older")
    render, seen = type(run).render, []

    def failing(self, camera):
        seen.append(camera)
        if len(seen) == frame:
            raise OSError("no space")
        return render(self, camera)

    monkeypatch.setattr(type(run), "render", failing)
    with pytest.raises(OSError, match="no space"):
        write_turntable(run, output, Film(**FEW))
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
    assert output.read_bytes() == b"older"
