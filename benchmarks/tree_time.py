"""Time features and tree as they are against those by features alone, in turn; and the tree itself.

    python benchmarks/tree_time.py runs/drums

Takes a finished run; prints seconds. Nothing else should run on the machine.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from splat_uff.run.open import open_run
from splat_uff.settings import TrainConfig
from splat_uff.system.errors import told_in_one_line
from splat_uff.training.frozen import frozen_scene, grow_tree, refit

NOW = TrainConfig()
NOISE = replace(NOW.features, start="noise", steps=1500, ultrametric_weight=0.0)
BEFORE = replace(NOW, features=NOISE, hierarchy=replace(NOW.hierarchy, linkage="average"))
TURNS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="a finished run")
    run = open_run(parser.parse_args().run, finished=True)
    for _ in range(TURNS):
        for name, settings in (("by features alone", BEFORE), ("as it is", NOW)):
            scene, start = frozen_scene(run), time.perf_counter()
            refit(scene, settings)
            print(f"features and tree {name}: {time.perf_counter() - start:.1f} s", flush=True)
        for resamples in (0, NOW.hierarchy.resamples):
            config = replace(NOW.hierarchy, resamples=resamples)
            scene, start = frozen_scene(run), time.perf_counter()
            grow_tree(scene, run.features, replace(NOW, hierarchy=config))
            print(f"tree, {resamples} resamples: {time.perf_counter() - start:.2f} s", flush=True)


if __name__ == "__main__":
    with told_in_one_line():
        main()
