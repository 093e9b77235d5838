"""Colours that are easy to tell apart, and the choice of one that contrasts with others."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

LOOKAHEAD = 12
"""Number of unused colours from which a new segment takes the one that contrasts best."""


def furthest(lab: Float[np.ndarray, "K 3"], candidates: list[int], company: list[int]) -> int:
    """Candidate colour furthest from its nearest in `company`; the first if all are equal."""
    if not company:
        return candidates[0]
    gaps = np.linalg.norm(lab[candidates][:, None] - lab[company][None], axis=2).min(axis=1)
    return candidates[int(gaps.argmax())]


@lru_cache
def distinct_colours() -> tuple[Float[np.ndarray, "K 3"], Float[np.ndarray, "K 3"]]:
    """A few hundred colours in OKLab and in sRGB, each as far as possible from all earlier ones.

    Lightness and chroma are bounded so that every colour shows on white and on black. Source of
    OKLab: Ottosson, "A perceptual color space for image processing", 2020.
    """
    lightness, chroma, hue = np.meshgrid(
        np.linspace(0.52, 0.84, 7), np.linspace(0.05, 0.155, 6), np.arange(0, 360, 9), indexing="ij"
    )
    angle = np.deg2rad(hue)
    lab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1)
    lab = lab.reshape(-1, 3)
    linear = _linear_of_oklab(lab)
    shown = ((linear >= 0) & (linear <= 1)).all(axis=1)
    lab, linear = lab[shown], linear[shown]
    blue = np.array([0.6, -0.04, -0.13])
    order = [int(np.linalg.norm(lab - blue, axis=1).argmin())]
    gaps = np.full(len(lab), np.inf)
    for _ in range(min(len(lab), 320) - 1):
        gaps = np.minimum(gaps, np.linalg.norm(lab - lab[order[-1]], axis=1))
        order.append(int(gaps.argmax()))
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return lab[order], srgb[order]


def _linear_of_oklab(lab: Float[np.ndarray, "K 3"]) -> Float[np.ndarray, "K 3"]:
    cone_roots = lab @ np.array(
        [[1.0, 1.0, 1.0], [0.3963377774, -0.1055613458, -0.0894841775],
         [0.2158037573, -0.0638541728, -1.2914855480]]
    )  # fmt: skip
    return cone_roots**3 @ np.array(
        [[4.0767416621, -1.2684380046, -0.0041960863],
         [-3.3077115913, 2.6097574011, -0.7034186147],
         [0.2309699292, -0.3413193965, 1.7076147010]]
    )  # fmt: skip
