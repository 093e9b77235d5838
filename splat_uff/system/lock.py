"""A folder lock that lets one process write at a time and ends with that process."""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from splat_uff.system.errors import InputError, argument, reason_of
from splat_uff.system.portable import NO_LINKS, close_and_remove, is_file_of, try_to_lock
from splat_uff.system.progress import notice

NAME = ".lock"
OPEN = os.O_RDWR | NO_LINKS
"""Flags for opening the lock file; links are not followed, since a link in someone else's folder
could make us write to another file."""
PATIENCE_SECONDS = 0.5
"""Time in seconds to wait for processes that hold the lock only to test it."""
MOST_BYTES = 300
"""Most bytes of the lock file that are read."""


class FolderLocked(InputError):
    """Error raised when another process is writing to the folder."""

    def __init__(self, folder: Path, holder: str) -> None:
        """Name the folder and the process that holds it, such as `process 12`."""
        super().__init__(
            f"{folder} is being written by {holder}; wait until that ends, stop it, or pass "
            f"another {argument('output')}."
        )
        self.holder = holder


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is created if it does not exist.

    The system holds the lock for the process and releases it when the process ends, even by
    `kill -9`. The locked file, `.lock`, names the process and is removed with the lock; one left
    behind by a kill is not locked and does no harm.

    Raises:
        FolderLocked: If another process holds it.
        OSError: If the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    descriptor = _take(path)
    try:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode())
        yield
    finally:
        # If the folder was removed meanwhile, the file there now belongs to another process.
        close_and_remove(descriptor, path)


def require_unlocked(folder: Path) -> None:
    """Check, without writing, that no other process writes to a folder, which need not exist.

    Raises:
        FolderLocked: If another process writes to it.
    """
    try:
        descriptor = os.open(folder / NAME, OPEN)
    except OSError:  # There is no lock file, or it cannot be written, as `folder_lock` will report.
        return
    try:
        with suppress(OSError):
            _lock(descriptor, folder)
    finally:
        os.close(descriptor)


def _take(path: Path) -> int:
    """Open the file and lock it.

    A process that ends may remove the file after it was opened and before it is locked. Such a lock
    would keep nobody out, because the next process creates a new file.
    """
    while True:
        descriptor = os.open(path, os.O_CREAT | OPEN, 0o666)
        try:
            try:
                _lock(descriptor, path.parent)
            except OSError as error:  # Some network file systems do not support locks.
                notice(
                    f"{path.parent} cannot be locked ({reason_of(error)}); see that no other "
                    "process writes into it."
                )
            with suppress(FileNotFoundError):
                if is_file_of(descriptor, path):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    """Lock an open file, retrying briefly; an OSError means that it cannot be locked."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            try_to_lock(descriptor)
            return
        except (BlockingIOError, PermissionError):
            if time.monotonic() > end:
                _refuse(descriptor, folder)
        time.sleep(0.02)


def _refuse(descriptor: int, folder: Path) -> NoReturn:
    """Raise an error that names the process holding the lock."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    said = re.fullmatch(
        r"(\d{1,10}) ([\w.-]+)\s*", os.read(descriptor, MOST_BYTES).decode("latin-1")
    )
    holder = "another process" if said is None else f"process {said[1]}"
    if said is not None and said[2] != socket.gethostname():
        holder += f" on {said[2]}"
    raise FolderLocked(folder, holder)
