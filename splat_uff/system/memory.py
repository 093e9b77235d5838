"""A memory budget: arrays beyond it are kept on disk until they are needed."""

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
"""Default budget for photos, masks and blend weights, in gigabytes."""


@array_record
class Kept:
    """An array that is either in memory or on disk."""

    array: np.ndarray | None
    """Array in memory; None if it is on disk."""
    memory: "Memory | None" = None
    offset: int = 0
    length: int = 0
    """Size on disk, in bytes."""
    dtype: str = ""
    shape: tuple[int, ...] = ()
    packed: bool = False

    def load(self) -> np.ndarray:
        """Return the array that is in memory, or a new copy from disk."""
        if self.array is not None:
            return self.array
        assert self.memory is not None
        stored = self.memory.read(self.offset, self.length)
        content = bytearray(zlib.decompress(stored)) if self.packed else stored
        return np.frombuffer(content, self.dtype).reshape(self.shape)


class Memory:
    """Memory that holds arrays up to a number of bytes; the rest go to an unnamed file.

    The file needs no cleaning up: it disappears with the process, however that ends. Results do not
    depend on which arrays are held. Threads may share one object.

    Example:
        >>> memory = Memory(8)
        >>> first, second = (memory.keep(np.arange(3) + start) for start in (0, 5))
        >>> second.array is None, second.load()
        (True, array([5, 6, 7]))
    """

    def __init__(self, most: float = float("inf"), folder: Path | None = None) -> None:
        """Start with nothing held.

        Args:
            most: Most bytes to hold in memory.
            folder: Folder of the file; if it does not exist, its nearest existing parent is used.
        """
        self.most, self.held, self.on_disk = most, 0, 0
        self._folder, self._file, self._lock = folder, None, threading.Lock()

    def keep(self, array: np.ndarray, *, pack: bool = False) -> Kept:
        """Hold an array in memory if there is room; otherwise write it to disk.

        Args:
            array: Array to keep, which must not be modified from now on.
            pack: Whether to compress it on disk, which is worthwhile for masks.
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
        """Count `size` bytes as held if this keeps the total within a share `most` of the budget.

        This is for data not worth writing to disk because recomputing it is as fast as reading it.
        """
        with self._lock:
            fits = self.held + size <= most * self.most
            self.held += size if fits else 0
        return fits

    def read(self, offset: int, length: int) -> bytearray:
        """Read bytes from the file."""
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
