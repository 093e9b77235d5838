"""Starting the process that trains one capture, and telling in one line how it failed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

import msgspec

from splat_uff.batch.notes import Notes
from splat_uff.batch.task import Task
from splat_uff.system.errors import on_one_line
from splat_uff.system.portable import start_apart, was_killed

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Environment variables that limit the threads of torch, NumPy and numba."""
GRACE_SECONDS = 5.0
"""Time in seconds that a process has to end when it is told to."""
TAIL = 1 << 13
"""Bytes at the end of a log in which the reason of a failure is looked for."""


class Children:
    """The processes that train, so that all of them can be stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def stop(self) -> None:
        """Stop them all, and let no other start."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()

    @property
    def stopped(self) -> bool:
        """Whether they were told to stop."""
        return self._stopped

    @contextmanager
    def started(self, task: Task, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes] | None]:
        """Start the process of a task, which ends with the block; None if no other may start."""
        with self._lock:
            process = None if self._stopped else _start(task, log)
            if process is not None:
                self._running.add(process)
        try:
            yield process
        finally:
            if process is not None:
                _end(process)
                with self._lock:
                    self._running.discard(process)


def train_in_process(task: Task, children: Children | None = None) -> str:
    """Train one capture in a process of its own, so that whatever becomes of it harms no other.

    Args:
        task: The capture and how to train on it.
        children: Processes to which it is added.

    Returns:
        The reason for which it failed, in one line; empty if it is trained, or was stopped.
    """
    children, notes = children or Children(), Notes(Path(task.notes))
    notes.folder.mkdir(parents=True, exist_ok=True)
    with notes.log.open("ab") as log, children.started(task, log) as process:
        if process is None:
            return ""
        code = process.wait()
    if code == 0 or children.stopped:
        return ""
    failure = _reason(code, notes.log)
    notes.write(replace(notes.read(), ended=True, failure=failure))
    return failure


def _start(task: Task, log: IO[bytes]) -> subprocess.Popen[bytes]:
    threads = dict.fromkeys(THREADS, str(task.cores))
    process = start_apart(
        [sys.executable, "-m", "splat_uff.batch.work"],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=os.environ | threads,
        cwd=task.notes,  # Python imports from this folder first, and this one is ours.
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # It has ended already, and its log says why.
        process.stdin.write(msgspec.json.encode(task) + b"\n")
        process.stdin.flush()
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


def _reason(code: int, log: Path) -> str:
    """Say in one line why a process failed: its own error, or what ended it."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        lines = file.read().decode("utf-8", "replace").splitlines()
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if code == 2 and last.startswith("error: "):
        return on_one_line(last.removeprefix("error: "))
    if code < 0:
        name = signal.Signals(-code).name
        hint = ", perhaps for want of memory" if was_killed(code) else ""
        return f"its process was ended by {name}{hint}; see {log}"
    return on_one_line(f"its process ended with exit code {code} ({last}); see {log}")
