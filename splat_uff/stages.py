"""The stages of a run once its capture and masks are read: Gaussians, features, tree, scores."""

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from splat_uff import __version__
from splat_uff.capture import Capture, read_capture
from splat_uff.checkpoints import Checkpoint, Log
from splat_uff.errors import InputError, argument
from splat_uff.evaluate.score import Evaluation, evaluate
from splat_uff.evaluate.summary import write_pictures
from splat_uff.features.blend import FrozenViews, RenderedViews
from splat_uff.features.fit import fit_features
from splat_uff.features.scene_tree import SceneTree
from splat_uff.files import read_arrays, replacing, write_arrays, write_json
from splat_uff.gaussians.fit import fit_gaussians
from splat_uff.gaussians.placed import Placed
from splat_uff.gaussians.ply import load_ply, save_ply
from splat_uff.hierarchy.build import Hierarchy, Opinions, build_hierarchy, consensus_tree
from splat_uff.hierarchy.consensus import Consensus
from splat_uff.hierarchy.dendrogram import Dendrogram
from splat_uff.hierarchy.support import STAGE as SUPPORT_STAGE
from splat_uff.lock import FolderLocked, folder_lock
from splat_uff.machine import peak_memory
from splat_uff.masks.bags import Bags
from splat_uff.masks.gather import gather_held_out
from splat_uff.memory import Memory
from splat_uff.progress import notice
from splat_uff.render import Gaussians
from splat_uff.run import (
    Provenance,
    Run,
    fingerprint_of,
    load_arrays,
    read_metrics,
    read_provenance,
    save_arrays,
    train_again,
    write_log,
)
from splat_uff.settings import TrainConfig
from splat_uff.watch import NOBODY, Watch

FRAME = "frame.npz"
"""Among the checkpoints: `original_from_source` of splats from elsewhere."""


def score_run(folder: Path) -> dict[str, Any]:
    """Score a finished run again, in full, and keep the scores in its metrics and its report.

    What else `metrics.json` holds, as the seconds of the training, stays as it is. Where the folder
    cannot be written, or another process writes into it, a notice says that nothing was kept.

    Returns:
        As `metrics.json`.

    Raises:
        InputError: If there is no finished run, or its files or capture are missing or damaged.
    """
    run, found = Run(folder), read_finished(folder)
    provenance, metrics = found.provenance, read_metrics(run)
    held_out = gather_held_out(found.capture, provenance.mask_source)
    evaluation = evaluate_stage(
        found.capture, held_out, found.gaussians, found.hierarchy, provenance, full=True
    )
    try:
        with folder_lock(folder):
            if run.finished and read_provenance(run) == provenance:
                metrics = _rescored(read_metrics(run), provenance, evaluation)
                write_json(run.metrics, metrics)
                _draw_again(run, found, evaluation, metrics)
                return metrics
        reason = "it was trained anew meanwhile"
    except FolderLocked as error:
        reason = f"{error.holder} writes into it"
    except OSError as error:
        reason = error.strerror or str(error)
    notice(f"the scores are not kept in {folder} ({reason}).")
    return _rescored(metrics, provenance, evaluation)


def _rescored(
    known: dict[str, Any], provenance: Provenance, evaluation: Evaluation
) -> dict[str, Any]:
    """Metrics of a run with new scores in place of the old ones; all else as it was."""
    scores = {"scene": provenance.scene, "masks": provenance.masks, **evaluation.metrics}
    return scores | {name: value for name, value in known.items() if name not in scores}


def _draw_again(
    run: Run, found: "Finished", evaluation: Evaluation, metrics: dict[str, Any]
) -> None:
    """Write the pictures of a finished run anew, where it still has what they show."""
    try:
        features = load_arrays(run.features, ("features",))["features"]
        if len(features) != len(found.gaussians):
            raise InputError(
                f"{run.features} has {len(features)} rows, {run.gaussians} "
                f"{len(found.gaussians)} Gaussians; {train_again()}."
            )
    except InputError as error:
        notice(f"{run.report} shows the scores of the training still: {error}")
        return
    _draw(
        run,
        found.provenance,
        found.capture,
        found.gaussians,
        features,
        found.hierarchy,
        evaluation,
        metrics,
    )


@dataclass(frozen=True)
class Finished:
    """A finished run, read from its files, and its capture."""

    provenance: Provenance
    capture: Capture
    gaussians: Gaussians
    hierarchy: Hierarchy
    seconds: dict[str, float]


