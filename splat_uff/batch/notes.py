"""What is noted of each capture of a batch, in files that survive any process.

The process that trains a capture writes `state.json` about once a second, and whoever started it
writes how it ended. All that a batch tells is read from these files and from the runs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from splat_uff.run.folder import RunFolder
from splat_uff.run.provenance import read_metrics
from splat_uff.system.errors import InputError
from splat_uff.system.files import replacing

FOLDER = ".batch"
"""Folder in the output folder of a batch that holds the notes."""
MOST_BYTES = 1 << 22
"""Size of the largest note that is read, in bytes."""

Standing = Literal["finished", "failed", "running", "waiting", "cut off"]


@dataclass(frozen=True)
class Attempt:
    """One process that trained a capture."""

    token: str
    """Random name of the batch that started it."""
    host: str
    """Name of its machine."""
    process: int
    began: str
    """Date and time at which it began, in UTC."""
    first_step: str = ""
    """First step that it took, as in `gaussians 91 of 150`; empty before it took one."""


@dataclass(frozen=True)
class State:
    """State of one capture of a batch."""

    attempts: tuple[Attempt, ...] = ()
    stage: str = ""
    """Stage of the training, or work within it."""
    done: int = 0
    total: int = 0
    """Steps of that work; 0 if they are not known."""
    ended: bool = False
    """Whether the last attempt came to an end by itself, well or badly."""
    failure: str = ""
    """Reason for which it failed, in one line."""


@dataclass(frozen=True)
class Notes:
    """Paths of the notes of one capture."""

    folder: Path

    @staticmethod
    def of(output: Path, name: str) -> "Notes":
        """Notes of the capture with this name in the output folder of its batch."""
        return Notes(output / FOLDER / name)

    @property
    def state(self) -> Path:
        """State of the capture, as JSON."""
        return self.folder / "state.json"

    @property
    def log(self) -> Path:
        """Everything that the processes said."""
        return self.folder / "log.txt"

    def read(self) -> State:
        """Read the state; a new one if there is none or it is damaged."""
        try:
            with self.state.open("rb") as file:
                return msgspec.json.decode(file.read(MOST_BYTES), type=State)
        except (OSError, msgspec.MsgspecError, RecursionError):
            return State()

    def write(self, state: State) -> None:
        """Write the state; the file is replaced whole."""
        with replacing(self.state) as temporary:
            temporary.write_bytes(msgspec.json.encode(state))


@dataclass(frozen=True)
class Row:
    """One capture of a batch as it is told: in the live table, in `batch.json` and on the page."""

    name: str
    source: str
    standing: Standing
    state: State
    metrics: dict[str, Any]
    """Content of `metrics.json`; empty unless the run is finished."""

    @property
    def host(self) -> str:
        """Machine of the last attempt; empty if there was none."""
        return self.state.attempts[-1].host if self.state.attempts else ""

    @property
    def seconds(self) -> float | None:
        """Seconds of all stages, in all attempts; None unless the run is finished."""
        total = self.metrics.get("seconds", {}).get("total")
        return float(total) if isinstance(total, int | float) else None

    def score(self, *names: str) -> float | None:
        """One score of the run, such as `score("nc", "mean")`; None if it has none."""
        found: Any = self.metrics
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return float(found) if isinstance(found, int | float) else None


def read_row(output: Path, name: str, source: str, token: str | None) -> Row:
    """Read what is known of one capture.

    Args:
        output: Output folder of the batch.
        name: Name of the capture.
        source: Origin of the capture.
        token: Token of the batch that runs here, whose attempts are alive; `""` if none is alive,
            and None if the capture is another batch's, whose attempts may be.
    """
    run, state = RunFolder(output / name), Notes.of(output, name).read()
    if run.finished and not state.failure:
        try:
            return Row(name, source, "finished", state, read_metrics(run))
        except InputError as error:
            state = State(state.attempts, failure=str(error))
    if state.failure:
        return Row(name, source, "failed", state, {})
    begun = bool(state.attempts)
    alive = begun and not state.ended and token in (None, state.attempts[-1].token)
    standing = "running" if alive else "cut off" if begun and token == "" else "waiting"
    return Row(name, source, standing, state, {})
