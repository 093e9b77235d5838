"""Conversion of a table of splats to finite numbers, keeping only Gaussians that can be drawn.

Tools in the field write an opacity of infinity for an alpha of 255, and a scale of minus infinity
for a flat Gaussian. Both are valid Gaussians; rows with NaN or a rotation of length 0 are not.
"""

import numpy as np
from jaxtyping import Bool, Float

from splat_uff.system.records import array_record

OPAQUE = 20.0
"""Logit that replaces infinity: its sigmoid is 1 to the last bit of float32."""
FLATTER = 10.0
"""Logarithmic distance between a scale of 0 and the Gaussian's smallest other scale."""
FLATTEST = -20.0
"""Logarithm of each scale of a Gaussian whose scales are all 0."""
LARGEST_SCALE = 88.0
"""Logarithm above which a scale does not fit into float32."""
MOST_DEGREE = 3
"""Highest degree of spherical harmonics that is read; higher ones stay in the file."""
QUAT_LENGTHS = (1e-6, 1e6)
"""Range of quat lengths that float32 can square; quats outside it are scaled to length 1."""


@array_record
class Rows:
    """Rows of a table that can be drawn, and what is wrong with the others."""

    kept: Bool[np.ndarray, "N"]
    nan: int
    """Number of rows that contain NaN."""
    infinite: int
    """Number of rows with an infinite centre, colour, rotation or scale."""
    unrotated: int
    """Number of rows with a rotation of length 0."""

    @property
    def dropped(self) -> int:
        """Number of rows that cannot be drawn."""
        return int((~self.kept).sum())

    def __str__(self) -> str:
        """Describe the reasons that occur, with the number of rows for each."""
        reasons = {
            "NaN": self.nan,
            "infinite numbers": self.infinite,
            "rotations of length 0": self.unrotated,
        }
        return ", ".join(f"{count} with {name}" for name, count in reasons.items() if count)


@array_record
class Parts:
    """Columns of N Gaussians, finite and with harmonics up to degree 3."""

    means: Float[np.ndarray, "N 3"]
    """Centres, float64 if the file's columns are."""
    quats: Float[np.ndarray, "N 4"]
    log_scales: Float[np.ndarray, "N 3"]
    opacity_logits: Float[np.ndarray, "N"]
    sh0: Float[np.ndarray, "N 1 3"]
    shN: Float[np.ndarray, "N K 3"]


def usable_rows(table: np.ndarray) -> Rows:
    """Judge every row by the columns that are read; the first reason to drop it counts."""
    nan, infinite, turned = (np.zeros(len(table), bool) for _ in range(3))
    scales, quats = _numbered(table, "scale_"), _numbered(table, "rot_")
    for name in ("x", "y", "z", "opacity", *_numbered(table, "f_dc_"), *_rest(table)):
        values = float32(table[name])
        nan |= np.isnan(values)
        infinite |= np.isinf(values) & (name != "opacity")
    for name in scales:
        values = float32(table[name])
        nan |= np.isnan(values)
        infinite |= values > LARGEST_SCALE
    for name in quats:
        values = float32(table[name])
        nan |= np.isnan(values)
        infinite |= np.isinf(values)
        turned |= values != 0
    infinite &= ~nan
    unrotated = ~(turned | nan | infinite)
    counts = (int(rows.sum()) for rows in (nan, infinite, unrotated))
    return Rows(~(nan | infinite | unrotated), *counts)


def finite_parts(table: np.ndarray) -> Parts:
    """Convert rows that can all be drawn to arrays, replacing infinite values by finite ones.

    An opacity of infinity becomes opaque and one of minus infinity transparent; scales of minus
    infinity, and a missing third scale, become flat.
    """
    wide = any(table.dtype[axis].itemsize > 4 for axis in "xyz")
    means = np.stack([table[axis] for axis in "xyz"], axis=1)
    quats = _stack(table, _numbered(table, "rot_"))
    lengths = np.linalg.norm(quats.astype(np.float64), axis=1, keepdims=True)
    odd = (lengths < QUAT_LENGTHS[0]) | (lengths > QUAT_LENGTHS[1])
    quats = np.where(odd, quats / lengths, quats).astype(np.float32)
    rest = _stack(table, _rest(table))
    shN = rest.reshape(len(table), 3, rest.shape[1] // 3).transpose(0, 2, 1)
    return Parts(
        means.astype(np.float64 if wide else np.float32),
        quats,
        _flat(_stack(table, _numbered(table, "scale_"))),
        _logits(float32(table["opacity"])),
        _stack(table, _numbered(table, "f_dc_"))[:, None],
        np.ascontiguousarray(shN),
    )


def float32(values: np.ndarray) -> np.ndarray:
    """Convert to float32; values outside its range become infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(np.float32)


def _stack(table: np.ndarray, names: list[str]) -> Float[np.ndarray, "N C"]:
    if not names:
        return np.zeros((len(table), 0), np.float32)
    return np.stack([float32(table[name]) for name in names], axis=1)


def _numbered(table: np.ndarray, prefix: str) -> list[str]:
    """Columns with a prefix, numbered from 0, up to the number that a Gaussian has."""
    names, count = table.dtype.names or (), 0
    most = {"scale_": 3, "rot_": 4, "f_dc_": 3}.get(prefix, len(names))
    while count < most and f"{prefix}{count}" in names:
        count += 1
    return [f"{prefix}{i}" for i in range(count)]


def _rest(table: np.ndarray) -> list[str]:
    """Columns of the higher harmonics up to degree 3, channel by channel as in files."""
    names = _numbered(table, "f_rest_")
    each, most = len(names) // 3, (MOST_DEGREE + 1) ** 2 - 1
    return [names[channel * each + k] for channel in range(3) for k in range(min(each, most))]


def _logits(logits: np.ndarray) -> np.ndarray:
    return np.where(np.isinf(logits), np.sign(logits) * np.float32(OPAQUE), logits)


def _flat(scales: np.ndarray) -> np.ndarray:
    """Complete each row to three finite scales."""
    if scales.shape[1] == 2:
        scales = np.concatenate([scales, np.full((len(scales), 1), -np.inf, np.float32)], axis=1)
    smallest = np.where(np.isinf(scales), np.inf, scales).min(axis=1, keepdims=True)
    flat = np.where(np.isinf(smallest), FLATTEST, smallest - FLATTER)
    return np.where(np.isinf(scales), flat, scales).astype(np.float32)
