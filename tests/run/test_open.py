"""A run as a library sees it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from splat_uff.export.config import Export
from splat_uff.export.run import export_run
from splat_uff.report.rescore import score_run
from splat_uff.run.open import open_run
from splat_uff.system.errors import InputError

OLD = Path(__file__).parent / "run_of_0_1_0"
"""Made by version 0.1.0 (commit 78781cb) from the toy scene, with 400 Gaussians; its capture is not
where it says."""


def test_a_run_of_an_earlier_version_opens(capsys):
    run = open_run(OLD)
    assert len(run.gaussians) == len(run.features) == run.hierarchy.tree.num_leaves
    assert run.provenance.scene == "toy"
    assert run.provenance.settings.hierarchy.linkage == "average"
    assert run.provenance.settings.features.start == "noise"
    assert run.hierarchy.support is None
    assert run.metrics["nc"]["mean"] > 0.5
    assert "as if at the size of the fit" in capsys.readouterr().err
    labels = run.cut(6)
    assert np.bincount(labels, minlength=7)[1:].all()
    with pytest.raises(InputError, match="toy"):
        _ = run.capture


def test_a_run_of_an_earlier_version_can_be_taken_away(tmp_path):
    written = export_run(
        open_run(OLD), tmp_path / "out", Export(segments=3, only=("parts", "cloud"))
    )
    assert sum(path.parent.name == "parts" for path in written) == 3


def test_a_run_of_an_earlier_version_scores_as_it_did(toy, tmp_path):
    folder = shutil.copytree(OLD, tmp_path / "run")
    config = (folder / "config.toml").read_text(encoding="utf-8")
    (folder / "config.toml").write_text(
        config.replace('data = "toy"', f'data = "{toy.as_posix()}"'), encoding="utf-8"
    )
    run = open_run(folder, finished=True)
    assert run.gaussians.fitted_focal == run.capture.focal
    then, now = run.metrics, score_run(folder)
    for name in ("nc", "si", "depth_error"):
        assert now[name] == pytest.approx(then[name], abs=1e-6), name
    assert (now["psnr"], now["ssim"]) == pytest.approx((then["psnr"], then["ssim"]), rel=1e-6)