def read_finished(folder: Path) -> Finished:
    """Read a finished run; says so if its capture has changed since.

    Raises:
        InputError: If there is no finished run, or its files or capture are missing or damaged.
    """
    run = Run(folder)
    provenance = read_provenance(run)
    seconds = read_metrics(run)["seconds"]
    data = Path(provenance.data)
    capture = read_capture(data, size=provenance.settings.size)
    if fingerprint_of(data, folder) != provenance.fingerprint:
        notice(f"{data} has changed since this run was trained on it.")
    gaussians = with_fitted_focal(load_ply(run.gaussians), capture)
    hierarchy = load_hierarchy(run)
    if len(gaussians) != hierarchy.tree.num_leaves:
        raise InputError(
            f"{run.gaussians} has {len(gaussians)} Gaussians, {run.hierarchy} "
            f"{hierarchy.tree.num_leaves} leaves; {train_again()}."
        )
    return Finished(provenance, capture, gaussians, hierarchy, seconds)


def load_hierarchy(run: Run) -> Hierarchy:
    """Read the tree of a run.

    Raises:
        InputError: If it is missing or damaged.
    """
    arrays = load_arrays(run.hierarchy, ("parents", "altitudes", "num_leaves", "shaping"))
    parents, altitudes, shaping = (arrays[name] for name in ("parents", "altitudes", "shaping"))
    if not (
        _is_tree(parents)
        and _are_heights(altitudes, parents)
        and shaping.dtype == bool
        and shaping.shape == tuple(np.atleast_1d(arrays["num_leaves"]))
        and len(shaping) < len(parents)
    ):
        raise InputError(f"{run.hierarchy} holds no tree; {train_again()}.")
    support = arrays.get("support")  # Only trees by consensus have one.
    if support is not None and not _are_shares(support, parents):
        raise InputError(f"{run.hierarchy} holds no support of nodes; {train_again()}.")
    return Hierarchy(Dendrogram(parents, altitudes, len(shaping)), shaping, support)


def _are_shares(support: np.ndarray, parents: np.ndarray) -> bool:
    """Whether there is one number from 0 to 1 a node."""
    if support.shape != parents.shape or support.dtype.kind != "f":
        return False
    return bool(((support >= 0) & (support <= 1)).all())  # Nor does NaN pass.


def _are_heights(altitudes: np.ndarray, parents: np.ndarray) -> bool:
    """Whether there is one finite height a node, none above its parent's."""
    if altitudes.shape != parents.shape or altitudes.dtype.kind != "f":
        return False
    return bool(np.isfinite(altitudes).all() and (altitudes <= altitudes[parents]).all())


def _is_tree(parents: np.ndarray) -> bool:
    """Whether parents come after their children, and the root, its own parent, last."""
    if parents.ndim != 1 or parents.dtype.kind != "i" or len(parents) == 0:
        return False
    nodes, root = np.arange(len(parents)), len(parents) - 1
    rising = (parents[:-1] > nodes[:-1]) & (parents[:-1] <= root)
    return bool(rising.all()) and int(parents[-1]) == root


def keep_placed(run: Run, splats: Path, placed: Placed) -> None:
    """Keep Gaussians from elsewhere: their file as it is, their frame, and last themselves."""
    with replacing(run.original) as temporary:  # For its order and its other columns.
        shutil.copyfile(splats, temporary)
    write_arrays(run.checkpoints / FRAME, original_from_source=placed.original_from_source)
    save_ply(run.gaussians, placed.gaussians)


def _original_from_source(run: Run) -> np.ndarray:
    """As `keep_placed` kept it; the identity where the Gaussians were fitted here."""
    path = run.checkpoints / FRAME
    return read_arrays(path)["original_from_source"] if path.is_file() else np.eye(4)


def gaussians_stage(
    capture: Capture,
    bags: Bags,
    run: Run,
    settings: TrainConfig,
    device: str,
    checkpoint: Checkpoint,
    watch: Watch = NOBODY,
) -> Gaussians:
    """Fit the Gaussians, unless an earlier part of this run did."""
    if not run.gaussians.exists():
        gaussians = fit_gaussians(
            capture,
            settings.gaussians,
            bags,
            seed=settings.seed,
            device=device,
            checkpoint=checkpoint,
            log=_log(run, "gaussians", watch),
            watch=watch,
        )
        save_ply(run.gaussians, replace(gaussians, fitted_focal=capture.focal))
    return with_fitted_focal(load_ply(run.gaussians), capture)


