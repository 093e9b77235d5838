"""A budget of memory: arrays beyond it wait on disk until they are wanted."""

import tempfile
import threading
import weakref
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from splat_uff.system.records import array_record

GIGABYTE = 10**9
MEMORY_GB = 2.0
"""Photos, masks and blend weights that are held unless told otherwise."""


@array_record
class Kept:
    """An array that is either held or on disk."""

    array: np.ndarray | None
    """None where it is on disk."""
    memory: "Memory | None" = None
    offset: int = 0
    length: int = 0
    """Bytes on disk."""
    dtype: str = ""
    shape: tuple[int, ...] = ()
    packed: bool = False

    def load(self) -> np.ndarray:
        """The array; the one that is held, or a new copy from disk."""
        if self.array is not None:
            return self.array
        assert self.memory is not None
        stored = self.memory.read(self.offset, self.length)
        content = bytearray(zlib.decompress(stored)) if self.packed else stored
        return np.frombuffer(content, self.dtype).reshape(self.shape)


class Memory:
    """Holds arrays up to a number of bytes; the rest go to a file without a name.

    The file takes no clearing away: it vanishes with the process, however that ends. What is held
    and what is not never changes a result. Threads may share it.

    Example:
        >>> memory = Memory(8)
        >>> first, second = (memory.keep(np.arange(3) + start) for start in (0, 5))
        >>> second.array is None, second.load()
        (True, array([5, 6, 7]))
    """

    def __init__(self, most: float = float("inf"), folder: Path | None = None) -> None:
        """Hold nothing yet.

        Args:
            most: Bytes to hold.
            folder: Where the file goes, or in the nearest of its parents that exists.
        """
        self.most, self.held, self.on_disk = most, 0, 0
        self._folder, self._file, self._lock = folder, None, threading.Lock()

    def keep(self, array: np.ndarray, *, pack: bool = False) -> Kept:
        """Hold an array where there is room; else write it down.

        Args:
            array: Not to be written to from now on.
            pack: Whether it is worth packing on disk, as masks are.
        """
        with self._lock:
            if self.held + array.nbytes <= self.most:
                self.held += array.nbytes
                return Kept(array)
        content = np.ascontiguousarray(array).tobytes()
        if pack:
            content = zlib.compress(content, 1)
        with self._lock:
            file, offset = self._opened(), self.on_disk
            file.seek(offset)
            file.write(content)
            self.on_disk += len(content)
        return Kept(None, self, offset, len(content), array.dtype.str, array.shape, pack)

    def reserve(self, size: int, *, most: float = 0.5) -> bool:
        """Count `size` bytes as held if no more than a share `most` of the budget is held then.

        For what is not worth writing down, as it is made again as fast as it is read.
        """
        with self._lock:
            fits = self.held + size <= most * self.most
            self.held += size if fits else 0
        return fits

    def read(self, offset: int, length: int) -> bytearray:
        """Bytes from the file."""
        content = bytearray(length)
        with self._lock:
            file = self._opened()
            file.seek(offset)
            file.readinto(content)  # pyright: ignore[reportAttributeAccessIssue]
        return content

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            place = None if self._folder is None else self._folder.resolve()
            while place is not None and not place.is_dir():
                place = place.parent
            self._file = tempfile.TemporaryFile(dir=place)  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        return self._file
