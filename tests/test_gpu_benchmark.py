"""`make gpu`: its script measures what it says, and nothing where there is no card."""

import json

import pytest
import torch

from splat_uff import bench
from tests.test_readme import ROOT, load_tool


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return load_tool(ROOT / "benchmarks" / "gpu.py")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_one_line_says_so(script, tmp_path, capsys):
    output = tmp_path / "gpu.json"
    with pytest.raises(SystemExit) as stopped:
        script.main(["--output", str(output)])
    assert stopped.value.code == "nothing measured: torch finds no CUDA device on this machine."
    assert not output.exists()


def test_rows_stand_beside_what_the_cpu_has_recorded(script, tmp_path, monkeypatch):
    asked = []

    def train(words, output, device):
        asked.append((words, device))
        return {"seconds": {"total": 1.5}, "nc": {"mean": 0.5}, "num_gaussians": 7}

    monkeypatch.setattr(script, "train", train)
    monkeypatch.setattr(script, "make_city", lambda *given: None)
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "gpu.json"
    script.main(["--device", "cpu", "--output", str(output)])
    record = json.loads(output.read_text())
    assert record["device"]["kind"] == "cpu"
    assert {"name", "torch", "gsplat"} <= set(record["device"])
    rows = {row["name"]: row for row in record["rows"]}
    assert list(rows) == ["drums", "truck", "city"]
    headline = {
        (row["scene"], row["size"]): row
        for row in json.loads((ROOT / "benchmarks" / "headline.json").read_text())["rows"]
    }
    for name in ("drums", "truck"):
        assert rows[name]["nc"] == 0.5
        expected = headline[name, 400]["nc"]["mean"]["mean"]
        assert rows[name]["recorded_on_cpu"]["nc"] == expected
    assert rows["truck"]["size_of"]["radar"]["num_gaussians"] > 59_000
    assert rows["city"]["recorded_on_cpu"]["seconds"]["total"] > 1
    assert all(device == "cpu" for _, device in asked)
    assert asked[0][0][2:4] == ["--size", "400"]


def test_bench_on_a_card_times_only_what_runs_there():
    everything, there = (bench.cases(device).keys() for device in ("cpu", "cuda"))
    assert there < everything
    kinds = ("rasterize", "blend weights", "labels", "blend 4096", "SSIM", "feature step")
    assert all(any(name.startswith(kind) for name in there) for kind in kinds)
    assert not any(name.startswith(("cut", "NC", "average linkage")) for name in there)
