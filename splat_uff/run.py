"""The run folder: what is where, what it was made with, and whether it may be gone on with."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from splat_uff import __version__
from splat_uff.errors import InputError, argument, worded
from splat_uff.files import is_hidden, read_arrays, replacing, visible_entries, write_arrays
from splat_uff.lock import folder_lock, require_unlocked
from splat_uff.settings import TrainConfig, add_former, convert, flatten, read_toml


@dataclass(frozen=True)
class Provenance:
    """What a run is made from; two runs with equal provenance have equal results."""

    scene: str
    data: str
    masks: str
    """Where the 2D masks come from: `simulated`, `imported` or `classical`."""
    fingerprint: str
    """Of the capture's files."""
    settings: TrainConfig
    version: str = __version__
    mask_source: str = ""
    """`classical` or a folder of masks; the capture's own where it is empty."""
    gaussians_source: str = ""
    """A `.ply` of Gaussians fitted elsewhere, and its digest; fitted here where it is empty."""


@dataclass(frozen=True)
class Run:
    """The files of one run."""

    folder: Path

    @property
    def config(self) -> Path:
        """Provenance as TOML."""
        return self.folder / "config.toml"

    @property
    def gaussians(self) -> Path:
        """Standard 3DGS columns, in our normalised world."""
        return self.folder / "gaussians.ply"

    @property
    def original(self) -> Path:
        """The file of Gaussians fitted elsewhere, as it was given, where one was."""
        return self.folder / "original.ply"

    @property
    def features(self) -> Path:
        """`features` [N, D] and `largest_weights` [N]."""
        return self.folder / "features.npz"

    @property
    def hierarchy(self) -> Path:
        """`parents`, `altitudes`, `num_leaves`, `shaping`, `source_from_world`, and where it was
        computed `support`."""
        return self.folder / "hierarchy.npz"

    @property
    def names(self) -> Path:
        """Names that people gave to nodes of the tree, where they did."""
        return self.folder / "names.json"

    @property
    def metrics(self) -> Path:
        """Scores; written last, so a run that has it is finished."""
        return self.folder / "metrics.json"

    @property
    def report(self) -> Path:
        """One page to look at."""
        return self.folder / "report.html"

    @property
    def overview(self) -> Path:
        """One picture to look at."""
        return self.folder / "overview.png"

    @property
    def log(self) -> Path:
        """One JSON object per line: stage, step and figures."""
        return self.folder / "log.jsonl"

    @property
    def checkpoints(self) -> Path:
        """States of stages, while the run is not finished."""
        return self.folder / "checkpoint"

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.metrics.is_file()


def claim_folder(folder: Path, *, resume: bool, overwrite: bool) -> Run:
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


def _judge_folder(folder: Path, *, resume: bool, overwrite: bool) -> Run:
    run = Run(folder)
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


@contextmanager
def start_run(run: Run, provenance: Provenance, *, resume: bool, overwrite: bool) -> Iterator[None]:
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
            held.enter_context(folder_lock(run.folder))
            _judge_folder(run.folder, resume=resume, overwrite=overwrite)
            _begin(run, provenance, overwrite=overwrite)
        except OSError as error:
            raise InputError(
                f"cannot write to {run.folder} ({error.strerror}); pass another "
                f"{argument('output')}."
            ) from None
        yield


def _begin(run: Run, provenance: Provenance, *, overwrite: bool) -> None:
    """Write what a run is made from, or see that it is as it was."""
    if run.config.is_file() and not overwrite:
        differences = _differences(read_provenance(run), provenance)
        if differences:
            raise InputError(
                f"the run in {run.folder} was made with {'; '.join(differences)}; go on with the "
                f"{worded('same settings', command='same command')}, or pass "
                f"{argument('overwrite', True)} or another {argument('output')}."
            )
        for leftover in run.folder.glob(".*-????????.*"):
            leftover.unlink()  # What a kill left half-written.
        return
    import tomli_w

    _clear(run)
    record = msgspec.to_builtins(provenance)
    # At the top of the file, so that one that is cut off after any line can be told.
    record = {"num_settings": len(flatten(record["settings"])), **record}
    with replacing(run.config) as temporary:
        temporary.write_text(tomli_w.dumps(record), encoding="utf-8")


