"""Commands for a finished run: score it, view it, film it, export it."""

from json import dumps
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from splat_uff.commands.arguments import File, Folder, Name, Switch
from splat_uff.commands.splats import view_splats
from splat_uff.export.config import Export
from splat_uff.formats.detect import ENDINGS
from splat_uff.system.errors import InputError

SUFFIXES = {Path(ending).suffix for ending in ENDINGS.values()}
"""Last endings of files of splats."""


def metrics(
    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")] = None,
    *,
    predictions: Folder = None,
    scene: Name = None,
    data: Folder = None,
    data_root: Folder = None,
    parts: Switch = False,
    json: Switch = False,
) -> None:
    """Score a finished run, or the label maps of another method, and print the tables.

    The scores of a run are stored in its metrics.json and shown in its report.html, those with
    --parts in its parts.json and parts.png.

    Args:
        run: Run folder, for example runs/drums.
        predictions: Folder of label maps in the layout of the published scripts, in place of a run.
        scene: Scene that the label maps belong to.
        data: Capture that the label maps belong to, in place of a scene.
        data_root: Folder of scenes for --scene; the default is the environment variable
            SPLAT_UFF_DATA.
        parts: Score in place of all else how good the run's parts are when each is rendered alone;
            only for built-in scenes.
        json: Print JSON, as in metrics.json or parts.json, in place of tables.
    """
    if (run is None) == (predictions is None):
        raise InputError(
            "give either a run folder, as runs/drums, or --predictions DIR, and not both; see "
            "splat-uff metrics --help."
        )
    if run is not None:
        if scene or data:
            raise InputError("a run knows its capture; leave --scene and --data out.")
        if parts:
            _print_parts(run, as_json=json)
            return
        from splat_uff.report.rescore import score_run

        _print_scores(score_run(run), as_json=json)
        return
    assert predictions is not None
    if parts:
        raise InputError(
            "--parts scores the Gaussians of a run, which label maps do not have; give a run "
            "folder, as runs/drums, or leave it out."
        )
    if (scene is None) == (data is None):
        raise InputError("say with --scene NAME or --data DIR what the label maps are of.")
    if scene is not None:
        from splat_uff.scenes.builtin import find_scene

        data = find_scene(scene, data_root=data_root).folder
    assert data is not None
    from splat_uff.evaluate.predictions import score_predictions

    _print_scores(score_predictions(predictions, data, scene=scene or ""), as_json=json)


def _print_scores(metrics: dict[str, Any], *, as_json: bool) -> None:
    """Print scores as tables, or as JSON alone."""
    if as_json:
        print(dumps(metrics, indent=2, allow_nan=False))
        return
    from splat_uff.report.tables import score_table
    from splat_uff.system.progress import print_result

    print_result(score_table(metrics))


def _print_parts(folder: Path, *, as_json: bool) -> None:
    """Score the parts of a run alone, keep the scores in its folder, and print them."""
    from splat_uff.report.parts import keep_parts, parts_table, score_run_parts
    from splat_uff.run.open import open_run
    from splat_uff.scenes.builtin_parts import render_parts

    run = open_run(folder, finished=True)
    truth = render_parts(run.capture)
    scored = score_run_parts(run, truth)
    keep_parts(run, scored, truth)
    if as_json:
        print(dumps(scored.record(), indent=2, allow_nan=False))
        return
    from splat_uff.system.progress import print_result

    print_result(parts_table(scored))


def labels(
    run: tyro.conf.Positional[Path],
    *,
    output: Folder = None,
    layout: Literal["uff"] = "uff",
) -> None:
    """Write label maps of the held-out views at every granularity, for other programs to read.

    Args:
        run: Run folder, for example runs/drums.
        output: Folder to create; the default is RUN/labels.
        layout: Layout of the files; uff is that of the published scripts, VIEW/HEIGHT.npy with 200
            for no segment.
    """
    from splat_uff.export.label_maps import write_labels

    output = output or run / "labels"
    print(f"{write_labels(run, output)} views in {output}")


def view(
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN|FILE")],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
) -> None:
    """Open a page to explore the hierarchy of a run, select parts and export them.

    Given a splat in place of a run, it is first trained on without photos, in runs/NAME, unless
    that has been done; the page shows the training.

    Args:
        run: Run folder, for example runs/drums, or a splat: .ply, .splat, .ksplat, .spz, .sog.
        host: Address to listen on. Only this machine can reach 127.0.0.1; any other address
            requires the token in the printed URL.
        port: Port to listen on, or the next free one after it.
    """
    if (
        run.is_file()
        or (run / "meta.json").is_file()
        or (run.suffix in SUFFIXES and not run.exists())
    ):
        view_splats(run, host=host, port=port)
        return
    from splat_uff.run.open import open_run
    from splat_uff.view.app import show_run

    show_run(open_run(run), host=host, port=port)


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
    """Render a film that circles the scene of a run while its segments split.

    Args:
        run: Run folder, for example runs/drums.
        turntable: Circle the scene; currently the only kind of film, so it must be given.
        frames: Number of frames, at least 2.
        size: Width and height of the film, in pixels.
        fps: Frames per second.
        fewest: Number of segments in the first frame.
        most: Number of segments in the last frame.
        photo: Share of the photographic colours, 0 to 1; segment colours make up the rest.
        output: File to write, .mp4 or .gif; the default is RUN/turntable.mp4.
    """
    if not turntable:
        raise InputError("say what to render: --turntable goes round the scene.")
    from splat_uff.export.turntable import Film, write_turntable
    from splat_uff.run.open import open_run

    output = output or run / "turntable.mp4"
    film = Film(frames, size, frames_per_second=fps, fewest=fewest, most=most, photo=photo)
    write_turntable(open_run(run), output, film)
    print(f"film: {output}")


def export(
    run: tyro.conf.Positional[Path],
    wanted: Annotated[Export, tyro.conf.arg(name="")] = Export(),
    *,
    output: Folder = None,
) -> None:
    """Export parts of a run as standard files, in the coordinate frame of the capture.

    Args:
        run: Run folder, for example runs/drums.
        wanted: Choice of parts, formats and kinds of files.
        output: Folder to create; the default is RUN/export.
    """
    from splat_uff.export.run import export_run
    from splat_uff.run.open import open_run

    output = output or run / "export"
    written = export_run(open_run(run), output, wanted)
    parts = sum(path.parent.name == "parts" for path in written)
    print(f"{f'{parts} parts, ' if parts else ''}{len(written)} files in {output}")
