"""Whoever looks on while a run is trained, and may pause or stop it; mostly nobody does."""

from collections.abc import Callable, Sequence
from typing import Any

STAGES = ("capture", "masks", "gaussians", "features", "hierarchy", "evaluate")
"""What `train` does, in this order."""


class TrainingStopped(Exception):
    """The observer has stopped the training; the same training goes on with `resume`."""


class Observer:
    """Looks away. The training calls these on its own thread, and goes on to change what it shows.

    A subclass that looks on takes its time from the training.
    """

    @property
    def holding(self) -> bool:
        """Whether the training is about to be paused or stopped, so that it saves its state now."""
        return False

    def take_pauses(self) -> float:
        """Seconds of pauses since this was last asked, which are no work."""
        return 0.0

    def cameras(self, cameras: Sequence[Any]) -> None:
        """The cameras of the training photos, each a `Camera`."""

    def stage(self, name: str) -> None:
        """A stage begins.

        Raises:
            TrainingStopped: To stop the training.
        """

    def figures(self, stage: str, step: int, figures: dict[str, float]) -> None:
        """Figures worth a curve, every so many steps."""

    def after_step(self, stage: str, step: int, total: int, look: Callable[[], Any]) -> None:
        """A step was taken.

        Args:
            stage: Name of the stage that the step belongs to.
            step: Number of steps taken.
            total: Number of steps of the stage.
            look: Returns what the stage has so far: Gaussians, or an array of features. Both go
                on to change.

        Raises:
            TrainingStopped: To stop the training; its state is saved if `holding` said so.
        """

    def gaussians(self, gaussians: Any) -> None:
        """The Gaussians have their final places."""


NOBODY = Observer()
