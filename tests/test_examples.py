"""The examples run as they stand where `runs/toy` is a finished run, and print what they say."""

import re
import runpy
from dataclasses import replace
from pathlib import Path

import pytest

import splat_uff

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.fixture
def printed(trained, tmp_path, monkeypatch, capsys):
    """Run an example by its number in a folder of its own; returns what it prints."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "toy").symlink_to(trained, target_is_directory=True)
    monkeypatch.chdir(tmp_path)

    def run(number: int) -> str:
        (path,) = [path for path in EXAMPLES if path.name.startswith(f"{number:02d}_")]
        monkeypatch.setattr("sys.argv", [path.name])
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    return run


def test_examples_are_numbered_and_say_how_to_run_them():
    assert [int(path.name[:2]) for path in EXAMPLES] == list(range(1, 9))
    for path in EXAMPLES:
        assert f"python examples/{path.name}" in path.read_text(encoding="utf-8")
    assert len(EXAMPLES[0].read_text(encoding="utf-8").splitlines()) <= 35


def test_the_first_opens_a_run(printed):
    said = printed(1)
    assert "scene toy, trained on 24 photos" in said
    assert "Gaussians, one leaf of the tree each" in said


def test_the_second_prints_nested_cuts_and_a_map_of_letters(printed):
    lines = printed(2).splitlines()
    splits = [int(n) for line in lines for n in re.findall(r"splits into (\d+) of 20", line)]
    assert len(splits) == 5
    assert sum(splits) == 20
    letters = lines[-32:]
    assert {len(line) for line in letters} == {64}
    assert {"A", "."} <= set("".join(letters)) <= set(".ABCDE")


def test_the_third_trains_and_prints_scores(printed, own_cache, tmp_path, monkeypatch):
    train = splat_uff.train

    def train_less(folder, output, settings, **others):
        settings = replace(
            settings,
            gaussians=replace(settings.gaussians, steps=60),
            features=replace(settings.features, steps=20),
            evaluate=replace(settings.evaluate, cuts=5, clicks=5),
        )
        return train(folder, output, settings, **others)

    monkeypatch.setattr(splat_uff, "train", train_less)
    said = printed(3)
    assert re.search(r"^PSNR \d\d\.\d dB", said)
    assert float(re.findall(r"NC (0\.\d+)", said)[0]) > 0.3
    assert (tmp_path / "runs" / "toy-from-python" / "report.html").is_file()


def test_the_fourth_writes_parts_and_lists_them(printed, tmp_path):
    said = printed(4)
    parts = sorted(path.name for path in (tmp_path / "toy-parts" / "parts").iterdir())
    assert len(parts) == 6
    for part in parts:
        assert f"parts/{part} is node" in said


def test_the_fifth_compares_a_tree_of_other_features(printed):
    said = printed(5)
    shares = [int(share) for share in re.findall(r"(\d+)% in one of ours", said)]
    assert len(shares) == 8
    assert all(0 < share <= 100 for share in shares)


def test_the_sixth_finds_the_segment_of_a_pixel_by_its_gradient(printed):
    said = printed(6)
    shares = {int(s): int(share) for s, share in re.findall(r"segment (\d): +(\d+)%", said)}
    assert sum(shares.values()) == pytest.approx(100, abs=3)
    assert max(shares, key=shares.__getitem__) == int(
        re.findall(r"seen there: segment (\d)", said)[0]
    )


def test_the_seventh_serves_a_page_and_closes_it(printed):
    lines = printed(7).splitlines()
    assert re.fullmatch(r"open http://127\.0\.0\.1:\d+", lines[0])
    assert lines[1].startswith("text/html")
    assert lines[-1] == "closed"


def test_the_eighth_takes_a_splat_apart_without_photos(printed, tmp_path, monkeypatch):
    train = splat_uff.train

    def train_less(folder, output, settings, **others):
        settings = replace(
            settings,
            size=48,
            views=replace(settings.views, fewest=8, most=12),
            features=replace(settings.features, steps=20, pixels=128),
        )
        return train(folder, output, settings, **others)

    monkeypatch.setattr(splat_uff, "train", train_less)
    said = printed(8)
    assert re.search(r"\d+ virtual views around a thing", said)
    sizes = [int(size.replace(",", "")) for size in re.findall(r"part \d: ([\d,]+)", said)]
    assert len(sizes) == 8
    assert sizes == sorted(sizes, reverse=True)
    assert (tmp_path / "runs" / "toy-alone" / "capture" / "transforms.json").is_file()
