"""Observers, which may follow, pause or stop a training; most trainings have none."""

from collections.abc import Callable, Sequence
from typing import Any

STAGES = ("capture", "masks", "gaussians", "features", "hierarchy", "evaluate")
"""Stages of `train`, in order."""


class TrainingStopped(Exception):
    """Raised when an observer stops the training, which `resume` continues."""


class Observer:
    """An observer that does nothing; subclasses override its methods.

    The training calls them on its own thread and afterwards goes on changing the objects it passes.
    Time spent in them is taken from the training.
    """

    @property
    def holding(self) -> bool:
        """Whether the training is about to be paused or stopped and must save its state now."""
        return False

    def take_pauses(self) -> float:
        """Return the seconds of pauses since the last call, which do not count as work."""
        return 0.0

    def cameras(self, cameras: Sequence[Any]) -> None:
        """Receive the cameras of the training photos, each a `Camera`."""

    def stage(self, name: str) -> None:
        """Called when a stage begins.

        Raises:
            TrainingStopped: To stop the training.
        """

    def figures(self, stage: str, step: int, figures: dict[str, float]) -> None:
        """Receive figures to plot as curves, every few steps."""

    def after_step(self, stage: str, step: int, total: int, look: Callable[[], Any]) -> None:
        """Called after each step.

        Args:
            stage: Name of the step's stage.
            step: Number of steps taken.
            total: Number of steps of the stage.
            look: Function that returns the stage's current result, Gaussians or an array of
                features, which later steps change.

        Raises:
            TrainingStopped: To stop the training; its state is saved if `holding` said so.
        """

    def gaussians(self, gaussians: Any) -> None:
        """Receive the Gaussians once they are final."""


NOBODY = Observer()
