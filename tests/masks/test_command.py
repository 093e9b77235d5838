"""`splat-uff masks`: any model, from a capture to masks that are shown and judged."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from splat_uff.cli import main
from splat_uff.gaussians.ply import save_ply
from splat_uff.gaussians.similarity import move_gaussians
from splat_uff.run.open import open_run


@pytest.fixture
def capture(toy, tmp_path):
    """The toy without masks, and few photos."""
    folder = tmp_path / "toy"
    shutil.copytree(toy, folder, ignore=shutil.ignore_patterns("*_seg"))
    record = json.loads((folder / "transforms_train.json").read_text())
    record["frames"] = record["frames"][:3]
    (folder / "transforms_train.json").write_text(json.dumps(record))
    return folder


def splats_of(run, folder):
    """Gaussians of a run in the frame of its capture."""
    opened = open_run(run)
    save_ply(folder / "splats.ply", move_gaussians(opened.gaussians, opened.source_from_world))
    return folder / "splats.ply"


def test_a_model_of_transformers_makes_masks_that_are_shown_and_judged(
    capture, trained, tmp_path, capsys
):
    pytest.importorskip("transformers", reason='pip install "splat-uff[transformers]"')
    from tests.masks.small_models import save_small

    folder = save_small("sam2", tmp_path / "model")
    loose = ("--pred-iou-thresh", "0", "--stability-score-thresh", "0", "--prompts", "40")
    same = ("masks", "--data", str(capture), "--size", "48", "--model", str(folder), *loose)
    main([*same])
    assert "views made" in capsys.readouterr().out
    made = sorted(path.parent.name for path in capture.glob("train_seg/*/000.png"))
    assert len(made) == 3
    main([*same])
    assert "masks of 0 views made" in capsys.readouterr().out
    before = sorted(path.read_bytes() for path in capture.glob("train_seg/*/made_by.json"))
    main([*same, "--gaussians", str(splats_of(trained, tmp_path))])
    assert "views made" in capsys.readouterr().out
    after = sorted(path.read_bytes() for path in capture.glob("train_seg/*/made_by.json"))
    assert len(before) == len(after) == 3
    assert before != after
    sheet = tmp_path / "sheet.png"
    main(
        ["masks", "--data", str(capture), "--size", "48", "--judge", "--json", "--show", str(sheet)]
    )
    record = json.loads(capsys.readouterr().out)
    assert [each["view"] for each in record["views"]] == made
    assert np.asarray(Image.open(sheet)).std() > 10


def test_masks_of_a_capture_are_judged_by_a_run_of_it(toy, trained, capsys):
    same = ("masks", "--data", str(toy), "--size", "64", "--judge")
    main([*same, "--gaussians", str(trained)])
    said = capsys.readouterr().out
    assert "agreement of views" in said
    main([*same])
    assert "agreement of views" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--show", "a.png", "--gaussians", "a.ply"), "goes with --model or --judge"),
        (("--judge",), "has no masks to look at; make some with --model"),
        (("--show", "a.jpg"), "expected a file that ends in .png"),
        (("--json",), "goes with --judge"),
        (("--model", "a", "--sam-checkpoint", "b.pth"), "give either --model or --sam-checkpoint"),
        (("--sam-checkpoint", "b.pth", "--prompts", "9"), "clicks on its whole grid"),
        (("--model", "no.pth"), "no checkpoint no.pth"),
        (("--model", "no.onnx"), "no.onnx"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(capture, capsys, flags, words):
    refuse_and_write_nothing(capture, capsys, flags, words)


def test_a_model_that_is_nowhere_is_named(capture, capsys, monkeypatch):
    pytest.importorskip("transformers", reason='pip install "splat-uff[transformers]"')
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refuse_and_write_nothing(capture, capsys, ("--model", "no/such"), "no/such")


def refuse_and_write_nothing(capture, capsys, flags, words):
    before = sorted(capture.rglob("*"))
    with pytest.raises(SystemExit) as stopped:
        main(["masks", "--data", str(capture), *flags])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert sorted(capture.rglob("*")) == before
