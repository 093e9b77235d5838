"""Train and score the built-in scenes with several seeds, for the headline table of the README.

    python benchmarks/results.py runs/headline --sizes 200 --output benchmarks/headline.json
    python benchmarks/results.py runs/headline --sizes 400 --output benchmarks/headline.json \
        --data ~/captures/radar -- --gaussians.most 60000

What stands after `--` goes to every training. Runs are kept in RUNS/SCENE-SIZE-SEED: cut off, the
same command goes on where it was, and runs that are finished and scored in full are not touched.
Each training is a process of its own, so that its peak memory is its own. A row of the record is a
scene at one size; rows of other scenes and sizes stay in the file.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from splat_uff.run.folder import RunFolder
from splat_uff.run.provenance import read_metrics
from splat_uff.scenes.builtin import list_scenes
from splat_uff.settings import TrainConfig, config_folder, read_settings, scene_presets
from splat_uff.system.errors import InputError, told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here

SCORES = ("nc", "nc_fixed", "nc_ceiling", "nc_fixed_ceiling", "ratios", "vc", "vc_ceiling")
KEPT = (*SCORES, "psnr", "ssim", "seconds", "peak_memory_gb", "num_gaussians")


def main(args: Sequence[str] | None = None) -> None:
    given = list(sys.argv[1:] if args is None else args)
    place = given.index("--") if "--" in given else len(given)
    given, flags = given[:place], given[place + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="folder of the runs")
    scenes = [scene.name for scene in list_scenes()]
    parser.add_argument("--scenes", nargs="*", default=scenes, help="built-in scenes; all of them")
    parser.add_argument("--data", nargs="*", type=Path, default=[], help="captures besides")
    sizes = [TrainConfig().size]
    parser.add_argument("--sizes", nargs="+", type=int, default=sizes, help="as train --size")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--again", action="store_true", help="score also what is scored in full")
    parser.add_argument("--output", type=Path, required=True, help="JSON file of the record")
    options = parser.parse_args(given)
    kept = json.loads(options.output.read_text("utf-8"))["rows"] if options.output.exists() else []
    rows = {(row["scene"], row["size"]): row for row in kept}
    for source, name, size in plan(options.scenes, options.data, options.sizes):
        found = []
        for seed in options.seeds:
            run = RunFolder(options.runs / f"{name}-{size}-{seed}")
            own = ["--seed", str(seed), "--size", str(size), *flags]
            found.append(finished(run, [*source, *own], again=options.again))
            print(f"{run.path}: {describe(found[-1])}", flush=True)
        rows[name, size] = {
            "scene": name,
            "size": size,
            "seeds": options.seeds,
            "flags": flags,
            **measured_here(),
            **summarise(found),
        }
        write_json(options.output, {"rows": list(rows.values())})


def plan(
    scenes: Sequence[str], captures: Sequence[Path], sizes: Sequence[int]
) -> list[tuple[list[str], str, int]]:
    """What to train on: flags of `train`, a name and a size; settings that come along have one."""
    own = {
        scene: [read_settings(config_folder() / f"{scene}.toml", TrainConfig()).size]
        for scene in scene_presets()
    }
    found = []
    for scene in scenes:
        found += [(["--scene", scene], scene, size) for size in own.get(scene, sizes)]
    for folder in captures:
        found += [(["--data", str(folder)], folder.resolve().name, size) for size in sizes]
    return found


def finished(run: RunFolder, flags: Sequence[str], *, again: bool) -> dict[str, Any]:
    """Metrics of a run that is trained, or gone on with, and scored in full.

    Raises:
        InputError: If either fails; it has said why.
    """
    call("train", *flags, "--output", str(run.path), "--resume")
    metrics = read_metrics(run)
    if again or ("nc" in metrics and "ratios" not in metrics):
        call("metrics", str(run.path), "--json")
        metrics = read_metrics(run)
    return metrics


def call(*args: str) -> None:
    """Run a command of splat-uff, the one that this process would import."""
    command = [sys.executable, "-m", "splat_uff", *args]
    environment = os.environ | {"PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=False)
    if done.returncode:
        raise InputError(f"splat-uff {' '.join(args)} failed; the same command goes on.")


def describe(metrics: dict[str, Any]) -> str:
    """One line about a run."""
    names = ("nc", "nc_fixed", "nc_ceiling", "nc_fixed_ceiling")
    scores = [f"{name} {metrics[name]['mean']:.3f}" for name in names if name in metrics]
    return ", ".join([*scores, f"{metrics['seconds']['total']:.0f} s"])


def summarise(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation, over runs, of every figure that all of them have.

    Args:
        runs: Contents of `metrics.json`.

    Returns:
        As in `metrics.json`, with `{"mean": ..., "spread": ...}` in place of each number; of VC
        only the means over the levels. The spread of one run is None.
    """
    known = [{name: _figures(name, run[name]) for name in KEPT if name in run} for run in runs]
    return _spread(known)


def _figures(name: str, value: Any) -> Any:
    """The numbers that are worth a spread."""
    if name.startswith("vc"):
        return {
            angle: {kind: scores["mean"] for kind, scores in kinds.items()}
            for angle, kinds in value.items()
        }
    if isinstance(value, dict):
        return {key: each for key, each in value.items() if not isinstance(each, bool)}
    return value


def _spread(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        shared = [key for key in first if all(key in value for value in values)]
        return {key: _spread([value[key] for value in values]) for key in shared}
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "spread": spread}


if __name__ == "__main__":
    with told_in_one_line():
        main()
