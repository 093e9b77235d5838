"""What float32 loses far from the origin, as in georeferenced captures (UTM, ECEF)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MOST_ROUNDING = 1e-5
"""Rounding of centres, in extents of the scene, that nobody will see."""
CORE = (1, 99)
"""Percentiles of the centres between which the scene is taken to lie; strays do not count."""


@dataclass(frozen=True)
class Precision:
    """How exactly float32 can hold the centres of a scene."""

    distance: float
    """Of the scene from the origin along the axis on which it is largest."""
    rounding: float
    """Most that float32 moves a centre there along an axis, half a unit in the last place."""
    extent: float
    """Diagonal of the scene."""

    @property
    def is_lost(self) -> bool:
        """Whether the rounding changes the shape of the scene."""
        return self.rounding > MOST_ROUNDING * self.extent

    def __str__(self) -> str:
        return (
            f"{self.distance:.3g} units from the origin, where 32 bits round centres by up to "
            f"{self.rounding:.2g}, and measures {self.extent:.3g}"
        )


def judge_precision(centres: Float[np.ndarray, "N 3"]) -> Precision:
    """How exactly float32 can hold some centres, of which there is at least one."""
    low, high = np.percentile(centres, CORE, axis=0)
    distance = float(np.abs([low, high]).max())
    rounding = float(np.spacing(np.float32(min(distance, 3e38)))) / 2
    return Precision(distance, rounding, float(np.linalg.norm(high - low)))


def near_origin(centres: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "3"]:
    """A point amid the centres whose coordinates are round numbers, for files of few bits."""
    extent = max(judge_precision(centres).extent, 1e-9)
    step = 10.0 ** np.floor(np.log10(extent))
    return np.round(np.median(centres, axis=0) / step) * step
