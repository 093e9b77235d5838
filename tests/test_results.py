"""The headline table: seeds are trained once, and their figures come with a spread."""

import json
import statistics

import pytest

from tests.test_readme import ROOT, load_tool

TINY = ("--gaussians.steps", "150", "--features.steps", "40", "--features.pixels", "256")
MACHINE = {"cpu": "Abacus", "cores": 2}


@pytest.fixture(scope="module")
def results():
    return load_tool(ROOT / "benchmarks" / "results.py")


@pytest.fixture
def tool():
    return load_tool()


def made_up(nc, **others):
    levels = {"objects": nc - 0.1, "collections": nc, "scene": nc + 0.1, "mean": nc}
    vc = {"10": {"published": {**levels, "standard_errors": {"mean": 0.01}}}}
    return {
        "scene": "made up",
        "nc": levels,
        "nc_standard_errors": levels,
        "nc_fixed": levels,
        "nc_ceiling": {**levels, "optimistic": False},
        "vc": vc,
        "ratios": {"nc": 0.9, "nc_fixed": 0.8, "vc": {"10": 1.0}},
        "psnr": 30.0,
        "ssim": 0.9,
        "seconds": {"total": 100.0, "gaussians": 60.0},
        "num_gaussians": 1000,
        "peak_memory_gb": 1.5,
        **others,
    }


def test_summarise_gives_mean_and_sample_deviation(results):
    found = results.summarise([made_up(nc) for nc in (0.5, 0.6, 0.8)])
    for name in ("nc", "nc_fixed", "nc_ceiling"):
        for level, shift in (("objects", -0.1), ("mean", 0), ("scene", 0.1)):
            values = [nc + shift for nc in (0.5, 0.6, 0.8)]
            assert found[name][level]["mean"] == pytest.approx(statistics.fmean(values))
            assert found[name][level]["spread"] == pytest.approx(statistics.stdev(values))
    assert found["vc"]["10"]["published"]["mean"] == pytest.approx(1.9 / 3)
    assert found["seconds"]["gaussians"] == {"mean": 60, "spread": 0}
    assert "optimistic" not in found["nc_ceiling"]
    assert not {"scene", "nc_standard_errors"} & set(found)


def test_summarise_leaves_out_what_a_run_lacks(results):
    one, other = made_up(0.5), made_up(0.6, seconds={"total": 50.0})
    del other["vc"]
    found = results.summarise([one, other])
    assert "vc" not in found
    assert list(found["seconds"]) == ["total"]
    assert results.summarise([one])["nc"]["mean"] == {"mean": 0.5, "spread": None}


def test_plan_takes_settings_that_come_along_as_they_are(results, tmp_path):
    found = results.plan(["drums", "toy"], [tmp_path], [200, 400])
    assert [(name, size) for _, name, size in found] == [
        *(("drums", 200), ("drums", 400), ("toy", 64)),
        *((tmp_path.name, 200), (tmp_path.name, 400)),
    ]
    assert found[0][0] == ["--scene", "drums"]
    assert found[-1][0] == ["--data", str(tmp_path)]


def entry(results, runs, **about):
    return {
        **{"scene": "drums", "size": 200, "seeds": [0, 1, 2], "flags": []},
        **{"date": "2026-11-26", "commit": "abc1234", "machine": MACHINE, **about},
        **results.summarise(runs),
    }


def test_headline_table_shows_means_with_their_spread(results, tool):
    runs = [made_up(nc) for nc in (0.8, 0.81, 0.82)]
    blind = {"psnr": 31.0, "ssim": 0.9, "num_gaussians": 10, "seconds": {"total": 9.0}}
    rows = [entry(results, runs), entry(results, [blind], scene="can", seeds=[0])]
    head, _, drums, can, _, note = tool.headline_table({"rows": rows}).splitlines()
    assert head.count("of the ceiling") == 3
    assert "| **0.810 ± 0.010** | 0.900 ± 0.000 | 0.810 ± 0.010 | 0.800 ± 0.000 |" in drums
    assert drums.startswith("| drums | 200 | 0.710 ± 0.010 | 0.810 ± 0.010 | 0.910 ± 0.010 |")
    assert "| 30.0 ± 0.0 dB | 0.900 ± 0.000 | 1000 | 100 ± 0 s | 1.5 ± 0.0 GB |" in drums
    assert can.startswith("| can | 200 | – | – | – | – | – |")  # noqa: RUF001
    assert "| 31.0 dB | 0.900 | 10 | 9 s | – |" in can  # noqa: RUF001
    assert all(line.count("|") == head.count("|") for line in (drums, can))
    for said in ("seeds 0; 0, 1, 2.", "2 cores of Abacus", "2026-11-26, commit abc1234"):
        assert said in note


def test_the_readme_shows_each_scene_at_its_largest_size(results, tool):
    rows = [entry(results, [made_up(nc)], size=size) for nc, size in ((0.7, 200), (0.8, 400))]
    table = tool.headline_summary({"rows": rows})
    assert "**0.800**" in table
    assert "0.700" not in table


def test_ablation_table_puts_one_cut_and_the_ceiling_beside_nc(tool):
    def measured(scene, losses, nc, **others):
        return {"scene": scene, "losses": losses, "nc": {"mean": nc}, "seconds": 10.0, **others}

    old = [measured("desk", "a", 0.5), measured("desk", "b", 0.7)]
    assert tool.ablation_table(old, "losses", timed=True).splitlines()[2:] == [
        "| a | 0.500 | 0.500 | 10 |",
        "| b | 0.700 | **0.700** | 10 |",
    ]
    new = [
        measured(scene, "a", nc, nc_fixed={"mean": 0.4}, ratios={"nc": nc, "nc_fixed": 0.5})
        for scene, nc in (("desk", 0.5), ("drums", 0.7))
    ]
    assert tool.ablation_table(new, "losses").splitlines() == [
        "| NC / with one cut | desk | drums | mean | of the ceiling |",
        "| --- | --- | --- | --- | --- |",
        "| a | 0.500 / 0.400 | 0.700 / 0.400 | **0.600 / 0.400** | 0.600 / 0.500 |",
    ]


@pytest.mark.slow
def test_results_trains_each_seed_once_and_records_all_of_them(results, toy, tmp_path, capsys):
    output = tmp_path / "headline.json"
    command = [str(tmp_path / "runs"), "--scenes", "toy", "--output", str(output), "--seeds", "0"]
    results.main([*command, "--", *TINY])
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*.*")}
    results.main([*command, "1", "--", *TINY])
    for path, when in kept.items():
        assert path.stat().st_mtime_ns == when, path
    (row,) = json.loads(output.read_text(encoding="utf-8"))["rows"]
    assert (row["scene"], row["size"], row["seeds"]) == ("toy", 64, [0, 1])
    assert row["flags"] == list(TINY)
    assert {"commit", "machine", "date"} <= set(row)
    assert set(results.KEPT) <= set(row)
    runs = [
        json.loads((tmp_path / "runs" / f"toy-64-{seed}" / "metrics.json").read_text())
        for seed in (0, 1)
    ]
    values = [run["nc_fixed"]["mean"] for run in runs]
    assert row["nc_fixed"]["mean"]["mean"] == pytest.approx(statistics.fmean(values))
    assert row["nc_fixed"]["mean"]["spread"] == pytest.approx(statistics.stdev(values))
    values = [run["vc_ceiling"]["45"]["exact"]["mean"] for run in runs]
    assert row["vc_ceiling"]["45"]["exact"]["mean"] == pytest.approx(statistics.fmean(values))
    assert "nc_fixed_ceiling" in capsys.readouterr().out
