"""Records of a file of splats, whatever its format."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import field

import numpy as np

from splat_uff.system.records import array_record

MOST_GAUSSIANS = 50_000_000
REST_COUNTS = (0, 9, 24, 45, 72)
"""Number of columns of higher harmonics for degree 0 to 4."""


FITTED_FOCAL = "fitted_focal"
MOST_FOCAL = 1e6
"""Focal length in pixels from which a header's value is ignored."""
SH_C0 = 0.28209479177387814
"""Value of the spherical harmonic of degree 0: a colour is 0.5 + SH_C0 * f_dc."""
MIP = "SplatRenderMode: mip"
"""Comment by which Brush marks splats that are to be drawn antialiased; others read it, too."""


@array_record
class SplatFile:
    """Content of a file of splats."""

    table: np.ndarray
    """Structured array [M]: the columns of `needed_columns` and any others in the file, with their
    types. Centres and rotations (wxyz) are in the frame that a 3DGS `.ply` of the scene has."""
    comments: tuple[str, ...] = field(default=(), kw_only=True)
    """Comments in the header, in order."""
    others: Mapping[str, np.ndarray] = field(default_factory=dict, kw_only=True)
    """Other elements of a `.ply` than its vertices, such as the camera of a photo."""
    antialiased: bool = field(default=False, kw_only=True)
    """Whether the splats were fitted to be drawn with `rasterize_mode="antialiased"`
    (Mip-Splatting, Yu et al. 2024), which dims Gaussians by as much as the blur widens them."""

    @property
    def fitted_focal(self) -> float:
        """Focal length, in pixels, that `marks` put into the comments; 0 if there is none."""
        found = _value(self.comments, rf"{FITTED_FOCAL} ([0-9.e+]+)")
        try:
            focal = float(found) if found else 0.0
        except ValueError:
            return 0.0
        return focal if focal < MOST_FOCAL else 0.0


def marks(
    comments: Iterable[str] = (), *, fitted_focal: float = 0.0, antialiased: bool = False
) -> list[str]:
    """Comments for the header of a `.ply`: those given, and what readers need to know.

    Args:
        comments: Comments of the file that the splats came from.
        fitted_focal: Focal length, in pixels, of the photos to which the Gaussians were fitted; 0
            if it is not known.
        antialiased: Whether they are to be drawn with `rasterize_mode="antialiased"`.
    """
    kept = [text for text in comments if not text.startswith(f"{FITTED_FOCAL} ")]
    if antialiased and not is_antialiased(kept):
        kept.append(MIP)
    return kept + ([f"{FITTED_FOCAL} {fitted_focal!r}"] if fitted_focal else [])


def is_antialiased(comments: Iterable[str]) -> bool:
    """Whether comments say that splats are to be drawn antialiased.

    Brush writes `SplatRenderMode: mip`, Postshot `antialiased 1`.
    """
    comments = list(comments)
    mode = _value(comments, r"SplatRenderMode[:=\s]\s*(\w+)").lower()
    told = _value(comments, r"antialiased[:=\s]\s*(\w+)").lower()
    return mode in ("mip", "antialiased") or told in ("1", "true", "yes")


def _value(comments: Iterable[str], pattern: str) -> str:
    """What the last comment that matches a pattern as a whole has in its group, or nothing."""
    found = [re.fullmatch(pattern, text.strip(), re.IGNORECASE) for text in comments]
    return next((match[1] for match in reversed(found) if match), "")


def needed_columns(rest: int, scales: int = 3) -> list[str]:
    """Names of the columns that describe a Gaussian.

    Args:
        rest: Number of columns of higher harmonics.
        scales: Number of scale columns: 3, or 2 for flat Gaussians (2DGS).
    """
    return [
        *("x", "y", "z", "opacity"),
        *(f"f_dc_{i}" for i in range(3)),
        *(f"f_rest_{i}" for i in range(rest)),
        *(f"scale_{i}" for i in range(scales)),
        *(f"rot_{i}" for i in range(4)),
    ]


def empty_table(count: int, rest: int) -> np.ndarray:
    """Uninitialised float32 columns of `count` Gaussians.

    Args:
        count: Number of rows.
        rest: Number of columns of higher harmonics, channel by channel as in a `.ply`.
    """
    return np.empty(count, [(name, "<f4") for name in needed_columns(rest)])
