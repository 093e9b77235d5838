"""Settings of the virtual views of a splat without photos."""

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import tyro


@dataclass(frozen=True)
class VirtualConfig:
    """Virtual views, made only for Gaussians without photos (`--gaussians` alone)."""

    kind: Literal["auto", "around", "inside"] = "auto"
    """Placement of the cameras: around a thing, inside a room or landscape, or auto, which
    decides by the share of directions in which there is matter, as seen from within the splat."""
    up: Annotated[
        Literal["auto", "x", "-x", "y", "-y", "z", "-z"], tyro.conf.arg(aliases=("--up",))
    ] = "auto"
    """Axis of the splat's file that points up; auto finds it from floors and other level surfaces.
    """
    fewest: Annotated[int, msgspec.Meta(ge=8, le=1000)] = 80
    """Smallest number of training views, from 8 to 1000."""
    most: Annotated[int, msgspec.Meta(ge=8, le=1000)] = 120
    """Largest number of training views; fewer are made as soon as every visible Gaussian is seen by
    `seen_by` of them."""
    seen_by: Annotated[int, msgspec.Meta(ge=1, le=100)] = 5
    """Number of training views that shall see every visible Gaussian, from 1 to 100."""
    held_out: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 12
    """Number of further views that are held out, for the pictures of the report."""
