"""Finding scenes by name."""

import json
from dataclasses import replace

import pytest

from splat_uff.capture import read_capture
from splat_uff.masks.folders import read_masks
from splat_uff.scenes import builtin
from splat_uff.scenes.builtin import find_scene, list_scenes
from splat_uff.system.errors import InputError


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """A cache of its own, no data folder, and a toy scene that is made in no time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(builtin.platformdirs, "user_cache_dir", lambda _: str(tmp_path / "cache"))
    monkeypatch.delenv(builtin.DATA_VARIABLE, raising=False)
    small = replace(builtin.RECIPES["toy"], num_train=2, num_val=2)
    monkeypatch.setitem(builtin.RECIPES, "toy", small)


def test_find_scene_makes_a_built_in_scene_once_with_masks():
    first = find_scene("toy")
    assert "built in" in first.origin
    record = json.loads((first.folder / "scene.json").read_text())
    assert record["masks"] == "simulated"
    assert 0 < record["masks_nc"]["mean"] < 1
    capture = read_capture(first.folder)
    assert capture.masks == "simulated"
    for split in ("train", "val"):
        assert len(read_masks(capture, split=split)) == 2
    made = (first.folder / "scene.json").stat().st_mtime_ns
    assert find_scene("toy").folder == first.folder
    assert (first.folder / "scene.json").stat().st_mtime_ns == made


def test_find_scene_prefers_a_folder_of_the_user(tmp_path, monkeypatch):
    mine = tmp_path / "data" / "toy"
    mine.mkdir(parents=True)
    assert find_scene("toy", data_root=tmp_path / "data").folder == mine
    monkeypatch.setenv(builtin.DATA_VARIABLE, str(tmp_path / "data"))
    assert find_scene("toy").folder == mine
    assert str(mine) in find_scene("toy").origin


@pytest.mark.parametrize("name", ["", ".", "..", "../toy", "a/b", "a\\b", "/etc"])
def test_find_scene_never_leaves_the_data_root(name, tmp_path):
    with pytest.raises(InputError, match="read_capture"):
        find_scene(name, data_root=tmp_path)


def test_find_scene_names_the_nearest_scenes(tmp_path):
    with pytest.raises(InputError, match="did you mean drums"):
        find_scene("drumms")
    (tmp_path / "kitchen").mkdir()
    with pytest.raises(InputError, match="did you mean kitchen"):
        find_scene("kitchn", data_root=tmp_path)


def test_find_scene_suggests_no_folder_that_a_file_manager_left(tmp_path):
    for name in (".kitchn", "__MACOSX", "@eaDir"):
        (tmp_path / name).mkdir()
    for typed in ("kitchn", "__MACOS", "@eaDi"):
        with pytest.raises(InputError, match="did you mean drums or desk"):
            find_scene(typed, data_root=tmp_path)


def test_find_scene_refuses_a_data_root_that_is_no_folder(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        find_scene("toy", data_root=tmp_path / "absent")


def test_scenes_are_made_again_when_the_code_changes_and_not_when_words_do(tmp_path):
    def code(text):
        (tmp_path / "a.py").write_text(text, encoding="utf-8")
        return builtin._code_of(tmp_path / "a.py")

    first = code('"""Old."""\nimport os\n\n\ndef f(x):\n    """Words."""\n    return x + 1\n')
    assert code('"""New."""\n\ndef f(x):\n    # A comment.\n    return (x + 1)\n') == first
    assert code("def f(x):\n    return x + 2\n") != first


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_find_scene_interrupted_leaves_nothing(monkeypatch, error):
    def interrupt(*_, **__):
        raise error

    monkeypatch.setattr(builtin, "simulate_masks", interrupt)
    with pytest.raises(error):
        find_scene("toy")
    folder = builtin.builtin_folder("toy")
    assert list(folder.parent.iterdir()) == []


def test_list_scenes_says_which_are_made():
    names = ["drums", "desk", "truck", "plant", "room", "toy"]
    assert [scene.name for scene in list_scenes()] == names
    assert not any(scene.made for scene in list_scenes())
    find_scene("toy")
    assert [scene.name for scene in list_scenes() if scene.made] == ["toy"]
