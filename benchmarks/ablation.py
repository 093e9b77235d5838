"""Measure what each choice is worth: losses, start of the features, tree and labels.

    python benchmarks/ablation.py RUNS --output benchmarks/ablation.json

Takes finished runs with ground truth, one for each scene. On the Gaussians of each, every variant
fits its own features, builds its own tree and is scored by NC, with a cut for each click and with
one a level, both also as shares of what true labels score. Rows of other scenes stay in the file.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from splat_uff.evaluate.ceiling import ceiling_ratios
from splat_uff.evaluate.score import ceiling_scores, evaluate
from splat_uff.features.config import FeaturesConfig
from splat_uff.features.fit import fit_features
from splat_uff.hierarchy.build import Hierarchy
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.masks.bags import Bags
from splat_uff.run.open import open_run
from splat_uff.settings import TrainConfig
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.training.frozen import frozen_scene, grow_tree, tree_for_features

DEFAULTS = TrainConfig()
NOISE = FeaturesConfig(start="noise", steps=1500, ultrametric_weight=0.0)
"""What the losses are compared from, as the paper starts; the last rows start from consensus."""
FEW = replace(NOISE, pixels=1024, neg_ratio=1)
"""Trees over pixels cost their square, so losses are compared on fewer pixels than the default."""
SPANNING = replace(FEW, ultrametric_weight=1.0, ultrametric="spanning-tree")
AVERAGE = replace(FEW, ultrametric_weight=1.0, ultrametric="average-linkage")
PAPERS = "both, spanning tree (the paper's)"
CHOSEN = "from the consensus, Euclidean and the scene's tree (default)"
"""The features that trees and labels are compared on."""
LOSSES = {
    "Euclidean only": FEW,
    "ultrametric only, spanning tree": replace(SPANNING, euclidean_weight=0.0),
    PAPERS: SPANNING,
    "ultrametric only, average linkage": replace(AVERAGE, euclidean_weight=0.0),
    "both, average linkage": AVERAGE,
    "Euclidean only, 4:1 negatives": replace(FEW, neg_ratio=4),
    "Euclidean only, 4:1 negatives, 4096 pixels": NOISE,
    "from the consensus, not trained": replace(DEFAULTS.features, steps=0),
    "from the consensus, Euclidean only": replace(DEFAULTS.features, ultrametric_weight=0.0),
    CHOSEN: DEFAULTS.features,
}
BY_DEFAULT, BY_FEATURES = "consensus and features, blended (default)", "features, blended"
READINGS = {
    BY_DEFAULT: ("consensus", "blended", "segments"),
    BY_FEATURES: ("average", "blended", "segments"),
    "consensus and features, 5 nearest": ("consensus", "nearest", "segments"),
    "features, 5 nearest": ("average", "nearest", "segments"),
    "watershed, blended": ("watershed", "blended", "heights"),
    "watershed, 5 nearest (the paper's)": ("watershed", "nearest", "heights"),
}
"""Linkage, labels and cuts; a watershed cut by segments peels off one Gaussian after the other,
so it is cut evenly in height, up to its root."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs with ground truth")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    kept = json.loads(options.output.read_text("utf-8"))["rows"] if options.output.exists() else []
    for folder in options.runs:
        rows = []
        for row in ablate(folder):
            print(json.dumps(row), flush=True)
            rows.append(row)
        kept = [row for row in kept if row["scene"] != rows[0]["scene"]] + rows
        write_json(options.output, {**measured_here(), "rows": kept})


def ablate(folder: Path) -> Iterator[dict[str, Any]]:
    """Score every variant on the Gaussians of a run."""
    run = open_run(folder, finished=True)
    scene, settings, gaussians = frozen_scene(run), run.provenance.settings, run.gaussians
    bounds = ceiling_scores(
        run.capture, gaussians, None, seed=settings.seed, num_clicks=settings.evaluate.clicks
    )

    def score(hierarchy: Hierarchy, labels: str, cut_by: str) -> dict[str, Any]:
        config = replace(settings.evaluate, labels=labels, cut_by=cut_by)
        metrics = evaluate(
            run.capture, gaussians, hierarchy, Bags([]), config, seed=settings.seed
        ).metrics
        ratios = ceiling_ratios(metrics | bounds)
        return {"nc": metrics["nc"], "nc_fixed": metrics["nc_fixed"], "ratios": ratios}

    for losses, config in LOSSES.items():
        choice = replace(settings, features=config, hierarchy=HierarchyConfig(resamples=0))
        start = time.perf_counter()
        features = fit_features(
            scene.views, scene.bags, config, seed=settings.seed,
            tree=tree_for_features(scene, choice),
        )  # fmt: skip
        seconds = round(time.perf_counter() - start, 1)
        for reading in readings_of(losses):
            linkage, labels, cut_by = READINGS[reading]
            tree = replace(choice, hierarchy=replace(choice.hierarchy, linkage=linkage))
            row = {"scene": run.provenance.scene, "seed": settings.seed, "losses": losses}
            row |= {"reading": reading, "seconds": seconds}
            yield row | score(grow_tree(scene, features, tree), labels, cut_by)


def readings_of(losses: str) -> list[str]:
    """Trees and labels to score after a fit: all where they are compared, else the first two."""
    return list(READINGS) if losses in (CHOSEN, PAPERS) else [BY_DEFAULT, BY_FEATURES]


if __name__ == "__main__":
    with told_in_one_line():
        main()
