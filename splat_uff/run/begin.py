"""Whether a run may be begun in a folder, or gone on with, and keeping others out meanwhile."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from splat_uff.run.folder import RunFolder
from splat_uff.run.provenance import Provenance, read_provenance
from splat_uff.settings import flatten
from splat_uff.system.errors import InputError, argument, reason_of, worded
from splat_uff.system.files import replacing, visible_entries
from splat_uff.system.lock import folder_lock, require_unlocked


def claim_folder(folder: Path, *, resume: bool, overwrite: bool) -> RunFolder:
    """See that a run may go into a folder, before any work is done for it.

    Args:
        folder: Where the run goes.
        resume: Go on with a run that was cut off; without one, begin.
        overwrite: Begin again where a run stands already.

    Raises:
        InputError: If something stands there that must not be replaced unasked, or another process
            writes into it.
    """
    if resume and overwrite:
        raise InputError(
            f"{argument('resume', True)} goes on and {argument('overwrite', True)} begins again; "
            "give one of them."
        )
    require_unlocked(folder)
    return _judge_folder(folder, resume=resume, overwrite=overwrite)


@contextmanager
def start_run(
    run: RunFolder, provenance: Provenance, *, resume: bool, overwrite: bool
) -> Iterator[None]:
    """Begin an opened run or go on with it, and keep other processes out until the block ends.

    Args:
        run: As `claim_folder` returns it.
        provenance: What it is made from.
        resume: Go on with a run that was cut off; without one, begin.
        overwrite: Begin again where a run stands already.

    Raises:
        InputError: If the folder cannot be written, or another process writes into it or has
            written there since it was claimed, or the run that is to be gone on with was made
            from something else.
    """
    with ExitStack() as held:
        try:
            held.enter_context(folder_lock(run.path))
            _judge_folder(run.path, resume=resume, overwrite=overwrite)
            _begin(run, provenance, overwrite=overwrite)
        except OSError as error:
            raise InputError(
                f"cannot write to {run.path} ({reason_of(error)}); pass another "
                f"{argument('output')}."
            ) from None
        yield


def _judge_folder(folder: Path, *, resume: bool, overwrite: bool) -> RunFolder:
    run = RunFolder(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; pass a folder as {argument('output')}.")
    if not _is_taken(folder):
        return run
    if not run.config.is_file():
        raise InputError(f"{folder} holds files but no run; pass another {argument('output')}.")
    try:
        read_provenance(run)
    except InputError as error:
        # It may be the configuration of anything else, which --overwrite must not touch.
        raise InputError(
            f"{folder} holds no whole run; pass another {argument('output')} ({error})"
        ) from None
    if run.finished and not (resume or overwrite):
        raise InputError(
            f"{folder} holds a finished run; pass {argument('overwrite', True)} or another "
            f"{argument('output')}."
        )
    if not (resume or overwrite):
        raise InputError(
            f"{folder} holds a run that was cut off; pass {argument('resume', True)} to go on, "
            f"or {argument('overwrite', True)} to begin again."
        )
    return run


def _begin(run: RunFolder, provenance: Provenance, *, overwrite: bool) -> None:
    """Write what a run is made from, or see that it is as it was."""
    if run.config.is_file() and not overwrite:
        differences = _differences(read_provenance(run), provenance)
        if differences:
            raise InputError(
                f"the run in {run.path} was made with {'; '.join(differences)}; go on with the "
                f"{worded('same settings', command='same command')}, or pass "
                f"{argument('overwrite', True)} or another {argument('output')}."
            )
        for leftover in run.path.glob(".*-????????.*"):
            leftover.unlink()  # What a kill left half-written.
        return
    import tomli_w

    _clear(run)
    record = msgspec.to_builtins(provenance)
    # At the top of the file, so that one that is cut off after any line can be told.
    record = {"num_settings": len(flatten(record["settings"])), **record}
    with replacing(run.config) as temporary:
        temporary.write_text(tomli_w.dumps(record), encoding="utf-8")


def _is_taken(folder: Path) -> bool:
    """Whether there is anything but hidden files, which desktops put everywhere."""
    return folder.is_dir() and bool(visible_entries(folder))


def _clear(run: RunFolder) -> None:
    """Remove the files of a run and no others; the one that says it is finished goes first."""
    files = (
        run.metrics,
        run.gaussians,
        run.original,
        run.features,
        run.hierarchy,
        run.names,
        run.report,
        run.overview,
    )
    for file in (*files, run.log, run.config):
        file.unlink(missing_ok=True)
    shutil.rmtree(run.checkpoints, ignore_errors=True)


def _differences(was: Provenance, now: Provenance) -> list[str]:
    """Settings that differ, as `name = old (now new)`."""
    old, new = (flatten(msgspec.to_builtins(each)) for each in (was, now))
    return [
        f"{name} = {old.get(name)} (now {new.get(name)})"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
