"""Checks that a run may begin or continue in a folder, and its lock against other processes."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from splat_uff.capture.nerfstudio import read_virtual
from splat_uff.run.folder import CAPTURE, RunFolder
from splat_uff.run.provenance import Provenance, read_provenance
from splat_uff.settings import flatten
from splat_uff.system.errors import InputError, argument, reason_of, worded
from splat_uff.system.files import replacing, visible_entries
from splat_uff.system.lock import folder_lock, require_unlocked


def claim_folder(folder: Path, *, resume: bool, overwrite: bool) -> RunFolder:
    """Check that a run may use a folder, before any work is done for it.

    Args:
        folder: Folder of the run.
        resume: Continue an interrupted run; if there is none, begin a new one.
        overwrite: Replace a run that is already in the folder.

    Raises:
        InputError: If the folder holds something that must not be replaced without being asked to,
            or another process is writing to it.
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
    """Begin or continue a claimed run, and keep other processes out until the block ends.

    Args:
        run: Run folder from `claim_folder`.
        provenance: Settings and inputs of the run.
        resume: Continue an interrupted run; if there is none, begin a new one.
        overwrite: Replace a run that is already in the folder.

    Raises:
        InputError: If the folder cannot be written, another process is writing to it or has written
            to it since it was claimed, or the run to continue was made from other inputs or
            settings.
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
        # It may be some other program's configuration, which --overwrite must not touch.
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
    """Write the provenance of a new run, or check that it is unchanged."""
    if run.config.is_file() and not overwrite:
        differences = _differences(read_provenance(run), provenance)
        if differences:
            raise InputError(
                f"the run in {run.path} was made with {'; '.join(differences)}; go on with the "
                f"{worded('same settings', command='same command')}, or pass "
                f"{argument('overwrite', True)} or another {argument('output')}."
            )
        for leftover in run.path.glob(".*-????????.*"):
            leftover.unlink()  # Half-written when the run was killed.
        return
    import tomli_w

    _clear(run)
    if provenance.data != CAPTURE and read_virtual(run.capture) is not None:
        shutil.rmtree(run.capture)
    record = msgspec.to_builtins(provenance)
    # At the top of the file, so that a file cut off after any line is recognised.
    record = {"num_settings": len(flatten(record["settings"])), **record}
    with replacing(run.config) as temporary:
        temporary.write_text(tomli_w.dumps(record), encoding="utf-8")


def _is_taken(folder: Path) -> bool:
    """Whether the folder holds more than hidden files, which desktops put everywhere.

    Virtual photos do not count: they are made before the run begins, for which they are checked.
    """
    made = RunFolder(folder).capture
    return folder.is_dir() and any(
        entry != made or read_virtual(made) is None for entry in visible_entries(folder)
    )


def _clear(run: RunFolder) -> None:
    """Remove the files of a run and no others, beginning with the one that marks it as finished."""
    files = (
        run.metrics,
        run.gaussians,
        *run.originals,
        run.features,
        run.hierarchy,
        run.names,
        run.report,
        run.overview,
        run.parts,
        run.parts_sheet,
        run.borders_sheet,
    )
    for file in (*files, run.log, run.config):
        file.unlink(missing_ok=True)
    shutil.rmtree(run.checkpoints, ignore_errors=True)


def _differences(was: Provenance, now: Provenance) -> list[str]:
    """List settings that differ, as `name = old (now new)`."""
    old, new = (flatten(msgspec.to_builtins(each)) for each in (was, now))
    return [
        f"{name} = {old.get(name)} (now {new.get(name)})"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
