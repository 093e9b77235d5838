"""Compare trees: by features alone, by what the masks of all photos agree on, and by both.

    python benchmarks/consensus.py runs/desk runs/truck runs/plant --output FILE

Takes finished runs, builds each tree from their Gaussians, features and masks, and scores it on the
same clicks. `python tools/update_readme.py` puts the JSON into docs/research/choices.md.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from splat_uff.evaluate.score import evaluate
from splat_uff.files import write_json
from splat_uff.hierarchy.build import build_hierarchy
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.machine import measured_here
from splat_uff.masks.bags import Bags
from splat_uff.masks.gather import gather_masks
from splat_uff.memory import Memory
from splat_uff.run import Run, load_arrays
from splat_uff.stages import opinions_of, read_finished

TREES = {
    "features (average)": HierarchyConfig(linkage="average"),
    "features and consensus": HierarchyConfig(linkage="consensus"),
    "features and 3 times consensus": HierarchyConfig(linkage="consensus", consensus_share=0.75),
    "consensus alone, on superpoints of both": HierarchyConfig(
        linkage="consensus", consensus_share=1.0
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs with ground truth")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    kept = json.loads(options.output.read_text())["rows"] if options.output.exists() else []
    rows = {(row["scene"], row["seed"], row["tree"]): row for row in kept}
    for folder in options.runs:
        for row in score(folder):
            rows[row["scene"], row["seed"], row["tree"]] = row
            print(json.dumps(row), flush=True)
        record = {
            **measured_here(),
            "rows": list(rows.values()),
        }
        write_json(options.output, record)


def score(folder: Path) -> list[dict[str, object]]:
    """One row for each tree over the Gaussians of a run."""
    found = read_finished(folder)
    settings = found.provenance.settings
    arrays = load_arrays(Run(folder).features, ("features", "largest_weights"))
    bags = gather_masks(found.capture, found.provenance.mask_source)
    opinions = opinions_of(found.capture, bags, found.gaussians, Memory())
    means = found.gaussians.means.numpy().astype(np.float64)
    given = means, arrays["features"], arrays["largest_weights"]
    build_hierarchy(*given, TREES["features and consensus"], opinions)  # Compiles.
    rows = []
    for name, config in TREES.items():
        start = time.perf_counter()
        hierarchy = build_hierarchy(*given, config, opinions)
        seconds = time.perf_counter() - start
        evaluation = evaluate(
            found.capture, found.gaussians, hierarchy, Bags([]), settings.evaluate,
            seed=settings.seed,
        )  # fmt: skip
        metrics = evaluation.metrics
        rows.append(
            {
                "scene": found.provenance.scene,
                "seed": settings.seed,
                "tree": name,
                "nc": metrics["nc"],
                "nc_fixed": metrics["nc_fixed"],
                "seconds": round(seconds, 1),
            }
        )
    return rows


if __name__ == "__main__":
    main()
