"""How many clicks does the tree of a scene need?

    python benchmarks/prompts.py RUNS --output benchmarks/prompts.json

Takes finished runs of built-in scenes. Masks of their photos are generated with a stand-in for
Segment Anything (`benchmarks/stand_in.py`), by grids of clicks and by adaptive clicks of several
budgets. Features and tree are made from them on the run's Gaussians, and scored on the scene's
held-out views. Rows of other scenes and seeds stay in the file.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from stand_in import StandIn, photo_key

from splat_uff.capture.images import to_bytes
from splat_uff.capture.records import Capture, View
from splat_uff.evaluate.score import evaluate
from splat_uff.gaussians.click_guide import ClickGuide
from splat_uff.hierarchy.dendrogram import Dendrogram, cut_nodes
from splat_uff.masks.automatic import generate_masks
from splat_uff.masks.bags import Bags
from splat_uff.masks.config import Prompting, SamSettings
from splat_uff.masks.gather import OWN, gather_masks
from splat_uff.masks.records import MaskSet
from splat_uff.run.open import Run, open_run
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.training.frozen import FrozenScene, refit

CLICKS = {
    "grid 32": (32, Prompting("grid"), False),
    "grid 16": (16, Prompting("grid"), False),
    "grid 14": (14, Prompting("grid"), False),
    "adaptive 64": (32, Prompting(prompts=64), True),
    "adaptive 100": (32, Prompting(prompts=100), True),
    "adaptive 150": (32, Prompting(prompts=150), True),
    "adaptive 200": (32, Prompting(prompts=200), True),
    "adaptive 300": (32, Prompting(prompts=300), True),
    "adaptive 200, anywhere": (32, Prompting(prompts=200), False),
    "adaptive 64, guided": (32, Prompting(prompts=64), None),
    "adaptive 100, guided": (32, Prompting(prompts=100), None),
    "adaptive 150, guided": (32, Prompting(prompts=150), None),
    "adaptive 200, guided": (32, Prompting(prompts=200), None),
    "adaptive 64, by the tree": (32, Prompting(prompts=64), "tree"),
    "adaptive 100, by the tree": (32, Prompting(prompts=100), "tree"),
    "grid 14, on the scene": (14, Prompting("grid"), True),
    "grid 22, on the scene": (22, Prompting("grid"), True),
}
"""Points along a side of a grid, kind and budget, and whether alpha says where, by name; if None,
the Gaussians say where, and the masks of earlier photos what to click (`ClickGuide`); with "tree",
from half of the photos on, the tree of the masks until then does (`TreeGuide`)."""
PARTS = 200
"""Number of parts of the finest cut of a tree that is clicked."""
ALL = "all masks"
"""Name of the row with the simulated masks themselves."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs of built-in scenes")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=[ALL, *CLICKS], choices=[ALL, *CLICKS])
    parser.add_argument("--masks-only", action="store_true", help="do not make features and trees")
    parser.add_argument("--every", type=int, default=1, help="use one of so many photos")
    options = parser.parse_args()
    known = json.loads(options.output.read_text("utf-8")) if options.output.exists() else {}
    rows = {(row["scene"], row["seed"], row["clicks"]): row for row in known.get("rows", [])}
    for folder in options.runs:
        run = open_run(folder, finished=True)
        capture = replace(run.capture, train=run.capture.train[:: options.every])
        true = gather_masks(capture, OWN)
        for name in options.only:
            bags, row = masks_of(run, capture, true, name)
            if not options.masks_only:
                row |= scored(run, capture, bags)
            print(json.dumps(row), flush=True)
            if not options.masks_only:
                rows[row["scene"], row["seed"], name] = row
                write_json(options.output, {**measured_here(), "rows": list(rows.values())})


