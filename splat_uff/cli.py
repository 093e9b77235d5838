"""The command line: one typed function per subcommand; parses, calls one stage, prints."""

import argparse
import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from splat_uff import __version__
from splat_uff.checkpoints import SECONDS
from splat_uff.errors import InputError
from splat_uff.masks.config import SamSettings
from splat_uff.settings import (
    TrainConfig,
    check_settings,
    config_folder,
    read_settings,
    scene_presets,
)

if TYPE_CHECKING:
    from splat_uff.capture import Capture

SAM_VARIABLE = "SPLAT_UFF_SAM_CHECKPOINT"
"""Environment variable that stands in for --sam-checkpoint."""

Name = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
Folder = Annotated[Path | None, tyro.conf.arg(metavar="DIR")]
File = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]


def train_with(defaults: TrainConfig) -> Callable[..., None]:
    """The `train` command with the settings of a configuration as defaults."""

    def train(
        settings: Annotated[TrainConfig, tyro.conf.arg(name="")] = defaults,
        *,
        scene: Name = None,
        data: Folder = None,
        data_root: Folder = None,
        masks: Annotated[str, tyro.conf.arg(metavar="DIR|classical")] = "",
        gaussians: File = None,
        sam_checkpoint: File = None,
        sam_model: Literal["vit_h", "vit_l", "vit_b"] = "vit_h",
        config: File = None,
        output: Folder = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        resume: Switch = False,
        overwrite: Switch = False,
        checkpoint_seconds: float = SECONDS,
        memory: Annotated[float, tyro.conf.arg(metavar="GB")] = 2.0,
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
            sam_checkpoint: Weights of Segment Anything, to make masks where the capture has none;
                the variable SPLAT_UFF_SAM_CHECKPOINT stands in for it.
            sam_model: Which model the weights belong to.
            config: TOML file of settings, as the config.toml of a run; flags have the last word.
            output: Folder for the results; runs/NAME unless given.
            device: What computes; auto is cuda where torch finds it, else cpu.
            resume: Go on with a run that was cut off.
            overwrite: Begin again where a run stands already.
            checkpoint_seconds: Most work, in seconds, that is lost when a run is cut off.
            memory: Gigabytes of photos, masks and blend weights that are held at most; what is more
                waits on disk beside the run.
        """
        if not checkpoint_seconds >= 0:
            raise InputError(f"--checkpoint-seconds is {checkpoint_seconds}; expected 0 or more.")
        if not memory >= 0:
            raise InputError(f"--memory is {memory}; expected 0 or more gigabytes.")
        check_settings(settings)  # Before a scene is made, which takes a minute.
        folder, name, origin = _find_capture(scene, data, data_root)
        print(origin, flush=True)
        output = output or Path("runs") / name

        from splat_uff import pipeline
        from splat_uff.evaluate.tables import score_table
        from splat_uff.progress import print_result

        checkpoint = _sam_checkpoint(sam_checkpoint)
        if checkpoint is not None and not masks:
            from splat_uff.capture import read_capture

            capture = read_capture(folder, size=settings.size)
            if capture.masks == "none":
                _make_masks(capture, checkpoint, sam_model, SamSettings(), None, device)
        metrics = pipeline.train(
            folder, output, settings,
            scene=name, masks=masks, splats=gaussians, device=device,
            resume=resume, overwrite=overwrite,
            checkpoint_seconds=checkpoint_seconds, memory_gb=memory,
        )  # fmt: skip
        print_result(score_table(metrics))
        print(f"picture: {output / 'overview.png'}\nreport:  {output / 'report.html'}")

    return train


def metrics(
    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = None,
    *,
    predictions: Folder = None,
    scene: Name = None,
    data: Folder = None,
    data_root: Folder = None,
) -> None:
    """Score a finished run in full and print the tables; or the label maps of any other method.

    Args:
        run: Run folder, for example runs/drums.
        predictions: Folder of label maps in the layout of the published scripts, in place of a run.
        scene: Scene that the label maps are of.
        data: Capture that they are of, in place of a scene.
        data_root: Folder of scenes, for --scene; the variable SPLAT_UFF_DATA stands in for it.
    """
    from splat_uff.evaluate.tables import score_table
    from splat_uff.progress import print_result

    if (run is None) == (predictions is None):
        raise InputError(
            "give either a run folder, as runs/drums, or --predictions DIR, and not both; see "
            "splat-uff metrics --help."
        )
    if run is not None:
        if scene or data:
            raise InputError("a run knows its capture; leave --scene and --data out.")
        from splat_uff.stages import score_run

        print_result(score_table(score_run(run)))
        return
    assert predictions is not None
    if (scene is None) == (data is None):
        raise InputError("say with --scene NAME or --data DIR what the label maps are of.")
    if scene is not None:
        from splat_uff.builtin import find_scene

        data = find_scene(scene, data_root=data_root).folder
    assert data is not None
    from splat_uff.predictions import score_predictions

    print_result(score_table(score_predictions(predictions, data)))


def labels(
    run: tyro.conf.Positional[Path],
    *,
    output: Folder = None,
    layout: Literal["uff"] = "uff",
) -> None:
    """Write label maps of the held-out views at every granularity, for other programs to read.

    Args:
        run: Run folder, for example runs/drums.
        output: New folder; RUN/labels unless given.
        layout: That of the published scripts, VIEW/HEIGHT.npy with 200 for none.
    """
    from splat_uff.predictions import write_labels

    output = output or run / "labels"
    print(f"{write_labels(run, output)} views in {output}")


def export(
    run: tyro.conf.Positional[Path],
    *,
    segments: int = 20,
    nodes: tuple[int, ...] = (),
    levels: tuple[int, ...] = (5, 20, 100),
    format: Literal["ply", "splat", "compressed-ply"] = "ply",
    only: tuple[Literal["parts", "scene", "cloud", "labels"], ...] = (),
    output: Folder = None,
) -> None:
    """Take parts of a run away as standard files, in the frame of the capture.

    Args:
        run: Run folder, for example runs/drums.
        segments: Number of parts to cut the scene into, one file of Gaussians each.
        nodes: Parts to write in their place: nodes of the tree, as hierarchy.json numbers them.
        levels: Numbers of segments of labelled files (scene.ply, clouds, boxes, label pictures).
        format: Of the parts. ply keeps every column; splat and compressed-ply are smaller.
        only: What to write; everything unless given. hierarchy.json is always there.
        output: New folder; RUN/export unless given.
    """
    from splat_uff.opened import KINDS, export_run, open_run

    output = output or run / "export"
    written = export_run(
        open_run(run), output, segments=segments, nodes=nodes, levels=levels, format=format,
        kinds=only or KINDS,
    )  # fmt: skip
    parts = sum(path.parent.name == "parts" for path in written)
    print(f"{parts} parts, {len(written)} files in {output}")


def view(
    run: tyro.conf.Positional[Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
) -> None:
    """Open a page on which to play with the hierarchy of a run, select parts and take them away.

    Args:
        run: Run folder, for example runs/drums.
        host: Address to listen on; only this machine can reach 127.0.0.1.
        port: The first free one from here on is taken.
    """
    from splat_uff.opened import open_run
    from splat_uff.view.page import Page, views_of
    from splat_uff.view.serve import serve_until_stopped, start_server

    opened = open_run(run)
    views = views_of(opened)
    server = start_server(f"splat-uff: {opened.provenance.scene}", host=host, port=port)
    page = Page(server, opened, views)
    try:
        serve_until_stopped(server)
    finally:
        page.close()


def render(
    run: tyro.conf.Positional[Path],
    *,
    turntable: Switch = False,
    frames: int = 120,
    size: int = 400,
    fps: int = 24,
    fewest: int = 2,
    most: int = 200,
    photo: float = 0.35,
    output: File = None,
) -> None:
    """Make a film of a run that goes round the scene while its segments split.

    Args:
        run: Run folder, for example runs/drums.
        turntable: Go round; so far there is no other film.
        frames: How many.
        size: Pixels of each side.
        fps: Frames a second.
        fewest: Segments of the first frame.
        most: Segments of the last frame.
        photo: Share of the photographic colours; the rest are colours of segments.
        output: File, .mp4 or .gif; RUN/turntable.mp4 unless given.
    """
    if not turntable:
        raise InputError("say what to render: --turntable goes round the scene.")
    from splat_uff.opened import open_run
    from splat_uff.turntable import write_turntable

    output = output or run / "turntable.mp4"
    write_turntable(
        open_run(run), output, frames=frames, size=size, frames_per_second=fps,
        fewest=fewest, most=most, photo=photo,
    )  # fmt: skip
    print(f"film: {output}")


def paper_with(defaults: TrainConfig) -> Callable[..., None]:
    """The `paper` command, which trains by these settings where there is no run yet."""

    def paper(
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
            scene: Compare on this scene, as for train.
            data: Compare on this capture, in place of a scene; it needs ground truth.
            data_root: Folder of scenes, for --scene; the variable SPLAT_UFF_DATA stands in for it.
            run: Its finished run; runs/NAME unless given, trained first where there is none.
            output: Folder for tables and figures; RUN/paper unless given.
            features: Dense features of the views for DFF, LSeg and LeRF (docs/baselines.md); colour
                and gradient statistics stand in for them.
            sam_checkpoint: Weights of Segment Anything, to put the clicks to it; the masks of the
                capture stand in for its answers.
            sam_model: Which model the weights belong to.
            sources: Views whose masks SAM3D lifts.
        """
        if sources < 1:
            raise InputError(f"--sources is {sources}; expected at least 1 view.")
        folder, name, origin = _find_capture(scene, data, data_root)
        print(origin, flush=True)
        run = run or Path("runs") / name

        from splat_uff import pipeline
        from splat_uff.paper.methods import Choices
        from splat_uff.paper.tables import summary_table
        from splat_uff.paper.write import write_paper
        from splat_uff.progress import print_result

        if not (run / "metrics.json").is_file():
            pipeline.train(folder, run, defaults, scene=name, device="auto", resume=True)
        output = output or run / "paper"
        choices = Choices(features, sam_checkpoint, sam_model, sources)
        record = write_paper(run, output, choices, data=folder)
        print_result(summary_table(record["methods"]))
        print(f"tables:  {output / 'paper.md'}\nfigures: {output / 'segments.png'} and others")

    return paper


def masks(
    settings: Annotated[SamSettings, tyro.conf.arg(name="")] = SamSettings(),
    *,
    data: Annotated[Path, tyro.conf.arg(metavar="DIR")],
    sam_checkpoint: File = None,
    sam_model: Literal["vit_h", "vit_l", "vit_b"] = "vit_h",
    size: Annotated[int, tyro.conf.arg(aliases=("--max-size",))] = 200,
    output: Folder = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Make the masks of a capture with Segment Anything, one photo at a time.

    Cut off, the same command goes on. Masks stay until photo, weights or settings change.

    Args:
        settings: Of SAM's automatic mask generator.
        data: Capture, of any layout.
        sam_checkpoint: Weights; the variable SPLAT_UFF_SAM_CHECKPOINT stands in for it.
        sam_model: Which model the weights belong to.
        size: Pixels of the longer side of the photos that are segmented; that of train.
        output: Folder for NAME/000.png ..., for train --masks; unless given they go where train
            looks for them, to train_seg and val_seg in the capture.
        device: What computes; auto is cuda where torch finds it, else cpu.
    """
    from splat_uff.capture import read_capture
    from splat_uff.settings import convert

    convert(dataclasses.asdict(settings), SamSettings, source="")
    checkpoint = _sam_checkpoint(sam_checkpoint)
    if checkpoint is None:
        raise InputError(
            f"no weights; pass --sam-checkpoint FILE or set {SAM_VARIABLE}. Without any, splat-uff "
            "train --masks classical segments by colour."
        )
    if size < 16:
        raise InputError(f"--size is {size}; expected at least 16 pixels.")
    capture = read_capture(data, size=size)
    made = _make_masks(capture, checkpoint, sam_model, settings, output, device)
    print(f"masks of {made} views made, in {output or data}")


def scenes() -> None:
    """List the built-in scenes."""
    from splat_uff.builtin import list_scenes

    for scene in list_scenes():
        made = f"made, in {scene.folder}" if scene.made else "made on first use"
        views = f"{scene.num_train} + {scene.num_val} views at {scene.photo_size} px"
        print(f"{scene.name:<8} {scene.description}; {views}; {made}")


def bench(
    *,
    output: File = None,
    compare: File = None,
    only: str = "",
) -> None:
    """Time every stage on fixed synthetic inputs; takes some two minutes.

    Args:
        output: Write the times to this file, as JSON.
        compare: Print ratios to the times in this file, for example benchmarks/baseline.json.
        only: Time only what has this text in its name.
    """
    from splat_uff.bench import read_times, run_bench, write_times

    baseline = None if compare is None else read_times(compare)
    times = run_bench(only=only, compare=baseline, say=lambda line: print(line, flush=True))
    if output is not None:
        write_times(output, times)


def main(args: list[str] | None = None) -> None:
    """Run one command; mistakes are one line on stderr and exit code 2."""
    args = sys.argv[1:] if args is None else args
    if args == ["--version"]:
        print(f"splat-uff {__version__}")
        return
    try:
        with _stoppable(args):
            commands = {
                "train": train_with(_defaults(args)),
                "metrics": metrics,
                "masks": masks,
                "labels": labels,
                "view": view,
                "render": render,
                "export": export,
                "paper": paper_with(_defaults(args)),
                "scenes": scenes,
                "bench": bench,
            }
            tyro.extras.subcommand_cli_from_dict(
                commands, prog="splat-uff", description=_DESCRIPTION, args=args
            )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # The reader of our output, `head` say, has had enough.
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:  # A full disk, a folder without permission.
        print(f"error: {error}; make room or pass another folder.", file=sys.stderr)
        sys.exit(1)


@contextmanager
def _stoppable(args: list[str]) -> Iterator[None]:
    """End in one line on Ctrl-C or a plain `kill`, with time to clear away what is half-written.

    Either may strike inside compiled code, out of which it comes as an exception of another kind.
    """
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    # Ctrl-C stays ignored where it was, as in the background jobs of a shell script.
    wanted = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    previous = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        if not received and not isinstance(error, KeyboardInterrupt):
            raise
        hint = _HINTS.get(args[0] if args else "", "")
        print(f"stopped{hint}.", file=sys.stderr)
        sys.exit(128 + (received or [signal.SIGINT])[0])
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


_HINTS = {
    "masks": "; the same command goes on",
    "train": "; the same command with --resume goes on",
    "paper": "; the same command goes on",
}
_DESCRIPTION = "Hierarchical, view-consistent 3D segmentation of Gaussian splats."


def _sam_checkpoint(given: Path | None) -> Path | None:
    """Weights of Segment Anything, as given or from the environment."""
    return given or (Path(os.environ[SAM_VARIABLE]) if os.environ.get(SAM_VARIABLE) else None)


def _make_masks(
    capture: "Capture",
    checkpoint: Path,
    model: Literal["vit_h", "vit_l", "vit_b"],
    settings: SamSettings,
    output: Path | None,
    device: str,
) -> int:
    from splat_uff.masks.generate import write_sam_masks
    from splat_uff.masks.sam import load_sam
    from splat_uff.stages import choose_device

    sam = load_sam(checkpoint, model, device=choose_device(device))
    return write_sam_masks(capture, sam, checkpoint, settings, folder=output)


def _find_capture(
    scene: str | None, data: Path | None, data_root: Path | None
) -> tuple[Path, str, str]:
    """Folder and name of what a command works on, and one line on where it comes from.

    Raises:
        InputError: If both or neither are given, or there is no such scene.
    """
    if (scene is None) == (data is None):
        raise InputError("give either --scene NAME or --data DIR, and not both.")
    if scene is not None:
        from splat_uff.builtin import find_scene

        found = find_scene(scene, data_root=data_root)
        return found.folder, scene, found.origin
    assert data is not None
    return data, data.resolve().name, f"capture {data}"


def _defaults(args: list[str]) -> TrainConfig:
    """Defaults of the settings: our own, then the built-in scene's, then --config's.

    They have to be known before the flags are parsed, which then have the last word.
    """
    defaults = TrainConfig()
    if args[:1] not in (["train"], ["paper"]):
        return defaults
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--scene")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--data-root", "--data_root", type=Path)
    try:
        known, _ = parser.parse_known_args(args)
    except argparse.ArgumentError:  # A flag without its value, of which tyro will complain.
        return defaults
    if known.scene in scene_presets() and not _is_users_own(known.scene, known.data_root):
        defaults = read_settings(config_folder() / f"{known.scene}.toml", defaults)
    return defaults if known.config is None else read_settings(known.config, defaults)


def _is_users_own(scene: str, data_root: Path | None) -> bool:
    """Whether a scene is a folder of the user, to which no settings of ours belong."""
    from splat_uff.builtin import data_root_folder

    root = data_root_folder(data_root)
    return root is not None and (root / scene).is_dir()
