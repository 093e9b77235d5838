"""Loss of precision in float32 far from the origin, as in georeferenced captures (UTM, ECEF)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MOST_ROUNDING = 1e-5
"""Largest rounding of centres, in scene extents, that stays invisible."""
NO_ORIGIN = np.zeros(3)
"""Origin of files whose coordinates are those of their scene."""
CORE = (1, 99)
"""Percentiles of the centres between which the scene is assumed to lie, to exclude strays."""


@dataclass(frozen=True)
class Precision:
    """Precision with which float32 can hold the centres of a scene."""

    distance: float
    """Largest distance of the scene from the origin along any axis."""
    rounding: float
    """Most that float32 moves a centre along an axis there, half a unit in the last place."""
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
    """Judge the precision with which float32 can hold at least one centre."""
    low, high = np.percentile(centres, CORE, axis=0)
    distance = float(np.abs([low, high]).max())
    rounding = float(np.spacing(np.float32(min(distance, 3e38)))) / 2
    return Precision(distance, rounding, float(np.linalg.norm(high - low)))


def near_origin(centres: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "3"]:
    """Point amid the centres with round coordinates, as an offset for files of few bits."""
    extent = max(judge_precision(centres).extent, 1e-9)
    step = 10.0 ** np.floor(np.log10(extent))
    return np.round(np.median(centres, axis=0) / step) * step
