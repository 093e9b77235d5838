"""docs/input.md says what becomes of odd captures: every line in its table is one that is said."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splat_uff.capture import read_capture
from splat_uff.masks.gather import gather_held_out
from splat_uff.masks.imported import import_masks
from splat_uff.system.errors import InputError, on_command_line
from tests.capture import test_layouts as layouts
from tests.capture.test_blender import edit, write_split
from tests.capture.test_posed import (
    POSES,
    WIDTH,
    rewrite,
    write_colmap,
    write_llff,
    write_photos,
    write_transforms,
)
from tests.masks import test_places as places

PAGE = Path(__file__).parents[1] / "docs" / "input.md"
SAID, REFUSED = 2, 3
FREE = ("TRANSFORMS", "FOLDER", "PHOTO", "POSES", "MODEL", "MASKS", "MASK", "MAP")
"""Words of the table that stand for paths."""


def table() -> dict[tuple[str, int], str]:
    """The lines of the table by kind and column."""
    text = PAGE.read_text(encoding="utf-8").partition("<!-- kinds -->")[2]
    rows = text.partition("<!-- /kinds -->")[0].strip().splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {
        (row[0], column): row[column].strip("`")
        for row in cells
        for column in (SAID, REFUSED)
        if row[column]
    }


def pattern(line: str) -> str:
    words = "|".join(FREE)
    return "".join(
        ".*" if piece in FREE else re.escape(piece) for piece in re.split(rf"\b({words})\b", line)
    )


def frames(folder, **options):
    write_photos(folder / "images")
    write_transforms(folder, **options)
    return folder


def change_first(folder, **entries):
    rewrite(folder, lambda record: record["frames"][0].update(entries))


def paths(folder):
    change_first(frames(folder), file_path="../photo.png")


def other_endings(folder):
    frames(folder)
    for path in list((folder / "images").iterdir()):
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()


def heic(folder):
    frames(folder)
    (folder / "images" / "frame_0.png").unlink()
    (folder / "images" / "frame_0.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))


def pointer(folder):
    frames(folder)
    (folder / "images" / "frame_0.png").write_bytes(b"version https://git-lfs.github.com/spec/v1")


def missing(folder):
    frames(folder)
    (folder / "images" / "frame_3.png").unlink()


def missing_row(folder):
    write_photos(folder / "images")
    write_llff(folder)
    (folder / "images" / "frame_3.png").unlink()


def no_test_split(folder):
    write_split(folder, "train", 4)
    write_split(folder, "test", 3)
    shutil.rmtree(folder / "test")


def lists(folder):
    listed = [f"images/frame_{k}.png" for k in (0, 1, 2, 4, 5)]
    rewrite(
        frames(folder), lambda r: r.update(train_filenames=listed[:3], val_filenames=listed[3:])
    )


def strange_list(folder):
    rewrite(frames(folder), lambda record: record.update(val_filenames=["x/frame_4.png"]))


def two_models(folder):
    import pycolmap

    write_photos(folder / "images")
    large = write_colmap(folder)
    small = pycolmap.Reconstruction(str(large))
    large.rename(folder / "sparse" / "1")
    large.mkdir()
    for number in range(4, 10):
        small.deregister_frame(small.images[number].frame_id)
    small.write_binary(str(large))


def odd_text(folder):
    write_photos(folder / "images")
    path = write_colmap(folder, text=True) / "images.txt"
    path.write_text(path.read_text() + "what is this\n")


def no_centre(folder):
    rewrite(frames(folder), lambda record: record.update(cx=0, cy=0))


def far_away(folder):
    write_split(folder, "train", 9)

    def move(record):
        for frame in record["frames"]:
            for axis in range(3):
                frame["transform_matrix"][axis][3] += layouts.SHIFT[axis]

    edit(folder, move)


def negative_pixels(folder):
    frames(folder)
    path = folder / "images" / "frame_0.png"
    path.unlink()
    Image.fromarray(np.full((32, 48), -1, np.float32)).save(path.with_suffix(".tif"))


def twelve_bits(folder):
    frames(folder)
    for index in range(9):
        grey = np.full((32, 48), 400 * index + 800, np.uint16)
        Image.fromarray(grey).save(folder / "images" / f"frame_{index}.png")


def turned_photos(folder):
    frames(folder)
    exif = Image.Exif()
    exif[274] = 6
    for path in (folder / "images").iterdir():
        with Image.open(path) as image:
            image.load()
        image.save(path, exif=exif)


def some_cut_outs(folder):
    (folder / "masks").mkdir()
    layouts.cut_out((32, 48)).save(folder / "masks" / "cut.png")
    frames(folder)
    masked = (1, 2, 4, 7)
    rewrite(folder, lambda r: [r["frames"][k].update(mask_path="masks/cut.png") for k in masked])


def few_alphas(folder):
    write_split(folder, "train", 9)
    for index in range(6):
        path = folder / "train" / f"r_{index}.png"
        Image.open(path).convert("RGB").save(path)


def colmap_label_maps(folder):
    write_photos(folder / "images")
    write_colmap(folder)
    (folder / "masks").mkdir()
    for index in range(len(POSES)):
        labels = np.arange(32 * 48, dtype=np.uint8).reshape(32, 48) // 64
        Image.fromarray(labels).save(folder / "masks" / f"frame_{index}.png")


def some_masks(folder):
    places.put_map(folder / "a.png")
    import_masks(folder, places.capture_of("ab"))


def no_masks(folder):
    import_masks(folder, places.capture_of("ab"))


def small_masks(folder):
    (folder / "a").mkdir()
    Image.new("L", (8, 8), 255).save(folder / "a" / "0.png")
    import_masks(folder, places.capture_of("a"))


def other_shape(folder):
    (folder / "a").mkdir()
    Image.new("L", (16, 12), 255).save(folder / "a" / "0.png")
    import_masks(folder, places.capture_of("a"))


def sideways_masks(folder):
    (folder / "a").mkdir()
    Image.new("L", (16, 32), 255).save(folder / "a" / "0.png")
    capture = places.capture_of("a")
    object.__setattr__(capture, "train", (places.wide_view(8),))
    import_masks(folder, capture)


def shared_names(folder):
    for split in ("train", "val"):
        write_split(folder / "scene", split, 2, size=16)
    places.put_map(folder / "masks" / "r_0.png")
    gather_held_out(read_capture(folder / "scene", size=16), str(folder / "masks"))


def negative_labels(folder):
    np.save(folder / "a.npy", np.tile([-1, 0], (16, 8)))
    import_masks(folder, places.capture_of("a"))


def lossy_map(folder):
    Image.new("L", (16, 16), 1).save(folder / "a.jpg")
    import_masks(folder, places.capture_of("a"))


CAPTURES = {
    ("paths", REFUSED): paths,
    ("endings", SAID): other_endings,
    ("endings", REFUSED): heic,
    ("files that are something else", REFUSED): pointer,
    ("missing photos", SAID): missing,
    ("missing photos", REFUSED): missing_row,
    ("a test split without photos", SAID): no_test_split,
    ("lists of files", SAID): lists,
    ("lists of files", REFUSED): strange_list,
    ("several models", SAID): two_models,
    ("COLMAP's text", REFUSED): odd_text,
    ("intrinsics", REFUSED): no_centre,
    ("coordinates far from the origin", SAID): far_away,
    ("pixels", REFUSED): negative_pixels,
    ("pixels", SAID): twelve_bits,
    ("photos with EXIF", SAID): turned_photos,
    ("cut-outs of some photos", SAID): some_cut_outs,
    ("cut-outs of some photos", REFUSED): few_alphas,
    ("label maps in COLMAP's `masks/`", SAID): colmap_label_maps,
}
MASKS = {
    ("masks of some views", SAID): some_masks,
    ("masks of some views", REFUSED): no_masks,
    ("sizes of masks", SAID): small_masks,
    ("sizes of masks", REFUSED): other_shape,
    ("masks of photos with EXIF", SAID): sideways_masks,
    ("the same name trained on and held out", SAID): shared_names,
    ("label maps", SAID): negative_labels,
    ("label maps", REFUSED): lossy_map,
}


def test_every_line_of_the_table_is_tested():
    assert table().keys() == CAPTURES.keys() | MASKS.keys()


@pytest.mark.parametrize("case", [*CAPTURES, *MASKS], ids=lambda case: " ".join(map(str, case)))
def test_the_table_quotes_what_is_said(tmp_path, capsys, case):
    _, column = case
    refusal = ""
    try:
        with on_command_line():
            if case in CAPTURES:
                CAPTURES[case](tmp_path)
                read_capture(tmp_path, size=WIDTH)
            else:
                MASKS[case](tmp_path)
    except InputError as error:
        refusal = str(error)
    said = [refusal] if column == REFUSED else capsys.readouterr().err.splitlines()
    assert bool(refusal) == (column == REFUSED)
    assert any(re.fullmatch(pattern(table()[case]), line) for line in said), (said, table()[case])
