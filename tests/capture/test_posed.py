"""Captures with poses from COLMAP, nerfstudio, LLFF and PartNet: cameras see what the files say."""

import json
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from splat_uff.capture import read_capture
from splat_uff.capture.lenses import Lens, make_lens, undistortion
from splat_uff.geometry.cameras import project
from splat_uff.system.errors import InputError

WIDTH, HEIGHT = 48, 32
MIDDLE = np.array([3.0, -2.0, 1.0])
"""Of a scene that stands nowhere near the origin."""
POINTS = MIDDLE + np.random.default_rng(0).uniform(-0.4, 0.4, (12, 3))


def camera_pose(angle, *, distance=4.0, height=1.0):
    """World from camera, OpenCV axes, looking at the middle of the scene."""
    centre = MIDDLE + np.array([distance * np.cos(angle), distance * np.sin(angle), height])
    forward = MIDDLE - centre
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = centre
    return pose


POSES = [camera_pose(0.7 * k) for k in range(9)]
FOCAL = 40.0


def photo_of(index):
    """A picture that tells which photo it is."""
    colour = np.array([20 * index, 255 - 20 * index, 7 * index], np.uint8)
    return Image.fromarray(np.broadcast_to(colour, (HEIGHT, WIDTH, 3)).copy())


def write_photos(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(len(POSES)):
        photo_of(index).save(folder / f"frame_{index}.png")


def expected_pixels(pose, points):
    """Where points of the files' world fall in a photo, pinhole."""
    in_cam = (points - pose[:3, 3]) @ pose[:3, :3]
    return in_cam[:, :2] / in_cam[:, 2:] * FOCAL + [WIDTH / 2, HEIGHT / 2]


def check_cameras(capture, poses=POSES):
    """Every camera of the capture sees the points where the files say."""
    world_from_source = np.linalg.inv(capture.source_from_world)
    points = POINTS @ world_from_source[:3, :3].T + world_from_source[:3, 3]
    for view in (*capture.train, *capture.val):
        index = int(view.name.rpartition("_")[2])
        pixels, depth = project(view.camera, points)
        assert (depth > 0).all()
        scale = view.camera.width / WIDTH
        np.testing.assert_allclose(pixels, scale * expected_pixels(poses[index], POINTS), atol=1e-6)
        np.testing.assert_allclose(view.image[0, 0, 0], 20 * index / 255, atol=0.01)
        assert np.linalg.det(view.camera.world_from_cam[:3, :3]) == pytest.approx(1)


def check_world(capture):
    """The scene's middle is the origin, the median camera 1.5 away, and nothing is rotated."""
    source = capture.source_from_world
    np.testing.assert_allclose(source[:3, 3], MIDDLE, atol=1e-6)
    np.testing.assert_allclose(source[:3, :3], source[0, 0] * np.eye(3), atol=1e-9)
    distances = [np.linalg.norm(view.camera.centre) for view in (*capture.train, *capture.val)]
    assert np.median(distances) == pytest.approx(1.5)


# COLMAP


def write_colmap(
    folder, *, text=False, model="PINHOLE", params=(FOCAL, FOCAL, 24, 16), shared=True
):
    """A model of the photos, written by pycolmap."""
    import pycolmap

    reconstruction = pycolmap.Reconstruction()
    for camera_id in (1,) if shared else range(1, len(POSES) + 1):
        camera = pycolmap.Camera(
            model=model, width=WIDTH, height=HEIGHT, params=list(params), camera_id=camera_id
        )
        reconstruction.add_camera_with_trivial_rig(camera)
    for index, pose in enumerate(POSES):
        inverse = np.linalg.inv(pose)
        image = pycolmap.Image(
            name=f"frame_{index}.png", camera_id=1 if shared else index + 1, image_id=index + 1
        )
        rigid = pycolmap.Rigid3d(inverse[:3])
        reconstruction.add_image_with_trivial_frame(image, rigid)
    for point in POINTS:
        reconstruction.add_point3D(point, pycolmap.Track(), np.array([255, 0, 51], np.uint8))
    place = folder / "sparse" / "0"
    place.mkdir(parents=True)
    (reconstruction.write_text if text else reconstruction.write_binary)(str(place))
    return place


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_read_colmap_sees_what_the_model_says(tmp_path, text, shared):
    write_photos(tmp_path / "images")
    write_colmap(tmp_path, text=text, shared=shared)
    capture = read_capture(tmp_path, size=WIDTH)
    check_cameras(capture)
    check_world(capture)
    assert [view.name for view in capture.val] == ["frame_0", "frame_8"]
    assert capture.points is not None
    back = capture.points.moved(capture.source_from_world)
    np.testing.assert_allclose(np.sort(back.positions, axis=0), np.sort(POINTS, axis=0), atol=1e-6)
    np.testing.assert_allclose(back.colours[0], [1, 0, 0.2])
    assert not capture.has_alpha
    assert capture.masks == "none"


def test_read_colmap_skips_and_counts_what_is_missing(tmp_path, capsys):
    write_photos(tmp_path / "images")
    write_colmap(tmp_path)
    (tmp_path / "images" / "frame_3.png").unlink()
    photo_of(0).save(tmp_path / "images" / "stranger.png")
    capture = read_capture(tmp_path, size=WIDTH)
    assert len(capture.train) + len(capture.val) == 8
    said = capsys.readouterr().err
    assert "1 images of the model are not there, 1 photos have no pose" in said


def test_read_colmap_takes_the_folder_of_photos_that_is_just_large_enough(tmp_path):
    write_photos(tmp_path / "images")
    write_colmap(tmp_path)
    (tmp_path / "images_2").mkdir()
    for index in range(len(POSES)):
        half = photo_of(index).resize((WIDTH // 2, HEIGHT // 2))
        half.save(tmp_path / "images_2" / f"frame_{index}.png")
    assert read_capture(tmp_path, size=WIDTH // 2).train[0].source_size == (16, 24)
    assert read_capture(tmp_path, size=WIDTH).train[0].source_size == (32, 48)
    check_cameras(read_capture(tmp_path, size=WIDTH // 2))


def test_read_colmap_reads_masks_as_alpha(tmp_path):
    write_photos(tmp_path / "images")
    write_colmap(tmp_path)
    (tmp_path / "masks").mkdir()
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, :20] = 255
    Image.fromarray(mask).save(tmp_path / "masks" / "frame_1.png.png")
    capture = read_capture(tmp_path, size=WIDTH)
    (view,) = [view for view in capture.train if view.name == "frame_1"]
    np.testing.assert_array_equal(view.image[..., 3], mask / 255)
    assert capture.has_alpha


def cut(name, length):
    return lambda place: (place / name).write_bytes((place / name).read_bytes()[:length])


def put(name, offset, content):
    def change(place):
        held = bytearray((place / name).read_bytes())
        held[offset : offset + len(content)] = content
        (place / name).write_bytes(bytes(held))

    return change


BAD_MODELS = {
    "cameras cut": cut("cameras.bin", 20),
    "images cut": cut("images.bin", 300),
    "points cut": cut("points3D.bin", 100),
    "no cameras": cut("cameras.bin", 0),
    "no images": cut("images.bin", 0),
    "no points file": lambda place: (place / "points3D.bin").unlink(),
    "no cameras file": lambda place: (place / "cameras.bin").unlink(),
    "cameras without end": put("cameras.bin", 0, struct.pack("<Q", 1 << 60)),
    "images without end": put("images.bin", 0, struct.pack("<Q", 1 << 60)),
    "points without end": put("points3D.bin", 0, struct.pack("<Q", 1 << 60)),
    "many points of one image": put("images.bin", 8 + 64 + 12, struct.pack("<Q", 1 << 31)),
    "long track of a point": put("points3D.bin", 8 + 43, struct.pack("<Q", 1 << 33)),
    "unknown model": put("cameras.bin", 12, struct.pack("<i", 99)),
    "nan in a pose": put("images.bin", 12, struct.pack("<d", np.nan)),
    "infinite position": put("images.bin", 12 + 32, struct.pack("<d", np.inf)),
    "no such camera": put("images.bin", 8 + 60, struct.pack("<i", 999)),
    "focal length 0": put("cameras.bin", 32, struct.pack("<d", 0.0)),
    "nan focal length": put("cameras.bin", 32, struct.pack("<d", np.nan)),
    "text for binary": lambda place: (place / "images.bin").write_bytes(b"hello " * 99),
    "leaves the folder": put("images.bin", 8 + 64, b"../../a.png\0"),
}


@pytest.mark.parametrize("kind", BAD_MODELS)
def test_read_colmap_says_what_is_wrong_in_one_line(tmp_path, kind):
    write_photos(tmp_path / "images")
    place = write_colmap(tmp_path)
    for newer in ("rigs.bin", "frames.bin"):
        (place / newer).unlink()  # Poses are then those in images.bin, as before COLMAP 3.12.
    BAD_MODELS[kind](place)
    with pytest.raises(InputError) as caught:
        read_capture(tmp_path, size=WIDTH)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", ["rigs.bin", "frames.bin"])
def test_read_colmap_says_what_is_wrong_with_newer_files(tmp_path, name):
    write_photos(tmp_path / "images")
    place = write_colmap(tmp_path)
    put(name, 0, struct.pack("<Q", 1 << 60))(place)
    with pytest.raises(InputError, match="no whole COLMAP model"):
        read_capture(tmp_path, size=WIDTH)
    cut(name, 30)(place)
    with pytest.raises(InputError, match="no whole COLMAP model"):
        read_capture(tmp_path, size=WIDTH)


def test_read_colmap_wants_photos(tmp_path):
    write_colmap(tmp_path)
    with pytest.raises(InputError, match="none of the 9 images"):
        read_capture(tmp_path)


# nerfstudio and instant-ngp

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def write_transforms(folder, *, top=None, frame=None, frames=None):
    entries = [
        {
            "file_path": f"images/frame_{index}.png",
            "transform_matrix": (pose @ FLIP).tolist(),
            **(frame or {}),
        }
        for index, pose in enumerate(POSES)
    ]
    shared = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": 24, "cy": 16, "w": WIDTH, "h": HEIGHT}
    record = {**(shared if top is None else top), "frames": entries if frames is None else frames}
    (folder / "transforms.json").write_text(json.dumps(record))
    return record


def rewrite(folder, change):
    path = folder / "transforms.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.fixture
def nerfstudio(tmp_path):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path)
    return tmp_path


def test_read_nerfstudio_sees_what_the_file_says(nerfstudio):
    capture = read_capture(nerfstudio, size=WIDTH)
    check_cameras(capture)
    check_world(capture)
    assert [view.name for view in capture.val] == ["frame_0", "frame_8"]


def test_read_nerfstudio_takes_intrinsics_of_each_frame_or_an_angle(tmp_path):
    write_photos(tmp_path / "images")
    own = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": 24, "cy": 16, "w": WIDTH, "h": HEIGHT}
    write_transforms(tmp_path, top={}, frame=own)
    check_cameras(read_capture(tmp_path, size=WIDTH))
    write_transforms(tmp_path, top={"camera_angle_x": 2 * np.arctan(24 / FOCAL)})
    check_cameras(read_capture(tmp_path, size=WIDTH))


def test_read_nerfstudio_finds_photos_without_an_ending_and_skips_missing_ones(nerfstudio, capsys):
    def change(record):
        for entry in record["frames"]:
            entry["file_path"] = "./" + entry["file_path"].removesuffix(".png")

    rewrite(nerfstudio, change)
    (nerfstudio / "images" / "frame_2.png").unlink()
    capture = read_capture(nerfstudio, size=WIDTH)
    assert len(capture.train) + len(capture.val) == 8
    check_cameras(capture)
    assert "1 of 9 frames have no photo" in capsys.readouterr().err


def test_read_nerfstudio_holds_out_what_the_file_says(nerfstudio):
    rewrite(nerfstudio, lambda record: record.update(val_filenames=["images/frame_4.png"]))
    assert [view.name for view in read_capture(nerfstudio, size=WIDTH).val] == ["frame_4"]


def test_read_nerfstudio_reads_its_point_cloud(nerfstudio):
    lines = [" ".join(f"{value:.6f}" for value in point) + " 255 0 51" for point in POINTS]
    header = [
        *("ply", "format ascii 1.0", f"element vertex {len(POINTS)}"),
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
        "end_header",
    ]
    (nerfstudio / "sparse.ply").write_text("\n".join([*header, *lines]) + "\n")
    rewrite(nerfstudio, lambda record: record.update(ply_file_path="sparse.ply"))
    capture = read_capture(nerfstudio, size=WIDTH)
    assert capture.points is not None
    back = capture.points.moved(capture.source_from_world)
    np.testing.assert_allclose(back.positions, POINTS, atol=1e-5)
    np.testing.assert_allclose(back.colours[3], [1, 0, 0.2])


def test_read_nerfstudio_follows_exif_only_where_the_camera_says_so(tmp_path):
    (tmp_path / "images").mkdir()
    for index in range(len(POSES)):
        turned = photo_of(index).transpose(Image.Transpose.ROTATE_90)  # Stored lying on its side.
        exif = Image.Exif()
        exif[0x0112] = 6
        turned.save(tmp_path / "images" / f"frame_{index}.png", exif=exif)
    write_transforms(tmp_path)
    capture = read_capture(tmp_path, size=WIDTH)
    assert capture.train[0].image.shape[:2] == (HEIGHT, WIDTH)
    portrait = {"fl_x": FOCAL, "w": HEIGHT, "h": WIDTH}
    write_transforms(tmp_path, top=portrait)
    assert read_capture(tmp_path, size=WIDTH).train[0].image.shape[:2] == (WIDTH, HEIGHT)


def frame(**entries):
    return lambda record: record["frames"][1].update(entries)


BAD_TRANSFORMS = {
    "no frames": (lambda record: record.update(frames=[]), "no frames"),
    "frames of text": (lambda record: record.update(frames=["a"]), "no file_path"),
    "a path out of the folder": (frame(file_path="../photo.png"), "leads out of"),
    "an absolute path": (frame(file_path="/etc/passwd"), "leads out of"),
    "a mask out of the folder": (frame(mask_path="../../mask.png"), "leads out of"),
    "a missing mask": (frame(mask_path="masks/a.png"), "no mask"),
    "points out of the folder": (lambda r: r.update(ply_file_path="../a.ply"), "leads out of"),
    "nan": (frame(transform_matrix=[[float("nan")] * 4] * 4), "NaN or infinity"),
    "a matrix of three rows": (frame(transform_matrix=np.eye(4)[:3].tolist()), "4x4"),
    "a mirror": (frame(transform_matrix=np.diag([1, 1, -1, 1]).tolist()), "no rotation"),
    "a scaled pose": (frame(transform_matrix=np.diag([2, 2, 2, 1]).tolist()), "no rotation"),
    "no focal length": (lambda r: (r.pop("fl_x"), r.pop("fl_y")), "neither fl_x"),
    "a focal length of text": (lambda record: record.update(fl_x="40"), "expected a number"),
    "a focal length below 0": (lambda record: record.update(fl_x=-4.0), "focal lengths"),
    "a far principal point": (lambda record: record.update(cx=1e6), "principal point cx = 1e"),
    "no principal point": (lambda r: r.update(cx=0, cy=0), "point cx = 0, cy = 0 for 48x32"),
    "a principal point in shares": (lambda r: r.update(cx=0.5, cy=0.5), "in pixels"),
    "an unknown model": (lambda record: record.update(camera_model="LIZARD"), "'LIZARD'"),
    "two of one name": (frame(file_path="images/frame_0.png"), "two photos called"),
    "other proportions": (lambda record: record.update(w=WIDTH * 2), "proportions"),
}


@pytest.mark.parametrize("kind", BAD_TRANSFORMS)
def test_read_nerfstudio_says_what_is_wrong_in_one_line(nerfstudio, kind):
    change, message = BAD_TRANSFORMS[kind]
    rewrite(nerfstudio, change)
    with pytest.raises(InputError, match=message) as caught:
        read_capture(nerfstudio, size=WIDTH)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe{}", b'{"frames": 3}'])
def test_read_nerfstudio_wants_json(nerfstudio, content):
    (nerfstudio / "transforms.json").write_bytes(content)
    with pytest.raises(InputError):
        read_capture(nerfstudio, size=WIDTH)


# Lenses

BENT = {
    "SIMPLE_RADIAL": (FOCAL, 24, 16, -0.1),
    "RADIAL": (FOCAL, 24, 16, 0.1, 0.02),
    "OPENCV": (FOCAL, 42, 25, 15, -0.15, 0.03, 0.002, -0.003),
    "OPENCV_FISHEYE": (FOCAL, FOCAL, 24, 16, 0.02, -0.01, 0.0, 0.0),
    "FULL_OPENCV": (FOCAL, FOCAL, 24, 16, 0.1, 0, 0, 0, 0.01, 0, 0, 0),
}


@pytest.mark.parametrize("model", BENT)
def test_undistortion_shows_straight_what_the_lens_bent(model):
    lens = make_lens(model, WIDTH, HEIGHT, BENT[model], "test")
    found = undistortion(lens)
    assert found is not None
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    # A photo whose values are a smooth function of the ray, as the lens bends it.
    fine = np.stack(np.meshgrid(np.linspace(-0.8, 0.8, 161), np.linspace(-0.6, 0.6, 121)), axis=-1)
    fine = fine.reshape(-1, 2)
    from scipy.interpolate import LinearNDInterpolator

    pixels = lens.project(fine)
    bent = LinearNDInterpolator(pixels, fine)(columns, rows)
    straight = found.apply(np.nan_to_num(bent))
    rays = np.stack([columns, rows], axis=-1) - found.K[:2, 2]
    rays = rays / np.diag(found.K)[:2]
    inner = (slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(straight[inner], rays[inner], atol=2e-3)
    assert found.source[0].min() >= -0.51
    assert found.source[0].max() <= HEIGHT - 0.49
    assert found.source[1].min() >= -0.51
    assert found.source[1].max() <= WIDTH - 0.49


def test_a_pinhole_needs_no_undistortion():
    assert undistortion(Lens("PINHOLE", 8, 6, (5.0, 5.0, 4.0, 3.0))) is None
    assert undistortion(Lens("SIMPLE_RADIAL", 8, 6, (5.0, 4.0, 3.0, 1e-6))) is None


def test_lenses_that_cannot_be_are_refused():
    for params, message in (
        ((0.0, 0.0, 4.0, 3.0), "test has focal lengths"),
        ((np.inf, 5.0, 4.0, 3.0), "test has focal lengths"),
        ((5.0, 5.0), "test has 2 parameters"),
        ((5.0, 5.0, 1e6, 3.0), "test has the principal point"),
    ):
        with pytest.raises(InputError, match=message):
            make_lens("PINHOLE", 8, 6, params, "test")
    with pytest.raises(InputError, match="'MIRROR'"):
        make_lens("MIRROR", 8, 6, (1.0,), "test")


def test_bent_photos_are_undistorted_and_their_masks_with_them(tmp_path):
    from splat_uff.masks.fit import reduce_mask

    write_photos(tmp_path / "images")
    write_colmap(tmp_path, model="SIMPLE_RADIAL", params=(FOCAL, 24, 16, 0.3))
    capture = read_capture(tmp_path, size=WIDTH)
    view = capture.train[0]
    assert view.lens is not None
    columns = np.arange(WIDTH)[None].repeat(HEIGHT, axis=0)
    mask = reduce_mask(columns < 10, view)
    assert 0 < mask[HEIGHT // 2].sum() < 10  # The zoom takes some of the border away.


# LLFF


def write_llff(folder, *, change=None):
    rows = []
    for pose in POSES:
        right, down, forward = pose[:3, :3].T
        matrix = np.stack([down, right, -forward, pose[:3, 3], [HEIGHT, WIDTH, FOCAL]], axis=1)
        rows.append([*matrix.ravel(), 3.0, 6.0])
    rows = np.array(rows)
    if change is not None:
        rows = change(rows)
    np.save(folder / "poses_bounds.npy", rows)


def test_read_llff_sees_what_the_file_says(tmp_path):
    write_photos(tmp_path / "images")
    write_llff(tmp_path)
    capture = read_capture(tmp_path, size=WIDTH)
    check_cameras(capture)
    check_world(capture)


def test_a_forward_facing_capture_has_its_middle_at_the_depth_of_its_bounds(tmp_path):
    write_photos(tmp_path / "images")

    def forward(rows):
        rows[:, :15] = rows[0, :15]  # All look the same way, from a row of places.
        rows[:, 3] += 0.1 * np.arange(len(rows))
        return rows

    write_llff(tmp_path, change=forward)
    capture = read_capture(tmp_path, size=WIDTH)
    views = (*capture.train, *capture.val)
    depths = [project(view.camera, np.zeros((1, 3)))[1][0] for view in views]
    mean = np.mean(depths) * capture.source_from_world[0, 0]
    assert mean == pytest.approx(np.sqrt(18), rel=1e-6)


BAD_ROWS = {
    "sixteen columns": (lambda rows: rows[:, :16], "17 numbers"),
    "nan": (lambda rows: np.where(np.arange(17) == 3, np.nan, rows), "NaN"),
    "no size": (lambda rows: rows * (np.arange(17) != 4), "not positive"),
    "bounds below 0": (lambda rows: rows * np.where(np.arange(17) == 15, -1, 1), "not positive"),
    "whole numbers": (lambda rows: rows.astype(int), "17 numbers"),
    "fewer rows": (lambda rows: rows[:-1], "8 poses"),
    "no rotation": (lambda rows: rows * np.where(np.arange(17) == 0, 3, 1), "no rotation"),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_read_llff_says_what_is_wrong_in_one_line(tmp_path, kind):
    change, message = BAD_ROWS[kind]
    write_photos(tmp_path / "images")
    write_llff(tmp_path, change=change)
    with pytest.raises(InputError, match=message) as caught:
        read_capture(tmp_path, size=WIDTH)
    assert "\n" not in str(caught.value)


def test_read_llff_unpickles_nothing(tmp_path):
    write_photos(tmp_path / "images")
    np.save(tmp_path / "poses_bounds.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="no poses"):
        read_capture(tmp_path)


# PartNet


def write_partnet(folder, count=9):
    for index in range(count):
        place = folder / f"view-{index:02d}"
        place.mkdir()
        parts = np.zeros((2, 56, 56), np.uint8)
        parts[0, 10:30, 10:40], parts[1, 30:45, 10:40] = 255, 255
        picture = np.zeros((56, 56, 3), np.uint8)
        picture[10:45, 10:40] = 100
        Image.fromarray(picture).save(place / "shape-rgb.png")
        for number, part in enumerate(parts):
            Image.fromarray(part).save(place / f"part-{number:03d}.png")
        (place / "meta.txt").write_text(f"{40 * index} {10 * (index % 3)} 0 1.2")


def test_read_partnet_looks_at_the_origin_from_all_around(tmp_path):
    write_partnet(tmp_path)
    capture = read_capture(tmp_path, size=56)
    assert [view.name for view in capture.val] == ["view-00", "view-08"]
    for view in (*capture.train, *capture.val):
        middle, depth = project(view.camera, np.zeros((1, 3)))
        np.testing.assert_allclose(middle, [[28, 28]], atol=1e-6)
        assert depth[0] == pytest.approx(1.5)
        above, _ = project(view.camera, np.array([[0.1, 0, 0]]))
        assert above[0, 1] < 28  # +x is up.
        assert view.truth is not None
        assert np.unique(view.truth.objects).tolist() == [0, 1, 2]
        np.testing.assert_array_equal(view.image[..., 3] > 0, view.truth.objects > 0)
    assert capture.has_alpha


@pytest.mark.parametrize("content", ["", "a b c d", "1 2 3", "0 0 0 nan", "0 0 0 -1"])
def test_read_partnet_says_what_is_no_meta(tmp_path, content):
    write_partnet(tmp_path)
    (tmp_path / "view-03" / "meta.txt").write_text(content)
    with pytest.raises(InputError, match=r"view-03/meta.txt is no meta.txt"):
        read_capture(tmp_path)


def test_read_capture_says_which_layouts_there_are(tmp_path):
    (tmp_path / "notes.txt").write_text("no capture")
    with pytest.raises(InputError, match=r"found notes.txt.*COLMAP.*LLFF.*PartNet"):
        read_capture(tmp_path)


def test_a_plain_kill_ends_in_one_line_after_a_colmap_capture_was_read():
    code = """if True:
        import os, signal, sys
        def stop(*_):
            sys.stdout.write("stopped")
            sys.exit(7)
        signal.signal(signal.SIGTERM, stop)
        from splat_uff.capture.lenses import import_pycolmap
        import_pycolmap()
        os.kill(os.getpid(), signal.SIGTERM)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("stopped", "", 7)