def with_fitted_focal(gaussians: Gaussians, capture: Capture) -> Gaussians:
    """Gaussians of a run; of those that an earlier version fitted, no file says at what size."""
    if gaussians.fitted_focal:
        return gaussians
    return replace(gaussians, fitted_focal=capture.focal)


def features_stage(
    capture: Capture,
    bags: Bags,
    gaussians: Gaussians,
    run: Run,
    provenance: Provenance,
    device: str,
    memory: Memory,
    checkpoint: Checkpoint,
    views: RenderedViews,
    opinions: Opinions,
    watch: Watch = NOBODY,
) -> tuple[np.ndarray, np.ndarray]:
    """Features and largest blend weights, fitted unless an earlier part of this run did."""
    if not run.features.exists():
        settings = provenance.settings
        watch.gaussians(gaussians)
        largest = views.largest_weights(len(gaussians))
        features = fit_features(
            views,
            len(gaussians),
            capture,
            bags,
            settings.features,
            seed=settings.seed,
            tree=tree_for_features(gaussians, largest, settings, opinions),
            device=device,
            memory=memory,
            checkpoint=checkpoint,
            log=_log(run, "features", watch),
            watch=watch,
        )
        save_arrays(run.features, provenance, features=features, largest_weights=largest)
    arrays = load_arrays(run.features, ("features", "largest_weights"))
    return arrays["features"], arrays["largest_weights"]


def tree_for_features(
    gaussians: Gaussians, largest: np.ndarray, settings: TrainConfig, opinions: Opinions
) -> SceneTree | None:
    """The tree that features start from, or are compared in; None where neither is wanted or there.

    Args:
        gaussians: Of the scene.
        largest: Largest blend weight of each in any view [N].
        settings: Of the run.
        opinions: Asks the photos.
    """
    config = settings.features
    in_loss = config.ultrametric_weight > 0 and config.ultrametric == "scene-tree"
    if config.start != "consensus" and not in_loss:
        return None
    means, colours = means_of(gaussians), colours_of(gaussians)
    tree = consensus_tree(means, colours, largest, settings.hierarchy, opinions)
    if tree is None:
        notice("masks agree on no neighbouring Gaussians; features start from noise.")
    return tree


def means_of(gaussians: Gaussians) -> np.ndarray:
    return gaussians.means.numpy().astype(np.float64)


def colours_of(gaussians: Gaussians) -> np.ndarray:
    return gaussians.sh0.numpy().reshape(len(gaussians), 3).astype(np.float64)


def _log(run: Run, stage: str, watch: Watch) -> Log:
    """A function that tells figures to the run's log, and to who looks on."""
    written = write_log(run, stage)

    def log(step: int, **figures: float) -> None:
        written(step, **figures)
        watch.figures(stage, step, figures)

    return log


def grow_tree(
    gaussians: Gaussians,
    features: np.ndarray,
    largest: np.ndarray,
    settings: TrainConfig,
    opinions: Opinions,
) -> Hierarchy:
    """The tree by a run's settings."""
    return build_hierarchy(
        means_of(gaussians),
        features,
        largest,
        settings.hierarchy,
        opinions,
        colours=None if settings.features.steps else colours_of(gaussians),
        rng=np.random.default_rng([settings.seed, SUPPORT_STAGE]),
    )


def hierarchy_stage(
    gaussians: Gaussians,
    features: np.ndarray,
    largest: np.ndarray,
    run: Run,
    provenance: Provenance,
    capture: Capture,
    opinions: Opinions,
) -> Hierarchy:
    """The tree over the Gaussians, built and written."""
    hierarchy = grow_tree(gaussians, features, largest, provenance.settings, opinions)
    support = {} if hierarchy.support is None else {"support": hierarchy.support}
    save_arrays(
        run.hierarchy,
        provenance,
        parents=hierarchy.tree.parents,
        altitudes=hierarchy.tree.altitudes,
        num_leaves=np.array(hierarchy.tree.num_leaves),
        shaping=hierarchy.shaping,
        source_from_world=capture.source_from_world,
        original_from_source=_original_from_source(run),
        **support,
    )
    return hierarchy


