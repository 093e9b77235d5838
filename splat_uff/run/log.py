"""The log of a run, with one JSON object per line."""

import json
from collections.abc import Callable
from pathlib import Path

from splat_uff.run.folder import RunFolder
from splat_uff.system.files import replacing


def write_log(run: RunFolder, stage: str) -> Callable[..., None]:
    """Return a function that appends one stage's figures to the run's log.

    A stage that was killed may have logged steps beyond its last checkpoint, which it will repeat;
    its first new line replaces these.
    """
    begun = False

    def log(step: int, **figures: float) -> None:
        nonlocal begun
        if not begun:
            _forget_steps(run.log, stage, step)
            begun = True
        line = json.dumps({"stage": stage, "step": step, **figures})
        with run.log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    return log


def _forget_steps(path: Path, stage: str, step: int) -> None:
    """Remove the lines of a stage from a step on, and any line that a kill left half-written."""
    lines = path.read_text(encoding="utf-8-sig").splitlines() if path.is_file() else []

    def is_kept(line: str) -> bool:
        try:
            entry = json.loads(line)
            return entry["stage"] != stage or entry["step"] < step
        except (ValueError, KeyError, TypeError):
            return False

    kept = [line for line in lines if is_kept(line)]
    if len(kept) < len(lines):
        with replacing(path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
