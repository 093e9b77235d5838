"""Training from end to end: photos and masks become a scored tree over Gaussians with a report."""

from pathlib import Path
from typing import Any

from splat_uff.masks.gather import OWN
from splat_uff.run.begin import claim_folder, start_run
from splat_uff.run.provenance import read_metrics
from splat_uff.settings import TrainConfig, check_settings
from splat_uff.system.observer import NOBODY, Observer
from splat_uff.system.progress import notice
from splat_uff.training.clock import Clock
from splat_uff.training.inputs import MaskMaker, TrainOptions, read_input


def train(
    data: Path | str | None,
    output: Path | str,
    settings: TrainConfig = TrainConfig(),
    *,
    masks: str | MaskMaker = OWN,
    splats: Path | str | None = None,
    options: TrainOptions = TrainOptions(),
    observer: Observer = NOBODY,
) -> dict[str, Any]:
    """Decompose a scene: build a tree over Gaussians from photos and masks, score it and report.

    Args:
        data: Folder of the capture, in any layout of docs/input.md; None to work from `splats`
            alone, of which virtual photos are then made.
        output: Run folder to write; `RunFolder` lists its files.
        settings: Settings of all stages.
        masks: `classical`, or a folder of masks from any tool; by default, the capture's own, or
            `classical` for virtual photos. A function is called if the capture's folder lacks
            masks, and must put them there.
        splats: File of Gaussians fitted elsewhere to the same capture, in its own frame, in any
            format that `read_splats` reads.
        options: Options that do not affect the results: device, resuming, memory.
        observer: Observer that follows the training and may pause or stop it.

    Returns:
        Content of `metrics.json`.

    Raises:
        InputError: If the capture is invalid or has no masks, the splats do not fit it, or the
            output must not be replaced.
        TrainingStopped: If the observer stops the training.
    """
    check_settings(settings)
    how = {"resume": options.resume, "overwrite": options.overwrite}
    run, clock = claim_folder(Path(output), **how), Clock(observer)
    given = read_input(
        None if data is None else Path(data), run, settings, clock, masks=masks,
        splats=None if splats is None else Path(splats), options=options,
    )  # fmt: skip
    # Imported only now because it takes seconds: everything above runs without torch.
    from splat_uff.training import stages

    training = stages.Training(run, given, options, clock)
    placed = stages.place_splats(training)
    with start_run(run, given.provenance, **how):
        if run.finished or given.finished:  # The latter if another process has restarted it since.
            metrics = read_metrics(run)
            notice(f"{run.path} is finished already.")
            return metrics
        clock.keep_in(run.checkpoints / "seconds.json")
        gaussians = stages.fit_gaussians(training, placed)
        scene = stages.see_scene(training, gaussians)
        features = stages.fit_features(training, scene)
        hierarchy = stages.build_hierarchy(training, scene, features)
        del scene  # Frees memory.
        evaluation = stages.evaluate(training, gaussians, hierarchy)
        return stages.finish(training, evaluation)
