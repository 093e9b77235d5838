"""`train` and `paper`, the two commands that train."""

from collections.abc import Callable
from dataclasses import dataclass
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
from splat_uff.run.folder import name_of_splats
from splat_uff.settings import TrainConfig, check_settings
from splat_uff.system.checkpoints import SECONDS
from splat_uff.system.errors import InputError
from splat_uff.system.observer import NOBODY, Observer
from splat_uff.training.kernels import FIT, REST, Kernels

if TYPE_CHECKING:
    from splat_uff.capture import Capture


@dataclass(frozen=True)
class Input:
    """Photos, masks and Gaussians to start from."""

    scene: Name = None
    """Scene to train on: a folder of this name under --data-root, else a built-in scene."""
    data: Folder = None
    """Capture to train on, in any layout of docs/input.md (COLMAP, nerfstudio, ...)."""
    data_root: Folder = None
    """Folder of scenes for --scene; the default is the environment variable SPLAT_UFF_DATA."""
    masks: Annotated[str, tyro.conf.arg(metavar="DIR|classical")] = ""
    """Folder of masks from any tool (docs/input.md), or classical for nested segments by
    colour, depth and normals; the default is the masks in the capture's own folder."""
    gaussians: File = None
    """Gaussians fitted elsewhere (.ply, .splat, .ksplat, .spz, .sog); only features are then
    learned. With --scene or --data, they are in the frame of its poses; alone, virtual photos are
    made of them."""
    force: Switch = False
    """Use those Gaussians even if they do not fit the photos, or look wrong by themselves."""
    sam_checkpoint: File = None
    """Weights of Segment Anything, to make masks if the capture has none; the default is the
    environment variable SPLAT_UFF_SAM_CHECKPOINT."""
    sam_model: Literal["vit_h", "vit_l", "vit_b"] = "vit_h"
    """Model that the weights belong to."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE|NAME")] = None
    """TOML file of settings, such as the config.toml of a run, or the name of a recipe: paper,
    ultrametric. Flags override it."""


@dataclass(frozen=True)
class Running:
    """Results and resources of the training."""

    output: Folder = None
    """Folder for the results; the default is runs/NAME."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto is cuda if torch finds it, else cpu."""
    resume: Switch = False
    """Resume an interrupted run."""
    overwrite: Switch = False
    """Start over if the output folder already holds a run."""
    checkpoint_seconds: float = SECONDS
    """Maximum work lost when a run is interrupted, in seconds."""
    memory: Annotated[float, tyro.conf.arg(metavar="GB")] = 2.0
    """Maximum memory for photos, masks and blend weights, in gigabytes; the rest is kept on disk
    beside the run."""


@dataclass(frozen=True)
class Page:
    """A page that shows the training."""

    view: Switch = False
    """Serve a page that shows the training and, once finished, the run."""
    host: str = "127.0.0.1"
    """Address to serve the page on. Only this machine can reach 127.0.0.1; any other address
    requires the token in the printed URL."""
    port: int = 8080
    """Port to serve the page on, or the next free one after it."""


def train(
    settings: Annotated[TrainConfig, tyro.conf.arg(name="")] = TrainConfig(),
    given: Annotated[Input, tyro.conf.arg(name="")] = Input(),
    running: Annotated[Running, tyro.conf.arg(name="")] = Running(),
    page: Annotated[Page, tyro.conf.arg(name="")] = Page(),
) -> None:
    """Segment a scene: photos and masks in, a tree of 3D segments over Gaussians out.

    Start with "splat-uff train --scene drums", or --scene toy for a run of a few seconds;
    "splat-uff scenes" lists more. A splat without photos is enough, too: "splat-uff train
    --gaussians scene.ply".

    Args:
        settings: Settings of the stages.
        given: Photos, masks and Gaussians to start from.
        running: Results and resources of the training.
        page: A page that shows the training.
    """
    _check(given, running)
    check_settings(settings)  # Before a scene is made, which takes a minute.
    kernels = _compile_ahead(given, running)
    try:
        _train(settings, given, running, page, kernels)
    finally:
        kernels.stop()


def _compile_ahead(given: Input, running: Running) -> Kernels:
    """Start to compile what a training on the CPU calls."""
    if running.device == "cuda":
        return Kernels()
    return Kernels.ahead(*((FIT, REST) if given.gaussians is None else (REST,)))


def _train(
    settings: TrainConfig, given: Input, running: Running, page: Page, kernels: Kernels
) -> None:
    folder: Path | None = None
    if given.gaussians is not None and given.scene is None and given.data is None:
        name, origin = name_of_splats(given.gaussians), f"splats {given.gaussians} without photos"
    else:
        folder, name, origin = find_capture(given.scene, given.data, given.data_root)
    print(origin, flush=True)
    output = running.output or Path("runs") / name

    from splat_uff.report.tables import score_table
    from splat_uff.system.progress import print_result
    from splat_uff.training.inputs import TrainOptions
    from splat_uff.training.train import train as train_on

    options = TrainOptions(
        scene=name, device=running.device, resume=running.resume, overwrite=running.overwrite,
        force=given.force, checkpoint_seconds=running.checkpoint_seconds, memory_gb=running.memory,
        kernels=kernels,
    )  # fmt: skip

    def run(observer: Observer) -> None:
        metrics = train_on(
            folder, output, settings, masks=_masks(given, running.device),
            splats=given.gaussians, options=options, observer=observer,
        )  # fmt: skip
        print_result(score_table(metrics))
        print(f"picture: {output / 'overview.png'}\nreport:  {output / 'report.html'}")

    if page.view:
        from splat_uff.view.app import train_on_page

        train_on_page(run, output, settings, title=name, host=page.host, port=page.port)
    else:
        run(NOBODY)


def _check(given: Input, running: Running) -> None:
    seconds, memory = running.checkpoint_seconds, running.memory
    if not seconds >= 0:
        raise InputError(f"--checkpoint-seconds is {seconds}; expected 0 or more.")
    if not memory >= 0:
        raise InputError(f"--memory is {memory}; expected 0 or more gigabytes.")
    if given.force and given.gaussians is None:
        raise InputError("--force goes with --gaussians FILE; leave it out, or give the file.")


def _masks(given: Input, device: str) -> "str | Callable[[Capture], None]":
    """A folder or the name of a way to make masks; SAM's, if only its weights are given."""
    checkpoint = given_checkpoint(given.sam_checkpoint)
    if given.masks or checkpoint is None:
        return given.masks

    def run_sam(capture: "Capture") -> None:
        settings = SamSettings()
        make_masks(capture, checkpoint, given.sam_model, settings, None, device, keep=True)

    return run_sam


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
