"""Photos are found by what they are called elsewhere, at the size that is wanted."""

import unicodedata
from pathlib import PurePosixPath

import pytest
from PIL import Image

from splat_uff.capture.photos import Finder
from splat_uff.system.errors import InputError


def put(path, size=(8, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path, format="PNG")
    return path


@pytest.mark.parametrize(
    ("there", "written"),
    [
        ("images/r_0.png", "images/r_0"),
        ("images/r_0.PNG", "images/r_0"),
        ("images/r_0.jpg", "images/r_0.JPG"),
        ("images/r_0.png", "images/r_0.jpg"),
        ("images/r_0.jpg.png", "images/r_0.jpg"),
        ("Images/R_0.png", "images/r_0.png"),
        ("images/r_0", "images/r_0"),
        ("images/frame.0001", "images/frame.0001"),
        ("images/r 0 (a).png", "images/r 0 (a).png"),
        (f"images/{unicodedata.normalize('NFD', 'Tür')}.png", "images/Tür.png"),
        ("images/r_0.heic", "images/r_0.png"),
    ],
)
def test_find_finds_what_is_meant(tmp_path, there, written):
    path = put(tmp_path / there)
    assert Finder(tmp_path).find(PurePosixPath(written)) == path


@pytest.mark.parametrize(
    "there", ["images/r_01.png", "images/._r_0.png", "images/r_0.txt", "x/r_0.png"]
)
def test_find_finds_nothing_else(tmp_path, there):
    put(tmp_path / there)
    assert Finder(tmp_path).find(PurePosixPath("images/r_0.png")) is None


def test_find_prefers_the_very_name_then_its_case_then_the_order_of_endings(tmp_path):
    for name in ("a.tif", "a.png", "a.JPG", "a.jpg"):
        put(tmp_path / name)
    finder = Finder(tmp_path)
    assert [finder.find(PurePosixPath(n)).name for n in ("a.jpg", "a.jPG", "a.bmp")] == [
        *("a.jpg", "a.JPG", "a.png"),
    ]


def test_find_follows_links_to_anywhere(tmp_path):
    put(tmp_path / "store" / "a.png")
    folder = tmp_path / "scene"
    folder.mkdir()
    (folder / "images").symlink_to(tmp_path / "store")
    (folder / "one.png").symlink_to(tmp_path / "store" / "a.png")
    assert Finder(folder).find(PurePosixPath("images/a.png")) is not None
    assert Finder(folder).find(PurePosixPath("one.png")) is not None


def test_find_takes_a_link_to_nothing_for_nothing_and_names_one_in_a_circle(tmp_path):
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "circle.png").symlink_to("circle.png")
    assert Finder(tmp_path).find(PurePosixPath("gone.png")) is None
    with pytest.raises(InputError, match=r"circle\.png is a link that leads in a circle"):
        Finder(tmp_path).find(PurePosixPath("circle.png"))


@pytest.mark.parametrize(
    ("size", "found"), [(300, "images"), (100, "images_2"), (90, "images_2"), (50, "images_4_png")]
)
def test_photo_reads_the_twin_that_is_just_large_enough(tmp_path, size, found):
    for place, side in (("images", 200), ("images_2", 100), ("images_4_png", 50)):
        put(tmp_path / place / "cam0" / "a.png", (side, side // 2))
    path = Finder(tmp_path).photo(PurePosixPath("images/cam0/a.png"), size)
    assert path == tmp_path / found / "cam0" / "a.png"


def test_photo_falls_back_photo_by_photo(tmp_path):
    put(tmp_path / "images" / "a.jpg", (200, 100))
    put(tmp_path / "images" / "b.jpg", (200, 100))
    put(tmp_path / "images_2" / "b.png", (100, 50))
    put(tmp_path / "images_8" / "c.png", (25, 12))
    finder = Finder(tmp_path)
    found = [finder.photo(PurePosixPath(f"images/{name}.jpg"), 100) for name in "abcd"]
    assert [path and path.parent.name for path in found] == ["images", "images_2", "images_8", None]


def test_say_renamed_counts_photos_under_another_name(tmp_path, capsys):
    put(tmp_path / "a.jpg")
    put(tmp_path / "b.png")
    finder = Finder(tmp_path)
    finder.photos([PurePosixPath("b")], 1)
    finder.say_renamed()
    assert capsys.readouterr().err == ""  # An ending left out is not another name.
    finder.photos([PurePosixPath("a.JPG")], 1)
    finder.say_renamed()
    said = "1 photo is there under another name than is written (a.JPG: a.jpg)."
    assert said in capsys.readouterr().err
