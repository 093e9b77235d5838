"""Command line: dispatches to a command and reports errors in one line."""

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import tyro

from splat_uff import __version__
from splat_uff.commands.batch import batch
from splat_uff.commands.bench import bench
from splat_uff.commands.masks import masks
from splat_uff.commands.runs import export, labels, metrics, render, view
from splat_uff.commands.scenes import scenes
from splat_uff.commands.splats import photos
from splat_uff.commands.train import paper, train
from splat_uff.settings import (
    TrainConfig,
    config_folder,
    read_settings,
    scene_presets,
    settings_file,
)
from splat_uff.system.errors import (
    InputError,
    on_command_line,
    on_one_line,
    reason_of,
    told_in_one_line,
)
from splat_uff.system.observer import TrainingStopped
from splat_uff.system.portable import print_anything


def main(args: list[str] | None = None) -> None:
    """Run one command; a user error prints one line on stderr and exits with code 2."""
    print_anything()
    args = sys.argv[1:] if args is None else args
    if args == ["--version"]:
        print(f"splat-uff {__version__}")
        return
    try:
        with told_in_one_line(), on_command_line(), _stoppable(args):
            _refuse_empty(args)
            commands = {
                "train": partial(train, settings=_defaults(args)),
                "batch": batch,
                "metrics": metrics,
                "masks": masks,
                "photos": photos,
                "labels": labels,
                "view": view,
                "render": render,
                "export": export,
                "paper": partial(paper, settings=_defaults(args)),
                "scenes": scenes,
                "bench": bench,
            }
            tyro.extras.subcommand_cli_from_dict(
                commands, prog="splat-uff", description=_DESCRIPTION, args=args
            )
    except BrokenPipeError:  # The reader of our output, such as `head`, closed the pipe.
        sys.stderr.close()
        sys.exit(141)
    except PermissionError as error:
        print(
            f"error: {on_one_line(str(error.filename))} may not be read or written "
            f"({reason_of(error)}); change its permissions, or pass another folder.",
            file=sys.stderr,
        )
        sys.exit(2)
    except OSError as error:  # For example, a full disk.
        print(f"error: {error}; make room or pass another folder.", file=sys.stderr)
        sys.exit(1)


@contextmanager
def _stoppable(args: list[str]) -> Iterator[None]:
    """Stop with one line on Ctrl-C or a plain `kill`, after cleaning up half-written files.

    Either may arrive inside compiled code, which then raises a different exception.
    """
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    # Ctrl-C stays ignored where it already was, as in background jobs of a shell script.
    wanted = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    previous = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        if not received and not isinstance(error, KeyboardInterrupt | TrainingStopped):
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
    "batch": "; the same command goes on",
    "paper": "; the same command goes on",
}
_DESCRIPTION = "Hierarchical, view-consistent 3D segmentation of Gaussian splats."


def _refuse_empty(args: list[str]) -> None:
    """Refuse an empty argument, which as a path would mean the working folder.

    Raises:
        InputError: If one is empty.
    """
    for before, value in pairwise(["", *args]):
        name, equals, after = value.partition("=")
        joined = name.startswith("--") and equals and not after  # As in --output=
        if value == "" or joined:
            flag = name if joined else before
            what = f"nothing follows {flag}" if flag.startswith("-") else "an argument is empty"
            raise InputError(f"{what}, as when a variable of the shell has no value; pass a value.")


def _defaults(args: list[str]) -> TrainConfig:
    """Default settings: ours, overridden by the built-in scene's, then by --config's.

    They must be known before the flags are parsed, and the flags override them.
    """
    defaults = TrainConfig()
    if args[:1] not in (["train"], ["paper"]):
        return defaults
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--scene")
    parser.add_argument("--config")
    parser.add_argument("--data-root", "--data_root", type=Path)
    try:
        known, _ = parser.parse_known_args(args)
    except argparse.ArgumentError:  # A flag without a value; tyro reports it.
        return defaults
    if known.scene in scene_presets():
        from splat_uff.scenes.builtin import is_users_own

        if not is_users_own(known.scene, data_root=known.data_root):
            defaults = read_settings(config_folder() / f"{known.scene}.toml", defaults)
    return (
        defaults if known.config is None else read_settings(settings_file(known.config), defaults)
    )
