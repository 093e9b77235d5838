"""Voters in the pixels of a view."""

from dataclasses import field

import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.system.records import array_record


@array_record
class Votes:
    """Voters in each pixel of one view, as compressed sparse rows."""

    starts: Int[np.ndarray, "R"]
    voters: Int[np.ndarray, "E"]
    weights: Float[np.ndarray, "E"]
    covered: Bool[np.ndarray, "H W"]
    """Whether each pixel belongs to a segment."""
    device: str = field(default="cpu", kw_only=True)
    """Device that counts them: that of the Gaussians."""
