"""The stages of a training after its capture and masks are read; each continues if interrupted.

The result of each stage is written to the run folder before the next begins.
"""

import shutil
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from splat_uff import __version__
from splat_uff.capture.nerfstudio import read_virtual
from splat_uff.evaluate import score
from splat_uff.evaluate.score import Evaluation
from splat_uff.features import fit as features_fit
from splat_uff.formats.keep import keep_file
from splat_uff.gaussians import fit as gaussians_fit
from splat_uff.gaussians.borders import BorderCleaner
from splat_uff.gaussians.classical import gather_seen, gather_seen_held_out
from splat_uff.gaussians.placed import Placed, place_as_it_is, place_source
from splat_uff.gaussians.ply import load_ply, save_ply
from splat_uff.hierarchy.build import Hierarchy
from splat_uff.hierarchy.dendrogram import cut_into
from splat_uff.masks.gather import CLASSICAL
from splat_uff.render import Gaussians
from splat_uff.report.border_pictures import write_border_pictures
from splat_uff.report.write import write_report
from splat_uff.run.folder import RunFolder
from splat_uff.run.log import write_log
from splat_uff.run.open import open_run, with_fitted_focal
from splat_uff.run.provenance import load_arrays, save_arrays
from splat_uff.system.checkpoints import Checkpoint
from splat_uff.system.errors import worded
from splat_uff.system.files import read_arrays, write_arrays, write_json
from splat_uff.system.hooks import Hooks
from splat_uff.system.machine import choose_render_device
from splat_uff.system.portable import peak_memory
from splat_uff.system.progress import notice
from splat_uff.training.clock import Clock
from splat_uff.training.forecast import Forecast, Work
from splat_uff.training.frozen import FrozenScene, grow_tree, needs_consensus, tree_for_features
from splat_uff.training.inputs import TrainInput, TrainOptions
from splat_uff.training.kernels import FIT, REST

FRAME = "frame.npz"
"""File among the checkpoints that holds `original_from_source` of splats from elsewhere."""


@dataclass(frozen=True, eq=False)
class Training:
    """A training in progress."""

    run: RunFolder
    given: TrainInput
    options: TrainOptions
    clock: Clock

    @property
    def device(self) -> str:
        """Device of the tensors: `cpu` or `cuda`."""
        return choose_render_device(self.options.device)

    def hooks(self, stage: str) -> Hooks:
        """Hooks of a stage: its file among the checkpoints, the run's log, and the observer."""
        observer, written = self.clock.observer, write_log(self.run, stage)

        def log(step: int, **figures: float) -> None:
            written(step, **figures)
            observer.figures(stage, step, figures)

        path = self.run.checkpoints / f"{stage}.npz"
        checkpoint = Checkpoint(path, self.options.checkpoint_seconds, self.clock.save)
        return Hooks(checkpoint, log, observer)


def place_splats(training: Training) -> Placed | None:
    """Move splats from elsewhere into our world; None if there are none or the run has them.

    This happens before anything is written, since splats are often in another frame.

    Raises:
        InputError: If the splats do not fit the photos, or the device does not exist.
    """
    given, options, device = training.given, training.options, training.device
    if given.splats is None or (training.run.gaussians.exists() and not options.overwrite):
        return None
    path, source = given.splats
    with training.clock.stage("gaussians"):
        if given.capture.virtual:
            return place_as_it_is(source, given.capture)
        return place_source(source, path, given.capture, force=options.force, device=device)


def fit_gaussians(training: Training, placed: Placed | None) -> Gaussians:
    """Make the Gaussians: take those from elsewhere or from an earlier part of this run, or fit."""
    run, given = training.run, training.given
    settings = given.provenance.settings
    if placed is not None:
        if settings.borders.rounds:
            notice(
                "splats from elsewhere keep their borders; "
                f"{worded('Export(clean=True)', command='export --clean')} cleans them."
            )
        with training.clock.stage("gaussians"):
            _keep_placed(training, placed)
    if not run.gaussians.exists():
        with training.clock.stage("gaussians"):
            hooks = training.hooks("gaussians")
            training.options.kernels.wait(FIT)
            work = Work.of(given.capture, settings)
            forecast = Forecast(work, hooks.observer, device=training.device)
            gaussians = gaussians_fit.fit_gaussians(
                given.capture, settings.gaussians, given.bags, seed=settings.seed,
                device=training.device, hooks=replace(hooks, observer=forecast),
            )  # fmt: skip
        gaussians = replace(gaussians.to("cpu"), fitted_focal=given.capture.focal)
        save_ply(run.gaussians, _with_clean_borders(training, gaussians))
    return with_fitted_focal(load_ply(run.gaussians), given.capture)


