"""Writing `paper.md`, its pictures and `paper.json` for a finished run."""

import time
from pathlib import Path
from typing import Any

from splat_uff import __version__
from splat_uff.paper.figures import (
    draw_by_views,
    draw_consistency,
    write_features,
    write_segments,
)
from splat_uff.paper.methods import Choices, Comparison, Scores
from splat_uff.paper.tables import CEILING, write_page
from splat_uff.run.open import open_run
from splat_uff.system.errors import InputError, argument
from splat_uff.system.files import replacing, write_json
from splat_uff.system.lock import folder_lock
from splat_uff.system.machine import describe_machine


def write_paper(
    path: Path, output: Path, choices: Choices, *, data: Path | None = None
) -> dict[str, Any]:
    """Run every method on the Gaussians of a run, and write the paper's tables and figures.

    Each method's scores are stored in `output/scores`, so a second call, or one after an
    interruption, runs only methods whose scores are missing or outdated.

    Args:
        path: Folder of a finished run whose capture has ground truth.
        output: Folder for `paper.md`, `paper.json` and the pictures.
        choices: Inputs of the baselines.
        data: Capture that the run must belong to; any if None.

    Returns:
        Contents of `paper.json`.

    Raises:
        InputError: If there is no finished run or no ground truth, a file is missing or damaged, or
            another process is writing to `output`.
    """
    run = open_run(path, finished=True)
    if data is not None and Path(run.provenance.data) != data.resolve():
        raise InputError(
            f"the run in {path} is of {run.provenance.data}, not of {data}; pass its own "
            f"{argument('data', flag='--scene or --data')}, or another {argument('run')}."
        )
    comparison = Comparison(run, choices, output)
    with folder_lock(output):
        return _write(comparison, output)


def _write(comparison: Comparison, output: Path) -> dict[str, Any]:
    """Score, draw and write; return the contents of `paper.json`."""
    run = comparison.run
    ours = comparison.ours()
    recipe = comparison.papers_recipe()
    methods = _methods(comparison, ours, recipe)
    negatives = {"ours": comparison.negatives()}
    negatives["the paper's recipe, cuts to the root"] = recipe
    record = {
        "scene": run.provenance.scene,
        "date": time.strftime("%Y-%m-%d"),
        "machine": describe_machine(),
        "version": __version__,
        "masks": run.capture.masks,
        "features": comparison.maps.name,
        "num_gaussians": len(run.gaussians),
        "psnr": ours["psnr"],
        "metrics": ours | {"seconds": run.metrics["seconds"]},
        "methods": methods,
        "negatives": negatives,
    }
    pictures = _draw(comparison, record, output)
    write_json(output / "paper.json", record)
    with replacing(output / "paper.md") as temporary:
        temporary.write_text(write_page(record, pictures), encoding="utf-8")
    return record


def _methods(comparison: Comparison, ours: Scores, recipe: Scores) -> dict[str, Scores]:
    """Scores by name of the method, in the order of the tables."""
    distilled = comparison.distilled()
    seconds = {"seconds": distilled["seconds"]}
    prompted = comparison.choices.sam_checkpoint is not None
    found = {
        "ours": ours | {"seconds": comparison.run.metrics["seconds"].get("features")},
        "the paper's recipe, cuts to the root": recipe["1"],
        "the paper's recipe, cuts 0.01 to 0.50": recipe["published"],
        "SAM, prompted" if prompted else "SAM, the given masks": comparison.sam(),
        "SAM3D": comparison.sam3d(),
        "DFF, rendered": distilled["rendered"] | seconds,
        "DFF, on surfaces": distilled["surface"] | seconds,
        "LeRF, best scale": distilled.get("scales", {}),
        "LSeg, 2D features": comparison.dense(),
    }
    found[CEILING] = {
        name: ours[f"{name}_ceiling"]
        for name in ("nc", "nc_fixed", "vc")
        if f"{name}_ceiling" in ours
    }
    return {name: scores for name, scores in found.items() if scores}


def _draw(comparison: Comparison, record: dict[str, Any], output: Path) -> dict[str, str]:
    """Draw all pictures; return their files by name."""
    run, methods = comparison.run, record["methods"]
    pictures = {"segments": "segments.png", "features": "features.png"}
    cuts = methods["ours"]["nc_fixed_cuts"]
    write_segments(output / pictures["segments"], run, comparison.truths, cuts)
    distilled, _ = comparison.distilled_features()
    dense = comparison.maps.val
    write_features(output / pictures["features"], run, distilled, list(dense))
    if any(scores.get("vc") for scores in methods.values()):
        pictures["consistency"] = "consistency.png"
        draw_consistency(output / pictures["consistency"], methods)
    if "SAM3D" in methods:
        pictures["by views"] = "figure7.png"
        by_views = methods["SAM3D"]["by_views"]
        draw_by_views(output / pictures["by views"], by_views, methods["ours"]["nc"])
    return pictures
