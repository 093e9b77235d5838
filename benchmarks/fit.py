"""What do the learning rates and the number of steps of the photometric fit change?

    python benchmarks/fit.py RUNS --output benchmarks/fit.json

Fits the captures of finished runs on built-in scenes again, once for each variant, and scores the
Gaussians alone on the held-out views: PSNR, and NC on objects if every Gaussian carried its true
label (the ceiling). Rows of other runs stay in the file.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from borders import ceiling, psnr, straddling

from splat_uff.gaussians.config import GaussiansConfig
from splat_uff.gaussians.fit import fit_gaussians
from splat_uff.run.open import Run, open_run
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here

TODAY = GaussiansConfig()
FORMER = replace(
    TODAY, steps=4000, means_lr=4e-4, quats_lr=2e-3, scales_lr=1e-2, opacities_lr=5e-2,
    sh0_lr=5e-3, shN_lr=5e-4, decay=1.0, grow_grad2d=1e-4,
)  # fmt: skip
VARIANTS = {
    "4000 steps, former rates": FORMER,
    "2000 steps, former rates": replace(FORMER, steps=2000),
    "2000 steps, former rates that fall to a tenth": replace(
        FORMER, steps=2000, decay=0.1, decay_start=0.0
    ),
    "2000 steps, means x 2": replace(FORMER, steps=2000, means_lr=8e-4),
    "today": TODAY,
    "today, rates do not fall": replace(TODAY, decay=1.0),
    "today, opacities x 2": replace(TODAY, opacities_lr=0.15),
    "today, clone and split above a gradient of 1e-4": replace(TODAY, grow_grad2d=1e-4),
    "today, 1500 steps": replace(TODAY, steps=1500, refine_start=200, refine_every=75),
    "today, 2500 steps": replace(TODAY, steps=2500),
    "today, 1000 steps": replace(TODAY, steps=1000, refine_start=150, refine_every=50),
    "today, start with 12000": replace(TODAY, start=12000),
    "today, windows of half of a photo of 200": replace(TODAY, coarse=0.0, step_pixels=20_000),
    "today, a step sees a quarter": replace(TODAY, step_pixels=40_000),
    "today, a step sees a quarter, windows from the start": replace(
        TODAY, step_pixels=40_000, coarse=0.0
    ),
    "today, a step sees a quarter, windows after 70 % of the steps": replace(
        TODAY, step_pixels=40_000, coarse=0.7
    ),
    "today, MCMC": replace(TODAY, density="mcmc"),
}
"""Settings of the fit by name."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs on built-in scenes")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    options = parser.parse_args()
    kept = json.loads(options.output.read_text("utf-8"))["rows"] if options.output.exists() else []
    rows = {(row["scene"], row["size"], row["variant"]): row for row in kept}
    for folder in options.runs:
        run = open_run(folder, finished=True)
        for name in options.only:
            row = judge(run, name)
            print(json.dumps(row), flush=True)
            rows[row["scene"], row["size"], name] = row
            write_json(options.output, {"rows": list(rows.values())})


def judge(run: Run, name: str) -> dict[str, Any]:
    """Fit the run's capture by a variant, and score the Gaussians."""
    settings = run.provenance.settings
    config = replace(VARIANTS[name], most=settings.gaussians.most)
    start = time.perf_counter()
    gaussians = fit_gaussians(run.capture, config, seed=settings.seed)
    seconds = time.perf_counter() - start
    gaussians = replace(gaussians, fitted_focal=run.capture.focal)
    return {
        **measured_here(),
        "scene": run.provenance.scene,
        "size": settings.size,
        "seed": settings.seed,
        "variant": name,
        "seconds": round(seconds, 1),
        "psnr": round(psnr(run, gaussians), 2),
        "ceiling": ceiling(run, gaussians)["objects"],
        "straddling": round(straddling(run, gaussians), 4),
        "gaussians": len(gaussians),
    }


if __name__ == "__main__":
    with told_in_one_line():
        main()
