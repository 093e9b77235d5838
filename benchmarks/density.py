"""Compare what adds and removes Gaussians: cloning and pruning, with resets, and MCMC.

    python benchmarks/density.py --scenes drums --data RADAR --output benchmarks/density.json

Each strategy fits its own Gaussians with the defaults, then features and a tree, and is scored on
the held-out views. `python tools/update_readme.py` puts the JSON into docs/research/choices.md.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

from splat_uff.capture import read_capture
from splat_uff.evaluate.score import evaluate
from splat_uff.gaussians.fit import fit_gaussians
from splat_uff.masks.folders import read_masks
from splat_uff.scenes.builtin import find_scene
from splat_uff.settings import TrainConfig
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.training.frozen import FrozenScene, refit

DEFAULTS = TrainConfig()
PLAIN = replace(DEFAULTS.gaussians, density="default", reset_every=0)
PAPERS = replace(
    PLAIN, density="mcmc", mcmc_noise=5e5, mcmc_opacity_weight=0.01, mcmc_scale_weight=0.01
)
STRATEGIES = {
    "default": PLAIN,
    "default, opacities reset every 1000 steps": replace(PLAIN, reset_every=1000),
    "mcmc, weights 0.01 (the paper's)": PAPERS,
    "mcmc, weights 0.01, noise 1e5": replace(PAPERS, mcmc_noise=1e5),
    "mcmc, weights 0.001": replace(PAPERS, mcmc_opacity_weight=1e-3, mcmc_scale_weight=1e-3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", nargs="*", default=[], help="built-in scenes")
    parser.add_argument("--data", nargs="*", type=Path, default=[], help="folders of captures")
    parser.add_argument("--only", nargs="*", default=list(STRATEGIES))
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    folders = {scene: find_scene(scene).folder for scene in options.scenes}
    folders |= {folder.resolve().name: folder for folder in options.data}
    kept = (
        json.loads(options.output.read_text(encoding="utf-8"))["rows"]
        if options.output.exists()
        else []
    )
    rows = {(row["scene"], row["strategy"]): row for row in kept}
    for scene, folder in folders.items():
        for strategy in options.only:
            rows[scene, strategy] = {"scene": scene, "strategy": strategy} | score(folder, strategy)
            print(json.dumps(rows[scene, strategy]), flush=True)
            record = {
                **measured_here(),
                "rows": list(rows.values()),
            }
            write_json(options.output, record)


def score(folder: Path, strategy: str) -> dict[str, object]:
    """Fit with one strategy and score the result."""
    capture = read_capture(folder, size=DEFAULTS.size)
    bags = read_masks(capture)
    gaussians = fit_gaussians(capture, STRATEGIES[strategy], bags, seed=DEFAULTS.seed)
    _, hierarchy, _ = refit(FrozenScene(gaussians, capture, bags), DEFAULTS)
    found = evaluate(capture, gaussians, hierarchy, [], DEFAULTS.evaluate, seed=DEFAULTS.seed)
    kept: dict[str, object] = {
        name: found.metrics[name] for name in ("psnr", "ssim", "nc", "nc_fixed", "num_gaussians")
    }
    return kept


if __name__ == "__main__":
    with told_in_one_line():
        main()
