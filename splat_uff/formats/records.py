"""Records of a file of splats, whatever its format."""

from dataclasses import field

import numpy as np

from splat_uff.system.records import array_record

MOST_GAUSSIANS = 50_000_000
REST_COUNTS = (0, 9, 24, 45, 72)
"""Number of columns of higher harmonics for degree 0 to 4."""


@array_record
class SplatFile:
    """Content of a file of splats."""

    table: np.ndarray
    """Structured array [M]: the columns of `needed_columns` and any others in the file, with their
    types. Centres and rotations (wxyz) are in the frame that a 3DGS `.ply` of the scene has."""
    comments: tuple[str, ...] = field(default=(), kw_only=True)
    """Comments in the header, in order."""
    antialiased: bool = field(default=False, kw_only=True)
    """Whether the splats were fitted to be drawn with `rasterize_mode="antialiased"`
    (Mip-Splatting, Yu et al. 2024), which dims Gaussians by as much as the blur widens them."""


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
