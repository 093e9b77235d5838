"""Time features and tree as they are against those by features alone, in turn; and the tree itself.

    python benchmarks/tree_time.py runs/drums

Takes a finished run; prints seconds. Nothing else should run on the machine.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from splat_uff.features.blend import RenderedViews
from splat_uff.hierarchy.build import build_hierarchy
from splat_uff.masks.gather import gather_masks
from splat_uff.memory import Memory
from splat_uff.run import Run, load_arrays
from splat_uff.settings import TrainConfig
from splat_uff.stages import means_of, opinions_of, read_finished, refit

NOW = TrainConfig()
NOISE = replace(NOW.features, start="noise", steps=1500, ultrametric_weight=0.0)
BEFORE = replace(NOW, features=NOISE, hierarchy=replace(NOW.hierarchy, linkage="average"))
TURNS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="a finished run")
    folder = parser.parse_args().run
    found = read_finished(folder)
    capture, gaussians = found.capture, found.gaussians
    bags = gather_masks(capture, found.provenance.mask_source)
    cameras = [view.camera for view in capture.train]
    arrays = load_arrays(Run(folder).features, ("features", "largest_weights"))
    given = means_of(gaussians), arrays["features"], arrays["largest_weights"]
    for _ in range(TURNS):
        for name, settings in (("by features alone", BEFORE), ("as it is", NOW)):
            start = time.perf_counter()
            refit(RenderedViews(gaussians, cameras), gaussians, capture, bags, settings)
            print(f"features and tree {name}: {time.perf_counter() - start:.1f} s", flush=True)
        for resamples in (0, NOW.hierarchy.resamples):
            start = time.perf_counter()
            opinions = opinions_of(capture, bags, gaussians, Memory())
            config = replace(NOW.hierarchy, resamples=resamples)
            build_hierarchy(*given, config, opinions, rng=np.random.default_rng(0))
            print(f"tree, {resamples} resamples: {time.perf_counter() - start:.2f} s", flush=True)


if __name__ == "__main__":
    main()
