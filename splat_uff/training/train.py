"""Training from end to end: from photos and masks to a tree over Gaussians, scored and pictured."""

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
    data: Path | str,
    output: Path | str,
    settings: TrainConfig = TrainConfig(),
    *,
    masks: str | MaskMaker = OWN,
    splats: Path | None = None,
    options: TrainOptions = TrainOptions(),
    observer: Observer = NOBODY,
) -> dict[str, Any]:
    """Take a scene apart: from photos and masks to a tree over Gaussians, scored and pictured.

    Args:
        data: Folder of the capture, of any layout in docs/input.md.
        output: Run folder; `RunFolder` says what ends up in it.
        settings: Settings of all stages.
        masks: `classical`, or a folder of masks of any tool; the capture's own unless given. A
            function is called where the capture's folder lacks masks, to put them there.
        splats: Gaussians fitted elsewhere to the same capture, a 3DGS `.ply` in its own frame.
        options: How the training is run: device, resuming, memory.
        observer: Looks on, and may pause or stop the training.

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: If the capture is bad, has no masks, the splats do not fit it, or the output
            must not be replaced.
        TrainingStopped: If the observer stops it.
    """
    check_settings(settings)
    how = {"resume": options.resume, "overwrite": options.overwrite}
    run, clock = claim_folder(Path(output), **how), Clock(observer)
    given = read_input(
        Path(data), run, settings, clock, masks=masks, splats=splats, options=options
    )
    # Only now, as it takes seconds: everything above answers without torch.
    from splat_uff.training import stages

    training = stages.Training(run, given, options, clock)
    placed = stages.place_splats(training)
    with start_run(run, given.provenance, **how):
        if run.finished or given.finished:  # The latter: another process began it again since.
            metrics = read_metrics(run)
            notice(f"{run.path} is finished already.")
            return metrics
        clock.keep_in(run.checkpoints / "seconds.json")
        scene = stages.fit_gaussians(training, placed)
        features = stages.fit_features(training, scene)
        hierarchy = stages.build_hierarchy(training, scene, features)
        gaussians = scene.gaussians
        del scene  # Makes room.
        evaluation = stages.evaluate(training, gaussians, hierarchy)
        return stages.finish(training, evaluation)
