"""Names of photos, and paths that stand in files: what they mean, and what they may not."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splat_uff.capture.names import natural_key, stated_path, view_names, without_ending
from splat_uff.system.errors import InputError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("./train/r_0", "train/r_0"),
        ("images\\cam 0\\r_0.PNG", "images/cam 0/r_0.PNG"),
        (".\\images\\r_0.png", "images/r_0.png"),
        ("images//a/../r_0.png", "images/r_0.png"),
        ("images/..a/r_0.png", "images/..a/r_0.png"),
    ],
)
def test_stated_path_means_the_same_however_it_is_written(tmp_path, written, meant):
    assert stated_path(tmp_path, written, Path("file")) == PurePosixPath(meant)


def test_stated_path_may_be_absolute_inside(tmp_path):
    assert stated_path(tmp_path, f"{tmp_path}/a/b.png", Path("file")) == PurePosixPath("a/b.png")


def test_stated_path_takes_a_backslash_for_one_where_a_file_is_called_so(tmp_path):
    (tmp_path / "images\\r_0.png").touch()
    path = stated_path(tmp_path, "images\\r_0.png", Path("file"))
    assert (tmp_path / path).is_file()


@pytest.mark.parametrize(
    "written",
    ["../r_0", "a/../../r_0", "..\\r_0", "/etc/passwd", "C:\\photos\\r_0.png", "C:/photos/r_0.png"],
)
def test_stated_path_never_leads_out(tmp_path, written):
    with pytest.raises(InputError, match="which leads out of"):
        stated_path(tmp_path, written, Path("file"))


@pytest.mark.parametrize("written", ["", " ", "a\0b", "x" * 300, "a/" + "ä" * 200])
def test_stated_path_wants_a_path(tmp_path, written):
    with pytest.raises(InputError, match="has file_path"):
        stated_path(tmp_path, written, Path("file"))


@given(st.text(alphabet="./\\ab ", min_size=1, max_size=12))
def test_stated_path_stays_inside_whatever_is_written(written):
    folder = Path("/photos/of/a/scene")
    try:
        path = stated_path(folder, written, Path("file"))
    except InputError:
        return
    assert ".." not in path.parts
    assert not path.is_absolute()


def test_stated_path_does_not_climb_out_of_where_a_link_leads(tmp_path):
    (tmp_path / "far" / "photos").mkdir(parents=True)
    (tmp_path / "far" / "secret.png").touch()
    folder = tmp_path / "scene"
    folder.mkdir()
    (folder / "images").symlink_to(tmp_path / "far" / "photos")
    path = stated_path(folder, "images/../secret.png", Path("file"))
    assert not (folder / path).exists()


def test_without_ending_takes_only_endings_of_pictures():
    names = ["a.PNG", "b.Jpeg", "frame.0001", "c.tar.tif", "d.heic", ".png", "e"]
    assert [without_ending(name) for name in names] == [
        *("a", "b", "frame.0001", "c.tar", "d", ".png", "e"),
    ]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["images/a.jpg", "images/b.jpg"], ["a", "b"]),
        (["images/x/0.jpg", "images/y/1.jpg"], ["0", "1"]),
        (["images/x/0.jpg", "images/y/0.jpg"], ["x/0", "y/0"]),
        (["images/x/p/0.jpg", "images/x/q/0.jpg"], ["p/0", "q/0"]),
        (["images/f.0001", "images/f.0002"], ["f.0001", "f.0002"]),
    ],
)
def test_view_names_are_as_short_as_they_can_be_and_differ(paths, names):
    assert view_names([PurePosixPath(path) for path in paths]) == names


def test_natural_key_takes_digits_for_numbers():
    assert sorted(["r_10", "r_2", "r_1"], key=natural_key) == ["r_1", "r_2", "r_10"]
