"""The layouts as other programs and people leave them: read right, or refused in one line."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from splat_uff.capture import read_capture
from splat_uff.capture.colmap import find_model
from splat_uff.geometry.cameras import project
from splat_uff.masks.gather import gather_held_out, gather_masks
from splat_uff.system.errors import InputError
from tests.capture.test_blender import edit, looking_at_origin, write_split, write_truth
from tests.capture.test_posed import (
    FOCAL,
    HEIGHT,
    MIDDLE,
    POSES,
    WIDTH,
    camera_pose,
    check_cameras,
    check_world,
    photo_of,
    rewrite,
    write_colmap,
    write_llff,
    write_partnet,
    write_photos,
    write_transforms,
)

WRITERS = {"nerfstudio": write_transforms, "COLMAP": write_colmap, "LLFF": write_llff}


def names_of(views):
    return [view.name for view in views]


def all_names(capture):
    return sorted(names_of((*capture.train, *capture.val)))


# Order and pairing


def test_llff_rows_follow_the_plain_order_of_names(tmp_path):
    poses = [camera_pose(0.4 * k) for k in range(12)]
    (tmp_path / "images").mkdir()
    plain = sorted(range(12), key=lambda index: f"frame_{index}.png")
    rows = []
    for index in plain:
        photo_of(index % 9).save(tmp_path / "images" / f"frame_{index}.png")
        right, down, forward = poses[index][:3, :3].T
        size = [HEIGHT, WIDTH, FOCAL]
        matrix = np.stack([down, right, -forward, poses[index][:3, 3], size], axis=1)
        rows.append([*matrix.ravel(), 3.0, 6.0])
    np.save(tmp_path / "poses_bounds.npy", np.array(rows))
    capture = read_capture(tmp_path, size=WIDTH)
    scale, shift = capture.source_from_world[0, 0], capture.source_from_world[:3, 3]
    for view in (*capture.train, *capture.val):
        index = int(view.name.rpartition("_")[2])
        np.testing.assert_allclose(view.camera.centre * scale + shift, poses[index][:3, 3])
    assert names_of(capture.val) == [f"frame_{plain[0]}", f"frame_{plain[8]}"]


def test_llff_pairs_twins_that_are_numbered_anew(tmp_path):
    write_photos(tmp_path / "images")
    write_llff(tmp_path)
    (tmp_path / "images_2").mkdir()
    for index in range(len(POSES)):
        small = photo_of(index).resize((WIDTH // 2, HEIGHT // 2))
        small.save(tmp_path / "images_2" / f"image{index:03d}.png")
    capture = read_capture(tmp_path, size=WIDTH // 2)
    assert capture.train[0].source_size == (HEIGHT // 2, WIDTH // 2)
    check_cameras(capture)


def test_llff_reads_a_photo_that_a_twin_folder_lacks_from_the_other(tmp_path):
    write_photos(tmp_path / "images")
    write_llff(tmp_path)
    (tmp_path / "images_2").mkdir()
    for index in range(1, len(POSES)):
        small = photo_of(index).resize((WIDTH // 2, HEIGHT // 2))
        small.save(tmp_path / "images_2" / f"frame_{index}.png")
    check_cameras(read_capture(tmp_path, size=WIDTH // 2))
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(InputError, match=r"9 poses.*\(images_2 8\)"):
        read_capture(tmp_path, size=WIDTH // 2)


def test_the_same_name_in_two_folders_is_two_photos(tmp_path):
    frames = []
    for index, pose in enumerate(POSES):
        place = tmp_path / "images" / f"cam{index % 2}"
        place.mkdir(parents=True, exist_ok=True)
        photo_of(index).save(place / f"{index // 2}.png")
        opengl = pose @ np.diag([1.0, -1, -1, 1])
        path = f"./images/cam{index % 2}/{index // 2}.png"
        frames.append({"file_path": path, "transform_matrix": opengl.tolist()})
    record = write_transforms(tmp_path, frames=frames)
    lists = {"train_filenames": [f["file_path"] for f in frames if "cam0" in f["file_path"]]}
    lists["val_filenames"] = [f["file_path"][2:] for f in frames if "cam1" in f["file_path"]]
    (tmp_path / "transforms.json").write_text(json.dumps(record | lists))
    capture = read_capture(tmp_path, size=WIDTH)
    assert names_of(capture.train) == [f"cam0/{k}" for k in range(5)]
    assert names_of(capture.val) == [f"cam1/{k}" for k in range(4)]


def test_two_frames_of_a_blender_file_may_share_a_name_in_two_folders(tmp_path):
    write_split(tmp_path, "train", 4)
    (tmp_path / "train" / "a").mkdir()
    shutil.copy(tmp_path / "train" / "r_1.png", tmp_path / "train" / "a" / "r_1.png")
    pose = looking_at_origin(9).tolist()
    frame = {"file_path": "./train/a/r_1", "transform_matrix": pose}
    edit(tmp_path, lambda record: record["frames"].append(frame))
    capture = read_capture(tmp_path)
    assert sorted(names_of(capture.train)) == ["a/r_1", "r_0", "r_1", "r_2", "r_3"]


# Split lists


def test_frames_in_no_list_are_in_no_split(tmp_path, capsys):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path)
    lists = {
        "train_filenames": [f"images/frame_{k}.png" for k in (0, 1, 2)],
        "val_filenames": ["images/frame_4.png"],
        "test_filenames": ["images\\frame_5.png"],
    }
    rewrite(tmp_path, lambda record: record.update(lists))
    capture = read_capture(tmp_path, size=WIDTH)
    assert names_of(capture.train) == ["frame_0", "frame_1", "frame_2"]
    assert names_of(capture.val) == ["frame_4", "frame_5"]
    assert "4 of 9 frames are in none of the lists of files" in capsys.readouterr().err


def test_without_a_list_of_training_photos_the_rest_is_trained_on(tmp_path):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path)
    rewrite(tmp_path, lambda record: record.update(val_filenames=["images/frame_4.png"]))
    capture = read_capture(tmp_path, size=WIDTH)
    assert names_of(capture.val) == ["frame_4"]
    assert len(capture.train) == 8


def test_empty_lists_are_none(tmp_path):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path)
    rewrite(tmp_path, lambda record: record.update(val_filenames=[], test_filenames=[]))
    assert names_of(read_capture(tmp_path, size=WIDTH).val) == ["frame_0", "frame_8"]


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"val_filenames": ["photos/frame_4.png"]}, "none of which is the file_path of a frame"),
        ({"val_filenames": "images/frame_4.png"}, "no list of paths"),
        ({"val_filenames": [4]}, "no list of paths"),
        ({"val_filenames": ["../frame_4.png"]}, "leads out of"),
        ({"val_filenames": [f"images/frame_{k}.png" for k in range(9)]}, "holds out all"),
    ],
)
def test_lists_that_are_none_of_frames_are_refused(tmp_path, lists, message):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path)
    rewrite(tmp_path, lambda record: record.update(lists))
    with pytest.raises(InputError, match=message):
        read_capture(tmp_path, size=WIDTH)


def test_a_photo_that_is_trained_on_and_held_out_is_held_out(tmp_path, capsys):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path)
    every = [f"images/frame_{k}.png" for k in range(9)]
    lists = {"train_filenames": every, "test_filenames": every[:2], "val_filenames": ["x.png"]}
    rewrite(tmp_path, lambda record: record.update(lists, val_filenames=["x.png", every[1]]))
    capture = read_capture(tmp_path, size=WIDTH)
    said = capsys.readouterr().err
    assert names_of(capture.val) == ["frame_0", "frame_1"]
    assert "2 photos are in train_filenames and held out as well" in said
    assert "1 of 2 val_filenames are no frame's (x.png" in said


# Missing photos


def test_a_blender_capture_without_its_test_folder_trains(tmp_path, capsys):
    write_split(tmp_path, "train", 4)
    write_split(tmp_path, "test", 3)
    shutil.rmtree(tmp_path / "test")
    capture = read_capture(tmp_path)
    assert (len(capture.train), capture.val) == (4, ())
    said = capsys.readouterr().err
    assert "none of the 3 photos of transforms_test.json is there (test/r_0, ...)" in said


def test_a_blender_capture_holds_out_the_split_that_is_there(tmp_path):
    write_split(tmp_path, "train", 4)
    write_split(tmp_path, "val", 2)
    write_split(tmp_path, "test", 3)
    shutil.rmtree(tmp_path / "test")
    capture = read_capture(tmp_path)
    assert (capture.held_out, len(capture.val)) == ("val", 2)


@pytest.mark.parametrize("split", ["train", "val"])
def test_blender_photos_that_are_missing_are_skipped_and_counted(tmp_path, capsys, split):
    write_split(tmp_path, "train", 4)
    write_split(tmp_path, "val", 4)
    write_truth(tmp_path, "val", "r_3")
    (tmp_path / split / "r_1.png").unlink()
    capture = read_capture(tmp_path)
    views = capture.train if split == "train" else capture.val
    assert names_of(views) == ["r_0", "r_2", "r_3"]
    assert capture.val[-1].truth is not None
    said = capsys.readouterr().err
    assert f"1 of 4 photos of transforms_{split}.json are not there ({split}/r_1" in said


def test_partnet_views_without_a_picture_are_skipped_and_counted(tmp_path, capsys):
    write_partnet(tmp_path)
    (tmp_path / "view-04" / "shape-rgb.png").unlink()
    assert "view-04" not in all_names(read_capture(tmp_path))
    assert "1 of 9 views have no shape-rgb.png (view-04" in capsys.readouterr().err


def test_no_file_is_that_of_two_photos(tmp_path):
    frames = [{"file_path": f"images/{name}.png"} for name in ("a", "A", "b", "c")]
    for entry, pose in zip(frames, POSES, strict=False):
        entry["transform_matrix"] = (pose @ np.diag([1.0, -1, -1, 1])).tolist()
    frames[2]["file_path"] = "images/b.jpg"
    write_transforms(tmp_path, frames=frames)
    (tmp_path / "images").mkdir()
    for name in ("A.png", "b.png", "c.png"):
        photo_of(1).save(tmp_path / "images" / name)
    assert all_names(read_capture(tmp_path, size=WIDTH)) == ["A", "b", "c"]


# Litter and links


@pytest.mark.parametrize("layout", [*WRITERS, "PartNet", "Blender"])
def test_what_file_managers_leave_changes_nothing(tmp_path, layout, capsys):
    if layout == "PartNet":
        write_partnet(tmp_path)
    elif layout == "Blender":
        write_split(tmp_path, "train", 9)
    else:
        write_photos(tmp_path / "images")
        WRITERS[layout](tmp_path)
    expected = all_names(read_capture(tmp_path, size=WIDTH))
    said = capsys.readouterr().err
    for folder in [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]:
        for file in list(folder.iterdir()):
            if file.is_file():
                (folder / f"._{file.name}").write_bytes(b"\0\5\x16\7")
        for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (folder / name).write_bytes(b"\0")
    assert all_names(read_capture(tmp_path, size=WIDTH)) == expected
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("layout", WRITERS)
@pytest.mark.parametrize("what", ["folder", "files"])
def test_photos_may_be_links_to_elsewhere(tmp_path, layout, what):
    write_photos(tmp_path / "store")
    folder = tmp_path / "scene"
    folder.mkdir()
    WRITERS[layout](folder)
    if what == "folder":
        (folder / "images").symlink_to(tmp_path / "store")
    else:
        (folder / "images").mkdir()
        for path in (tmp_path / "store").iterdir():
            (folder / "images" / path.name).symlink_to(path)
    check_cameras(read_capture(folder, size=WIDTH))


# Endings and separators


@pytest.mark.parametrize("layout", ["nerfstudio", "COLMAP"])
@pytest.mark.parametrize("ending", [".PNG", ".bmp", ".tif", ".webp", ".gif", ".png.png", ""])
def test_photos_are_found_whatever_their_ending(tmp_path, layout, ending):
    write_photos(tmp_path / "images")
    WRITERS[layout](tmp_path)
    for path in list((tmp_path / "images").iterdir()):
        form = ending.lower().rpartition(".")[2] or "png"
        options = {"lossless": True} if form == "webp" else {}
        form = {"tif": "tiff"}.get(form, form)
        Image.open(path).save(path.with_name(path.stem + ending), format=form, **options)
        path.unlink()
    if ending == "" and layout == "nerfstudio":
        rewrite(tmp_path, lambda r: [f.update(file_path=f["file_path"][:-4]) for f in r["frames"]])
    check_cameras(read_capture(tmp_path, size=WIDTH))


@pytest.mark.parametrize("layout", [*WRITERS, "Blender"])
def test_a_photo_that_cannot_be_read_is_named_as_what_it_is(tmp_path, layout):
    if layout == "Blender":
        write_split(tmp_path, "train", 9)
        path = tmp_path / "train" / "r_3.png"
    else:
        write_photos(tmp_path / "images")
        WRITERS[layout](tmp_path)
        path = tmp_path / "images" / "frame_3.png"
    path.unlink()
    path.with_suffix(".heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    with pytest.raises(InputError, match=r"_3\.heic is HEIC, .*pillow-heif"):
        read_capture(tmp_path, size=WIDTH)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"\xff\x0a" + bytes(9), "JPEG XL"),
        (b"8BPS" + bytes(9), "a Photoshop document"),
        (b"<svg/>", "SVG"),
    ],
)
def test_other_files_with_the_name_of_a_photo_are_named_as_what_they_are(
    tmp_path, content, message
):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path)
    (tmp_path / "images" / "frame_3.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"frame_3\.png is {message}"):
        read_capture(tmp_path, size=WIDTH)


@pytest.mark.parametrize("layout", ["nerfstudio", "Blender"])
def test_backslashes_separate_folders(tmp_path, layout):
    def change(record):
        for frame in record["frames"]:
            frame["file_path"] = frame["file_path"].replace("/", "\\")

    if layout == "Blender":
        write_split(tmp_path, "train", 4)
        edit(tmp_path, change)
        assert len(read_capture(tmp_path).train) == 4
        return
    write_photos(tmp_path / "images")
    write_transforms(tmp_path)
    rewrite(tmp_path, change)
    check_cameras(read_capture(tmp_path, size=WIDTH))


def test_a_byte_order_mark_is_skipped(tmp_path):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path)
    path = tmp_path / "transforms.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    check_cameras(read_capture(tmp_path, size=WIDTH))


# COLMAP models


def rename_images(model, rename):
    """Give the images of a text model other names."""
    path = model / "images.txt"
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if line.endswith(".png") and not line.startswith("#"):
            start, _, name = line.rpartition(" ")
            lines[number] = f"{start} {rename(name)}"
    path.write_text("\n".join(lines) + "\n")


def test_colmap_text_names_may_have_blanks(tmp_path):
    write_photos(tmp_path / "images")
    model = write_colmap(tmp_path, text=True)
    rename_images(model, lambda name: f"DJI 07 ({name[:-4]}) 3 .png".replace("  ", " "))
    for path in list((tmp_path / "images").iterdir()):
        path.rename(path.with_name(f"DJI 07 ({path.stem}) 3 .png"))
    capture = read_capture(tmp_path, size=WIDTH)
    assert all_names(capture) == [f"DJI 07 (frame_{k}) 3 " for k in range(9)]
    check_world(capture)


@pytest.mark.parametrize("kept", ["no lines", "empty lines", "points"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_colmap_text_models_need_no_lines_of_points(tmp_path, kept, start):
    write_photos(tmp_path / "images")
    model = write_colmap(tmp_path, text=True)
    path = model / "images.txt"
    images = [line for line in path.read_text().splitlines() if line.endswith(".png")]
    between = {"no lines": [], "empty lines": [""], "points": ["1.5 2.5 -1 3.25 4.5 7"]}[kept]
    text = "\n".join(line for image in images for line in (image, *between))
    path.write_bytes(start + text.encode() + b"\n")
    cameras = model / "cameras.txt"
    cameras.write_bytes(start + cameras.read_bytes())
    check_cameras(read_capture(tmp_path, size=WIDTH))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("frame_0", ""), "no whole COLMAP model"),
        (lambda text: text + "what is this\n", "what is this"),
        (lambda text: text + text, "two images with the id"),
    ],
)
def test_colmap_text_models_are_refused_in_one_line(tmp_path, change, message):
    write_photos(tmp_path / "images")
    path = write_colmap(tmp_path, text=True) / "images.txt"
    path.write_text(change(path.read_text()).replace(" .png", " "))
    with pytest.raises(InputError, match=message) as caught:
        read_capture(tmp_path, size=WIDTH)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [False, True])
def test_of_several_colmap_models_the_largest_is_read(tmp_path, capsys, text):
    import pycolmap

    write_photos(tmp_path / "images")
    large = write_colmap(tmp_path, text=text)
    small = pycolmap.Reconstruction(str(large))
    large.rename(tmp_path / "sparse" / "1")
    large.mkdir()
    for number in range(3, 10):
        small.deregister_frame(small.images[number].frame_id)
    (small.write_text if text else small.write_binary)(str(large))
    check_cameras(read_capture(tmp_path, size=WIDTH))
    assert "sparse/1 is read" in capsys.readouterr().err


def test_a_colmap_model_may_lie_in_sparse_1_alone(tmp_path):
    write_photos(tmp_path / "images")
    model = write_colmap(tmp_path)
    model.rename(tmp_path / "sparse" / "1")
    assert find_model(tmp_path) == tmp_path / "sparse" / "1"
    check_cameras(read_capture(tmp_path, size=WIDTH))


# Sizes


@pytest.mark.parametrize("layout", ["nerfstudio", "COLMAP", "LLFF"])
def test_only_reduced_photos_are_enough(tmp_path, layout):
    (tmp_path / "images_2").mkdir()
    (tmp_path / "images_8").mkdir()
    for index in range(len(POSES)):
        for factor in (2, 8):
            small = photo_of(index).resize((WIDTH // factor, HEIGHT // factor))
            small.save(tmp_path / f"images_{factor}" / f"frame_{index}.png")
    WRITERS[layout](tmp_path)
    capture = read_capture(tmp_path, size=24)
    assert capture.train[0].source_size == (HEIGHT // 2, WIDTH // 2)
    check_cameras(capture)


def cut_out(shape, sideways=False):
    """A mask of the left half."""
    mask = np.zeros(shape, np.uint8)
    mask[:, : shape[1] // 2] = 255
    return Image.fromarray(mask)


@pytest.mark.parametrize("shape", [(32, 48), (320, 480), (16, 24), (683, 1024), (682, 1024)])
@pytest.mark.parametrize("layout", ["nerfstudio", "COLMAP"])
def test_cut_outs_may_be_made_at_another_size(tmp_path, shape, layout):
    write_photos(tmp_path / "images")
    (tmp_path / "images_2").mkdir()
    for index in range(len(POSES)):
        small = photo_of(index).resize((WIDTH // 2, HEIGHT // 2))
        small.save(tmp_path / "images_2" / f"frame_{index}.png")
    (tmp_path / "masks").mkdir()
    cut_out(shape).save(tmp_path / "masks" / "cut.png")
    if layout == "nerfstudio":
        write_transforms(tmp_path, frame={"mask_path": "masks/cut.png"})
    else:
        write_colmap(tmp_path)
        for index in range(len(POSES)):
            cut_out(shape).save(tmp_path / "masks" / f"frame_{index}.png.png")
    capture = read_capture(tmp_path, size=24)
    assert capture.has_alpha
    np.testing.assert_allclose(capture.train[0].image[:, :12, 3], 1, atol=1e-5)
    np.testing.assert_allclose(capture.train[0].image[:, 12:, 3], 0, atol=1e-5)


def test_a_cut_out_of_other_proportions_is_refused(tmp_path):
    write_photos(tmp_path / "images")
    (tmp_path / "masks").mkdir()
    cut_out((48, 32)).save(tmp_path / "masks" / "cut.png")
    write_transforms(tmp_path, frame={"mask_path": "masks/cut.png"})
    with pytest.raises(InputError, match=r"cut\.png is 32x48, its photo 48x32"):
        read_capture(tmp_path, size=WIDTH)


@pytest.mark.parametrize("ending", [".png.png", ".png.PNG", ".png.tif", ".png", ".jpg"])
def test_colmap_masks_may_be_called_in_several_ways(tmp_path, ending):
    write_photos(tmp_path / "images")
    write_colmap(tmp_path)
    (tmp_path / "masks").mkdir()
    for index in range(len(POSES)):
        cut_out((HEIGHT, WIDTH)).save(tmp_path / "masks" / f"frame_{index}{ending}")
    assert read_capture(tmp_path, size=WIDTH).has_alpha


@pytest.mark.parametrize("ending", [".png", ".png.png"])
def test_label_maps_in_the_folder_of_colmap_masks_cut_nothing_out(tmp_path, capsys, ending):
    write_photos(tmp_path / "images")
    write_colmap(tmp_path)
    (tmp_path / "masks").mkdir()
    for index in range(len(POSES)):
        labels = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH) // 64
        Image.fromarray(labels).save(tmp_path / "masks" / f"frame_{index}{ending}")
    assert not read_capture(tmp_path, size=WIDTH).has_alpha
    assert "label maps" in capsys.readouterr().err


def test_photos_without_a_mask_are_left_out_where_others_have_one(tmp_path, capsys):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path)
    (tmp_path / "masks").mkdir()
    cut_out((HEIGHT, WIDTH)).save(tmp_path / "masks" / "cut.png")
    masked = (1, 2, 4, 7)
    rewrite(
        tmp_path,
        lambda r: [r["frames"][k].update(mask_path="masks/cut.png") for k in masked],
    )
    capture = read_capture(tmp_path, size=WIDTH)
    assert all_names(capture) == [f"frame_{k}" for k in masked]
    assert capture.has_alpha
    said = capsys.readouterr().err
    assert "4 of 9 photos have a mask that cuts them out; the other 5 show the background" in said


def test_opaque_photos_are_left_out_where_most_are_cut_out_by_alpha(tmp_path, capsys):
    write_split(tmp_path, "train", 9)
    for name in ("r_3", "r_4"):
        path = tmp_path / "train" / f"{name}.png"
        Image.open(path).convert("RGB").save(path)
    full = Image.open(tmp_path / "train" / "r_5.png")
    full.putalpha(255)  # Filled by the scene, and still one that could be transparent.
    full.save(tmp_path / "train" / "r_5.png")
    assert names_of(read_capture(tmp_path).train) == [f"r_{k}" for k in (0, 1, 2, 5, 6, 7, 8)]
    assert "7 of 9 photos have alpha; the other 2 show" in capsys.readouterr().err


def test_a_few_photos_with_alpha_among_opaque_ones_are_refused(tmp_path):
    write_split(tmp_path, "train", 9)
    for index in range(6):
        path = tmp_path / "train" / f"r_{index}.png"
        Image.open(path).convert("RGB").save(path)
    with pytest.raises(InputError, match="3 of 9 photos have transparent pixels, as r_6"):
        read_capture(tmp_path)


def test_opaque_photos_of_odd_sizes_are_opaque(tmp_path, capsys):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path)
    capture = read_capture(tmp_path, size=37)
    assert not capture.has_alpha
    assert all((view.image[..., 3] == 1).all() for view in capture.train)
    assert "alpha" not in capsys.readouterr().err


@pytest.mark.parametrize("side", [640, 1024, 1333])
def test_masks_fit_a_photo_of_which_a_rounded_twin_is_read(tmp_path, side):
    """Both are rounded from the photo, each in its own way."""
    whole = (233, 350)
    (tmp_path / "images_4").mkdir()
    (tmp_path / "masks").mkdir()
    for index in range(len(POSES)):
        photo_of(index).resize((88, 58)).save(tmp_path / "images_4" / f"frame_{index}.png")
    cut_out((round(whole[0] * side / whole[1]), side)).save(tmp_path / "masks" / "cut.png")
    top = {"fl_x": 300.0, "w": whole[1], "h": whole[0]}
    write_transforms(tmp_path, top=top, frame={"mask_path": "masks/cut.png"})
    assert read_capture(tmp_path, size=40).has_alpha


def test_cut_outs_of_the_held_out_photos_alone_are_refused(tmp_path):
    write_split(tmp_path, "train", 4)
    write_split(tmp_path, "val", 6)
    for path in (tmp_path / "train").iterdir():
        Image.open(path).convert("RGB").save(path)
    with pytest.raises(InputError, match="no training photo of"):
        read_capture(tmp_path)


# Numbers


SHIFT = np.array([4.2e6, 1.7e5, 4.78e6])


def far(poses):
    moved = [pose.copy() for pose in poses]
    for pose in moved:
        pose[:3, 3] += SHIFT
    return moved


def test_georeferenced_poses_keep_their_millimetres(tmp_path):
    write_photos(tmp_path / "images")
    frames = [
        {
            "file_path": f"images/frame_{k}.png",
            "transform_matrix": (p @ np.diag([1, -1, -1, 1])).tolist(),
        }
        for k, p in enumerate(far(POSES))
    ]
    write_transforms(tmp_path, frames=frames)
    capture = read_capture(tmp_path, size=WIDTH)
    source = capture.source_from_world
    np.testing.assert_allclose(source[:3, 3], MIDDLE + SHIFT, atol=1e-6)
    for view in (*capture.train, *capture.val):
        index = int(view.name.rpartition("_")[2])
        back = view.camera.centre * source[0, 0] + source[:3, 3]
        np.testing.assert_allclose(back, POSES[index][:3, 3] + SHIFT, atol=1e-6)


def test_positions_of_llff_that_were_rounded_are_refused(tmp_path):
    write_photos(tmp_path / "images")

    def move(rows):
        rows[:, [3, 8, 13]] += SHIFT
        return rows

    write_llff(tmp_path, change=move)
    read_capture(tmp_path, size=WIDTH)
    rows = np.load(tmp_path / "poses_bounds.npy").astype(np.float32)
    np.save(tmp_path / "poses_bounds.npy", rows)
    with pytest.raises(InputError, match=r"numbers of 32 bits, which round positions .* 0\.25"):
        read_capture(tmp_path, size=WIDTH)


def test_a_georeferenced_blender_capture_is_centred(tmp_path, capsys):
    write_split(tmp_path, "train", 9)
    write_split(tmp_path, "val", 3)

    def move(record):
        for frame in record["frames"]:
            for axis in range(3):
                frame["transform_matrix"][axis][3] += SHIFT[axis]

    for split in ("train", "val"):
        edit(tmp_path, move, split)
    capture = read_capture(tmp_path)
    np.testing.assert_allclose(capture.source_from_world[:3, 3], SHIFT, atol=1e-6)
    for view in (*capture.train, *capture.val):
        pixels, _ = project(view.camera, np.zeros((1, 3)))
        np.testing.assert_allclose(pixels, [[4, 4]], atol=1e-5)
        assert np.linalg.norm(view.camera.centre) == pytest.approx(1.5)
    assert "from the origin and within" in capsys.readouterr().err


def test_split_files_may_hold_every_intrinsic(tmp_path):
    write_split(tmp_path, "train", 3, size=16)
    edit(tmp_path, lambda r: r.update(fl_x=20.0, fl_y=24.0, cx=6.0, cy=9.0, w=16, h=16))
    edit(tmp_path, lambda r: r["frames"][1].update(cx=5.0))
    capture = read_capture(tmp_path, size=8)
    K = capture.train[0].camera.K
    np.testing.assert_allclose([K[0, 0], K[1, 1], K[0, 2], K[1, 2]], [10, 12, 3, 4.5])
    assert capture.train[1].camera.K[0, 2] == 2.5
    edit(tmp_path, lambda r: [r.pop("w"), r.pop("h")])
    np.testing.assert_allclose(read_capture(tmp_path, size=8).train[0].camera.K, K)


def test_distortion_in_a_split_file_is_undone(tmp_path, capsys):
    write_split(tmp_path, "train", 3, size=16)
    edit(tmp_path, lambda r: r.update(k1=0.2))
    assert read_capture(tmp_path, size=8).train[0].lens is not None
    assert "3 undistorted to a pinhole" in capsys.readouterr().err


def test_one_focal_length_or_angle_stands_in_for_the_other(tmp_path):
    write_photos(tmp_path / "images")
    angle = 2 * np.arctan(HEIGHT / 2 / FOCAL)
    for top in ({"fl_y": FOCAL}, {"camera_angle_y": angle}, {"fl_x": FOCAL}):
        write_transforms(tmp_path, top=top)
        check_cameras(read_capture(tmp_path, size=WIDTH))


def test_reduced_photos_alone_need_the_size_of_the_whole(tmp_path):
    write_photos(tmp_path / "images_2")
    write_transforms(tmp_path, top={"fl_x": FOCAL})
    with pytest.raises(InputError, match=r"has no w and h, and only .*images_2"):
        read_capture(tmp_path, size=WIDTH)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 51, 255]], np.int32), [0, 0.2, 1]),
        (np.array([[0, 13107, 65535]], np.int32), [0, 0.2, 1]),
        (np.array([[0, 0.2, 1]], np.float32), [0, 0.2, 1]),
        (np.array([[0, 51, 255]], np.float32), [0, 0.2, 1]),
        (np.array([[0, 13107, 65535]], np.uint16), [0, 0.2, 1]),
    ],
)
def test_wide_pixels_are_read_by_their_range(tmp_path, values, expected):
    from splat_uff.capture.images import read_image

    Image.fromarray(values).save(tmp_path / "photo.tif")
    np.testing.assert_allclose(read_image(tmp_path / "photo.tif")[0, :, 0], expected, atol=1e-4)


@pytest.mark.parametrize("values", [[[-1.0, 0]], [[np.nan, 0]], [[np.inf, 1]], [[1e12, 0]]])
def test_floating_point_photos_out_of_range_are_refused(tmp_path, values):
    from splat_uff.capture.images import read_image

    Image.fromarray(np.array(values, np.float32)).save(tmp_path / "photo.tif")
    with pytest.raises(InputError, match=r"photo\.tif holds"):
        read_image(tmp_path / "photo.tif")


def test_a_frame_replaces_the_shared_focal_length_in_whatever_form(tmp_path):
    write_photos(tmp_path / "images")
    angle = 2 * np.arctan(WIDTH / 2 / FOCAL)
    write_transforms(tmp_path, top={"fl_x": 99.0, "fl_y": 98.0}, frame={"camera_angle_x": angle})
    check_cameras(read_capture(tmp_path, size=WIDTH))


@pytest.mark.parametrize("sizes", [{"w": "48", "h": "32"}, {"w": 48}, {"w": -48, "h": 32}])
def test_sizes_that_are_none_are_refused(tmp_path, sizes):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path, top={"fl_x": FOCAL, **sizes})
    with pytest.raises(InputError, match="expected the pixels that its focal length is for"):
        read_capture(tmp_path, size=WIDTH)


@pytest.mark.parametrize("ending", ["jpg", "tif", "png"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_orientations_mean_the_same_in_every_format(tmp_path, ending, orientation):
    from splat_uff.capture.images import read_image, read_turn

    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:8, :8] = 255
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"photo.{ending}"
    Image.fromarray(picture).save(path, exif=exif)
    stored = read_image(path, upright=(HEIGHT, WIDTH))
    assert stored.shape == (HEIGHT, WIDTH, 4)
    assert stored[4, 4, 0] > 0.9
    assert read_turn(path, (HEIGHT, WIDTH)) == (orientation, False)
    if orientation == 6:
        upright = read_image(path, upright=(WIDTH, HEIGHT))
        assert upright.shape == (WIDTH, HEIGHT, 4)
        assert upright[4, -4, 0] > 0.9


def test_lights_beyond_1_change_nothing_else(tmp_path):
    from splat_uff.capture.images import read_image

    Image.fromarray(np.array([[0.5, 1.001]], np.float32)).save(tmp_path / "photo.tif")
    np.testing.assert_allclose(read_image(tmp_path / "photo.tif")[0, :, 0], [0.5, 1])
    (tmp_path / "photo.pgm").write_bytes(b"P5 2 1 65535\n" + bytes([0, 200, 255, 255]))
    np.testing.assert_allclose(
        read_image(tmp_path / "photo.pgm")[0, :, 0], [200 / 65535, 1], atol=1e-6
    )


@pytest.mark.parametrize("name", ["a\ud800b", "a\nb", "a\x1b[31mb"])
def test_names_that_no_file_has_break_no_line(tmp_path, name, capsys):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path)
    rewrite(tmp_path, lambda r: r["frames"][3].update(file_path=f"images/{name}.png"))
    try:
        read_capture(tmp_path, size=WIDTH)
        said = capsys.readouterr().err
    except InputError as error:
        said = str(error) + "\n"
    assert "\x1b" not in said
    assert all(line.endswith((".", "'")) for line in said.splitlines())


def test_dark_photos_are_read_by_the_range_of_all(tmp_path):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path)
    for index in range(9):
        (tmp_path / "images" / f"frame_{index}.png").unlink()
        grey = np.full((HEIGHT, WIDTH), 200 if index else 65535, np.int32)
        Image.fromarray(grey).save(tmp_path / "images" / f"frame_{index}.tif")
    capture = read_capture(tmp_path, size=WIDTH)
    np.testing.assert_allclose(capture.train[0].image[..., 0], 200 / 65535, rtol=1e-5)


def test_two_recordings_that_frames_name_are_no_twins(tmp_path):
    frames = []
    for place in ("images", "images_2"):
        write_photos(tmp_path / place)
        for index, pose in enumerate(POSES[:5]):
            entry = {"file_path": f"{place}/frame_{index}.png"}
            entry["transform_matrix"] = (pose @ np.diag([1.0, -1, -1, 1])).tolist()
            frames.append(entry)
    write_transforms(tmp_path, frames=frames)
    assert len(all_names(read_capture(tmp_path, size=WIDTH))) == 10


def test_split_files_may_name_masks(tmp_path):
    write_split(tmp_path, "train", 4)
    for path in (tmp_path / "train").iterdir():
        Image.open(path).convert("RGB").save(path)
    cut_out((8, 8)).save(tmp_path / "cut.png")
    edit(tmp_path, lambda r: [frame.update(mask_path="cut.png") for frame in r["frames"]])
    capture = read_capture(tmp_path)
    assert capture.has_alpha
    assert (capture.train[0].image[:, 4:, 3] == 0).all()


def test_mirrored_poses_of_llff_are_refused(tmp_path):
    write_photos(tmp_path / "images")

    def mirror(rows):
        rows[:, [0, 5, 10]] *= -1
        return rows

    write_llff(tmp_path, change=mirror)
    with pytest.raises(InputError, match="no rotation"):
        read_capture(tmp_path, size=WIDTH)


@pytest.mark.parametrize("top", [{"fl_x": 1.39}, {"fl_x": FOCAL, "cx": 0.0, "cy": 16.0}])
def test_intrinsics_that_are_shares_or_left_out_are_questioned(tmp_path, top):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path, top={"w": WIDTH, "h": HEIGHT, **top})
    with pytest.raises(InputError, match=r"no shares of the width|principal point cx = 0"):
        read_capture(tmp_path, size=WIDTH)


def test_a_capture_may_be_given_through_a_link(tmp_path):
    folder = tmp_path / "real"
    write_photos(folder / "images")
    write_transforms(folder)
    absolute = str((folder / "images").resolve())
    rewrite(
        folder,
        lambda r: [f.update(file_path=absolute + f["file_path"][6:]) for f in r["frames"]],
    )
    (tmp_path / "link").symlink_to(folder)
    check_cameras(read_capture(tmp_path / "link", size=WIDTH))


def test_a_converted_photo_is_read_where_the_original_cannot_be(tmp_path):
    write_photos(tmp_path / "images")
    write_transforms(tmp_path)
    (tmp_path / "images" / "frame_3.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    rewrite(tmp_path, lambda r: r["frames"][3].update(file_path="images/frame_3.heic"))
    check_cameras(read_capture(tmp_path, size=WIDTH))


# PartNet's masks


@pytest.mark.parametrize("place", ["seg/{0:02d}", "train_seg/view-{0:02d}"])
def test_partnet_masks_are_read_from_where_they_lie(tmp_path, place):
    write_partnet(tmp_path)
    width = height = 56
    for index in range(9):
        folder = tmp_path / place.format(index)
        folder.mkdir(parents=True)
        for number in range(index % 3 + 1):
            mask = np.zeros((height, width), np.uint8)
            mask[number : number + 4] = 255
            Image.fromarray(mask).save(folder / f"{number}.png")
    capture = read_capture(tmp_path, size=width)
    assert capture.masks == "imported"
    expected = [int(view.name[-2:]) % 3 + 1 for view in capture.train]
    assert gather_masks(capture, "").counts == expected
    held_out = gather_held_out(capture, "")
    assert len(held_out) == (len(capture.val) if place.startswith("seg") else 0)
