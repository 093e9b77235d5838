"""Lists of captures: what they may say, and the one line that anything else is answered with."""

import pytest

from splat_uff.batch.config import Overrides, parse_overrides, read_entries
from splat_uff.settings import TrainConfig
from splat_uff.system.errors import InputError


@pytest.fixture
def read(tmp_path, own_cache):
    """Read the text of a list; runs go into `runs` beside it."""

    def read_text(text, overrides=Overrides()):  # noqa: B008
        path = tmp_path / "scenes.toml"
        path.write_text(text, encoding="utf-8")
        return read_entries([str(path)], tmp_path / "runs", overrides)

    return read_text


def test_read_entries_takes_each_capture_with_its_settings(read, tmp_path):
    first, second, third = read(
        """
        [settings]
        seed = 3
        gaussians.steps = 100
        [[captures]]
        scene = "toy"
        [[captures]]
        data = "photos/kitchen"
        masks = "classical"
        [captures.settings]
        gaussians.steps = 7
        [[captures]]
        name = "chair"
        gaussians = "chair.ply"
        force = true
        """
    )
    assert (first.name, first.scene, first.data) == ("toy", "toy", None)
    assert first.settings.size == 64, "the preset of the scene holds where nothing else is said"
    assert first.settings.gaussians.steps == 100
    assert (second.name, second.data) == ("kitchen", tmp_path / "photos" / "kitchen")
    assert second.masks == "classical"
    assert second.settings.gaussians.steps == 7
    assert (third.name, third.splats, third.force) == ("chair", tmp_path / "chair.ply", True)
    assert {each.settings.seed for each in (first, second, third)} == {3}
    assert third.settings.features == TrainConfig().features


def test_read_entries_lets_the_command_line_have_the_last_word(read):
    overrides = Overrides(last=parse_overrides(["seed=9", "features.start=noise"]))
    (entry,) = read('settings.seed = 1\n[[captures]]\nscene = "toy"\nsettings.seed = 2', overrides)
    assert entry.settings.seed == 9
    assert entry.settings.features.start == "noise"


def test_read_entries_knows_folders_splats_and_scenes(tmp_path, own_cache):
    (tmp_path / "photos").mkdir()
    (tmp_path / "chair.ply").touch()
    given = [str(tmp_path / "photos"), str(tmp_path / "chair.ply"), "toy"]
    photos, chair, toy = read_entries(given, tmp_path / "runs")
    assert photos.data == tmp_path / "photos"
    assert chair.splats == tmp_path / "chair.ply"
    assert chair.data is None
    assert toy.scene == "toy"


ONE = '[[captures]]\nscene = "toy"\n'


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", "lists no captures"),
        ("captures = 3", "lists no captures"),
        ("captures = [3]", "capture 1: 3; expected a table"),
        ("captures = [[]]", "expected a table"),
        (ONE + "[other]", "no key other"),
        (ONE + "sacle = 3", "capture 1: there is no key sacle; expected data,"),
        (ONE + "settings.size = 'big'", "capture 1: size is 'big'"),
        (ONE + "settings.sise = 3", "did you mean size"),
        (ONE + "settings = 3", "capture 1: settings is wrong"),
        ("settings = 3\n" + ONE, "expected a table [settings]"),
        (f"{ONE}settings.size = {10**30}", "size is 1000"),
        (f"{ONE}settings.size = {'9' * 5000}", "no readable TOML"),
        (f"{ONE}settings.x = {'[' * 100_000}", "TOML"),
        (ONE + "settings.gaussians.means_lr = nan", "means_lr"),
        ("[[captures]]\nscene = 3", "scene is wrong; expected str, got int"),
        ("[[captures]]\nname = 'x'", "expected scene or data, or gaussians alone"),
        (ONE + "data = 'x'", "expected scene or data"),
        (ONE + "force = true", "force goes with gaussians"),
        ("[[captures]]\nscene = 'tyo'", "did you mean toy"),
        ("[[captures]]\nscene = '../toy'", "is a path"),
        ("[[captures]]\ndata = 'a\\u0000b'", "TOML"),
        ('[[captures]]\ndata = "a\\u0000b"', "cannot be a path"),
        (ONE + "name = '../outside'", "cannot be a file name"),
        (ONE + "name = '/etc'", "cannot be a file name"),
        (ONE + "name = '.batch'", "cannot be a file name"),
        (ONE + "name = 'a/b'", "cannot be a file name"),
        (ONE + "name = 'Batch.JSON'", "cannot be called"),
        (f"{ONE}name = '{'x' * 200}'", "cannot be a file name"),
        (ONE + ONE, "two runs would be called toy"),
        (ONE + ONE + "name = 'TOY'", "two runs would be called TOY"),
        (ONE * 10_001, "expected at most 10000"),
        ("[[captures]", "no readable TOML"),
    ],
)
def test_read_entries_refuses_in_one_line(read, text, answer):
    with pytest.raises(InputError) as refused:
        read(text)
    assert answer in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_read_entries_refuses_a_link_that_leads_out(read, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "toy").symlink_to(tmp_path)
    with pytest.raises(InputError, match="is a link"):
        read(ONE)


@pytest.mark.parametrize("given", [[], ["a.toml", "b"], ["absent/folder"], ["absent.ply"], ["tyo"]])
def test_read_entries_refuses_what_is_no_capture(given, tmp_path, own_cache):
    with pytest.raises(InputError):
        read_entries(given, tmp_path)


@pytest.mark.parametrize("text", ["size", "=3", "size=", "a b=3", "a.b.c=3", "size=3\nseed=4"])
def test_parse_overrides_refuses_what_is_no_setting(text, read):
    with pytest.raises(InputError):
        read(ONE, Overrides(last=parse_overrides([text])))
