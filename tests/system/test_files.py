"""Files are whole or absent, and reading them never runs what they hold."""

import json
import os
import stat
import threading

import numpy as np
import pytest

from splat_uff.system import files
from splat_uff.system.errors import InputError
from splat_uff.system.files import (
    ignores_case,
    inside_folder,
    read_arrays,
    replacing,
    replacing_folder,
    require_apart,
    require_new,
    visible_entries,
    visible_files,
    write_arrays,
    write_json,
)

FAILURES = [RuntimeError, KeyboardInterrupt, SystemExit]


def cut_off(replace, path, failure):
    with replace(path) as temporary:
        (temporary / "new").touch() if temporary.is_dir() else temporary.write_text("ne")
        raise failure


@pytest.mark.parametrize("failure", FAILURES)
def test_replacing_keeps_the_old_file_whole_when_cut_off(tmp_path, failure):
    path = tmp_path / "scores.json"
    path.write_text("old")
    with pytest.raises(failure):
        cut_off(replacing, path, failure)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_writes_beside_the_file_under_its_ending(tmp_path):
    path = tmp_path / "deep" / "scores.json"
    with replacing(path) as temporary:
        assert temporary.suffix == ".json", "writers may go by the ending"
        assert not path.exists()
        temporary.write_text("new")
    assert path.read_text() == "new"


def modes(*paths):
    return {stat.S_IMODE(path.stat().st_mode) for path in paths}


@pytest.fixture
def umask(monkeypatch):
    """A umask of the process that nobody may change."""
    before = os.umask(0o027)
    with monkeypatch.context() as patch:
        patch.setattr(os, "umask", lambda mask: pytest.fail(f"the umask was set to {mask}"))
        yield
    os.umask(before)


def test_replacing_gives_files_and_folders_the_permissions_of_any_new_one(tmp_path, umask):
    with replacing(tmp_path / "scores.json") as temporary:
        assert modes(temporary) == {0o640}
    with replacing_folder(tmp_path / "scene") as temporary:
        (temporary / "new").touch()
    assert modes(tmp_path / "scores.json", tmp_path / "scene" / "new") == {0o640}
    assert modes(tmp_path / "scene") == {0o750}


def test_replacing_leaves_the_permissions_of_what_other_threads_make_alone(tmp_path, umask):
    made, done = [], threading.Event()

    def make_files():
        while not done.is_set():
            made.append(tmp_path / f"other-{len(made)}")
            made[-1].touch()

    thread = threading.Thread(target=make_files)
    thread.start()
    for _ in range(200):
        with replacing(tmp_path / "scores.json") as temporary:
            temporary.write_text("new")
    done.set()
    thread.join()
    assert modes(*made) == {0o640}


@pytest.mark.parametrize("failure", FAILURES)
def test_replacing_folder_keeps_the_old_folder_whole_when_cut_off(tmp_path, failure):
    path = tmp_path / "scene"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(failure):
        cut_off(replacing_folder, path, failure)
    assert list(tmp_path.iterdir()) == [path]
    assert [each.name for each in path.iterdir()] == ["old"]


def test_replacing_folder_leaves_nothing_of_the_old_one(tmp_path):
    path = tmp_path / "scene"
    path.mkdir()
    (path / "old").touch()
    with replacing_folder(path) as temporary:
        (temporary / "new").touch()
    assert list(tmp_path.iterdir()) == [path]
    assert [each.name for each in path.iterdir()] == ["new"]


def test_replacing_folder_clears_what_kills_left_long_ago(tmp_path):
    path, old, new = (tmp_path / name for name in ("scene", ".scene-abcd1234", ".scene-dcba4321"))
    old.mkdir()
    (old / "half").touch()
    os.utime(old, (0, 0))
    new.mkdir()  # Perhaps of a process that is at work.
    with replacing_folder(path):
        assert not old.exists()
    assert sorted(tmp_path.iterdir()) == [new, path]


def test_write_json_refuses_what_json_cannot_say(tmp_path):
    path = tmp_path / "scores.json"
    write_json(path, {"psnr": 30.0})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"psnr": float("nan")})
    assert json.loads(path.read_text()) == {"psnr": 30.0}


def test_read_arrays_returns_what_was_written(tmp_path):
    path = tmp_path / "features.npz"
    features = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_arrays(path, features=features, made_by=np.array("seed 0"))
    arrays = read_arrays(path)
    assert arrays["features"].dtype == np.float32
    assert np.array_equal(arrays["features"], features)
    assert str(arrays["made_by"]) == "seed 0"


