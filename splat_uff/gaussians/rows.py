"""What a table of splats means in memory: finite numbers, and only Gaussians that can be drawn.

Tools of the field write an opacity of infinity where alpha is 255, and a scale of minus infinity
where a Gaussian is flat. Both are Gaussians. NaN and rotations of length 0 are none.
"""

import numpy as np
from jaxtyping import Bool, Float

from splat_uff.system.records import array_record

OPAQUE = 20.0
"""Logit that stands for infinity: its sigmoid is 1 to the last bit of float32."""
FLATTER = 10.0
"""How far below the smallest other scale of its Gaussian, as logarithms, a scale of 0 is put."""
FLATTEST = -20.0
"""Logarithm of the scales of a Gaussian that are all 0."""
LARGEST_SCALE = 88.0
"""Logarithm beyond which a scale does not fit float32."""
MOST_DEGREE = 3
"""Degree of spherical harmonics that is read; higher ones stay in the file."""
QUAT_LENGTHS = (1e-6, 1e6)
"""Lengths of rotations that float32 can square; others are set to 1."""


@array_record
class Rows:
    """Which rows of a table can be drawn, and what is wrong with the others."""

    kept: Bool[np.ndarray, "N"]
    nan: int
    """Rows that hold NaN."""
    infinite: int
    """Rows with a centre, colour, rotation or scale that is infinite."""
    unrotated: int
    """Rows with a rotation of length 0."""

    @property
    def dropped(self) -> int:
        """How many cannot be drawn."""
        return int((~self.kept).sum())

    def __str__(self) -> str:
        """The reasons that there are, with their numbers."""
        reasons = {
            "NaN": self.nan,
            "infinite numbers": self.infinite,
            "rotations of length 0": self.unrotated,
        }
        return ", ".join(f"{count} with {name}" for name, count in reasons.items() if count)


@array_record
class Parts:
    """The columns of N Gaussians, finite; harmonics of degree 3 at most."""

    means: Float[np.ndarray, "N 3"]
    """float64 where the columns are."""
    quats: Float[np.ndarray, "N 4"]
    log_scales: Float[np.ndarray, "N 3"]
    opacity_logits: Float[np.ndarray, "N"]
    sh0: Float[np.ndarray, "N 1 3"]
    shN: Float[np.ndarray, "N K 3"]


def usable_rows(table: np.ndarray) -> Rows:
    """Judge every row by the columns that are read; the first reason that applies counts."""
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
    """The numbers of rows that can all be drawn, with finite ones where they are infinite.

    Opacities of infinity become opaque and those of minus infinity transparent; scales of minus
    infinity, and the third one where there are two, become flat.
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
    """As float32; what it cannot hold becomes infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(values).astype(np.float32)


def _stack(table: np.ndarray, names: list[str]) -> Float[np.ndarray, "N C"]:
    if not names:
        return np.zeros((len(table), 0), np.float32)
    return np.stack([float32(table[name]) for name in names], axis=1)


def _numbered(table: np.ndarray, prefix: str) -> list[str]:
    """Columns of a prefix that are numbered from 0; more than a Gaussian has are not its own."""
    names, count = table.dtype.names or (), 0
    most = {"scale_": 3, "rot_": 4, "f_dc_": 3}.get(prefix, len(names))
    while count < most and f"{prefix}{count}" in names:
        count += 1
    return [f"{prefix}{i}" for i in range(count)]


def _rest(table: np.ndarray) -> list[str]:
    """Columns of the higher harmonics up to degree 3, channel by channel as files hold them."""
    names = _numbered(table, "f_rest_")
    each, most = len(names) // 3, (MOST_DEGREE + 1) ** 2 - 1
    return [names[channel * each + k] for channel in range(3) for k in range(min(each, most))]


def _logits(logits: np.ndarray) -> np.ndarray:
    return np.where(np.isinf(logits), np.sign(logits) * np.float32(OPAQUE), logits)


def _flat(scales: np.ndarray) -> np.ndarray:
    """Three finite scales a row."""
    if scales.shape[1] == 2:
        scales = np.concatenate([scales, np.full((len(scales), 1), -np.inf, np.float32)], axis=1)
    smallest = np.where(np.isinf(scales), np.inf, scales).min(axis=1, keepdims=True)
    flat = np.where(np.isinf(smallest), FLATTEST, smallest - FLATTER)
    return np.where(np.isinf(scales), flat, scales).astype(np.float32)
