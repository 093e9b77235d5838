"""Damaged masks of a whole run are noticed."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from splat_uff.run.judge_masks import judge_capture, judge_run
from splat_uff.run.masks import training_masks
from splat_uff.run.open import open_run
from tests.test_readme import load_tool

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "judge_masks.py"


@pytest.fixture(scope="module")
def benchmark():
    return load_tool(BENCHMARK)


@pytest.fixture(scope="module")
def run(trained):
    return open_run(trained)


@pytest.fixture(scope="module")
def clean(run):
    return list(training_masks(run))


@pytest.mark.parametrize("seed", [0, 1])
def test_judge_capture_names_damaged_views(run, clean, benchmark, seed):
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(clean), len(benchmark.KINDS), replace=False)
    bags = list(clean)
    for view, kind in zip(chosen, benchmark.KINDS, strict=True):
        bags[view] = benchmark.damaged(clean, int(view), kind, rng)
    judgement = judge_capture(run.capture, bags, run.gaussians)
    assert len(judgement.worst) == 10
    worst = [bad.view for bad in judgement.worst]
    assert {run.capture.train[view].name for view in chosen} <= set(worst)
    reasons = {bad.view: bad.reasons for bad in judgement.worst}
    assert all(reasons[run.capture.train[view].name] for view in chosen)


def test_judge_capture_agreement_falls_with_the_share_of_damaged_views(run, clean, benchmark):
    rows = benchmark.by_share(run, clean)
    values = [agreement for share, agreement in rows if share == 0 or share >= 0.1]
    assert len(values) == 6
    assert all(after < before for before, after in pairwise(values)), values
    assert values[0] - values[-1] > 0.2


def test_judge_run_is_that_of_its_own_masks(run, clean):
    by_run = judge_run(run)
    assert by_run.record() == judge_capture(run.capture, clean, run.gaussians).record()
    alone = judge_capture(run.capture, clean)
    assert alone.means["masks"] == by_run.means["masks"]
    assert "agreement" not in alone.means
