"""One process at a time writes into a folder: a lock that ends with its process."""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from splat_uff.system.errors import InputError, argument, reason_of
from splat_uff.system.progress import notice

try:
    import fcntl
except ImportError:  # Windows.
    fcntl = None

NAME = ".lock"
OPEN = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
"""A link in a folder of a stranger leads to no other file, which would be written to."""
PATIENCE_SECONDS = 0.5
"""How long a lock may be held by those who only look whether it is held."""
MOST_BYTES = 300
"""Of the file that are read."""
LOCKED_BYTE = 1 << 30
"""Far behind the content, which Windows lets nobody read while it is locked."""


class FolderLocked(InputError):
    """Another process writes into the folder."""

    def __init__(self, folder: Path, holder: str) -> None:
        """Say which folder, and by which process: `process 12`."""
        super().__init__(
            f"{folder} is being written by {holder}; wait until that ends, stop it, or pass "
            f"another {argument('output')}."
        )
        self.holder = holder


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is made where it is not there.

    The system holds the lock for the process and takes it away when the process ends, also by
    `kill -9`. The file that it is on, `.lock`, says which process that is, and goes with the lock;
    one that a kill leaves behind is not locked and hinders nobody.

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
        with suppress(OSError):  # Windows removes no file that is open, in which case it stays.
            # If the folder was removed meanwhile, the file that is there now is another's.
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                path.unlink()
        os.close(descriptor)


def require_unlocked(folder: Path) -> None:
    """See that no other process writes into a folder, which need not be there; writes nothing.

    Raises:
        FolderLocked: If one does.
    """
    try:
        descriptor = os.open(folder / NAME, OPEN)
    except OSError:  # There is none; or it cannot be written, as `folder_lock` will say.
        return
    try:
        with suppress(OSError):
            _lock(descriptor, folder)
    finally:
        os.close(descriptor)


def _take(path: Path) -> int:
    """Open the file and lock it.

    The file may be removed, by a process that ends, after it was opened and before it is locked.
    Such a lock holds nobody off, since the next process makes a new file.
    """
    while True:
        descriptor = os.open(path, os.O_CREAT | OPEN, 0o666)
        try:
            try:
                _lock(descriptor, path.parent)
            except OSError as error:  # Some network file systems know no locks.
                notice(
                    f"{path.parent} cannot be locked ({reason_of(error)}); see that no other "
                    "process writes into it."
                )
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    """Lock an open file, with a little patience; an OSError means that it cannot be locked."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            _try_to_lock(descriptor)
            return
        except (BlockingIOError, PermissionError):
            if time.monotonic() > end:
                _refuse(descriptor, folder)
        time.sleep(0.02)


def _try_to_lock(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt

    os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]


def _refuse(descriptor: int, folder: Path) -> NoReturn:
    """Say which process holds the lock."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    said = re.fullmatch(
        r"(\d{1,10}) ([\w.-]+)\s*", os.read(descriptor, MOST_BYTES).decode("latin-1")
    )
    holder = "another process" if said is None else f"process {said[1]}"
    if said is not None and said[2] != socket.gethostname():
        holder += f" on {said[2]}"
    raise FolderLocked(folder, holder)
