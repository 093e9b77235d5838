"""Companions of a stage that do not change its result: its checkpoint, log and observer."""

from collections.abc import Callable
from dataclasses import dataclass, field

from splat_uff.system.checkpoints import Checkpoint
from splat_uff.system.observer import NOBODY, Observer

Log = Callable[..., None]
"""Function that logs figures to plot as curves: `log(step, loss=0.1, psnr=30.0)`."""


def no_log(step: int, **figures: float) -> None:
    """Log nothing."""


@dataclass(frozen=True)
class Hooks:
    """Hooks of a stage; by default, nothing is saved, logged or shown."""

    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    """Checkpoint that saves and restores the stage's state."""
    log: Log = no_log
    """Function that receives the stage's figures."""
    observer: Observer = NOBODY
    """Observer that follows the stage and may pause or stop it."""
