"""Draw true objects without their scenes: the truth, a run's part, and with clean borders.

    python tools/draw_parts.py runs/drums crash/cymbal runs/truck "wheel" --output parts.png

Arguments are runs on built-in scenes, each with a text that the path of its object contains.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

from splat_uff.evaluate.part_choice import best_nodes, node_members, object_votes
from splat_uff.evaluate.parts import render_part
from splat_uff.export.clean import clean_run
from splat_uff.report.parts import around
from splat_uff.report.pictures import Picture, write_sheet
from splat_uff.run.open import Run, open_run
from splat_uff.scenes.builtin_parts import render_parts
from splat_uff.system.errors import told_in_one_line


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pairs", nargs="+", metavar="RUN OBJECT")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    if len(options.pairs) % 2:
        parser.error("each run is followed by the name of an object.")
    rows = []
    for folder, name in list(pairwise(options.pairs))[::2]:
        run = open_run(folder, finished=True)
        truth = render_parts(run.capture)
        k = next(k for k, each in enumerate(truth.names) if name in each and truth.alone[k])
        largest = max(truth.alone[k], key=lambda each: int(each.inside.sum()))
        camera = truth.views[largest.view].camera
        true = 1 - largest.placed(1 - largest.colours.astype(np.float32), camera)
        pictures = [Picture("truth", around(true, largest))]
        for what, each in (("run", run), ("clean borders", clean_run(run).run)):
            seen = render_part(each.gaussians, members(each, k, len(truth.names)), camera)[..., :3]
            pictures.append(Picture(what, around(seen.astype(np.float32), largest)))
        rows.append(pictures)
    write_sheet(options.output, rows)


def members(run: Run, k: int, count: int) -> np.ndarray:
    """Gaussians of the node that fits object k best."""
    votes = object_votes(run.gaussians, run.capture.train, count)
    nodes, _ = best_nodes(run.hierarchy.tree, votes)
    return node_members(run.hierarchy.tree, nodes)[k]


if __name__ == "__main__":
    with told_in_one_line():
        main()
