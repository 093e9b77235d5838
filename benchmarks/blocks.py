"""What do blocks of superpoints cost in quality, and what do they save in memory?

    python benchmarks/blocks.py RUNS --output benchmarks/blocks.json

Features and tree of finished runs on built-in scenes are made again with superpoints in one and
four blocks, and scored. Memory is that of superpoints alone, in processes of their own: on a
surface of a million and of two million points, with edges measured by colour; it is measured if no
run is given or the file does not exist. Rows of other runs stay in the file.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from borders import scores

from splat_uff.hierarchy.superpoints import grow_superpoints
from splat_uff.run.masks import training_masks
from splat_uff.run.open import open_run
from splat_uff.settings import TrainConfig
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.system.portable import peak_memory
from splat_uff.training.frozen import FrozenScene, refit

BLOCKS = (1, 4)
NUMBERS = (1_000_000, 2_000_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="finished runs on built-in scenes")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--surface", nargs=2, type=int, help="points and blocks of one process")
    options = parser.parse_args()
    if options.surface:
        print(json.dumps(surface(*options.surface)))
        return
    known = options.output.exists()
    record: dict[str, Any] = json.loads(options.output.read_text("utf-8")) if known else {}
    trees_known = {_case(row): row for row in record.get("trees", [])}
    if not options.runs or not known:
        record = {**measured_here(), "trees": record.get("trees", []), "memory": []}
        measure_memory(record, options.output)
    for folder in options.runs:
        for row in trees(folder):
            print(json.dumps(row), flush=True)
            trees_known[_case(row)] = row
            write_json(options.output, {**record, "trees": list(trees_known.values())})


def measure_memory(record: dict[str, Any], output: Path) -> None:
    """Add seconds and memory of superpoints alone to the record, and write it."""
    for number in NUMBERS:
        for blocks in BLOCKS:
            own = ["--output", str(output), "--surface", str(number), str(blocks)]
            command = [sys.executable, __file__, *own]
            said = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout
            record["memory"].append(json.loads(said.splitlines()[-1]))
            print(said, end="", flush=True)
            write_json(output, record)


def _case(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["scene"], row["size"], row["seed"], row["blocks"]


def surface(number: int, blocks: int) -> dict[str, Any]:
    """Seconds and peak memory of superpoints on a wavy surface, and what Python alone takes."""
    rng = np.random.default_rng(0)
    points = np.empty((number, 3))
    points[:, :2] = rng.uniform(0, 10, (number, 2))
    points[:, 2] = np.sin(points[:, 0]) * np.cos(points[:, 1])
    colours = np.sin(points @ rng.normal(size=(3, 3)) * 3)
    config = TrainConfig().hierarchy
    before, start = peak_memory(), time.perf_counter()
    group = grow_superpoints(
        points,
        lambda a, b: np.linalg.norm(colours[a] - colours[b], axis=1),
        neighbours=config.neighbours,
        most=config.superpoints,
        blocks=blocks,
    )
    return {
        "points": number,
        "blocks": blocks,
        "superpoints": int(group.max()) + 1,
        "seconds": round(time.perf_counter() - start, 1),
        "memory_gb": round((peak_memory() or 0) - (before or 0), 2),
    }


def trees(folder: Path) -> list[dict[str, Any]]:
    """Scores of the run's tree, made anew with each number of blocks."""
    run = open_run(folder, finished=True)
    settings = run.provenance.settings
    scene, rows = FrozenScene(run.gaussians, run.capture, training_masks(run)), []
    for blocks in BLOCKS:
        hierarchy = replace(settings.hierarchy, blocks=blocks)
        _, found, seconds = refit(scene, replace(settings, hierarchy=hierarchy))
        row = {"scene": run.provenance.scene, "size": settings.size, "seed": settings.seed}
        row |= {"blocks": blocks, "seconds": round(seconds, 1), **measured_here()}
        rows.append(row | scores(run, run.gaussians, found))
    return rows


if __name__ == "__main__":
    with told_in_one_line():
        main()