class Trap:
    """Gives itself away when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("an array file was unpickled",)


def test_read_arrays_never_unpickles(tmp_path):
    path = tmp_path / "features.npz"
    np.savez(path, features=np.array([Trap()], dtype=object))
    with pytest.raises(InputError, match=r"features\.npz"):
        read_arrays(path)
    path.write_bytes(np.array([Trap()], dtype=object).dumps())
    with pytest.raises(InputError, match=r"features\.npz"):
        read_arrays(path)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_read_arrays_answers_a_cut_off_file_in_one_line(tmp_path, share):
    path = tmp_path / "features.npz"
    write_arrays(path, features=np.random.default_rng(0).random((50, 8)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError) as caught:
        read_arrays(path)
    assert "features.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_read_arrays_notices_flipped_bits(tmp_path):
    path = tmp_path / "features.npz"
    write_arrays(path, features=np.zeros((50, 8)))
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="damaged"):
        read_arrays(path)


def test_read_arrays_says_so_when_there_is_none(tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_arrays(tmp_path / "absent.npz")
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"single\.npy"):
        read_arrays(tmp_path / "single.npy")


UNSAFE = [
    *("", ".", "..", "../x", "a/b", "/etc/x", "a\\b", ".hidden", "-x", "a\x00b", "x" * 81, "a."),
    *("~", "$HOME", "a:b", "_x", "a\nb"),
]


@pytest.mark.parametrize("name", UNSAFE)
def test_typed_names_that_could_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot be a file name") as caught:
        inside_folder(tmp_path, name)
    assert "\n" not in str(caught.value)


def test_typed_names_stay_in_their_folder(tmp_path):
    assert inside_folder(tmp_path, " a \n") == tmp_path / "a"
    for name in ("parts", "my parts-2", "Räder.v1", "7"):
        assert inside_folder(tmp_path, name).parent == tmp_path
    (tmp_path / "away").symlink_to(tmp_path.parent)
    with pytest.raises(InputError, match="a link to elsewhere"):
        inside_folder(tmp_path, "away")
    with pytest.raises(InputError, match="a link to elsewhere"):
        inside_folder(tmp_path / "away", "parts")


def test_visible_entries_leaves_out_what_no_person_put_there(tmp_path):
    for name in [".DS_Store", "._a.png", "Thumbs.db", "THUMBS.DB", "Desktop.ini", "b.png", "a.png"]:
        (tmp_path / name).touch()
    for name in [".git", "__MACOSX", "@eaDir", "thumbs"]:
        (tmp_path / name).mkdir()
    assert visible_entries(tmp_path) == [
        tmp_path / "a.png",
        tmp_path / "b.png",
        tmp_path / "thumbs",
    ]


def test_require_apart_tells_what_would_meet_on_this_disk(tmp_path, monkeypatch):
    for blind in (False, True):
        monkeypatch.setattr(files, "ignores_case", lambda _, blind=blind: blind)
        require_apart(tmp_path, ["scan", "scan_preview", "cam0/000", "cam1/000", "cam"])
        require_apart(tmp_path, ["cam0", "cam0/000"], nested=True)
        for names in (["a", "a"], ["cam0", "cam0/000"], ["a/b/c", "a"]):
            with pytest.raises(InputError, match="rename one of the photos"):
                require_apart(tmp_path, names)
    for names in (["Scan", "scan"], ["Cam0", "cam0/000"], ["caf\u00e9", "cafe\u0301"]):
        with pytest.raises(InputError, match=f"{names[0]}.* and .*|view {names[1]}.*{names[0]}"):
            require_apart(tmp_path, names)
        monkeypatch.setattr(files, "ignores_case", lambda _: False)
        require_apart(tmp_path, names)
        monkeypatch.setattr(files, "ignores_case", lambda _: True)


def test_ignores_case_asks_the_disk_and_leaves_nothing(tmp_path):
    (tmp_path / "a").touch()
    assert ignores_case(tmp_path / "folder" / "to come") == (tmp_path / "A").exists()
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_visible_files_finds_endings_in_any_case_through_links_and_without_end(tmp_path):
    root = tmp_path / "root"
    wanted = ["a.npy", "b.NPY", "cam0/c.Npy", "cam0/deep/d.npy"]
    for name in [*wanted, "._a.npy", "e.txt", "@eaDir/f.npy", "cam0/.g/g.npy", "__MACOSX/h.npy"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (tmp_path / "kept.npy").touch()
    (root / "linked.npy").symlink_to(tmp_path / "kept.npy")
    (root / "loop").symlink_to(root)
    found = [path.relative_to(root).as_posix() for path in visible_files(root, (".npy",))]
    assert found == sorted([*wanted, "linked.npy"])


def test_require_new_takes_a_folder_that_only_a_file_manager_was_in(tmp_path):
    for name in (".DS_Store", "._.DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).touch()
    require_new(tmp_path)
    for name in (".git", ".env", "a"):
        (tmp_path / name).touch()
        with pytest.raises(InputError, match="is there already"):
            require_new(tmp_path)
        (tmp_path / name).unlink()


def test_require_new_refuses_a_link_to_nothing(tmp_path):
    link = tmp_path / "out"
    link.symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=r"is a link to .*gone, which is not there"):
        require_new(link)
    assert not (tmp_path / "gone").exists()


def test_require_new_refuses_a_place_that_cannot_be_written_and_creates_nothing(
    tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"is a file, so .* cannot be in it"):
        require_new(tmp_path / "file" / "a" / "b")
    require_new(tmp_path / "a" / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    monkeypatch.setattr("os.access", lambda *_: False)  # Root may write everywhere.
    with pytest.raises(InputError, match="may not be written; change its permissions"):
        require_new(tmp_path / "a" / "b")
