"""How long does a training take, beside another version of this project?

    git worktree add ../other COMMIT
    python benchmarks/speed.py ../other --scenes drums desk --output benchmarks/speed.json

Both versions train the same scenes, in turns, each in a process of its own; a first training of
each, on the toy scene, compiles the kernels and is not counted. The other version needs what it
was built on: `--path` names a folder with packages that this one no longer depends on. Rows of
other scenes and sizes stay in the file.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("other", type=Path, help="checkout of the other version")
    parser.add_argument("--scenes", nargs="+", default=["drums"])
    parser.add_argument("--size", type=int, default=200, help="as train --size")
    parser.add_argument("--most", type=int, default=30000, help="as train --gaussians.most")
    parser.add_argument("--rounds", type=int, default=3, help="trainings of each version")
    parser.add_argument("--path", type=Path, nargs="*", default=[], help="packages of the other")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    versions = {"former": [options.other.resolve(), *options.path], "this": [ROOT]}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=options.other, capture_output=True, encoding="utf-8", check=True,
    ).stdout.strip()  # fmt: skip
    flags = ["--size", str(options.size), "--gaussians.most", str(options.most)]
    kept = json.loads(options.output.read_text("utf-8"))["rows"] if options.output.exists() else []
    rows = {(row["scene"], row["size"]): row for row in kept}
    with tempfile.TemporaryDirectory() as scratch:
        for paths in versions.values():
            train("toy", [], paths, Path(scratch) / "toy")
        for scene in options.scenes:
            found: dict[str, list[dict[str, Any]]] = {name: [] for name in versions}
            for turn in range(options.rounds):
                for name, paths in versions.items():
                    run = Path(scratch) / f"{scene}-{name}-{turn}"
                    found[name].append(train(scene, flags, paths, run))
                    print(scene, name, json.dumps(found[name][-1]), flush=True)
            row = {"scene": scene, "size": options.size, "most": options.most, "other": commit}
            row |= measured_here() | {name: median(each) for name, each in found.items()}
            rows[scene, options.size] = row
            write_json(options.output, {"rows": list(rows.values())})


def train(scene: str, flags: list[str], paths: list[Path], run: Path) -> dict[str, Any]:
    """Train in a process of its own; returns seconds of each stage, PSNR and NC."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, "-P", "-m", "splat_uff", "train", "--scene", scene, *flags]
    subprocess.run(
        [*command, "--output", str(run), "--overwrite"],
        env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    metrics = json.loads((run / "metrics.json").read_text("utf-8"))
    return {**metrics["seconds"], "psnr": metrics["psnr"], "nc": metrics["nc"]["mean"]}


def median(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Median of each figure, and the number of trainings."""
    names = runs[0].keys()
    return {
        **{name: round(statistics.median(run[name] for run in runs), 4) for name in names},
        "trainings": len(runs),
    }


if __name__ == "__main__":
    with told_in_one_line():
        main()
