"""What do clean borders change, and what does each part of them do?

    python benchmarks/borders.py RUNS --output benchmarks/borders.json

Takes finished runs on built-in scenes, and cleans the borders of their Gaussians by the segments
that the masks alone give, as a training does. Each way is scored on the held-out views: NC on
objects of true labels (the ceiling) and of a tree made anew; PSNR; Gaussians; and with --parts the
true objects without the others, before and after. Rows of other runs stay in the file.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from splat_uff.evaluate.ceiling import oracle_labels
from splat_uff.evaluate.covering import coverings
from splat_uff.evaluate.images import score_images
from splat_uff.evaluate.part_choice import best_nodes, node_members, object_votes
from splat_uff.evaluate.parts import PartTruth, score_parts
from splat_uff.evaluate.score import STAGE, evaluate, scored_camera
from splat_uff.export.clean import clean_run
from splat_uff.gaussians.borders import BorderCleaner
from splat_uff.gaussians.config import BordersConfig
from splat_uff.gaussians.fit import fit_gaussians
from splat_uff.gaussians.straddlers import count_votes
from splat_uff.hierarchy.build import Hierarchy
from splat_uff.hierarchy.dendrogram import cut_into
from splat_uff.hierarchy.labels import blended_votes, label_maps
from splat_uff.masks.bags import Bags
from splat_uff.render import Gaussians
from splat_uff.render.compositing import WHITE, render_over_white
from splat_uff.render.frozen import FrozenViews
from splat_uff.run.masks import training_masks
from splat_uff.run.open import Run, open_run
from splat_uff.scenes.builtin_parts import render_parts
from splat_uff.settings import TrainConfig
from splat_uff.system.errors import InputError, told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.system.memory import Memory
from splat_uff.training.frozen import FrozenScene, grow_tree, refit

STANDARD = BordersConfig(rounds=1)
IN_PLACE = {"in place of the last steps": 1400, "fewer plain steps": 1400}
"""Plain steps of the ways that fit the Gaussians anew, with fewer of them; they end their
densification at the same step as the standard fit."""
AT_EXPORT = "clean, at export"
WAYS = {
    "as fitted": replace(STANDARD, rounds=0),
    "clean": STANDARD,
    AT_EXPORT: STANDARD,
    "clean, 2 x 150 steps": replace(STANDARD, rounds=2, steps=150, most_split=0.1),
    "clean, 4 x 400 steps": replace(STANDARD, rounds=4, steps=400, most_split=0.1),
    "only fitted": replace(STANDARD, most_split=0.0),
    "only split": replace(STANDARD, weight=0.0),
    "in place of the last steps": replace(STANDARD, rounds=2, steps=300, most_split=0.1),
    "fewer plain steps": replace(STANDARD, rounds=0),
}
"""Settings of each way; `only split` has no loss of borders, `only fitted` splits nothing, and at
export the run keeps its tree."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs on built-in scenes")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=["as fitted", "clean"], choices=list(WAYS))
    parser.add_argument("--no-tree", action="store_true", help="do not make features and trees")
    parser.add_argument("--parts", action="store_true", help="score objects without the others")
    options = parser.parse_args()
    kept = (
        json.loads(options.output.read_text(encoding="utf-8"))["rows"]
        if options.output.exists()
        else []
    )
    rows = {(row["scene"], row["size"], row["seed"], row["way"]): row for row in kept}
    for folder in options.runs:
        run = open_run(folder, finished=True)
        if any(view.truth is None for view in [*run.capture.train, *run.capture.val]):
            raise InputError(
                f"photos of {folder} have no true segments; pass runs on built-in scenes."
            )
        bags = training_masks(run)
        truth = render_parts(run.capture) if options.parts else None
        for way in options.only:
            row = judge(run, bags, way, truth, with_tree=not options.no_tree)
            print(json.dumps(row), flush=True)
            key = (row["scene"], row["size"], row["seed"], way)
            rows[key] = rows.get(key, {}) | row | measured_here()
            write_json(options.output, {"rows": list(rows.values())})


