"""What a stage needs to go on where it was cut off, saved every few seconds while it runs."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from splat_uff.system.errors import InputError
from splat_uff.system.files import read_arrays, write_arrays
from splat_uff.system.progress import notice

SECONDS = 15.0
"""Between two checkpoints, unless told otherwise."""


def _ignore() -> None:
    pass


@dataclass
class Checkpoint:
    """The state of one running stage, in one file that is replaced whole."""

    path: Path | None = None
    """None keeps nothing, for stages called as plain functions."""
    seconds: float = SECONDS
    """Most work, in seconds, that a kill can lose."""
    on_keep: Callable[[], None] = _ignore
    """Called whenever the state was saved."""
    _saved: float = field(default_factory=time.monotonic)

    def restore(self) -> dict[str, np.ndarray] | None:
        """The state last saved, or None when there is none or it is damaged."""
        if self.path is None or not self.path.exists():
            return None
        try:
            return read_arrays(self.path)
        except InputError as error:
            notice(f"{error} The stage begins again.")
            return None

    def keep(self, state: Callable[[], dict[str, np.ndarray]], *, now: bool = False) -> None:
        """Save what `state()` returns if the last save is too long ago, or `now`."""
        if self.path is None or not (now or time.monotonic() - self._saved >= self.seconds):
            return
        write_arrays(self.path, **state())
        self.on_keep()
        self._saved = time.monotonic()
