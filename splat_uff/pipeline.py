"""The stages of a run in order: capture, masks, Gaussians, features, tree, scores."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from splat_uff import __version__
from splat_uff.capture import Capture, read_capture
from splat_uff.capture.rotated import read_depths
from splat_uff.checkpoints import SECONDS, Checkpoint
from splat_uff.clock import Clock
from splat_uff.errors import InputError
from splat_uff.evaluate.score import Evaluation, evaluate
from splat_uff.evaluate.summary import write_pictures
from splat_uff.features.blend import RenderedViews
from splat_uff.features.fit import fit_features
from splat_uff.files import replacing, write_json
from splat_uff.gaussians.fit import fit_gaussians
from splat_uff.gaussians.foreign import load_foreign
from splat_uff.gaussians.ply import load_ply, save_ply
from splat_uff.hierarchy.build import Hierarchy, build_hierarchy
from splat_uff.hierarchy.dendrogram import Dendrogram
from splat_uff.masks.bags import Bags
from splat_uff.masks.gather import (
    CLASSICAL,
    OWN,
    gather_held_out,
    gather_masks,
    mask_origin_of,
)
from splat_uff.memory import GIGABYTE, Memory
from splat_uff.progress import notice
from splat_uff.render import Gaussians
from splat_uff.run import (
    Provenance,
    Run,
    load_arrays,
    open_run,
    read_metrics,
    read_provenance,
    save_arrays,
    start_run,
    write_log,
)
from splat_uff.settings import TrainConfig, check_settings

MEMORY_GB = 2.0
"""Photos, masks and blend weights that are held unless told otherwise."""


def train(
    folder: Path,
    output: Path,
    settings: TrainConfig,
    *,
    scene: str | None = None,
    masks: str = OWN,
    splats: Path | None = None,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    checkpoint_seconds: float = SECONDS,
    memory_gb: float = MEMORY_GB,
) -> dict[str, Any]:
    """Take a scene apart: from photos and masks to a tree over Gaussians, scored and pictured.

    Args:
        folder: Of the capture.
        output: Run folder; see `splat_uff.run` for what ends up in it.
        settings: Settings of all stages.
        scene: Name of the scene; the folder's unless given.
        masks: `classical`, or a folder of masks of any tool; the capture's own unless given.
        splats: Gaussians fitted elsewhere to the same capture, a 3DGS `.ply` in its own frame.
        device: Where tensors live, `cpu` or `cuda`.
        resume: Go on with a run that was cut off; a finished one is left as it is.
        overwrite: Begin again where a run stands already.
        checkpoint_seconds: Most work that a kill can lose; does not change the result.
        memory_gb: Gigabytes of photos, masks and blend weights that are held; more wait on disk,
            beside the run. Does not change the result either.

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: If the capture is bad, has no masks, or the output must not be replaced.
    """
    check_settings(settings)
    run = open_run(output, resume=resume, overwrite=overwrite)
    clock = Clock()
    with clock.stage("capture"):
        memory = Memory(memory_gb * GIGABYTE, output.parent)
        capture = read_capture(folder, size=settings.size, memory=memory)
        scene = scene or capture.name
        read_depths(capture)  # It is scored at the very end; what is damaged is said now.
    if masks not in (OWN, CLASSICAL):
        masks = str(Path(masks).resolve())
    foreign, gaussians_source = None, ""
    if splats is not None:  # What is damaged is said before anything is made.
        foreign = load_foreign(splats, capture.source_from_world)
        gaussians_source = f"{splats.resolve()} {_digest(splats)}"
    origin = mask_origin_of(capture, masks)
    with clock.stage("masks"):  # Before anything is written: masks are the likeliest to be bad.
        unneeded = run.finished and not overwrite
        bags = Bags([]) if unneeded else gather_masks(capture, masks, memory=memory)
    provenance = Provenance(
        scene,
        str(folder.resolve()),
        origin,
        _fingerprint(folder, output),
        settings,
        mask_source=masks,
        gaussians_source=gaussians_source,
    )
    start_run(run, provenance, overwrite=overwrite)
    if run.finished:
        metrics = read_metrics(run)
        notice(f"{output} is finished already.")
        return metrics

    def checkpoint(stage: str) -> Checkpoint:
        return Checkpoint(run.checkpoints / f"{stage}.npz", checkpoint_seconds, clock.save)

    clock.keep_in(run.checkpoints / "seconds.json")
    with clock.stage("gaussians"):
        if foreign is not None and splats is not None and not run.gaussians.exists():
            with replacing(run.original) as temporary:  # For its order and its other columns.
                shutil.copyfile(splats, temporary)
            save_ply(run.gaussians, foreign)
        gaussians = _fit_gaussians(capture, bags, run, settings, device, checkpoint("gaussians"))
    with clock.stage("features"):
        features, largest = _fit_features(
            capture, bags, gaussians, run, provenance, device, memory, checkpoint("features")
        )
    with clock.stage("hierarchy"):
        hierarchy = build_hierarchy(
            gaussians.means.numpy().astype(np.float64), features, largest, settings.hierarchy
        )
        _save_hierarchy(run, provenance, hierarchy, capture)
    with clock.stage("evaluate"):
        evaluation = _evaluate(capture, gaussians, hierarchy, provenance, memory)
    return _finish(
        run, provenance, capture, gaussians, features, hierarchy, evaluation, clock.seconds
    )


def score_run(folder: Path) -> dict[str, Any]:
    """Score a finished run again, from its files and its capture.

    Returns:
        As `metrics.json`, with the seconds of the run.

    Raises:
        InputError: If there is no finished run, or its files or capture are missing or damaged.
    """
    found = read_finished(folder)
    provenance = found.provenance
    evaluation = _evaluate(
        found.capture, found.gaussians, found.hierarchy, provenance, Memory(), full=True
    )
    return _metrics(provenance, evaluation, found.seconds)


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
    if _fingerprint(data, folder) != provenance.fingerprint:
        notice(f"{data} has changed since this run was trained on it.")
    gaussians, hierarchy = load_ply(run.gaussians), load_hierarchy(run)
    if len(gaussians) != hierarchy.tree.num_leaves:
        raise InputError(
            f"{run.gaussians} has {len(gaussians)} Gaussians, {run.hierarchy} "
            f"{hierarchy.tree.num_leaves} leaves; train again with --overwrite."
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
        and altitudes.shape == parents.shape
        and shaping.dtype == bool
        and shaping.shape == tuple(np.atleast_1d(arrays["num_leaves"]))
        and len(shaping) < len(parents)
    ):
        raise InputError(f"{run.hierarchy} holds no tree; train again with --overwrite.")
    return Hierarchy(Dendrogram(parents, altitudes, len(shaping)), shaping)


def _is_tree(parents: np.ndarray) -> bool:
    """Whether parents come after their children, and the root, its own parent, last."""
    if parents.ndim != 1 or parents.dtype.kind != "i" or len(parents) == 0:
        return False
    nodes, root = np.arange(len(parents)), len(parents) - 1
    rising = (parents[:-1] > nodes[:-1]) & (parents[:-1] <= root)
    return bool(rising.all()) and int(parents[-1]) == root


def _fit_gaussians(
    capture: Capture,
    bags: Bags,
    run: Run,
    settings: TrainConfig,
    device: str,
    checkpoint: Checkpoint,
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
            log=write_log(run, "gaussians"),
        )
        save_ply(run.gaussians, gaussians)
    return load_ply(run.gaussians)


def _fit_features(
    capture: Capture,
    bags: Bags,
    gaussians: Gaussians,
    run: Run,
    provenance: Provenance,
    device: str,
    memory: Memory,
    checkpoint: Checkpoint,
) -> tuple[np.ndarray, np.ndarray]:
    """Features and largest blend weights, fitted unless an earlier part of this run did."""
    if not run.features.exists():
        settings = provenance.settings
        views = RenderedViews(gaussians, [view.camera for view in capture.train])
        features = fit_features(
            views,
            len(gaussians),
            capture,
            bags,
            settings.features,
            seed=settings.seed,
            device=device,
            memory=memory,
            checkpoint=checkpoint,
            log=write_log(run, "features"),
        )
        largest = views.largest_weights(len(gaussians))
        save_arrays(run.features, provenance, features=features, largest_weights=largest)
    arrays = load_arrays(run.features, ("features", "largest_weights"))
    return arrays["features"], arrays["largest_weights"]


def _save_hierarchy(
    run: Run, provenance: Provenance, hierarchy: Hierarchy, capture: Capture
) -> None:
    save_arrays(
        run.hierarchy,
        provenance,
        parents=hierarchy.tree.parents,
        altitudes=hierarchy.tree.altitudes,
        num_leaves=np.array(hierarchy.tree.num_leaves),
        shaping=hierarchy.shaping,
        source_from_world=capture.source_from_world,
    )


def _evaluate(
    capture: Capture,
    gaussians: Gaussians,
    hierarchy: Hierarchy,
    provenance: Provenance,
    memory: Memory,
    *,
    full: bool = False,
) -> Evaluation:
    settings = provenance.settings
    val_masks = gather_held_out(capture, provenance.mask_source, memory=memory)
    return evaluate(
        capture, gaussians, hierarchy, val_masks, settings.evaluate, seed=settings.seed, full=full
    )


def _finish(
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
    write_json(run.metrics, metrics)
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    return metrics


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


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def _fingerprint(folder: Path, output: Path) -> str:
    """Of the poses, and of the name and size of every file of the capture.

    Runs are often kept inside the capture (`--data .`), and no part of it: the entry of `folder`
    that leads to `output` does not count.
    """
    folder, output = folder.resolve(), output.resolve()
    runs = output.relative_to(folder).parts[:1] if output.is_relative_to(folder) else ()
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("transforms*.json"), *folder.glob("poses_bounds.npy")]):
        digest.update(path.read_bytes())
    for path in sorted(folder.glob("*/**/*")):
        place = path.relative_to(folder)
        if path.is_file() and place.parts[:1] != runs:
            digest.update(f"{place} {path.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]