def views_of(capture: Capture, gaussians: Gaussians, memory: Memory | None = None) -> RenderedViews:
    """Blend weights of the training photos, held as far as half the budget reaches."""
    return RenderedViews(gaussians, [view.camera for view in capture.train], memory)


def refit(
    views: FrozenViews | RenderedViews,
    gaussians: Gaussians,
    capture: Capture,
    bags: Bags,
    settings: TrainConfig,
    memory: Memory | None = None,
) -> tuple[np.ndarray, Hierarchy, float]:
    """Features and tree by any settings on Gaussians that stand, without files.

    Args:
        views: Blend weights of the training views.
        gaussians: Behind them.
        capture: Whose training views these are.
        bags: Their masks.
        settings: Of features and hierarchy, and the seed.
        memory: Budget.

    Returns:
        Features [N, D], the tree, and the seconds that both took.
    """
    start = time.perf_counter()
    opinions = opinions_of(capture, bags, gaussians, memory or Memory(), views)
    largest = views.largest_weights(len(gaussians))
    features = fit_features(
        views, len(gaussians), capture, bags, settings.features, seed=settings.seed,
        tree=tree_for_features(gaussians, largest, settings, opinions), memory=memory,
    )  # fmt: skip
    hierarchy = grow_tree(gaussians, features, largest, settings, opinions)
    return features, hierarchy, time.perf_counter() - start


def opinions_of(
    capture: Capture,
    bags: Bags,
    gaussians: Gaussians,
    memory: Memory,
    views: FrozenViews | RenderedViews | None = None,
) -> Opinions:
    """A function that asks the training photos which of some Gaussians belong together.

    It remembers its last answer: features and tree ask about the same Gaussians.
    """
    seen = views or views_of(capture, gaussians)
    known: dict[bytes, Consensus] = {}

    def ask(chosen: np.ndarray) -> Consensus:
        question = chosen.tobytes()
        if question not in known:
            known.clear()
            known[question] = Consensus.of(seen, bags, chosen, len(gaussians), memory=memory)
        return known[question]

    return ask


def choose_device(device: str) -> str:
    """Resolve `auto`; asks torch, never for nvcc, which may be there without a GPU.

    Raises:
        InputError: If `cuda` is asked for and not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"{argument('device', 'cuda')}, but torch finds no CUDA device; use "
            f"{argument('device', 'cpu')}."
        )
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def evaluate_stage(
    capture: Capture,
    held_out: Bags,
    gaussians: Gaussians,
    hierarchy: Hierarchy,
    provenance: Provenance,
    *,
    full: bool = False,
) -> Evaluation:
    """Scores on the held-out views and their masks, which the run has never seen."""
    settings = provenance.settings
    return evaluate(
        capture, gaussians, hierarchy, held_out, settings.evaluate, seed=settings.seed, full=full
    )


def finish(
    run: Run,
    provenance: Provenance,
    capture: Capture,
    gaussians: Gaussians,
    features: np.ndarray,
    hierarchy: Hierarchy,
    evaluation: Evaluation,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Write the pictures, and the scores last of all."""
    metrics = _metrics(provenance, evaluation, seconds)
    peak = peak_memory()
    if peak is not None:
        metrics["peak_memory_gb"] = round(peak, 2)
    _draw(run, provenance, capture, gaussians, features, hierarchy, evaluation, metrics)
    write_json(run.metrics, metrics)
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    return metrics


def _draw(
    run: Run,
    provenance: Provenance,
    capture: Capture,
    gaussians: Gaussians,
    features: np.ndarray,
    hierarchy: Hierarchy,
    evaluation: Evaluation,
    metrics: dict[str, Any],
) -> None:
    """Write the report and the overview."""
    write_pictures(
        run.report,
        run.overview,
        capture=capture,
        gaussians=gaussians,
        features=features,
        hierarchy=hierarchy,
        evaluation=evaluation,
        metrics=metrics,
        config=provenance.settings.evaluate,
        log=run.log,
        settings=msgspec.to_builtins(provenance),
    )


def _metrics(
    provenance: Provenance, evaluation: Evaluation, seconds: dict[str, float]
) -> dict[str, Any]:
    return {
        "scene": provenance.scene,
        "masks": provenance.masks,
        **evaluation.metrics,
        "seconds": seconds,
        "seed": provenance.settings.seed,
        "version": __version__,
    }
