"""`splat-uff bench`: lines on stdout, times in a file, ratios to another file's."""

import json
import re

import pytest

from splat_uff import bench
from splat_uff.cli import main

CHEAP = "SSIM"


def test_bench_prints_and_keeps_times(tmp_path, capsys):
    output = tmp_path / "times.json"
    main(["bench", "--only", CHEAP, "--output", str(output)])
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(output.read_text())
    ((name, ms),) = record["ms"].items()
    assert re.fullmatch(rf"{re.escape(name)} +{ms:.2f} ms *", line)
    assert ms > 0
    assert {"cpu", "vectors", "cores", "python"} == set(record["machine"])
    assert {"version", "commit", "tolerance"} <= set(record)


@pytest.mark.parametrize(("factor", "note"), [(1e-3, "slower"), (1e3, "faster")])
def test_bench_compares_with_a_baseline(factor, note, tmp_path, capsys):
    baseline = tmp_path / "baseline.json"
    main(["bench", "--only", CHEAP, "--output", str(baseline)])
    record = json.loads(baseline.read_text())
    record["ms"] = {name: ms * factor for name, ms in record["ms"].items()}
    baseline.write_text(json.dumps(record))
    capsys.readouterr()
    main(["bench", "--only", CHEAP, "--compare", str(baseline)])
    assert re.search(rf"[\d.]+ x baseline  {note}$", capsys.readouterr().out.strip())


def test_read_times_may_begin_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "times.json"
    path.write_text('{"ms": {"SSIM": 3}}', encoding="utf-8-sig")
    assert bench.read_times(path) == {"SSIM": 3.0}


@pytest.mark.parametrize("content", ["", "[]", '{"ms": 3}', '{"ms": {"a": "b"}}', None])
def test_bench_names_a_bad_baseline_before_it_starts(content, tmp_path, capsys):
    baseline = tmp_path / "baseline.json"
    if content is not None:
        baseline.write_text(content)
    with pytest.raises(SystemExit) as stopped:
        main(["bench", "--compare", str(baseline)])
    said = capsys.readouterr()
    assert stopped.value.code == 2
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert str(baseline) in said.err


def test_bench_names_what_it_does_not_have(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "--only", "teapots"])
    assert "'teapots'" in capsys.readouterr().err


def test_every_case_runs_on_small_inputs(monkeypatch):
    monkeypatch.setattr(bench, "COUNT", 500)
    monkeypatch.setattr(bench, "STEPS", 2)
    monkeypatch.setattr(bench, "VIEWS", 1)
    monkeypatch.setattr(bench, "_points", lambda count, points=bench._points: points(2000))
    monkeypatch.setattr(bench, "median_ms", lambda call: [call(), 1.0][1])
    lines = []
    times = bench.run_bench(say=lines.append)
    assert len(times) == len(bench.cases()) == len(lines)
    kinds = ("rasterize", "blend weights", "feature step", "ultrametric", "tree over 1M", "cut")
    kinds += (
        "fit step, photo of 1600x1067 by windows",
        "clean borders",
        "tree over 100k Gaussians in",
    )
    assert all(any(name.startswith(kind) for name in times) for kind in kinds)
