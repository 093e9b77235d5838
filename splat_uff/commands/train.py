"""`train` and `paper`, the two commands that train."""

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
    """Segment a scene: photos and masks in, a tree of 3D segments over Gaussians out.

    Start with "splat-uff train --scene drums", or --scene toy for a run of a few seconds;
    "splat-uff scenes" lists more.

    Args:
        settings: Settings of the stages.
        scene: Scene to train on: a folder of this name under --data-root, else a built-in scene.
        data: Capture to train on, in any layout of docs/input.md (COLMAP, nerfstudio, ...).
        data_root: Folder of scenes for --scene; the default is the environment variable
            SPLAT_UFF_DATA.
        masks: Folder of masks from any tool (docs/input.md), or classical for nested colour
            segments; the default is the masks in the capture's own folder.
        gaussians: Gaussians fitted elsewhere to the same capture, as a 3DGS .ply in the frame of
            its poses; only features are then learned.
        force: Use those Gaussians even if they do not fit the photos.
        sam_checkpoint: Weights of Segment Anything, to make masks if the capture has none; the
            default is the environment variable SPLAT_UFF_SAM_CHECKPOINT.
        sam_model: Model that the weights belong to.
        config: TOML file of settings, such as the config.toml of a run, or the name of a recipe:
            paper, ultrametric. Flags override it.
        output: Folder for the results; the default is runs/NAME.
        device: Device to compute on; auto is cuda if torch finds it, else cpu.
        resume: Resume an interrupted run.
        overwrite: Start over if the output folder already holds a run.
        checkpoint_seconds: Maximum work lost when a run is interrupted, in seconds.
        memory: Maximum memory for photos, masks and blend weights, in gigabytes; the rest is kept
            on disk beside the run.
        view: Serve a page that shows the training and, once finished, the run.
        host: Address to serve the page on. Only this machine can reach 127.0.0.1; any other
            address requires the token in the printed URL.
        port: Port to serve the page on, or the next free one after it.
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
    """Write the paper's tables and figures for one scene, with our method beside the baselines.

    Takes about 20 minutes on two cores. If interrupted, run the same command again; a method is
    scored anew only if the run or the inputs of its scores have changed.

    Args:
        settings: Settings to train with if there is no run yet.
        scene: Scene to compare on, as for train.
        data: Capture to compare on, in place of a scene; it needs ground truth.
        data_root: Folder of scenes for --scene; the default is the environment variable
            SPLAT_UFF_DATA.
        run: Finished run of the scene; the default is runs/NAME, trained first if it is missing.
        output: Folder for tables and figures; the default is RUN/paper.
        features: Folder of dense features of the views for DFF, LSeg and LeRF, in the layout of
            docs/research/baselines.md; the default is colour and gradient statistics.
        sam_checkpoint: Weights of Segment Anything, which is then prompted with the clicks; the
            default is to answer them with the masks of the capture.
        sam_model: Model that the weights belong to.
        sources: Number of views whose masks SAM3D lifts, at least 1.
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
