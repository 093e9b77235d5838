"""The state from which an interrupted stage continues, saved every few seconds while it runs."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from splat_uff.system.errors import InputError
from splat_uff.system.files import read_arrays, write_arrays
from splat_uff.system.progress import notice

SECONDS = 15.0
"""Default time between two checkpoints, in seconds."""


def _ignore() -> None:
    pass


@dataclass
class Checkpoint:
    """The state of one running stage, in one file that is replaced whole."""

    path: Path | None = None
    """File of the state; None saves nothing, for stages called as plain functions."""
    seconds: float = SECONDS
    """Most work, in seconds, that is lost if the process is killed."""
    on_keep: Callable[[], None] = _ignore
    """Function called after the state is saved."""
    _saved: float = field(default_factory=time.monotonic)

    def restore(self, names: Iterable[str] = ()) -> dict[str, np.ndarray] | None:
        """Return the state last saved, or None if there is none or it cannot be used.

        Args:
            names: Names that the state must have; one of another version may lack some.
        """
        if self.path is None or not self.path.exists():
            return None
        try:
            state = read_arrays(self.path)
        except InputError as error:
            notice(f"{error} The stage begins again.")
            return None
        missing = sorted(set(names) - set(state))
        if missing:
            notice(
                f"{self.path} was saved by another version: it lacks {', '.join(missing)}. "
                "The stage begins again."
            )
            return None
        return state

    def keep(self, state: Callable[[], dict[str, np.ndarray]], *, now: bool = False) -> None:
        """Save the result of `state()` if the last save was too long ago, or if `now` is set."""
        if self.path is None or not (now or time.monotonic() - self._saved >= self.seconds):
            return
        write_arrays(self.path, **state())
        self.on_keep()
        self._saved = time.monotonic()
