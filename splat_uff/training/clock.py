"""Time spent in each stage of a run, including one that was interrupted and resumed."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from splat_uff.system.files import write_json
from splat_uff.system.observer import NOBODY, STAGES, Observer
from splat_uff.system.progress import notice


class Clock:
    """Clock that adds up seconds by stage, and informs the observer of each stage."""

    def __init__(self, observer: Observer = NOBODY) -> None:
        self.observer = observer
        self._spent: dict[str, float] = {}
        self._running: tuple[str, float] | None = None
        self._path: Path | None = None

    def keep_in(self, path: Path) -> None:
        """Start from the seconds of an earlier part of the run, and keep the sums in this file."""
        if path.is_file():
            try:
                earlier = json.loads(path.read_text(encoding="utf-8"))
                for stage in STAGES:
                    self._spent[stage] = self._spent.get(stage, 0) + float(earlier.get(stage, 0))
            except (ValueError, TypeError, AttributeError):
                notice(f"{path} is damaged; the seconds of the earlier part are not counted.")
        self._path = path

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage; its time counts even if an exception ends it."""
        self.observer.stage(name)
        self._running = name, time.perf_counter()
        try:
            yield
            self._leave_out(self.observer.take_pauses())
        finally:
            self._spent = self._so_far()
            self._running = None
            self.save()

    def _leave_out(self, seconds: float) -> None:
        """Exclude seconds in which the running stage was paused."""
        if self._running is not None:
            name, start = self._running
            self._running = name, start + seconds

    def save(self) -> None:
        """Write the sums, including the running stage; a kill would leave no time to do so."""
        if self._path is not None:
            write_json(self._path, self._so_far())

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by stage, rounded, with their total."""
        rounded = {stage: round(self._spent.get(stage, 0.0), 2) for stage in STAGES}
        return {**rounded, "total": round(sum(rounded.values()), 2)}

    def _so_far(self) -> dict[str, float]:
        if self._running is None:
            return self._spent
        name, start = self._running
        return self._spent | {name: self._spent.get(name, 0.0) + time.perf_counter() - start}