def masks_of(run: Run, capture: Capture, true: Bags, name: str) -> tuple[Bags, dict]:
    """Masks of the photos of a run by the clicks of that name, and what they took."""
    views = capture.train
    by_name = {view.name: true[index][0] for index, view in enumerate(views)}
    model = StandIn({photo_key(pixels(view)): by_name[view.name] for view in views})
    start = time.perf_counter()
    if name == ALL:
        found = by_name
    else:
        side, prompting, on_scene = CLICKS[name]
        settings = SamSettings(points_per_side=side)
        guide, found = (TreeGuide if on_scene == "tree" else ClickGuide)(run.gaussians, ""), {}
        guided = on_scene in (None, "tree")
        for number, view in enumerate(views):
            how = {"where": scene_of(view)} if on_scene else {}
            if isinstance(guide, TreeGuide) and number == len(views) // 2:
                guide.learn_tree(tree_of(run, capture, views[:number], found))
            if guided:
                how = {"where": guide.where(view.camera), "seeds": guide.seeds(view.camera)}
            made = generate_masks(model, pixels(view), settings, prompting, **how).masks
            found[view.name] = made
            if guided:
                guide.add(view.camera, made)
    seconds = time.perf_counter() - start
    recalls = [recall(by_name[view.name], found[view.name]) for view in views]
    bags = Bags.of(views, lambda view: found[view.name], threads=1)
    return bags, {
        "scene": run.provenance.scene,
        "seed": run.provenance.settings.seed,
        "clicks": name,
        "views": len(views),
        "prompts": round(model.prompts / len(views), 1),
        "masks": round(float(np.mean([len(masks) for masks in found.values()])), 1),
        "recall": round(float(np.mean(recalls)), 4),
        "projected seconds": round(model.seconds / len(views), 1),
        "own seconds": round(seconds / len(views), 2),
    }


class TreeGuide(ClickGuide):
    """Clicks on the parts of a tree, once there is one."""

    nodes: csr_matrix | None = None
    """Gaussians of each part [parts, N]."""

    def learn_tree(self, tree: Dendrogram) -> None:
        """Click the parts of the tree's cut into `PARTS`, and all that they merge into."""
        parts = cut_nodes(tree, min(PARTS, tree.most_segments))
        rows, columns = [], []
        node, leaves = parts, np.arange(len(parts))
        while True:
            rows.append(node)
            columns.append(leaves)
            up = tree.parents[node]
            if (up == node).all():
                break
            node = up
        every = np.unique(np.stack([np.concatenate(rows), np.concatenate(columns)]), axis=1)
        _, row = np.unique(every[0], return_inverse=True)
        ones = np.ones(len(row), np.float32)
        self.nodes = csr_matrix((ones, (row, every[1])), shape=(row.max() + 1, tree.num_leaves))

    def known(self, seen: np.ndarray) -> csr_matrix:
        """Parts of the tree, or masks of earlier photos while there is none."""
        return super().known(seen) if self.nodes is None else self.nodes


def tree_of(
    run: Run, capture: Capture, views: Sequence[View], found: dict[str, MaskSet]
) -> Dendrogram:
    """Tree of the masks of some photos."""
    bags = Bags.of(views, lambda view: found[view.name], threads=1)
    seen = FrozenScene(run.gaussians, replace(capture, train=list(views)), bags)
    return refit(seen, run.provenance.settings)[1].tree


def scene_of(view: View) -> np.ndarray | None:
    """Pixels of the scene, if alpha cuts it out, as `write_masks_of` has it."""
    alpha = view.image[..., 3]
    return alpha > 0.5 if alpha.min() < 0.5 < alpha.max() else None


def pixels(view: View) -> np.ndarray:
    """Photo over white in bytes."""
    return to_bytes(view.composite(np.ones(3)))


def recall(true: MaskSet, found: MaskSet) -> float:
    """Share of the masks that were found, at an IoU of three quarters."""
    if len(true) == 0 or len(found) == 0:
        return float(len(true) == 0)
    a, b = true.flat().astype(np.float32), found.flat().astype(np.float32)
    joint = a @ b.T
    union = a.sum(axis=1)[:, None] + b.sum(axis=1)[None] - joint
    return float((joint >= 0.75 * union).any(axis=1).mean())


def scored(run: Run, capture: Capture, bags: Sequence) -> dict:
    """NC of the tree from these masks on the run's Gaussians."""
    settings = run.provenance.settings
    _, hierarchy, seconds = refit(FrozenScene(run.gaussians, capture, bags), settings)
    metrics = evaluate(
        run.capture, run.gaussians, hierarchy, Bags([]), settings.evaluate, seed=settings.seed
    ).metrics
    return {
        "nc": metrics["nc"],
        "nc_fixed": metrics["nc_fixed"],
        "features and tree": round(seconds, 1),
    }


if __name__ == "__main__":
    with told_in_one_line():
        main()
