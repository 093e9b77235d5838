"""The plan of a batch: which captures are trained here, in which order, and which are finished."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from splat_uff.batch.config import Entry
from splat_uff.run.folder import CAPTURE, RunFolder
from splat_uff.run.provenance import Provenance, digest_of, fingerprint_of, read_provenance
from splat_uff.settings import flatten
from splat_uff.system.errors import InputError

T = TypeVar("T")

MOST_SHARDS = 100_000


@dataclass(frozen=True)
class Shard:
    """One of several shares of a batch, each for a process of its own."""

    index: int = 1
    """Number of the share, from 1."""
    count: int = 1
    """Number of shares."""

    def of(self, items: Sequence[T]) -> list[T]:
        """Items of this share: every `count`-th, so that every item is in exactly one share."""
        return list(items[self.index - 1 :: self.count])


def parse_shard(text: str) -> Shard:
    """Parse a share written as `I/N`.

    Raises:
        InputError: If it is not two whole numbers, I from 1 to N.

    Example:
        >>> parse_shard("2/3").of(["a", "b", "c", "d", "e"])
        ['b', 'e']
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if match is None:
        raise InputError(f"the shard is {text}; expected I/N, such as 2/8 for the second of 8.")
    index, count = int(match[1]), int(match[2])
    if not 1 <= index <= count <= MOST_SHARDS:
        raise InputError(
            f"the shard is {text}; expected I from 1 to N, as in a job array of tasks 1 "
            f"to {count or 'N'}."
        )
    return Shard(index, count)


def order(entries: Sequence[Entry], output: Path) -> list[Entry]:
    """Captures that are not finished: those that were cut off first, else in the given order."""
    runs = [(entry, RunFolder(output / entry.name)) for entry in entries]
    left = [(entry, run) for entry, run in runs if not run.finished]
    return [entry for entry, _ in sorted(left, key=lambda each: not each[1].config.is_file())]


def check_run(entry: Entry, output: Path) -> None:
    """Check that a run, if there is one, was made as this batch would make it.

    Nothing is read of a capture that was moved away after its run was finished.

    Raises:
        InputError: If it was made from other inputs or with other settings, or is damaged.
    """
    run = RunFolder(output / entry.name)
    if not run.config.is_file():
        return
    was = read_provenance(run)
    differences = [
        f"{name} = {old} (now {new})"
        for name, old, new in _differences(was, entry, run)
        if old != new
    ]
    if differences:
        raise InputError(
            f"the run in {run.path} was made with {'; '.join(differences)}; remove that folder to "
            "train again, or give another name or output."
        )


def _differences(was: Provenance, entry: Entry, run: RunFolder) -> list[tuple[str, object, object]]:
    """Names of inputs and settings with their values in a run and in the batch."""
    old, new = (flatten(msgspec.to_builtins(each)) for each in (was.settings, entry.settings))
    pairs: list[tuple[str, object, object]] = [
        (name, old.get(name), new.get(name)) for name in sorted(old.keys() | new.keys())
    ]
    alone = entry.splats is not None and entry.data is None
    if entry.data is not None:
        pairs.append(("data", was.data, str(entry.data.resolve())))
    elif alone:
        pairs.append(("data", was.data, CAPTURE))
    if entry.masks:
        masks = entry.masks if entry.masks == "classical" else str(Path(entry.masks).resolve())
        pairs.append(("masks", was.mask_source, masks))
    elif not alone:
        pairs.append(("masks", was.mask_source, ""))
    if entry.data is not None and entry.data.is_dir():
        pairs.append(("fingerprint", was.fingerprint, fingerprint_of(entry.data, run.path)))
    if entry.splats is None:
        pairs.append(("gaussians", was.gaussians_source, ""))
    elif entry.splats.exists():
        given = f"{entry.splats.resolve()} {digest_of(entry.splats)}"
        pairs.append(("gaussians", was.gaussians_source, given))
    return pairs
