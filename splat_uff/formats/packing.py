"""Columns of Gaussians in the form that compressed formats of splats pack, and their order."""

import re

import numpy as np
from jaxtyping import Float, Int, UInt8

from splat_uff.formats.records import MOST_GAUSSIANS, needed_columns
from splat_uff.system.errors import InputError
from splat_uff.system.records import array_record

MOST_REST = 15
"""Higher harmonics of a channel up to degree 3, the highest that the formats hold."""
MORTON_BITS = 21
"""Bits of each coordinate in a Morton code, which together fit into 64 bits."""


@array_record
class Packable:
    """Columns of N Gaussians, finite, in the frame of a 3DGS `.ply`."""

    centres: Float[np.ndarray, "N 3"]
    """float64 centres, in world units."""
    quats: Float[np.ndarray, "N 4"]
    """Rotations, wxyz, of length 1."""
    log_scales: Float[np.ndarray, "N 3"]
    """Natural logarithms of standard deviations in world units."""
    alphas: Float[np.ndarray, "N"]
    """Opacities, 0 to 1."""
    dc: Float[np.ndarray, "N 3"]
    """Coefficients of the harmonic of degree 0, by channel."""
    rest: Float[np.ndarray, "N K 3"]
    """float32 coefficients of the harmonics of degree 1 to 3, by channel; K is 0, 3, 8 or 15."""

    def __len__(self) -> int:
        """Count the Gaussians."""
        return len(self.alphas)

    def ordered(self, order: Int[np.ndarray, "M"]) -> "Packable":
        """Take Gaussians in the given order."""
        return Packable(**{name: values[order] for name, values in vars(self).items()})


def packable(table: np.ndarray) -> Packable:
    """Take the columns of Gaussians out of a table.

    Args:
        table: Structured array with the columns of `needed_columns`; others are ignored. Harmonics
            above degree 3 are left out.

    Raises:
        InputError: If there are no rows or too many, a column is missing, or a number is infinite
            (other than an opacity) or NaN.
    """
    if not 0 < len(table) <= MOST_GAUSSIANS:
        raise InputError(f"{len(table)} Gaussians; expected 1 to {MOST_GAUSSIANS}.")
    names = table.dtype.names or ()
    each = sum(re.fullmatch(r"f_rest_\d+", name) is not None for name in names) // 3
    if each not in (0, 3, 8, 15, 24):
        raise InputError(f"{3 * each} f_rest columns; expected 0, 9, 24, 45 or 72.")
    missing = [name for name in needed_columns(3 * each) if name not in names]
    if missing:
        raise InputError(f"no column {missing[0]} in the splat; expected those of a 3DGS .ply.")
    for name in needed_columns(3 * each):
        bad = np.isnan(table[name]) if name == "opacity" else ~np.isfinite(table[name])
        if bad.any():
            raise InputError(
                f"{name} of row {int(bad.argmax())} is {table[name][bad.argmax()]}; leave out rows "
                "that cannot be drawn."
            )
    rest = np.empty((len(table), min(each, MOST_REST), 3), np.float32)
    for channel in range(3):
        for k in range(rest.shape[1]):
            rest[:, k, channel] = table[f"f_rest_{channel * each + k}"]
    with np.errstate(over="ignore"):
        alphas = 1 / (1 + np.exp(-table["opacity"].astype(np.float64)))
    return Packable(
        centres=_stack(table, ["x", "y", "z"]),
        quats=_unit(_stack(table, [f"rot_{i}" for i in range(4)])),
        log_scales=_stack(table, [f"scale_{i}" for i in range(3)]),
        alphas=alphas,
        dc=_stack(table, [f"f_dc_{i}" for i in range(3)]),
        rest=rest,
    )


def to_bytes(values: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Round to whole numbers and clip to 0 to 255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def smallest_three(
    quats: Float[np.ndarray, "N 4"],
) -> tuple[Int[np.ndarray, "N"], Float[np.ndarray, "N 3"]]:
    """Describe unit quaternions by the component that is largest and the other three.

    Returns:
        Index of the component of largest magnitude, and the other three in order, with the signs of
        the one of both equal quaternions in which the largest is positive; they lie within ±1/√2.
    """
    largest = np.abs(quats).argmax(axis=1)
    rows = np.arange(len(quats))
    signs = np.where(quats[rows, largest] < 0, -1.0, 1.0)
    others = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])[largest]
    return largest, quats[rows[:, None], others] * signs[:, None]


def morton_order(centres: Float[np.ndarray, "N 3"]) -> Int[np.ndarray, "N"]:
    """Order of points along a Z-shaped curve through their bounding box: near rows lie near.

    Equal codes keep the order of rows.
    """
    low = centres.min(axis=0)
    span = centres.max(axis=0) - low
    unit = (centres - low) / np.where(span > 0, span, 1)
    cells = np.minimum(unit * (1 << MORTON_BITS), (1 << MORTON_BITS) - 1).astype(np.uint64)
    codes = np.zeros(len(centres), np.uint64)
    for axis in range(3):
        codes |= _spread(cells[:, axis]) << np.uint64(axis)
    return np.argsort(codes, kind="stable")


def _spread(values: np.ndarray) -> np.ndarray:
    """Move bit i of each number to bit 3 i."""
    spread = np.zeros_like(values)
    for bit in range(MORTON_BITS):
        spread |= ((values >> np.uint64(bit)) & np.uint64(1)) << np.uint64(3 * bit)
    return spread


def _unit(quats: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N 4"]:
    """Scale to length 1; a quaternion of zeros becomes that of no rotation."""
    largest = np.abs(quats).max(axis=1, keepdims=True)  # Squares of any finite number stay finite.
    quats = np.where(largest > 0, quats, [1.0, 0, 0, 0]) / np.where(largest > 0, largest, 1)
    return quats / np.linalg.norm(quats, axis=1, keepdims=True)


def _stack(table: np.ndarray, names: list[str]) -> Float[np.ndarray, "N C"]:
    return np.stack([table[name].astype(np.float64) for name in names], axis=1)
