"""`splat-uff metrics` keeps what it finds in the run, and only there where that is right."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from splat_uff.cli import main
from splat_uff.evaluate.score import Evaluation
from splat_uff.report import rescore
from splat_uff.run.folder import RunFolder
from splat_uff.run.provenance import read_provenance
from tests.system.test_lock import another_process

FULL = ("vc", "vc_ceiling", "nc_ceiling", "nc_fixed_ceiling", "ratios")
"""What training does not find."""


@pytest.fixture
def run(trained, tmp_path):
    """A finished run of one's own."""
    return RunFolder(Path(shutil.copytree(trained, tmp_path / "toy")))


@pytest.fixture
def quick(monkeypatch):
    """Scores that cost nothing, with one that no training has."""

    def evaluate(capture, gaussians, *_, **__):
        cuts = np.ones((2, len(gaussians)), np.int64)
        return Evaluation({"psnr": 99.0, "ratios": {"nc": 0.5}}, cuts)

    monkeypatch.setattr(rescore, "evaluate", evaluate)


def content(run):
    return {path.name: path.read_bytes() for path in run.path.iterdir()}


def read(run):
    return json.loads(run.metrics.read_text(encoding="utf-8"))


def test_metrics_keeps_all_that_it_finds_and_all_that_was_there(run, capsys):
    before = read(run) | {"note": "mine"}
    run.metrics.write_text(json.dumps(before))
    page = run.report.read_text(encoding="utf-8")
    assert not set(FULL) & set(before)
    main(["metrics", str(run.path)])
    printed, found = capsys.readouterr().out, read(run)
    assert set(FULL) <= set(found)
    for name, value in before.items():  # The clicks are the same, so the scores are, too.
        assert found[name] == (pytest.approx(value) if isinstance(value, float) else value), name
    for name in ("nc", "nc_fixed"):
        ratio = f"{found['ratios'][name]:.3f}"
        assert ratio in printed
        assert ratio in run.report.read_text(encoding="utf-8")
        assert f"<td>{ratio}</td>" not in page
    bound = found["vc_ceiling"]["10"]["published"]["mean"]
    assert f"{bound:.3f}" in printed
    assert f"{bound:.3f}" in run.report.read_text(encoding="utf-8")
    assert not list(run.path.glob(".*"))
    main(["train", "--scene", "toy", "--output", str(run.path), "--resume", *FEW])
    assert read(run) == found


FEW = ("--gaussians.steps", "300", "--features.steps", "60", "--features.pixels", "256")
"""As `trained` has them."""


def test_metrics_prints_json_and_nothing_else(run, capsys):
    main(["metrics", str(run.path), "--json"])
    said = capsys.readouterr()
    assert json.loads(said.out) == read(run)
    main(["labels", str(run.path)])
    capsys.readouterr()
    labels = ["metrics", "--predictions", str(run.path / "labels"), "--scene", "toy"]
    main([*labels, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["nc"]["mean"] == pytest.approx(read(run)["nc"]["mean"], abs=0.03)
    assert list(found["vc"]) == ["10"]


def test_metrics_leaves_a_run_alone_that_another_process_writes(run, quick, capsys):
    with another_process(run.path) as process:
        before = content(run)
        main(["metrics", str(run.path), "--json"])
        assert content(run) == before
    said = capsys.readouterr()
    assert json.loads(said.out)["ratios"] == {"nc": 0.5}
    assert f"not kept in {run.path} (process {process.pid} writes into it)" in said.err


@pytest.mark.parametrize("place", ["folder_lock", "write_json"])
def test_metrics_prints_the_scores_of_a_run_that_cannot_be_written(
    place, run, quick, monkeypatch, capsys
):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system", "somewhere")

    monkeypatch.setattr(rescore, place, refuse)
    before = content(run)
    main(["metrics", str(run.path)])
    said = capsys.readouterr()
    assert "99.00 dB" in said.out
    assert f"not kept in {run.path} (Read-only file system)" in said.err
    assert content(run) == before


@pytest.mark.parametrize("change", ["begun again", "other settings"])
def test_metrics_keeps_no_scores_of_a_run_that_is_another_by_now(
    change, run, quick, monkeypatch, capsys
):
    score = rescore.evaluate

    def meanwhile(*args, **flags):
        if change == "begun again":
            run.metrics.unlink()
        else:
            seed = read_provenance(run).settings.seed
            config = run.config.read_text(encoding="utf-8")
            assert f"\nseed = {seed}\n" in config
            run.config.write_text(config.replace(f"\nseed = {seed}\n", "\nseed = 77\n", 1))
        return score(*args, **flags)

    monkeypatch.setattr(rescore, "evaluate", meanwhile)
    before = content(run)
    main(["metrics", str(run.path)])
    assert "trained anew meanwhile" in capsys.readouterr().err
    after = content(run)
    assert after.get("metrics.json") in (None, before["metrics.json"])
    assert after["report.html"] == before["report.html"]


@pytest.mark.parametrize("rows", [None, 3])
def test_metrics_does_without_the_features(rows, run, quick, capsys):
    before = content(run)
    run.features.unlink()
    if rows is not None:
        np.savez(run.features, features=np.zeros((rows, 4), np.float32))
    main(["metrics", str(run.path)])
    assert "shows the scores of the training still" in capsys.readouterr().err
    assert read(run)["ratios"] == {"nc": 0.5}
    assert content(run)["report.html"] == before["report.html"]
