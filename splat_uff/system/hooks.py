"""What accompanies a stage without changing its result: its checkpoint, its log, its observer."""

from collections.abc import Callable
from dataclasses import dataclass, field

from splat_uff.system.checkpoints import Checkpoint
from splat_uff.system.observer import NOBODY, Observer

Log = Callable[..., None]
"""Called as `log(step, loss=0.1, psnr=30.0)`: figures worth a curve."""


def no_log(step: int, **figures: float) -> None:
    """Log nothing."""


@dataclass(frozen=True)
class Hooks:
    """A stage that is called as a plain function has none: nothing is saved, logged or shown."""

    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    """Where the stage leaves its state, and takes it up again."""
    log: Log = no_log
    """Where its figures go."""
    observer: Observer = NOBODY
    """Who looks on, and may pause or stop it."""
