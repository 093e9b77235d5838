"""Compare starts, steps and ultrametric terms of the features by the tree that they help build.

    python benchmarks/features.py runs/desk runs/truck runs/plant --output benchmarks/features.json

Takes finished runs, fits features to their Gaussians and masks by every variant with the seed of
the run, builds the tree of features and consensus in equal parts, and scores it on the same clicks.
One row for each scene, seed and variant; rows that are there are kept, `--again` makes them anew.
`python tools/update_readme.py` puts the JSON into docs/research/features.md.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from splat_uff.evaluate.score import evaluate
from splat_uff.features.config import FeaturesConfig
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.masks.bags import Bags
from splat_uff.run.open import open_run
from splat_uff.settings import TrainConfig
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.training.frozen import frozen_scene, refit

TREE = HierarchyConfig(linkage="consensus", resamples=0)
NOISE = FeaturesConfig(start="noise", steps=1500, ultrametric_weight=0.0, lr=1e-2)
CLOSED = replace(NOISE, start="consensus", steps=500)
SCENE = replace(CLOSED, ultrametric="scene-tree", ultrametric_weight=1.0, ultrametric_refresh=0)
VARIANTS = {
    "noise, 1500 steps": NOISE,
    "closed form, 0 steps (consensus alone)": replace(CLOSED, steps=0),
    "closed form, 100 steps": replace(CLOSED, steps=100),
    "closed form, 300 steps": replace(CLOSED, steps=300),
    "closed form, 500 steps": CLOSED,
    "closed form, 750 steps": replace(CLOSED, steps=750),
    "closed form, 1500 steps": replace(CLOSED, steps=1500),
    "closed form, 300 steps, lr 5e-3": replace(CLOSED, steps=300, lr=5e-3),
    "closed form, 500 steps, lr 2e-2": replace(CLOSED, lr=2e-2),
    "closed form, 500 steps, D 16": replace(CLOSED, dimension=16),
    "closed form, 500 steps, D 64": replace(CLOSED, dimension=64),
    "closed form, 500 steps, scene tree 0.1": replace(SCENE, ultrametric_weight=0.1),
    "closed form, 500 steps, scene tree 0.3": replace(SCENE, ultrametric_weight=0.3),
    "closed form, 750 steps, scene tree 0.1": replace(SCENE, steps=750, ultrametric_weight=0.1),
    "closed form, 500 steps, scene tree 1": SCENE,
    "closed form, 500 steps, scene tree 1, refreshed": replace(SCENE, ultrametric_refresh=25),
}
Key = tuple[str, int, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="finished runs with ground truth")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--again", action="store_true", help="make rows anew that are there")
    options = parser.parse_args()
    kept = (
        json.loads(options.output.read_text(encoding="utf-8"))["rows"]
        if options.output.exists()
        else []
    )
    rows: dict[Key, dict[str, Any]] = {
        (row["scene"], row["seed"], row["variant"]): row for row in kept
    }
    for folder in options.runs:
        run = _Run(folder)
        for name in options.variants:
            key = (run.scene, run.seed, name)
            if key in rows and not options.again:
                continue
            rows[key] = {"scene": run.scene, "seed": run.seed, "variant": name} | run.score(name)
            print(json.dumps(rows[key]), flush=True)
            record = {
                **measured_here(),
                "rows": list(rows.values()),
            }
            write_json(options.output, record)


class _Run:
    """A finished run, its masks and its blend weights, read once for all variants."""

    def __init__(self, folder: Path) -> None:
        self.run = open_run(folder, finished=True)
        provenance = self.run.provenance
        self.scene, self.seed = provenance.scene, provenance.settings.seed
        self.frozen = frozen_scene(self.run)
        _ = self.frozen.largest_weights  # Photos are rendered before the clock starts.

    def score(self, name: str) -> dict[str, Any]:
        """NC and NC with one cut a level, and the seconds of features and tree."""
        settings = TrainConfig(seed=self.seed, features=VARIANTS[name], hierarchy=TREE)
        _, hierarchy, seconds = refit(self.frozen, settings)
        run, view = self.run, self.run.provenance.settings.evaluate
        metrics = evaluate(
            run.capture, run.gaussians, hierarchy, Bags([]), view, seed=self.seed
        ).metrics
        return {"nc": metrics["nc"], "nc_fixed": metrics["nc_fixed"], "seconds": round(seconds, 1)}


if __name__ == "__main__":
    with told_in_one_line():
        main()
