"""Measure the choices inside the baselines: SAM3D's weight of what lies outside, DFF's fit.

python benchmarks/baselines.py runs/drums runs/radar --output benchmarks/baselines.json
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from splat_uff.baselines.distil import distil, render_features, surface_features
from splat_uff.baselines.lift import lift_masks, render_lifted
from splat_uff.baselines.maps import describe_capture
from splat_uff.evaluate.covering import masks_covering
from splat_uff.evaluate.queries import choose_distances, query_scores
from splat_uff.evaluate.score import STAGE, scored_camera
from splat_uff.masks.folders import read_masks
from splat_uff.render import blend_weights
from splat_uff.render.frozen import FrozenViews
from splat_uff.run.open import Run, open_run
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here

OUTSIDE = (0.15, 0.5, 1.0)
FITS = {"weighted mean": (0, 0.0), "Adam, 0.01": (1500, 0.01), "Adam, 0.1 (default)": (1500, 0.1)}
SOURCES, PROMPTED = 20, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    record: dict[str, Any] = {
        **measured_here(),
        "lift": [],
        "distil": [],
    }
    for folder in options.runs:
        run = open_run(folder, finished=True)
        record["lift"] += measure_lift(run)
        record["distil"] += measure_distil(run)
    write_json(options.output, record)


def measure_lift(run: Run) -> list[dict[str, Any]]:
    """NC of SAM3D by the weight of pixels outside of a mask."""
    capture, gaussians = run.capture, run.gaussians
    chosen = np.unique(np.linspace(0, len(capture.train) - 1, PROMPTED).round().astype(int))
    bags = read_masks(capture)
    views = [capture.train[view] for view in chosen]
    masks = [bags[view][0] for view in chosen]
    sources = np.random.default_rng(0).permutation(len(chosen))[:SOURCES].tolist()
    truths = [view.truth for view in capture.val if view.truth is not None]
    rows = []
    for outside in OUTSIDE:
        lifted = lift_masks(gaussians, views, masks, sources, outside=outside)
        shown = [render_lifted(lifted, gaussians, scored_camera(view)) for view in capture.val]
        rng = np.random.default_rng([0, STAGE])
        scores = masks_covering(shown, truths, rng=rng).record()
        rows.append({"scene": run.provenance.scene, "outside": outside, "nc": scores})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def measure_distil(run: Run) -> list[dict[str, Any]]:
    """Error on held-out views and NC of both readings, by how features are distilled."""
    capture, gaussians = run.capture, run.gaussians
    maps = describe_capture(capture, gaussians)
    views = FrozenViews(gaussians, [view.camera for view in capture.train])
    truths = [view.truth for view in capture.val if view.truth is not None]

    def coverings(seen: list) -> tuple[float, float]:
        """NC, and NC with one distance a level."""
        distances = choose_distances(seen, 50, rng=np.random.default_rng(0))
        covering, _, fixed = query_scores(seen, truths, distances, seeds=[0, STAGE])
        return covering.mean, fixed.nc["mean"]

    rows = []
    for name, (steps, lr) in FITS.items():
        start = time.perf_counter()
        features = distil(views, list(maps.train), seed=0, steps=steps, lr=lr)
        seconds = time.perf_counter() - start
        errors = []
        for view, known in zip(capture.val, maps.val, strict=True):
            weights = blend_weights(gaussians, scored_camera(view))
            alpha = np.asarray(weights.sum(axis=1)).ravel()
            opaque = alpha > 0.5
            blended = (weights @ features)[opaque] / alpha[opaque, None]
            errors.append(((blended - known.reshape(len(alpha), -1)[opaque]) ** 2).mean())
        cameras = [scored_camera(view) for view in capture.val]
        shaping = run.hierarchy.shaping
        rendered = coverings([render_features(features, gaussians, each) for each in cameras])
        surface = coverings(
            [surface_features(features, gaussians, each, shaping) for each in cameras]
        )
        row = {
            "scene": run.provenance.scene,
            "fit": name,
            "seconds": round(seconds, 1),
            "error": float(np.mean(errors)),
            "rendered": rendered[0],
            "rendered_fixed": rendered[1],
            "surface": surface[0],
            "surface_fixed": surface[1],
        }
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


if __name__ == "__main__":
    with told_in_one_line():
        main()
