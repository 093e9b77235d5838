"""View-dependent colour: real spherical harmonics up to degree 3, forward and backward.

The basis and its constants are those of 3DGS files (Sloan 2008, "Stupid Spherical Harmonics
Tricks").
"""

import math
from typing import no_type_check

import numpy as np
from numba import njit, prange

from splat_uff.render.projection import PART

C0 = 0.28209479177387814
"""Value of the constant basis function; colour is 0.5 + C0 * sh0."""
MAX_DEGREE = 3

_options = {"cache": True, "error_model": "numpy"}


@njit(parallel=True, **_options)
@no_type_check
def harmonics_forward(means, sh0, shN, skipped, centres, degree, sets, instances, rows):
    """Colours of the Gaussians as seen by the cameras, clamped to at least 0.

    Args:
        means: float32 [sets * N, 3], in the world.
        sh0: float32 [sets * N, at least 1, 3], or [I * N, at least 1, 3] if every image has its
            own; the first coefficients.
        shN: float32 [len(sh0), K, 3], the others, after the first `skipped` ones: 1 if this is the
            same array as `sh0`, else 0.
        skipped: See `shN`.
        centres: float64 [I, 3], positions of the cameras.
        degree: Degree to evaluate, at most that of the coefficients and at most 3.
        sets: Number of sets of Gaussians.
        instances: int64 [P], instances to colour; see `splat_uff.render.projection`.
        rows: int32 [I * N], row of each instance among those, -1 if it is not visible.

    Returns:
        float32 [P, 3], 0 for instances that are not visible.
    """
    total, wanted, terms = len(means), len(instances), (degree + 1) ** 2
    count, cameras = total // sets, len(centres) // sets
    own = len(sh0) != total
    colours = np.empty((wanted, 3), np.float32)
    for part in prange((wanted + PART - 1) // PART):
        basis = np.empty(15)
        for p in range(part * PART, min(wanted, (part + 1) * PART)):
            if rows[instances[p]] < 0:
                colours[p, 0], colours[p, 1], colours[p, 2] = 0.0, 0.0, 0.0
                continue
            image = instances[p] // count
            n = image // cameras * count + instances[p] % count
            row = instances[p] if own else n
            x, y, z, _ = _direction(means, n, centres, image)
            _fill_basis(x, y, z, degree, basis)
            for c in range(3):
                colour = 0.5 + C0 * sh0[row, 0, c]
                for k in range(terms - 1):
                    colour += basis[k] * shN[row, skipped + k, c]
                colours[p, c] = max(colour, 0.0)
    return colours


@njit(parallel=True, **_options)
@no_type_check
def harmonics_backward(
    means, shN, skipped, centres, degree, sets, rows, colours, v_colours,
    v_means, v_sh0, v_shN,
):  # fmt: skip
    """Gradients of `harmonics_forward`.

    Args:
        means, shN, skipped, centres, degree, sets, rows: Inputs of `harmonics_forward`.
        colours: float32 [P, 3], its result.
        v_colours: float32 [P, 3].
        v_means, v_sh0, v_shN: float32, to which gradients are added; the last two are one array if
            `skipped` is 1.

    Returns:
        v_centres in parts whose sum is wanted, float64 [parts, I, 3].
    """
    total, images, terms = len(means), len(centres), (degree + 1) ** 2
    count, cameras = total // sets, images // sets
    own = len(v_sh0) != total
    parts = (total + PART - 1) // PART
    v_centres = np.empty((parts, images, 3))
    for part in prange(parts):
        for image in range(images):
            v_centres[part, image, 0], v_centres[part, image, 1] = 0.0, 0.0
            v_centres[part, image, 2] = 0.0
        basis, slopes = np.empty(15), np.zeros((15, 3))
        for n in range(part * PART, min(total, (part + 1) * PART)):
            for camera in range(cameras):
                image = n // count * cameras + camera
                instance = image * count + n % count
                p = rows[instance]
                if p < 0:
                    continue
                row = instance if own else n
                x, y, z, per_distance = _direction(means, n, centres, image)
                _fill_basis(x, y, z, degree, basis)
                _fill_slopes(x, y, z, degree, slopes)
                vx = vy = vz = 0.0
                for c in range(3):
                    if not colours[p, c] > 0:
                        continue
                    v = float(v_colours[p, c])
                    v_sh0[row, 0, c] += C0 * v
                    for k in range(terms - 1):
                        v_shN[row, skipped + k, c] += basis[k] * v
                        weighted = v * shN[row, skipped + k, c]
                        vx += weighted * slopes[k, 0]
                        vy += weighted * slopes[k, 1]
                        vz += weighted * slopes[k, 2]
                along = vx * x + vy * y + vz * z
                vx, vy, vz = (
                    (vx - along * x) * per_distance,
                    (vy - along * y) * per_distance,
                    (vz - along * z) * per_distance,
                )
                v_means[n, 0] += vx
                v_means[n, 1] += vy
                v_means[n, 2] += vz
                v_centres[part, image, 0] -= vx
                v_centres[part, image, 1] -= vy
                v_centres[part, image, 2] -= vz
    return v_centres


def basis_values(directions: np.ndarray, degree: int) -> np.ndarray:
    """Values of the basis functions above degree 0, in the order of 3DGS files.

    Args:
        directions: float64 [P, 3], unit vectors from a camera to what it sees.
        degree: Degree to evaluate, 1 to 3.

    Returns:
        float64 [P, (degree + 1)**2 - 1].
    """
    values = np.empty((len(directions), 15))
    _fill_values(np.ascontiguousarray(directions, np.float64), degree, values)
    return values[:, : (degree + 1) ** 2 - 1]


@njit(parallel=True, **_options)
@no_type_check
def _fill_values(directions, degree, values):
    """Fill in the values of the basis functions for each direction."""
    for part in prange((len(directions) + PART - 1) // PART):
        for n in range(part * PART, min(len(directions), (part + 1) * PART)):
            x, y, z = directions[n]
            _fill_basis(x, y, z, degree, values[n])


@njit(inline="always", **_options)
@no_type_check
def _direction(means, n, centres, image):
    """Unit vector from a camera to Gaussian n, and the inverse of their distance."""
    x = means[n, 0] - centres[image, 0]
    y = means[n, 1] - centres[image, 1]
    z = means[n, 2] - centres[image, 2]
    per_distance = 1.0 / max(math.sqrt(x * x + y * y + z * z), 1e-12)
    return x * per_distance, y * per_distance, z * per_distance, per_distance


@njit(inline="always", **_options)
@no_type_check
def _fill_basis(x, y, z, degree, basis):
    """Fill in the values of the basis functions after the first."""
    a = 0.4886025119029199
    basis[0], basis[1], basis[2] = -a * y, a * z, -a * x
    if degree >= 2:
        b, c, d = 1.0925484305920792, 0.31539156525252005, 0.5462742152960396
        basis[3], basis[4], basis[6] = b * x * y, -b * y * z, -b * x * z
        basis[5], basis[7] = c * (2 * z * z - x * x - y * y), d * (x * x - y * y)
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


@njit(inline="always", **_options)
@no_type_check
def _fill_slopes(x, y, z, degree, slopes):
    """Fill in the slopes of these functions in x, y and z; `slopes` is 0 where they always are."""
    a = 0.4886025119029199
    slopes[0, 1], slopes[1, 2], slopes[2, 0] = -a, a, -a
    if degree >= 2:
        b, c, d = 1.0925484305920792, 0.31539156525252005, 0.5462742152960396
        slopes[3, 0], slopes[3, 1] = b * y, b * x
        slopes[4, 1], slopes[4, 2] = -b * z, -b * y
        slopes[5, 0], slopes[5, 1], slopes[5, 2] = -2 * c * x, -2 * c * y, 4 * c * z
        slopes[6, 0], slopes[6, 2] = -b * z, -b * x
        slopes[7, 0], slopes[7, 1] = 2 * d * x, -2 * d * y
    if degree >= 3:
        e, f, g = 0.5900435899266435, 2.890611442640554, 0.4570457994644658
        h, k = 0.3731763325901154, 1.445305721320277
        xx, yy, zz = x * x, y * y, z * z
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
