"""View-dependent colour: real spherical harmonics up to degree 3, forward and backward.

Bases and constants are those of 3DGS files (Sloan 2008, "Stupid Spherical Harmonics Tricks").
"""

import math
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

C0 = 0.28209479177387814
"""Value of the constant basis function; colour is 0.5 + C0 * sh0."""
MAX_DEGREE = 3

_options = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}


def colours_seen(
    means: Float[Tensor, "N 3"],
    sh0: Float[Tensor, "N 1 3"],
    shN: Float[Tensor, "N K 3"],
    centre: Float[np.ndarray, "3"],
    degree: int,
) -> Float[Tensor, "N 3"]:
    """Colour of each Gaussian as seen from `centre`, at least 0, differentiable in all tensors.

    Args:
        means: Centres, world units.
        sh0: Coefficients of degree 0.
        shN: Coefficients of the higher degrees.
        centre: Position of the camera, world units.
        degree: Degree to evaluate, at most what `shN` holds and at most 3.

    Raises:
        ValueError: If `degree` asks for more than is stored.
    """
    held = (degree + 1) ** 2 - 1
    if not 0 <= degree <= MAX_DEGREE or held > shN.shape[1]:
        raise ValueError(
            f"degree is {degree}; {shN.shape[1]} coefficients beyond sh0 are stored and 3 is the "
            "highest degree there is."
        )
    if degree == 0:
        return (sh0[:, 0] * C0 + 0.5).clamp_min(0)
    if means.is_cuda:
        from gsplat import spherical_harmonics

        directions = means - torch.as_tensor(centre, dtype=means.dtype, device=means.device)
        coefficients = torch.cat([sh0, shN[:, :held]], dim=1)
        return (spherical_harmonics(degree, directions, coefficients) + 0.5).clamp_min(0)
    return _Harmonics.apply(means, sh0, shN, centre, degree)


class _Harmonics(torch.autograd.Function):
    @staticmethod
    def forward(ctx, means, sh0, shN, centre, degree):
        positions, low, high = (t.detach().contiguous().numpy() for t in (means, sh0, shN))
        colours = _harmonics_forward(positions, low, high, centre, degree)
        ctx.arrays, ctx.centre, ctx.degree = (positions, low, high, colours), centre, degree
        return torch.from_numpy(colours)

    @staticmethod
    def backward(ctx, v_colours):  # pyright: ignore[reportIncompatibleMethodOverride]
        positions, low, high, colours = ctx.arrays
        v = v_colours.contiguous().numpy()
        gradients = _harmonics_backward(positions, low, high, ctx.centre, ctx.degree, colours, v)
        return (*(torch.from_numpy(gradient) for gradient in gradients), None, None)


@njit(inline="always", **_options)
@no_type_check
def _direction(means, centre, n):
    """Unit vector from the camera to Gaussian n, and their distance."""
    x, y, z = means[n, 0] - centre[0], means[n, 1] - centre[1], means[n, 2] - centre[2]
    distance = max(math.sqrt(x * x + y * y + z * z), 1e-12)
    return x / distance, y / distance, z / distance, distance