def _with_clean_borders(training: Training, gaussians: Gaussians) -> Gaussians:
    """Clean the borders of the segments that the masks alone give, if the settings say so."""
    given = training.given
    settings = given.provenance.settings
    if settings.borders.rounds == 0:
        return gaussians
    scene = see_scene(training, gaussians)
    if not any(len(masks) for masks, _ in scene.bags):
        notice("no photo has masks; borders stay as they were fitted.")
        return gaussians
    by_masks = replace(
        settings,
        features=replace(settings.features, steps=0),
        hierarchy=replace(settings.hierarchy, linkage="consensus", resamples=0),
    )
    with training.clock.stage("gaussians"):
        tree = grow_tree(scene, np.zeros((len(gaussians), 1)), by_masks).tree
        labels = cut_into(tree, settings.borders.segments)
        how = BorderCleaner(
            settings.borders, settings.gaussians, settings.seed, training.device,
            given.memory.most,
        )  # fmt: skip
        cleaned = how.clean(gaussians, given.capture.train, scene.bags, labels)
        write_border_pictures(
            training.run.borders_sheet, tree, gaussians, cleaned, labels, given.capture.train
        )
    before, after = cleaned.straddling
    notice(
        f"{len(cleaned.gaussians) - len(gaussians)} of {len(gaussians)} Gaussians lay across "
        f"borders and were split; {before:.1%} -> {after:.1%} of their weight is outside of their "
        "own segments."
    )
    return cleaned.gaussians


def see_scene(training: Training, gaussians: Gaussians) -> FrozenScene:
    """Collect what features and tree are made from; classical masks are made here.

    Args:
        training: The training.
        gaussians: Gaussians as `fit_gaussians` returns them: as stored, so that a training that
            continues has the same masks.
    """
    given, bags = training.given, training.given.bags
    if given.provenance.mask_source == CLASSICAL:
        with training.clock.stage("masks"):
            bags = gather_seen(gaussians, given.capture, CLASSICAL, memory=given.memory)
    scene = FrozenScene(gaussians, given.capture, bags, given.memory, training.device)
    if needs_consensus(given.provenance.settings):
        scene.ask_early()
    return scene


def fit_features(training: Training, scene: FrozenScene) -> Float[np.ndarray, "N D"]:
    """Fit one feature per Gaussian, unless an earlier part of this run already did."""
    run, given = training.run, training.given
    settings = given.provenance.settings
    with training.clock.stage("features"):
        training.options.kernels.wait(REST)
        if not run.features.exists():
            training.clock.observer.gaussians(scene.gaussians)
            features = features_fit.fit_features(
                scene.views, scene.bags, settings.features, seed=settings.seed,
                tree=lambda: tree_for_features(scene, settings), device=training.device,
                hooks=training.hooks("features"),
            )  # fmt: skip
            save_arrays(
                run.features, given.provenance,
                features=features, largest_weights=scene.largest_weights,
            )  # fmt: skip
        return load_arrays(run.features, ("features", "largest_weights"))["features"]


def build_hierarchy(
    training: Training, scene: FrozenScene, features: Float[np.ndarray, "N D"]
) -> Hierarchy:
    """Build and save the tree over the Gaussians."""
    run, given = training.run, training.given
    with training.clock.stage("hierarchy"):
        hierarchy = grow_tree(scene, features, given.provenance.settings)
        support = {} if hierarchy.support is None else {"support": hierarchy.support}
        save_arrays(
            run.hierarchy,
            given.provenance,
            parents=hierarchy.tree.parents,
            altitudes=hierarchy.tree.altitudes,
            num_leaves=np.array(hierarchy.tree.num_leaves),
            shaping=hierarchy.shaping,
            source_from_world=given.capture.source_from_world,
            original_from_source=_original_from_source(run),
            **support,
        )
        return hierarchy


def evaluate(training: Training, gaussians: Gaussians, hierarchy: Hierarchy) -> Evaluation:
    """Score the run on the held-out views and their masks, which it has never seen."""
    given = training.given
    settings, held_out = given.provenance.settings, given.held_out
    if given.provenance.mask_source == CLASSICAL:
        with training.clock.stage("masks"):
            held_out = gather_seen_held_out(
                gaussians, given.capture, CLASSICAL, memory=given.memory
            )
    with training.clock.stage("evaluate"):
        return score.evaluate(
            given.capture, gaussians.to(training.device), hierarchy, held_out,
            settings.evaluate, seed=settings.seed,
        )  # fmt: skip


def finish(training: Training, evaluation: Evaluation) -> dict[str, Any]:
    """Write the report and, last of all, the scores; returns the content of `metrics.json`."""
    provenance = training.given.provenance
    metrics = {
        "scene": provenance.scene,
        "masks": provenance.masks,
        **evaluation.metrics,
        "seconds": training.clock.seconds,
        "seed": provenance.settings.seed,
        "version": __version__,
    }
    virtual = read_virtual(training.given.capture.folder)
    if virtual is not None:
        metrics["virtual_views"] = virtual.get("words", "")
    peak = peak_memory()
    if peak is not None:
        metrics["peak_memory_gb"] = round(peak, 2)
    run = open_run(training.run.path, capture=training.given.capture)
    write_report(run, evaluation, metrics)
    write_json(training.run.metrics, metrics)
    shutil.rmtree(training.run.checkpoints, ignore_errors=True)
    return metrics


def _keep_placed(training: Training, placed: Placed) -> None:
    """Save Gaussians from elsewhere: their unchanged file, their frame, and last the Gaussians."""
    run, splats = training.run, training.given.splats
    assert splats is not None
    keep_file(splats[0], run.path / "original")  # Preserves its order and its other columns.
    write_arrays(run.checkpoints / FRAME, original_from_source=placed.original_from_source)
    save_ply(run.gaussians, placed.gaussians)


def _original_from_source(run: RunFolder) -> Float[np.ndarray, "4 4"]:
    """Read the matrix saved by `_keep_placed`; the identity if the Gaussians were fitted here."""
    path = run.checkpoints / FRAME
    return read_arrays(path)["original_from_source"] if path.is_file() else np.eye(4)
