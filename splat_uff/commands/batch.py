"""`batch`: train on many captures, here or on many machines."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from splat_uff.commands.arguments import Switch
from splat_uff.settings import settings_file
from splat_uff.system.checkpoints import SECONDS
from splat_uff.system.errors import InputError, on_one_line

if TYPE_CHECKING:
    from splat_uff.batch.crew import Crew
    from splat_uff.batch.task import Task


@dataclass(frozen=True)
class Machines:
    """Machines that train the captures, and what each capture is given."""

    address: Annotated[str, tyro.conf.arg(metavar="auto|HOST:PORT")] = ""
    """Ray cluster to join; auto is the one that runs on this machine. The default is the
    environment variable RAY_ADDRESS, else a cluster of this machine alone that ends with the
    batch."""
    no_ray: Switch = False
    """Do without Ray, on this machine, as is the default with --shard and where Ray is missing."""
    shard: Annotated[str, tyro.conf.arg(metavar="I/N")] = ""
    """Train only the I-th of N shares of the captures, I from 1 to N; for job arrays."""
    cores: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Cores for each capture, at least 1; the default is the number of cores divided by that of
    captures."""
    memory_gb: Annotated[float | None, tyro.conf.arg(metavar="GB")] = None
    """Memory to set aside for each capture, in gigabytes; the default is 4, or less on a smaller
    machine. It limits how many are trained at a time."""
    gpus: Annotated[float | None, tyro.conf.arg(metavar="N")] = None
    """GPUs for each capture, such as 1, 0.5 to let two share one, or 0 to compute on cores; the
    default is 1 where there are GPUs."""


def batch(
    machines: Annotated[Machines, tyro.conf.arg(name="")] = Machines(),
    *,
    captures: Annotated[
        list[str], tyro.conf.Positional, tyro.conf.arg(metavar="CAPTURES...|scenes.toml")
    ],
    output: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs"),
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE|NAME")] = None,
    set: Annotated[list[str], tyro.conf.arg(metavar="NAME=VALUE...")] = [],  # noqa: B006
    checkpoint_seconds: float = SECONDS,
) -> None:
    """Train on many captures, each in a process with cores and memory of its own.

    Captures are folders, files of splats and names of built-in scenes, or one TOML file that lists
    them with their settings (docs/cluster.md). A capture that fails stops no other; failures are
    told at the end, with exit code 1. If the batch is cut off, the same command goes on: finished
    runs stay as they are. The summary is in batch.json and batch.html of the output folder.

    Args:
        machines: Machines and what each capture is given.
        captures: Captures to train on.
        output: Folder in which every capture has a run folder of its own.
        config: TOML file of settings for all captures, or the name of a recipe: paper, ultrametric.
        set: Settings that override all others, such as size=200 gaussians.steps=500.
        checkpoint_seconds: Maximum work lost when a capture is interrupted, in seconds.
    """
    _check(machines, checkpoint_seconds)
    from splat_uff.batch.config import Overrides, parse_overrides, read_entries
    from splat_uff.batch.plan import Shard, parse_shard
    from splat_uff.batch.run import Batch, run_batch
    from splat_uff.batch.summary import PAGE, summary_table
    from splat_uff.system.progress import print_result

    shard = parse_shard(machines.shard) if machines.shard else Shard()
    overrides = Overrides(
        None if config is None else settings_file(str(config)), parse_overrides(set)
    )
    folder = output.resolve()
    entries = read_entries(captures, folder, overrides)
    work = Batch(entries, folder, shard, checkpoint_seconds)
    rows = run_batch(work, lambda tasks: _hire(tasks, machines))
    print_result(summary_table(rows))
    print(f"summary: {output / PAGE}", flush=True)
    failed = [row for row in rows if row.standing == "failed"]
    for row in failed:
        print(f"failed: {row.name}: {on_one_line(row.state.failure)}", file=sys.stderr)
    if failed:
        sys.exit(1)


def _hire(tasks: Sequence["Task"], machines: Machines) -> "Crew":
    """Crew on the cluster that the flags or the environment name, on a local one, or here."""
    from splat_uff.batch.crew import LocalCrew, Needs
    from splat_uff.batch.ray_crew import LOCAL, RayCrew, connect, has_ray
    from splat_uff.system.progress import notice

    needs = Needs(machines.cores, machines.memory_gb, machines.gpus)
    address = machines.address or os.environ.get("RAY_ADDRESS", "")
    here = machines.no_ray or (machines.shard and not machines.address)
    if here or not (address or has_ray()):
        return LocalCrew(tasks, needs)
    try:
        connect(address or LOCAL)
    except InputError as error:
        if address:
            raise
        notice(f"{error} The batch goes on without Ray.")
        return LocalCrew(tasks, needs)
    return RayCrew(tasks, needs, local=not address)


def _check(machines: Machines, seconds: float) -> None:
    if machines.no_ray and machines.address:
        raise InputError("--no-ray and --address contradict each other; give one of them.")
    if machines.cores is not None and not 1 <= machines.cores <= 10_000:
        raise InputError(f"--cores is {machines.cores}; expected at least 1.")
    if machines.memory_gb is not None and not 0 < machines.memory_gb <= 1e6:
        raise InputError(f"--memory-gb is {machines.memory_gb}; expected gigabytes above 0.")
    gpus = machines.gpus
    if gpus is not None and not (0 <= gpus <= 1 or (gpus.is_integer() and gpus <= 1000)):
        raise InputError(f"--gpus is {gpus}; expected a share from 0 to 1, or a whole number.")
    if not seconds >= 0:
        raise InputError(f"--checkpoint-seconds is {seconds}; expected 0 or more.")