@njit(inline="always", **_options)
@no_type_check
def _fill_basis(x, y, z, degree, basis, slopes):
    """Values of the basis functions beyond the first, and their slopes in x, y and z."""
    a = 0.4886025119029199
    basis[0], basis[1], basis[2] = -a * y, a * z, -a * x
    slopes[:, :] = 0.0
    slopes[0, 1], slopes[1, 2], slopes[2, 0] = -a, a, -a
    if degree >= 2:
        b, c, d = 1.0925484305920792, 0.31539156525252005, 0.5462742152960396
        basis[3], basis[4], basis[6] = b * x * y, -b * y * z, -b * x * z
        basis[5], basis[7] = c * (2 * z * z - x * x - y * y), d * (x * x - y * y)
        slopes[3, 0], slopes[3, 1] = b * y, b * x
        slopes[4, 1], slopes[4, 2] = -b * z, -b * y
        slopes[5, 0], slopes[5, 1], slopes[5, 2] = -2 * c * x, -2 * c * y, 4 * c * z
        slopes[6, 0], slopes[6, 2] = -b * z, -b * x
        slopes[7, 0], slopes[7, 1] = 2 * d * x, -2 * d * y
    if degree >= 3:
        e, f, g = 0.5900435899266435, 2.890611442640554, 0.4570457994644658
        h, k = 0.3731763325901154, 1.445305721320277
        xx, yy, zz = x * x, y * y, z * z
        basis[8] = -e * y * (3 * xx - yy)
        basis[9] = f * x * y * z
        basis[10] = -g * y * (4 * zz - xx - yy)
        basis[11] = h * z * (2 * zz - 3 * xx - 3 * yy)
        basis[12] = -g * x * (4 * zz - xx - yy)
        basis[13] = k * z * (xx - yy)
        basis[14] = -e * x * (xx - 3 * yy)
        slopes[8, 0], slopes[8, 1] = -6 * e * x * y, -3 * e * (xx - yy)
        slopes[9, 0], slopes[9, 1], slopes[9, 2] = f * y * z, f * x * z, f * x * y
        slopes[10, 0], slopes[10, 1] = 2 * g * x * y, -g * (4 * zz - xx - 3 * yy)
        slopes[10, 2] = -8 * g * y * z
        slopes[11, 0], slopes[11, 1] = -6 * h * x * z, -6 * h * y * z
        slopes[11, 2] = h * (6 * zz - 3 * xx - 3 * yy)
        slopes[12, 0], slopes[12, 1] = -g * (4 * zz - 3 * xx - yy), 2 * g * x * y
        slopes[12, 2] = -8 * g * x * z
        slopes[13, 0], slopes[13, 1], slopes[13, 2] = 2 * k * x * z, -2 * k * y * z, k * (xx - yy)
        slopes[14, 0], slopes[14, 1] = -3 * e * (xx - yy), 6 * e * x * y


@njit(parallel=True, **_options)
@no_type_check
def _harmonics_forward(means, sh0, shN, centre, degree):
    count, terms = means.shape[0], (degree + 1) ** 2 - 1
    colours = np.empty((count, 3), np.float32)
    chunk = 1024
    for part in prange((count + chunk - 1) // chunk):
        basis, slopes = np.empty(15), np.empty((15, 3))
        for n in range(part * chunk, min(count, (part + 1) * chunk)):
            x, y, z, _ = _direction(means, centre, n)
            _fill_basis(x, y, z, degree, basis, slopes)
            for c in range(3):
                colour = 0.5 + C0 * sh0[n, 0, c]
                for k in range(terms):
                    colour += basis[k] * shN[n, k, c]
                colours[n, c] = max(colour, 0.0)
    return colours


@njit(parallel=True, **_options)
@no_type_check
def _harmonics_backward(means, sh0, shN, centre, degree, colours, v_colours):
    count, terms = means.shape[0], (degree + 1) ** 2 - 1
    v_means, v_sh0, v_shN = np.zeros_like(means), np.zeros_like(sh0), np.zeros_like(shN)
    chunk = 1024
    for part in prange((count + chunk - 1) // chunk):
        basis, slopes = np.empty(15), np.empty((15, 3))
        for n in range(part * chunk, min(count, (part + 1) * chunk)):
            x, y, z, distance = _direction(means, centre, n)
            _fill_basis(x, y, z, degree, basis, slopes)
            vx = vy = vz = 0.0
            for c in range(3):
                if colours[n, c] <= 0:
                    continue
                v = float(v_colours[n, c])
                v_sh0[n, 0, c] = C0 * v
                for k in range(terms):
                    v_shN[n, k, c] = basis[k] * v
                    weighted = v * shN[n, k, c]
                    vx += weighted * slopes[k, 0]
                    vy += weighted * slopes[k, 1]
                    vz += weighted * slopes[k, 2]
            along = vx * x + vy * y + vz * z
            v_means[n, 0] = (vx - along * x) / distance
            v_means[n, 1] = (vy - along * y) / distance
            v_means[n, 2] = (vz - along * z) / distance
    return v_means, v_sh0, v_shN
