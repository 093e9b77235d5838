"""Trainings on a CUDA device, beside the same on the CPU as recorded: writes benchmarks/gpu.json.

    python benchmarks/gpu.py --check
    python benchmarks/gpu.py --output benchmarks/gpu.json

`make gpu` runs the first, the tests marked `gpu`, `splat-uff bench --device cuda`, and the second.
There are three trainings, each in a process of its own:

* `drums`, with the defaults: photos of 400 x 400 pixels and at most 60 000 Gaussians;
* `truck`, likewise, which is the size of the capture `radar` in benchmarks/headline.json;
* `city`, a synthetic scene of a million Gaussians (city.py) and 120 photos of 200 x 133 pixels.

Without a CUDA device on which gsplat runs, it says so in one line and ends with exit code 1.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from city import make_city

from splat_uff.system.errors import InputError, told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import choose_render_device, describe_device, measured_here

HERE = Path(__file__).parent
SIZE, MOST = 400, 60_000
"""Pixels of a side and cap on the Gaussians of the built-in scenes: the defaults."""
CITY = {"gaussians": 1_000_000, "width": 200, "views": 120, "share": 1.0}
TINY_CITY = {"gaussians": 3_000, "width": 60, "views": 6, "share": 1.0}
TINY = (
    *("--size", "32", "--gaussians.steps", "60", "--gaussians.start", "300"),
    *("--gaussians.most", "400", "--features.steps", "20", "--features.pixels", "128"),
)
"""Settings of a training of seconds, which tests this script."""


def main(args: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=HERE / "gpu.json", help="JSON file to write")
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--keep", type=Path, help="folder of the runs, which stay there")
    parser.add_argument("--check", action="store_true", help="only look for a device")
    parser.add_argument("--device", default="cuda", help=argparse.SUPPRESS)
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(args)
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("nothing measured: torch finds no CUDA device on this machine.")
    try:
        device = choose_render_device(options.device)
    except InputError as error:
        sys.exit(f"nothing measured: {error}")
    described = describe_device(device)
    print(", ".join(f"{name} {value}" for name, value in described.items()), flush=True)
    if options.check:
        return
    rows = []
    for name in options.only:
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as place:
            folder = (options.keep or Path(place)) / name
            row = CASES[name](name, folder, device, options.tiny)
        print(json.dumps(row), flush=True)
        rows.append(row)
        record = {**measured_here(), "device": described, "tiny": options.tiny, "rows": rows}
        write_json(options.output, record)


def train_builtin(name: str, folder: Path, device: str, tiny: bool) -> dict[str, Any]:
    """Train on a built-in scene; tiny, on `toy` instead."""
    sizes = TINY if tiny else ("--size", str(SIZE), "--gaussians.most", str(MOST))
    metrics = train(["--scene", "toy" if tiny else name, *sizes], folder, device)
    cpu = {row["scene"]: row for row in read_rows("headline.json") if row["size"] == SIZE}
    found = {"name": name, **scores_of(metrics), "recorded_on_cpu": recorded(cpu.get(name))}
    if name == "truck":
        found["size_of"] = {"radar": recorded(cpu.get("radar"))}
    return found


def train_city(name: str, folder: Path, device: str, tiny: bool) -> dict[str, Any]:
    """Train on a city whose Gaussians are given."""
    case = TINY_CITY if tiny else CITY
    city = folder / "capture"
    if not city.exists():
        make_city(city, case["gaussians"], case["views"], case["width"])
    words = ["--data", str(city), "--gaussians", str(city / "city.ply")]
    words += ["--masks", str(city / "masks"), "--size", str(case["width"])]
    metrics = train(words, folder / "run", device)
    cpu = next((row for row in read_rows("growth.json") if row["case"] == case), None)
    found = {"name": name, "case": case, **scores_of(metrics)}
    return {**found, "recorded_on_cpu": cpu and {key: cpu[key] for key in (*WHERE, "seconds")}}


CASES: dict[str, Callable[[str, Path, str, bool], dict[str, Any]]] = {
    "drums": train_builtin,
    "truck": train_builtin,
    "city": train_city,
}
WHERE = "date", "machine", "commit"


def train(words: list[str], output: Path, device: str) -> dict[str, Any]:
    """Train in a process of its own, and return what is in its `metrics.json`."""
    command = [sys.executable, "-m", "splat_uff", "train", *words, "--overwrite"]
    command += ["--device", device, "--output", str(output)]
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"the training failed: {' '.join(command)}")
    return json.loads((output / "metrics.json").read_text("utf-8"))


def scores_of(metrics: dict[str, Any]) -> dict[str, Any]:
    """Seconds of each stage, and the scores that there are."""
    found = {key: metrics[key] for key in ("num_gaussians", "psnr", "ssim") if key in metrics}
    found |= {key: metrics[key]["mean"] for key in ("nc", "nc_fixed") if key in metrics}
    return {"seconds": metrics["seconds"], "peak_memory_gb": metrics.get("peak_memory_gb"), **found}


def read_rows(name: str) -> list[dict[str, Any]]:
    """Rows of a record of this folder."""
    return json.loads((HERE / name).read_text("utf-8"))["rows"]


def recorded(row: dict[str, Any] | None) -> dict[str, Any] | None:
    """Means over seeds of a row of the headline, in the form of `scores_of`."""
    if row is None:
        return None
    found = {key: row[key] for key in WHERE if key in row}
    found["seconds"] = {name: each["mean"] for name, each in row["seconds"].items()}
    found |= {key: row[key]["mean"] for key in ("psnr", "ssim", "num_gaussians") if key in row}
    return found | {key: row[key]["mean"]["mean"] for key in ("nc", "nc_fixed")}


if __name__ == "__main__":
    with told_in_one_line():
        main()
