"""Other ways to read a file of splats, each for a mistake that programs or people make.

A reading is tried if the plain one does not match the photos, as judged by `agreement`. Readings of
values are tried only if the columns have the matching range.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from splat_uff.gaussians.turn import turn_gaussians
from splat_uff.render.harmonics import C0
from splat_uff.render.records import Gaussians

SLACK = 1e-3
"""Distance by which a value may lie outside the range of its kind."""
FEWEST_SUSPECTS = 20
"""Number of Gaussians from which the ranges of their values tell anything."""
LEAST_BYTE = 4.0
"""Maximum from which colours, if none is below 0, are taken to range from 0 to 255."""


@dataclass(frozen=True)
class Reading:
    """An alternative reading of a file of splats."""

    words: str
    """End of the sentence "they fit when ..."."""
    remedy: str
    """Clause that says how to correct the file."""
    apply: Callable[[Gaussians], Gaussians]
    """Function that applies the reading to Gaussians in the frame of their file."""
    is_frame: bool = False
    """Whether the reading concerns axes; such readings follow those of values."""


def read_as(gaussians: Gaussians, readings: Sequence[Reading]) -> Gaussians:
    """Apply several readings to Gaussians, those of values before those of axes."""
    for reading in sorted(readings, key=lambda reading: reading.is_frame):
        gaussians = reading.apply(gaussians)
    return gaussians


def value_readings(gaussians: Gaussians) -> list[Reading]:
    """Readings with other meanings of the columns, as far as their ranges allow."""
    swapped = Reading(
        "rot_0 to rot_3 are read as x y z w",
        "write them as w x y z",
        lambda given: _with(given, quats=given.quats[:, [3, 0, 1, 2]]),
    )
    activated = _activated(gaussians)
    both = []
    if len(activated) > 1:
        both.append(
            Reading(
                " and ".join(reading.words for reading in activated),
                "write them as 3DGS does: logits, logarithms, spherical harmonics",
                lambda given: read_as(given, activated),
            )
        )
    return [swapped, *activated, *both]


def suspected_readings(gaussians: Gaussians) -> list[Reading]:
    """Readings of values that are likely even without photos to compare with.

    Logits of all opacities between 0 and 1, and harmonics of all colours between 0 and 1, are
    hardly ever meant. Logarithms of all scales above 0 are meant in scenes of small units, so they
    are suspected only if Gaussians of that size would each fill the scene.
    """
    if len(gaussians) < FEWEST_SUSPECTS:
        return []
    means = gaussians.means.double()
    extent = float((means - means.median(dim=0).values).norm(dim=1).quantile(0.9))
    fills = float(gaussians.log_scales.max(dim=1).values.median()) > np.log(max(extent, 1e-30))
    found = _activated(gaussians)
    return [each for each in found if fills or not each.words.startswith("scale")]


def frame_readings() -> list[Reading]:
    """The 47 readings with other axes, rotations before reflections."""
    turns = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[np.arange(3), order] = signs
            turns.append(matrix)
    turns.sort(key=lambda turn: (-np.linalg.det(turn), -np.trace(turn)))
    return [_turned(turn) for turn in turns[1:]]  # The first is the identity.


def _activated(gaussians: Gaussians) -> list[Reading]:
    readings = []
    opacities, scales, colours = gaussians.opacity_logits, gaussians.log_scales, gaussians.sh0
    if opacities.min() >= -SLACK and opacities.max() <= 1 + SLACK:
        readings.append(
            Reading(
                "opacity is read as 0 to 1",
                "write it as a logit",
                lambda given: _with(
                    given, opacity_logits=given.opacity_logits.clamp(1e-6, 1 - 1e-6).logit()
                ),
            )
        )
    if scales.min() >= 0:
        readings.append(
            Reading(
                "scale_0 to scale_2 are read as lengths",
                "write their logarithms",
                lambda given: _with(given, log_scales=given.log_scales.clamp(min=1e-9).log()),
            )
        )
    largest = 1.0 if colours.max() <= 1 + SLACK else 255.0
    if colours.min() >= -SLACK and (largest == 1 or LEAST_BYTE <= colours.max() <= 255 + SLACK):
        readings.append(
            Reading(
                f"f_dc_0 to f_dc_2 are read as colours of 0 to {largest:.0f}",
                f"write (colour - 0.5) / {C0:.4f} of colours in 0 to 1",
                lambda given: _with(given, sh0=(given.sh0 / largest - 0.5) / C0),
            )
        )
    return readings


def _turned(turn: Float[np.ndarray, "3 3"]) -> Reading:
    words = _describe_turn(turn) if np.linalg.det(turn) > 0 else _describe_mirror(turn)
    return Reading(
        words,
        "export them in the frame of the capture's poses, or turn them",
        lambda given: turn_gaussians(given, turn),
        is_frame=True,
    )


def _describe_turn(turn: Float[np.ndarray, "3 3"]) -> str:
    vector = Rotation.from_matrix(turn).as_rotvec(degrees=True)
    angle = float(np.linalg.norm(vector))
    axis = np.round(vector / np.abs(vector).max()).astype(int)
    if np.abs(axis).sum() > 1:
        return f"turned by {angle:.0f} degrees about the direction {axis.tolist()}"
    words = f"turned by {angle * axis.sum():.0f} degrees about {'xyz'[int(np.abs(axis).argmax())]}"
    if np.array_equal(turn, np.diag([1.0, -1.0, -1.0])):
        return f"{words}, as between the axes of OpenGL and OpenCV"
    return f"{words}, as between y up and z up" if turn[0, 0] == 1 else words


def _describe_mirror(turn: Float[np.ndarray, "3 3"]) -> str:
    signs, fixed = np.diag(turn), np.diag(turn) == 1
    if np.abs(signs).sum() == 3 and fixed.sum() == 2:
        return f"mirrored in {'xyz'[int(np.argmin(signs))]}"
    if fixed.sum() == 1 and turn.sum() == 3:
        one, other = (name for name, kept in zip("xyz", fixed, strict=True) if not kept)
        return f"mirrored, with {one} and {other} swapped"
    if signs.sum() == -3:
        return "mirrored in x, y and z"
    return f"mirrored and {_describe_turn(-turn)}"


def _with(given: Gaussians, **tensors: torch.Tensor) -> Gaussians:
    return replace(given, **tensors)
