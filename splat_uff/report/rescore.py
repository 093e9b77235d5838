"""Rescoring of a finished run, in full."""

from pathlib import Path
from typing import Any

from splat_uff.evaluate.score import Evaluation, evaluate
from splat_uff.report.write import write_report
from splat_uff.run.masks import held_out_masks
from splat_uff.run.open import Run, open_run
from splat_uff.run.provenance import Provenance, read_provenance
from splat_uff.system.errors import InputError, reason_of
from splat_uff.system.files import write_json
from splat_uff.system.lock import FolderLocked, folder_lock
from splat_uff.system.progress import notice


def score_run(path: Path) -> dict[str, Any]:
    """Score a finished run again, in full, and store the scores in its metrics and its report.

    Other content of `metrics.json`, such as the seconds of the training, is unchanged. If the
    folder cannot be written, or another process is writing to it, a notice says that the scores
    were not stored.

    Returns:
        The metrics, in the form of `metrics.json`.

    Raises:
        InputError: If there is no finished run, or its files or capture are missing or damaged.
    """
    run = open_run(path, finished=True)
    provenance, metrics = run.provenance, run.metrics
    held_out = held_out_masks(run)
    evaluation = evaluate(
        run.capture, run.gaussians, run.hierarchy, held_out, provenance.settings.evaluate,
        seed=provenance.settings.seed, full=True,
    )  # fmt: skip
    try:
        with folder_lock(path):
            if run.folder.finished and read_provenance(run.folder) == provenance:
                metrics = _rescored(run.metrics, provenance, evaluation)
                write_json(run.folder.metrics, metrics)
                _draw_again(run, evaluation, metrics)
                return metrics
        reason = "it was trained anew meanwhile"
    except FolderLocked as error:
        reason = f"{error.holder} writes into it"
    except OSError as error:
        reason = reason_of(error)
    notice(f"the scores are not kept in {path} ({reason}).")
    return _rescored(metrics, provenance, evaluation)


def _rescored(
    known: dict[str, Any], provenance: Provenance, evaluation: Evaluation
) -> dict[str, Any]:
    """Metrics of a run with new scores in place of the old ones and the rest unchanged."""
    scores = {"scene": provenance.scene, "masks": provenance.masks, **evaluation.metrics}
    return scores | {name: value for name, value in known.items() if name not in scores}


def _draw_again(run: Run, evaluation: Evaluation, metrics: dict[str, Any]) -> None:
    """Rewrite the report of a finished run, if the run still has the data that it shows."""
    try:
        _ = run.features
    except InputError as error:
        notice(f"{run.folder.report} shows the scores of the training still: {error}")
        return
    write_report(run, evaluation, metrics)
