"""The process that trains one capture of a batch, and ends when the one that started it does.

It reads its task from the first line of stdin and keeps stdin open: once that is closed, whoever
would have waited for the result is gone, so it ends at once and its lock on the run with it.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec

from splat_uff.batch.notes import Attempt, Notes
from splat_uff.batch.task import Task
from splat_uff.system.errors import InputError
from splat_uff.system.lock import FolderLocked
from splat_uff.system.observer import Observer
from splat_uff.system.progress import followed, notice
from splat_uff.training.inputs import TrainOptions
from splat_uff.training.train import train

PATIENCE_SECONDS = 120.0
"""Time in seconds to wait for another process's lock on the run: a server of files may hold the
lock of a machine that died for a minute and a half."""
NOTE_EVERY = 1.0
"""Seconds between two notes of the progress."""
ORPHANED = 75
"""Exit code if the process that waited for this one is gone."""


class Noting(Observer):
    """Observer that notes how far the training is."""

    def __init__(self, notes: Notes, attempt: Attempt) -> None:
        """Note that a new attempt begins, after those before it."""
        self._notes = notes
        earlier = notes.read().attempts
        self._state = replace(
            notes.read(), attempts=(*earlier, attempt), stage="starting", done=0, total=0,
            ended=False, failure="",
        )  # fmt: skip
        self._noted = 0.0
        self._note(now=True)

    def stage(self, name: str) -> None:
        """Note the stage."""
        self._state = replace(self._state, stage=name, done=0, total=0)
        self._note(now=True)

    def after_step(self, stage: str, step: int, total: int, look: Callable[[], Any]) -> None:
        """Note the first step of the attempt, which tells whether it went on or began again."""
        attempt = self._state.attempts[-1]
        if not attempt.first_step:
            attempt = replace(attempt, first_step=f"{stage} {step} of {total}")
            attempts = (*self._state.attempts[:-1], attempt)
            self._state = replace(self._state, attempts=attempts)
            self._note(now=True)

    def bar(self, title: str, done: int, total: int) -> None:
        """Note how far a bar is."""
        self._state = replace(self._state, stage=title, done=done, total=total)
        self._note()

    def end(self) -> None:
        """Note that the training ended well."""
        self._state = replace(self._state, stage="", done=0, total=0, ended=True)
        self._note(now=True)

    def _note(self, *, now: bool = False) -> None:
        if now or time.monotonic() - self._noted >= NOTE_EVERY:
            self._noted = time.monotonic()
            self._notes.write(self._state)


def work(task: Task) -> None:
    """Train one capture, or go on where an earlier process was cut off.

    Raises:
        InputError: If the capture or its settings are invalid, or another process keeps its lock.
    """
    began = datetime.now(timezone.utc).isoformat(timespec="seconds")
    attempt = Attempt(task.token, socket.gethostname(), os.getpid(), began)
    noting = Noting(Notes(Path(task.notes)), attempt)
    options = TrainOptions(
        scene=task.name, device=task.device, resume=True, force=task.force,
        checkpoint_seconds=task.checkpoint_seconds, memory_gb=task.memory_gb,
    )  # fmt: skip
    end, told = time.monotonic() + PATIENCE_SECONDS, False
    while True:
        try:
            with followed(noting.bar):
                train(
                    task.data, task.output, task.settings, masks=task.masks, splats=task.splats,
                    options=options, observer=noting,
                )  # fmt: skip
            return noting.end()
        except FolderLocked as error:
            if time.monotonic() > end:
                raise
            if not told:
                notice(str(error))
            told = True
            noting.stage("waiting for a lock")
            time.sleep(1.0)


def main() -> None:
    """Read a task from stdin and train; a mistake of the user's prints one line and exits by 2."""
    task = msgspec.json.decode(_read_line(), type=Task)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(task)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(2)


def _read_line() -> bytes:
    """Read the first line of stdin, unbuffered: a buffer's lock would outlive the process's end."""
    line = bytearray()
    while not line.endswith(b"\n"):
        block = os.read(0, 1 << 16)
        if not block:
            os._exit(ORPHANED)
        line += block
    return bytes(line)


def _end_with_parent() -> None:
    with suppress(OSError):
        while os.read(0, 1 << 10):
            pass
    os._exit(ORPHANED)


if __name__ == "__main__":
    main()
