"""`train` and `paper`, which train by settings that flags can change."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from splat_uff.commands.arguments import (
    File,
    Folder,
    Name,
    Switch,
    find_capture,
    given_checkpoint,
    make_masks,
)
from splat_uff.masks.config import SamSettings
from splat_uff.settings import TrainConfig, check_settings
from splat_uff.system.checkpoints import SECONDS
from splat_uff.system.errors import InputError
from splat_uff.system.observer import NOBODY, Observer

if TYPE_CHECKING:
    from splat_uff.capture import Capture


def train(
    settings: Annotated[TrainConfig, tyro.conf.arg(name="")] = TrainConfig(),
    *,
    scene: Name = None,
    data: Folder = None,
    data_root: Folder = None,
    masks: Annotated[str, tyro.conf.arg(metavar="DIR|classical")] = "",
    gaussians: File = None,
    force: Switch = False,
    sam_checkpoint: File = None,
    sam_model: Literal["vit_h", "vit_l", "vit_b"] = "vit_h",
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE|NAME")] = None,
    output: Folder = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    resume: Switch = False,
    overwrite: Switch = False,
    checkpoint_seconds: float = SECONDS,
    memory: Annotated[float, tyro.conf.arg(metavar="GB")] = 2.0,
    view: Switch = False,
    host: str = "127.0.0.1",
    port: int = 8080,
) -> None:
    """Take a scene apart: photos and masks in, a tree of 3D segments over Gaussians out.

    Start with "splat-uff train --scene drums", or --scene toy for a run of seconds; "splat-uff
    scenes" lists more.

    Args:
        settings: Settings of the stages.
        scene: Train on the folder of that name under --data-root, else on this built-in scene.
        data: Train on this capture, of any layout in docs/input.md (COLMAP, nerfstudio, ...).
        data_root: Folder of scenes, for --scene; the variable SPLAT_UFF_DATA stands in for it.
        masks: Folder of masks of any tool (docs/input.md), or classical for nested segments of
            colour; those in the capture's own folder unless given.
        gaussians: Gaussians fitted elsewhere to the same capture, a 3DGS .ply in its own frame;
            only features are then learned.
        force: Take those Gaussians also where they do not fit the photos.
        sam_checkpoint: Weights of Segment Anything, to make masks where the capture has none;
            the variable SPLAT_UFF_SAM_CHECKPOINT stands in for it.
        sam_model: Which model the weights belong to.
        config: TOML file of settings, as the config.toml of a run, or the name of a recipe: paper,
            ultrametric. Flags have the last word.
        output: Folder for the results; runs/NAME unless given.
        device: What computes; auto is cuda where torch finds it, else cpu.
        resume: Go on with a run that was cut off.
        overwrite: Begin again where a run stands already.
        checkpoint_seconds: Most work, in seconds, that is lost when a run is cut off.
        memory: Gigabytes of photos, masks and blend weights that are held at most; what is more
            waits on disk beside the run.
        view: Serve a page that shows the training, and the finished run in the end.
        host: Address that the page is served on. Only this machine can reach 127.0.0.1; any
            other asks for the token in the address that is printed.
        port: The first free one from here on is taken.
    """
    if not checkpoint_seconds >= 0:
        raise InputError(f"--checkpoint-seconds is {checkpoint_seconds}; expected 0 or more.")
    if not memory >= 0:
        raise InputError(f"--memory is {memory}; expected 0 or more gigabytes.")
    if force and gaussians is None:
        raise InputError("--force goes with --gaussians FILE; leave it out, or give the file.")
    check_settings(settings)  # Before a scene is made, which takes a minute.
    folder, name, origin = find_capture(scene, data, data_root)
    print(origin, flush=True)
    output = output or Path("runs") / name

    from splat_uff.report.tables import score_table
    from splat_uff.system.progress import print_result
    from splat_uff.training.inputs import TrainOptions
    from splat_uff.training.train import train as train_on

    checkpoint = given_checkpoint(sam_checkpoint)

    def run_sam(capture: "Capture") -> None:
        assert checkpoint is not None
        make_masks(capture, checkpoint, sam_model, SamSettings(), None, device, keep=True)

    options = TrainOptions(
        scene=name, device=device, resume=resume, overwrite=overwrite, force=force,
        checkpoint_seconds=checkpoint_seconds, memory_gb=memory,
    )  # fmt: skip

    def run(observer: Observer) -> None:
        metrics = train_on(
            folder, output, settings, masks=masks if masks or checkpoint is None else run_sam,
            splats=gaussians, options=options, observer=observer,
        )  # fmt: skip
        print_result(score_table(metrics))
        print(f"picture: {output / 'overview.png'}\nreport:  {output / 'report.html'}")

    if view:
        from splat_uff.view.app import train_on_page

        train_on_page(run, output, settings, title=name, host=host, port=port)
    else:
        run(NOBODY)


def paper(
    settings: Annotated[TrainConfig, tyro.conf.Fixed, tyro.conf.Suppress] = TrainConfig(),
    *,
    scene: Name = None,
    data: Folder = None,
    data_root: Folder = None,
    run: Folder = None,
    output: Folder = None,
    features: Folder = None,
    sam_checkpoint: File = None,
    sam_model: Literal["vit_h", "vit_l", "vit_b"] = "vit_h",
    sources: int = 20,
) -> None:
    """Write the paper's tables and figures for one scene, ours beside the baselines.

    Takes some 20 minutes on two cores. Cut off, the same command goes on where it was; scores
    of a method are made anew only when the run or what they were made with has changed.

    Args:
        settings: Settings of a training where there is no run yet.
        scene: Compare on this scene, as for train.
        data: Compare on this capture, in place of a scene; it needs ground truth.
        data_root: Folder of scenes, for --scene; the variable SPLAT_UFF_DATA stands in for it.
        run: Its finished run; runs/NAME unless given, trained first where there is none.
        output: Folder for tables and figures; RUN/paper unless given.
        features: Dense features of the views for DFF, LSeg and LeRF, laid out as
            docs/research/baselines.md says; colour and gradient statistics stand in for them.
        sam_checkpoint: Weights of Segment Anything, to put the clicks to it; the masks of the
            capture stand in for its answers.
        sam_model: Which model the weights belong to.
        sources: Views whose masks SAM3D lifts.
    """
    if sources < 1:
        raise InputError(f"--sources is {sources}; expected at least 1 view.")
    folder, name, origin = find_capture(scene, data, data_root)
    print(origin, flush=True)
    run = run or Path("runs") / name

    from splat_uff.paper.methods import Choices
    from splat_uff.paper.tables import summary_table
    from splat_uff.paper.write import write_paper
    from splat_uff.system.progress import print_result
    from splat_uff.training.inputs import TrainOptions
    from splat_uff.training.train import train as train_on

    if not (run / "metrics.json").is_file():
        options = TrainOptions(scene=name, device="auto", resume=True)
        train_on(folder, run, settings, options=options)
    output = output or run / "paper"
    choices = Choices(features, sam_checkpoint, sam_model, sources)
    record = write_paper(run, output, choices, data=folder)
    print_result(summary_table(record["methods"]))
    print(f"tables:  {output / 'paper.md'}\nfigures: {output / 'segments.png'} and others")
