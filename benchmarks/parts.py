"""How good is a part of a run when it is taken out of its scene, beside other ways to choose it?

    python benchmarks/parts.py runs/drums runs/toy --output benchmarks/parts.json

Takes finished runs on built-in scenes, each true object of which is rendered without the others.
All methods choose Gaussians of the same run, and see the true objects of the training views to say
which choice is which object:

* *ours* is a node of the run's tree;
* *lifted* is a mask lifted to 3D (SAM3D), of those of 20 training views, which may overlap;
* *ceiling* is what each Gaussian's true label gives.

Rows of other runs stay in the file.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from splat_uff.baselines.lift import lift_masks
from splat_uff.evaluate.part_choice import (
    best_masks,
    best_nodes,
    node_members,
    object_votes,
    true_members,
)
from splat_uff.evaluate.parts import PartTruth, score_parts
from splat_uff.paper.methods import LIFT_STAGE, PROMPTED, SOURCES
from splat_uff.run.open import Run, open_run
from splat_uff.scenes.builtin_parts import render_parts
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.training.frozen import frozen_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs on built-in scenes")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    kept = (
        json.loads(options.output.read_text(encoding="utf-8"))["rows"]
        if options.output.exists()
        else []
    )
    rows = {key_of(row): row for row in kept}
    for folder in options.runs:
        for row in judge(open_run(folder, finished=True)):
            rows[key_of(row)] = row
            print(json.dumps({name: value for name, value in row.items() if name != "objects"}))
        write_json(options.output, {**measured_here(), "rows": list(rows.values())})


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one row from all others."""
    return row["scene"], row["size"], row["seed"], row["method"]


def judge(run: Run) -> list[dict[str, Any]]:
    """One row for each method."""
    settings = run.provenance.settings
    start = time.perf_counter()
    truth = render_parts(run.capture)
    seconds = time.perf_counter() - start
    rows = []
    for method, (chosen, matches) in selections(run, truth).items():
        scores = score_parts(run.gaussians, chosen, truth).record()
        row = {
            "scene": run.provenance.scene, "size": settings.size, "seed": settings.seed,
            "method": method, "objects_scored": sum(
                each["views"] > 0 for each in scores["objects"].values()
            ),
            "match": round(float(matches.mean()), 4), "seconds_truth": round(seconds, 1),
        }  # fmt: skip
        row |= {name: rounded(value) for name, value in scores["mean"].items()}
        row["objects"] = {
            name: {each: rounded(value) for each, value in found.items()}
            for name, found in scores["objects"].items()
        }
        rows.append(row)
    return rows


def rounded(value: float | int | None) -> float | int | None:
    """The number to four decimals."""
    return round(value, 4) if isinstance(value, float) else value


def selections(run: Run, truth: PartTruth) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Gaussians of each object by each method, and the IoU of their votes with the object's."""
    votes = object_votes(run.gaussians, run.capture.train, len(truth.names))
    nodes, by_node = best_nodes(run.hierarchy.tree, votes)
    occupied = lifted(run)
    masks, by_mask = best_masks(occupied, votes)
    parts = np.where(masks[:, None] >= 0, occupied[masks], False)
    labelled = true_members(votes)
    totals = votes[:, 1:]
    joint = np.array([totals[each, k].sum() for k, each in enumerate(labelled)])
    inside = np.array([votes[each].sum() for each in labelled])
    by_label = joint / np.maximum(inside + totals.sum(axis=0) - joint, 1e-12)
    return {
        "ours": (node_members(run.hierarchy.tree, nodes), by_node),
        "lifted": (parts, by_mask),
        "ceiling": (labelled, by_label),
    }


def lifted(run: Run) -> np.ndarray:
    """Gaussians of the masks that SAM3D lifts, from the same views as in `splat-uff paper`."""
    capture, seed = run.capture, run.provenance.settings.seed
    count = len(capture.train)
    chosen = np.unique(np.linspace(0, count - 1, min(PROMPTED, count)).round().astype(int))
    order = np.random.default_rng([seed, LIFT_STAGE]).permutation(len(chosen))
    bags = frozen_scene(run).bags
    views = [capture.train[view] for view in chosen]
    masks = [bags[view][0] for view in chosen]
    return lift_masks(run.gaussians, views, masks, order[:SOURCES].tolist()).occupied


if __name__ == "__main__":
    with told_in_one_line():
        main()
