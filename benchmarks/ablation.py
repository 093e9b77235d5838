"""Measure what each choice is worth: losses, negatives, tree and labels, on fixed geometry.

    python benchmarks/ablation.py --output benchmarks/ablation.json

For every scene the Gaussians are fitted once with its settings (or taken from a finished run in
runs/SCENE); every variant then fits its own features, builds its own tree and is scored by NC, with
a cut for each click and with one a level, both also as shares of what true labels score.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from splat_uff.builtin import find_scene, list_scenes
from splat_uff.capture import read_capture
from splat_uff.evaluate.ceiling import ceiling_ratios
from splat_uff.evaluate.config import EvaluateConfig
from splat_uff.evaluate.score import ceiling_scores, evaluate
from splat_uff.features.blend import FrozenViews
from splat_uff.features.config import FeaturesConfig
from splat_uff.features.fit import fit_features
from splat_uff.gaussians.fit import fit_gaussians
from splat_uff.gaussians.ply import load_ply
from splat_uff.hierarchy.build import build_hierarchy
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.machine import commit, describe_machine
from splat_uff.masks.folders import read_masks
from splat_uff.memory import Memory
from splat_uff.settings import TrainConfig, config_folder, read_settings, scene_presets
from splat_uff.stages import opinions_of

DEFAULTS = TrainConfig()
NOISE = FeaturesConfig(start="noise", steps=1500, ultrametric_weight=0.0)
"""What the losses were compared from; benchmarks/features.py compares other starts."""
FEW = replace(NOISE, pixels=1024, neg_ratio=1)
"""Trees over pixels cost their square, so losses are compared on fewer pixels than the default."""
SPANNING = replace(FEW, ultrametric_weight=1.0, ultrametric="spanning-tree")
AVERAGE = replace(FEW, ultrametric_weight=1.0, ultrametric="average-linkage")
LOSSES = {
    "Euclidean only": FEW,
    "ultrametric only, spanning tree": replace(SPANNING, euclidean_weight=0.0),
    "both, spanning tree (the paper's)": SPANNING,
    "ultrametric only, average linkage": replace(AVERAGE, euclidean_weight=0.0),
    "both, average linkage": AVERAGE,
    "Euclidean only, 4:1 negatives": replace(FEW, neg_ratio=4),
    "Euclidean only, 4:1 negatives, 4096 pixels (default)": NOISE,
}
CHOSEN = "Euclidean only, 4:1 negatives, 4096 pixels (default)"
"""The losses that the settings of the tree are compared under."""
PAPERS = "both, spanning tree (the paper's)"
READINGS = {
    "average linkage, blended": ("average", "blended", "segments"),
    "consensus and features, blended": ("consensus", "blended", "segments"),
    "average linkage, 5 nearest": ("average", "nearest", "segments"),
    "watershed, blended": ("watershed", "blended", "heights"),
    "watershed, 5 nearest (the paper's)": ("watershed", "nearest", "heights"),
}
"""Linkage, labels and cuts; a watershed cut by segments peels off one Gaussian after the other,
so it is cut evenly in height, up to its root."""

TREES = {
    f"{name} {value}": replace(DEFAULTS.hierarchy, **{name: value})
    for name, values in {
        "min_weight": (0.05, 0.1, 0.2, 0.3),
        "crumb_exponent": (0.0, 0.05, 0.1, 0.2, 0.3),
        "superpoints": (500, 1000, 2000),
    }.items()
    for value in values
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    scenes = [scene.name for scene in list_scenes()]
    parser.add_argument("--scenes", nargs="+", default=scenes, help="built-in scenes; all of them")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    if options.output.exists():  # Other scenes may have been measured already.
        kept = json.loads(options.output.read_text())["rows"]
        rows = [row for row in kept if row["scene"] not in options.scenes]
    for scene in options.scenes:
        rows += ablate(scene, options.runs)
        record = {
            "date": time.strftime("%Y-%m-%d"),
            "machine": describe_machine(),
            "commit": commit(),
            "rows": rows,
        }
        options.output.write_text(json.dumps(record, indent=2) + "\n")


def ablate(scene: str, runs: Path) -> list[dict[str, object]]:
    """Score every variant on one scene."""
    settings = DEFAULTS
    if scene in scene_presets():
        settings = read_settings(config_folder() / f"{scene}.toml", DEFAULTS)
    capture = read_capture(find_scene(scene).folder, size=settings.size)
    bags = read_masks(capture)
    ply = runs / scene / "gaussians.ply"
    gaussians = (
        load_ply(ply)
        if ply.exists()
        else fit_gaussians(capture, settings.gaussians, bags, seed=DEFAULTS.seed)
    )
    clicks = DEFAULTS.evaluate.clicks
    bounds = ceiling_scores(capture, gaussians, None, seed=DEFAULTS.seed, num_clicks=clicks)
    opinions = opinions_of(capture, bags, gaussians, Memory())
    views = FrozenViews.of(gaussians, [view.camera for view in capture.train])
    largest = views.largest_weights(len(gaussians))
    means = gaussians.means.numpy().astype(np.float64)

    def score(
        features: np.ndarray, tree: HierarchyConfig, view: EvaluateConfig
    ) -> dict[str, object]:
        hierarchy = build_hierarchy(means, features, largest, tree, opinions)
        metrics = evaluate(capture, gaussians, hierarchy, [], view, seed=DEFAULTS.seed).metrics
        ratios = ceiling_ratios(metrics | bounds)
        return {"nc": metrics["nc"], "nc_fixed": metrics["nc_fixed"], "ratios": ratios}

    rows = []
    for losses, config in LOSSES.items():
        start = time.perf_counter()
        features = fit_features(views, len(gaussians), capture, bags, config, seed=DEFAULTS.seed)
        seconds = round(time.perf_counter() - start, 1)
        for reading, (tree, view) in readings_for(losses).items():
            row = {"scene": scene, "losses": losses, "reading": reading, "seconds": seconds}
            row |= score(features, tree, view)
            print(json.dumps(row), flush=True)
            rows.append(row)
    return rows


def readings_for(losses: str) -> dict[str, tuple[HierarchyConfig, EvaluateConfig]]:
    """Trees and labels to score after a fit: all where they are compared, else the default."""
    readings = {
        name: (
            replace(DEFAULTS.hierarchy, linkage=linkage),
            replace(DEFAULTS.evaluate, labels=labels, cut_by=cut_by),
        )
        for name, (linkage, labels, cut_by) in READINGS.items()
    }
    if losses == CHOSEN:
        return readings | {name: (tree, DEFAULTS.evaluate) for name, tree in TREES.items()}
    if losses == PAPERS:
        return readings
    return dict(list(readings.items())[:1])


if __name__ == "__main__":
    main()