def judge(
    run: Run, bags: Bags, way: str, truth: PartTruth | None, *, with_tree: bool
) -> dict[str, Any]:
    """Scores of the run's Gaussians after cleaning."""
    settings = run.provenance.settings
    row: dict[str, Any] = {"scene": run.provenance.scene, "size": settings.size}
    row |= {"seed": settings.seed, "way": way}
    start = time.perf_counter()
    if way == AT_EXPORT:
        clean = clean_run(run)
        row["seconds"] = round(time.perf_counter() - start, 1)
        row["straddling"] = [round(each, 4) for each in clean.cleaned.straddling]
        row |= scores_of_gaussians(run, clean.run.gaussians)
        return row | scores_of_tree(run, clean.run.gaussians, clean.run.hierarchy, truth)
    given = run.gaussians
    if way in IN_PLACE:
        given = fit_with_fewer_steps(run, bags, IN_PLACE[way])
        row["seconds_fit"] = round(time.perf_counter() - start, 1)
        start = time.perf_counter()
    labels = labels_by_masks(run, given, bags)
    labelled = time.perf_counter()
    cleaned = BorderCleaner(WAYS[way], settings.gaussians, settings.seed).clean(
        given, run.capture.train, bags, labels
    )
    row["seconds_labels"] = round(labelled - start, 1)
    row["seconds"] = round(time.perf_counter() - labelled, 1)
    row["straddling"] = [round(each, 4) for each in cleaned.straddling]
    gaussians = cleaned.gaussians
    row |= scores_of_gaussians(run, gaussians)
    if with_tree:
        scene = FrozenScene(gaussians, run.capture, bags)
        _, hierarchy, row["seconds_tree"] = refit(scene, settings)
        row["seconds_tree"] = round(row["seconds_tree"], 1)
        row |= scores_of_tree(run, gaussians, hierarchy, truth)
    return row


def scores_of_gaussians(run: Run, gaussians: Gaussians) -> dict[str, Any]:
    """Their number, and the scores that need no tree."""
    return {
        "gaussians": len(gaussians),
        "psnr": round(psnr(run, gaussians), 3),
        "straddling_true": round(straddling(run, gaussians), 4),
        "ceiling": ceiling(run, gaussians),
    }


def scores_of_tree(
    run: Run, gaussians: Gaussians, hierarchy: Hierarchy, truth: PartTruth | None
) -> dict[str, Any]:
    """NC of a tree, and the scores of its parts if the truth is given."""
    row = scores(run, gaussians, hierarchy)
    if truth is not None:
        votes = object_votes(gaussians, run.capture.train, len(truth.names))
        nodes, _ = best_nodes(hierarchy.tree, votes)
        chosen = node_members(hierarchy.tree, nodes)
        row["parts"] = score_parts(gaussians, chosen, truth).record()["mean"]
    return row


def fit_with_fewer_steps(run: Run, bags: Bags, steps: int) -> Gaussians:
    """Fit the run's capture again, with as many steps of densification but fewer steps in all."""
    settings = run.provenance.settings
    whole = settings.gaussians
    config = replace(whole, steps=steps, refine_stop=whole.refine_stop * whole.steps / steps)
    gaussians = fit_gaussians(run.capture, config, bags, seed=settings.seed)
    return replace(gaussians, fitted_focal=run.capture.focal)


def labels_by_masks(run: Run, gaussians: Gaussians, bags: Bags) -> np.ndarray:
    """Segments that the masks alone give, as in a training."""
    settings = run.provenance.settings
    by_masks: TrainConfig = replace(
        settings,
        features=replace(settings.features, steps=0),
        hierarchy=replace(settings.hierarchy, linkage="consensus", resamples=0),
    )
    scene = FrozenScene(gaussians, run.capture, bags)
    tree = grow_tree(scene, np.zeros((len(gaussians), 1)), by_masks).tree
    return cut_into(tree, STANDARD.segments)


def scores(run: Run, gaussians: Gaussians, hierarchy: Hierarchy) -> dict[str, Any]:
    """NC of a tree."""
    settings = run.provenance.settings
    metrics = evaluate(
        run.capture, gaussians, hierarchy, Bags([]), settings.evaluate, seed=settings.seed
    ).metrics
    return {"nc": rounded(metrics["nc"]), "nc_fixed": rounded(metrics["nc_fixed"])}


def ceiling(run: Run, gaussians: Gaussians) -> dict[str, float]:
    """NC of true labels, by the clicks of the run's own scores."""
    settings = run.provenance.settings
    labels = oracle_labels(gaussians, run.capture.train)
    views = run.capture.val
    maps = np.stack(
        [label_maps(blended_votes(gaussians, scored_camera(view)), labels) for view in views]
    )
    truths = [view.truth for view in views if view.truth is not None]
    covering, _ = coverings(
        maps, truths, rng=np.random.default_rng([settings.seed, STAGE]),
        num_clicks=settings.evaluate.clicks,
    )  # fmt: skip
    return rounded(covering.record())


def straddling(run: Run, gaussians: Gaussians) -> float:
    """Share of blend weight outside of the Gaussians' true objects, in every fifth photo."""
    views = run.capture.train[::5]
    frozen = FrozenViews(gaussians, [scored_camera(view) for view in views], Memory(0))
    return count_votes(frozen, [view.truth.objects for view in views if view.truth]).straddling


def psnr(run: Run, gaussians: Gaussians) -> float:
    """PSNR of the held-out photos."""
    return score_images(
        (render_over_white(gaussians, view.camera), view.composite(WHITE).astype(np.float32))
        for view in run.capture.val
    ).psnr


def rounded(values: dict[str, float]) -> dict[str, float]:
    """The numbers to four decimals."""
    return {name: round(value, 4) for name, value in values.items()}


if __name__ == "__main__":
    with told_in_one_line():
        main()