def read_provenance(run: Run) -> Provenance:
    """Read what a run was made from.

    Raises:
        InputError: If there is no run, or its `config.toml` is damaged.
    """
    if not run.config.is_file():
        raise InputError(f"no run in {run.folder} (no config.toml); pass the folder of a run.")
    record = read_toml(run.config)
    expected, settings = record.pop("num_settings", None), record.get("settings")
    found = len(flatten(settings)) if isinstance(settings, dict) else 0
    if expected is not None and expected != found:
        raise InputError(
            f"{run.config} has {found} settings and says {expected}, so it is damaged; train again "
            f"with another {argument('output')}."
        )
    if isinstance(settings, dict):
        add_former(settings)
    return convert(record, Provenance, source=f"{run.config}: ")


def read_metrics(run: Run) -> dict[str, Any]:
    """Read the scores of a run.

    Raises:
        InputError: If the run is not finished, or its `metrics.json` is damaged.
    """
    if not run.finished:
        raise InputError(
            f"the run in {run.folder} is not finished; train it with {argument('resume', True)} "
            "first."
        )
    try:
        metrics = json.loads(run.metrics.read_text(encoding="utf-8-sig"))
    except ValueError:
        metrics = None
    if not isinstance(metrics, dict) or not isinstance(metrics.get("seconds"), dict):
        raise InputError(f"{run.metrics} is damaged; {train_again()}.")
    return metrics


def train_again() -> str:
    """What to do where the files of a run are damaged, for the end of a message."""
    return f"train again with {argument('overwrite', True)}"


def write_log(run: Run, stage: str) -> Callable[..., None]:
    """A function that appends one stage's figures to the run's log.

    A stage that was killed has logged steps beyond its last checkpoint and takes them again; its
    first line takes the place of those.
    """
    begun = False

    def log(step: int, **figures: float) -> None:
        nonlocal begun
        if not begun:
            _forget_steps(run.log, stage, step)
            begun = True
        line = json.dumps({"stage": stage, "step": step, **figures})
        with run.log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    return log


def _forget_steps(path: Path, stage: str, step: int) -> None:
    """Remove the lines of a stage from a step on, and what a kill left half-written."""
    lines = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else []

    def is_kept(line: str) -> bool:
        try:
            entry = json.loads(line)
            return entry["stage"] != stage or entry["step"] < step
        except (ValueError, KeyError, TypeError):
            return False

    kept = [line for line in lines if is_kept(line)]
    if len(kept) < len(lines):
        with replacing(path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def digest_of(path: Path) -> str:
    """Of the content of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def fingerprint_of(folder: Path, output: Path) -> str:
    """Of the poses, and of the name and size of every file of the capture.

    Runs are often kept inside the capture (`--data .`), and no part of it: the entry of `folder`
    that leads to `output` does not count.
    """
    folder, output = folder.resolve(), output.resolve()
    runs = output.relative_to(folder).parts[:1] if output.is_relative_to(folder) else ()
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("transforms*.json"), *folder.glob("poses_bounds.npy")]):
        digest.update(path.read_bytes())
    for path in sorted(folder.glob("*/**/*")):
        place = path.relative_to(folder)
        if any(is_hidden(part) for part in place.parts):  # A file manager may add some any time.
            continue
        if path.is_file() and place.parts[:1] != runs:
            digest.update(f"{place} {path.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


def save_arrays(path: Path, provenance: Provenance, **arrays: np.ndarray) -> None:
    """Write arrays with what they were made from."""
    made_by = np.array(json.dumps(msgspec.to_builtins(provenance)))
    write_arrays(path, made_by=made_by, **arrays)


def load_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read arrays and see that all are there.

    Raises:
        InputError: If the file is missing or damaged, or lacks an array.
    """
    arrays = read_arrays(path)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; {train_again()}.")
    return arrays


def _is_taken(folder: Path) -> bool:
    """Whether there is anything but hidden files, which desktops put everywhere."""
    return folder.is_dir() and bool(visible_entries(folder))


def _clear(run: Run) -> None:
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
