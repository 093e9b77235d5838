"""Compare classical masks by colour alone with those that know the geometry, by the tree they give.

    python benchmarks/classical_masks.py runs/desk runs/toy --output benchmarks/classical_masks.json

Takes finished runs with ground truth, makes the masks of their training photos anew from photos and
Gaussians, fits features, builds the tree and scores it on the same clicks. NC of the masks is that
of every tenth training photo. One row for each scene, seed, kind of masks and number of steps; rows
that are there are kept, `--again` makes them anew. `python tools/update_readme.py` puts the JSON
into docs/research/classical-masks.md.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from splat_uff.capture.records import GroundTruth
from splat_uff.evaluate.covering import masks_covering
from splat_uff.evaluate.score import evaluate, masks_at_size
from splat_uff.gaussians.classical import gather_seen
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.masks.bags import Bags
from splat_uff.masks.gather import CLASSICAL, gather_masks
from splat_uff.run.open import Run, open_run
from splat_uff.settings import TrainConfig
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.training.frozen import FrozenScene, refit

COLOUR, GEOMETRY = "colour", "colour + geometry"
EVERY = 10
"""Step between the training photos whose masks are scored by themselves."""
Key = tuple[str, int, str, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="finished runs with ground truth")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--kinds", nargs="+", choices=(COLOUR, GEOMETRY), default=(GEOMETRY, COLOUR)
    )
    parser.add_argument("--steps", type=int, default=TrainConfig().features.steps)
    parser.add_argument("--again", action="store_true", help="make rows anew that are there")
    options = parser.parse_args()
    kept = (
        json.loads(options.output.read_text(encoding="utf-8"))["rows"]
        if options.output.exists()
        else []
    )
    rows: dict[Key, dict[str, Any]] = {
        (row["scene"], row["seed"], row["masks"], row["steps"]): row for row in kept
    }
    for folder in options.runs:
        run = open_run(folder, finished=True)
        scene, seed = run.provenance.scene, run.provenance.settings.seed
        for kind in options.kinds:
            key = (scene, seed, kind, options.steps)
            if key in rows and not options.again:
                continue
            named = {"scene": scene, "seed": seed, "masks": kind, "steps": options.steps}
            rows[key] = named | measure(run, kind, options.steps)
            print(json.dumps(rows[key]), flush=True)
            write_json(options.output, {**measured_here(), "rows": list(rows.values())})


def measure(run: Run, kind: str, steps: int) -> dict[str, Any]:
    """NC of the tree from one kind of masks, NC of the masks, and CPU seconds to make them."""
    start = time.process_time()
    if kind == GEOMETRY:
        bags = gather_seen(run.gaussians, run.capture, CLASSICAL)
    else:
        bags = gather_masks(run.capture, CLASSICAL)
    seconds = time.process_time() - start
    own = run.provenance.settings
    settings = TrainConfig(seed=own.seed, hierarchy=HierarchyConfig(resamples=0))
    settings = replace(settings, features=replace(settings.features, steps=steps))
    _, hierarchy, _ = refit(FrozenScene(run.gaussians, run.capture, bags), settings)
    metrics = evaluate(
        run.capture, run.gaussians, hierarchy, Bags([]), own.evaluate, seed=own.seed
    ).metrics
    return {
        "nc": metrics["nc"],
        "nc_fixed": metrics["nc_fixed"],
        "nc_masks": covering_of(run, bags),
        "masks_a_photo": round(float(np.mean(bags.counts)), 1),
        "seconds": round(seconds, 1),
    }


def covering_of(run: Run, bags: Bags) -> dict[str, float]:
    """NC of the masks of some training photos, as if they were a segmentation."""
    sized: list[Any] = []
    truths: list[GroundTruth] = []
    for index in range(0, len(bags), EVERY):
        truth = run.capture.train[index].truth
        if truth is not None:
            sized.append(masks_at_size(bags[index][0], truth))
            truths.append(truth)
    if not truths:
        return {}
    return masks_covering(sized, truths, rng=np.random.default_rng(0)).record()


if __name__ == "__main__":
    with told_in_one_line():
        main()
