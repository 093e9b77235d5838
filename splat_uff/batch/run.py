"""A batch from end to end: hand out what is left, follow it, and tell how it ended."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from splat_uff.batch.board import Board
from splat_uff.batch.config import Entry
from splat_uff.batch.crew import Crew
from splat_uff.batch.notes import FOLDER, Notes, Row, read_row
from splat_uff.batch.plan import Shard, check_run, order
from splat_uff.batch.summary import summary_lock, write_summary
from splat_uff.batch.task import Task
from splat_uff.scenes.builtin import find_scene
from splat_uff.system.checkpoints import SECONDS
from splat_uff.system.errors import InputError
from splat_uff.system.lock import FolderLocked, folder_lock
from splat_uff.system.memory import MEMORY_GB

POLL_SECONDS = 1.0
"""Time in seconds between two looks at the notes of the captures."""


@dataclass(frozen=True)
class Batch:
    """Some captures, and the folder for their runs."""

    entries: Sequence[Entry]
    output: Path
    """Absolute path of the folder in which every run has a folder of its own."""
    shard: Shard = field(default_factory=Shard)
    """Share of the captures that is trained here."""
    checkpoint_seconds: float = SECONDS
    """Most work, in seconds, that is lost if a process is killed."""
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    """Random name of this batch, by which its processes are told from earlier ones."""
    _finished: dict[str, Row] = field(default_factory=dict)
    """Rows that do not change any more."""

    @property
    def mine(self) -> list[Entry]:
        """Captures of this share."""
        return self.shard.of(self.entries)

    def rows(self, *, alive: bool) -> list[Row]:
        """State of every capture, those of other shares as well.

        Args:
            alive: Whether processes of this batch may still be training.
        """
        mine = {entry.name for entry in self.mine}
        token = self.token if alive else ""
        rows = [
            self._finished.get(each.name)
            or read_row(self.output, each.name, each.source, token if each.name in mine else None)
            for each in self.entries
        ]
        self._finished.update({row.name: row for row in rows if row.standing == "finished"})
        return rows


def run_batch(batch: Batch, hire: Callable[[Sequence[Task]], Crew]) -> list[Row]:
    """Train all captures of a batch that are not finished; a failure stops no other.

    Whenever a capture begins, ends or fails, the summary is written anew. If the batch is stopped
    or killed, the same one goes on later: finished runs stay, and those that were cut off go on.

    Args:
        batch: The captures.
        hire: Function that starts on tasks and returns the crew that works on them; not called
            if nothing is left.

    Returns:
        Where the captures of this share stand at the end.

    Raises:
        InputError: If the output folder cannot be written, or there is no crew.
    """
    (batch.output / FOLDER).mkdir(parents=True, exist_ok=True)
    tasks = _prepare(batch)
    told = _Told(batch)
    told.tell(alive=bool(tasks))
    if tasks:
        crew = hire(tasks)
        try:
            with Board() as board:
                while crew.busy:
                    for ended in crew.poll(POLL_SECONDS):
                        if ended.failure:
                            _note_failure(batch, ended.task.name, ended.failure)
                    board.show(told.tell(alive=True))
        finally:
            crew.stop()
            told.tell(alive=False)
    names = {entry.name for entry in batch.mine}
    return [row for row in batch.rows(alive=False) if row.name in names]


class _Told:
    """What was last told by the summary."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._last: list[tuple[str, int]] | None = None

    def tell(self, *, alive: bool) -> list[Row]:
        """Read where the captures stand, and write the summary if that has changed."""
        rows = self._batch.rows(alive=alive)
        now = [(row.standing, len(row.state.attempts)) for row in rows]
        if now != self._last:
            self._last = now
            if self._batch.shard.count == 1:
                write_summary(self._batch.output, rows)
            else:
                with summary_lock(self._batch.output):
                    rows = self._batch.rows(alive=alive)
                    write_summary(self._batch.output, rows)
        return rows


def _prepare(batch: Batch) -> list[Task]:
    """Tasks for what is left; runs of other settings, and scenes that are missing, fail at once."""
    failed = set()
    for entry in batch.mine:
        notes = Notes.of(batch.output, entry.name)
        state = notes.read()
        try:
            check_run(entry, batch.output)
        except InputError as error:
            _note_failure(batch, entry.name, str(error))
            failed.add(entry.name)
        else:
            if state.failure:  # It is tried again, or was trained by other means.
                notes.write(replace(state, failure=""))
    left = [entry for entry in order(batch.mine, batch.output) if entry.name not in failed]
    return [_task(batch, entry) for entry in left]


def _task(batch: Batch, entry: Entry) -> Task:
    data = entry.data
    if entry.scene:
        data = _made_scene(entry.scene, batch.output)
    return Task(
        name=entry.name,
        token=batch.token,
        output=str(batch.output / entry.name),
        notes=str(Notes.of(batch.output, entry.name).folder),
        settings=entry.settings,
        data=None if data is None else str(data),
        splats=None if entry.splats is None else str(entry.splats),
        masks=entry.masks,
        force=entry.force,
        memory_gb=MEMORY_GB,
        checkpoint_seconds=batch.checkpoint_seconds,
    )


def _made_scene(name: str, output: Path) -> Path:
    """Folder of a scene; a built-in one is made by one process, not by all shares at once."""
    while True:
        try:
            with folder_lock(output / FOLDER / ".scenes"):
                return find_scene(name).folder.absolute()
        except FolderLocked:
            continue  # Another share is making a scene.


def _note_failure(batch: Batch, name: str, failure: str) -> None:
    notes = Notes.of(batch.output, name)
    notes.write(replace(notes.read(), ended=True, failure=failure))
