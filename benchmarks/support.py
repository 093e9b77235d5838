"""Is the support of nodes calibrated, what does it cost, and how good are the natural levels?

    python benchmarks/support.py runs/desk runs/truck runs/plant --output benchmarks/support.json

Takes finished runs with ground truth and builds their trees by consensus. A node is *right* if it
matches, with an IoU of at least 0.75, a true object, collection or the foreground (by Gaussians,
labelled as for the ceiling), or a mask of a held-out view, which the run has never seen (by pixels,
in a view where the node has at least 20). Asked about are the nodes that are segments of any of the
scored cuts and have 20 pixels in a held-out view; superpoints, sure by definition, are left out.
Writes a JSON file and, with --picture, the share of nodes that are right by their support.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from splat_uff.evaluate.ceiling import oracle_labels
from splat_uff.evaluate.covering import coverings
from splat_uff.evaluate.levels import MIN_PIXELS
from splat_uff.evaluate.score import STAGE, click_scores, label_view, make_cuts, scored_camera
from splat_uff.hierarchy.build import Hierarchy, build_hierarchy
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.hierarchy.dendrogram import cut_into, segment_counts
from splat_uff.hierarchy.labels import blended_votes, label_maps
from splat_uff.hierarchy.natural import natural_levels
from splat_uff.hierarchy.support import SAME
from splat_uff.hierarchy.support import STAGE as SUPPORT_STAGE
from splat_uff.hierarchy.walk import Walk
from splat_uff.run.masks import held_out_masks
from splat_uff.run.open import Run, open_run
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.training.frozen import frozen_scene

BINS = 10
CONFIG = HierarchyConfig(linkage="consensus")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs with ground truth")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    kept = (
        json.loads(options.output.read_text(encoding="utf-8"))["rows"]
        if options.output.exists()
        else []
    )
    rows = {(row["scene"], row["seed"]): row for row in kept}
    for folder in options.runs:
        row = judge(folder)
        rows[row["scene"], row["seed"]] = row
        print(json.dumps({name: value for name, value in row.items() if name != "bins"}))
        record = {
            **measured_here(),
            "rows": list(rows.values()),
        }
        write_json(options.output, record)
    if options.picture:
        draw(options.picture, list(rows.values()))


def judge(folder: Path) -> dict:
    """One row for a run."""
    run = open_run(folder, finished=True)
    seed = run.provenance.settings.seed
    hierarchy, seconds = build(run, seed)
    assert hierarchy.support is not None
    nodes, right = right_nodes(run, hierarchy)
    support = hierarchy.support[nodes]
    table = in_bins(support, right)
    draws = CONFIG.resamples
    smoothed = in_bins((support * draws + 0.5) / (draws + 1), right)
    return {
        "scene": run.provenance.scene,
        "seed": seed,
        "seconds": seconds,
        "nodes": len(nodes),
        "mean_support": round(float(support.mean()), 4),
        "right": round(float(right.mean()), 4),
        "ece": round(calibration_error(table), 4),
        "ece_smoothed": round(calibration_error(smoothed), 4),
        "bins": table,
        "natural": natural(run, hierarchy, seed),
    }


def in_bins(support: np.ndarray, right: np.ndarray) -> list[dict]:
    """Nodes, mean support and share that is right, by tenths of support."""
    bins = np.minimum((support * BINS).astype(int), BINS - 1)
    return [
        {
            "nodes": int((bins == each).sum()),
            "support": round(float(support[bins == each].mean()), 4),
            "right": round(float(right[bins == each].mean()), 4),
        }
        for each in np.unique(bins)
    ]


def build(run: Run, seed: int) -> tuple[Hierarchy, dict[str, float]]:
    """The tree by consensus, and processor seconds of it and of its support, all threads."""
    scene = frozen_scene(run)
    given = scene.means, run.features, scene.largest_weights

    def timed(resamples: int) -> tuple[Hierarchy, float]:
        start = time.process_time()
        config, rng = (
            replace(CONFIG, resamples=resamples),
            np.random.default_rng([seed, SUPPORT_STAGE]),
        )
        hierarchy = build_hierarchy(*given, config, scene.consensus, rng=rng)
        return hierarchy, time.process_time() - start

    timed(1)  # Compiles.
    (_, without), (hierarchy, both) = timed(0), timed(CONFIG.resamples)
    return hierarchy, {"tree": round(without, 2), "support": round(both - without, 2)}


def right_nodes(run: Run, hierarchy: Hierarchy) -> tuple[np.ndarray, np.ndarray]:
    """The nodes that are asked about, and which of them are right."""
    tree, walk = hierarchy.tree, Walk(hierarchy.tree)
    config = run.provenance.settings.evaluate
    counts = segment_counts(most=min(config.most_segments, tree.most_segments), count=config.cuts)
    cuts = np.stack([walk.cut(int(count)) for count in counts])
    nodes = np.unique(cuts)
    number = np.zeros(len(tree.parents), np.int32)
    number[nodes] = np.arange(1, len(nodes) + 1)
    shown, matched = np.zeros(len(nodes), bool), np.zeros(len(nodes), bool)
    bags = held_out_masks(run)
    for view, (masks, _) in zip(run.capture.val, bags, strict=True):
        camera = view.camera.resized(masks.width, masks.height)
        maps = label_maps(blended_votes(run.gaussians, camera), number[cuts])
        inside = masks.flat()
        areas = inside.sum(axis=1)
        seen = np.zeros(len(nodes) + 1, bool)
        for labels in maps.reshape(len(maps), -1):
            sizes = np.bincount(labels, minlength=len(nodes) + 1)
            new = np.flatnonzero((sizes >= MIN_PIXELS) & ~seen)
            new = new[new > 0]
            seen[new] = True
            if len(masks):
                joint = np.stack(
                    [np.bincount(labels[each], minlength=len(sizes)) for each in inside]
                )
                ious = joint[:, new] / (areas[:, None] + sizes[new] - joint[:, new])
                matched[new - 1] |= ious.max(axis=0) >= SAME
        shown |= seen[1:]
    trained = [view for view in run.capture.train if view.truth is not None]
    labels = oracle_labels(run.gaussians, trained or run.capture.val)
    for place, node in enumerate(nodes):
        matched[place] |= any(
            is_true(level, walk.leaves(node), number == 2) for number, level in enumerate(labels)
        )
    merges = np.isin(nodes, tree.parents[: tree.num_leaves], invert=True)
    return nodes[shown & merges], matched[shown & merges]


def is_true(level: np.ndarray, leaves: np.ndarray, of_scene: bool) -> bool:
    """Whether some leaves are a true segment, of which 0 is none and 1 the background."""
    joint, sizes = np.bincount(level[leaves], minlength=level.max() + 1), np.bincount(level)
    ious = joint / np.maximum(sizes + len(leaves) - joint, 1)
    return bool((ious[1 if of_scene else 2 :] >= SAME).any())


def calibration_error(table: list[dict]) -> float:
    """Expected calibration error: mean of |support - share that is right| over nodes, in bins."""
    nodes = sum(row["nodes"] for row in table)
    return sum(row["nodes"] * abs(row["support"] - row["right"]) for row in table) / nodes


def pooled(tables: list[list[dict]]) -> list[dict]:
    """One table of the nodes of several, by tenths of support."""
    tenths: dict[int, list[dict]] = {}
    for entry in (each for table in tables for each in table):
        tenths.setdefault(min(int(entry["support"] * BINS), BINS - 1), []).append(entry)
    rows = []
    for _, same in sorted(tenths.items()):
        sizes = [entry["nodes"] for entry in same]
        means = {
            name: float(np.average([entry[name] for entry in same], weights=sizes))
            for name in ("support", "right")
        }
        rows.append({"nodes": sum(sizes), **means})
    return rows


def natural(run: Run, hierarchy: Hierarchy, seed: int) -> dict:
    """NC of the best natural level for each true level, beside that of the best scored cut."""
    config, gaussians = run.provenance.settings.evaluate, run.gaussians
    levels = natural_levels(hierarchy.tree, hierarchy.support, most_segments=config.most_segments)
    chosen = np.stack([cut_into(hierarchy.tree, level.segments) for level in levels])
    truths = [view.truth for view in run.capture.val if view.truth is not None]
    scored, few = (
        np.stack(
            [
                label_view(gaussians, hierarchy, scored_camera(view), cuts, config)
                for view in run.capture.val
            ]
        )
        for cuts in (make_cuts(hierarchy, config), chosen)
    )
    rng = np.random.default_rng([seed, STAGE])
    return {
        "segments": [level.segments for level in levels],
        "nc_fixed": click_scores(scored, truths, seed, config.clicks)["nc_fixed"],
        "nc_natural": coverings(few, truths, rng=rng, num_clicks=config.clicks)[1].nc,
    }


def draw(path: Path, rows: list[dict]) -> None:
    """The share of nodes that are right by their support, one line a scene, all seeds together."""
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], "--", color="#888", linewidth=1, label="as sure as right")
    colours = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280")
    scenes = list(dict.fromkeys(row["scene"] for row in rows))
    for scene, colour in zip(scenes, colours, strict=False):
        bins = pooled([row["bins"] for row in rows if row["scene"] == scene])
        x, y = [each["support"] for each in bins], [each["right"] for each in bins]
        error = calibration_error(bins)
        axes.plot(x, y, color=colour, linewidth=1.2, label=f"{scene}: error {error:.2f}")
        axes.scatter(x, y, s=[4 + each["nodes"] for each in bins], color=colour, alpha=0.75)
    axes.set_xlabel("support: share of resampled trees that have the node")
    axes.set_ylabel("share that match a true segment or an unseen mask")
    axes.set_xlim(-0.03, 1.05)
    axes.set_ylim(-0.03, 1.05)
    axes.grid(color="#eee")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    with told_in_one_line():
        main()
