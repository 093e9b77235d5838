"""From 3D Gaussians to 2D ones, forward and backward, one fused loop each (Zwicker et al. 2002).

The covariance of a Gaussian is M Mᵀ with M = R diag(s). A camera with rotation Q and projection
Jacobian J sees (J Q M)(J Q M)ᵀ + eps2d I, so only the 2x3 matrix A = J Q M is ever needed.
Semantics follow gsplat 1.5: `eps2d` is 0.3, J is evaluated at a point clamped to 1.3 times the
field of view, Gaussians nearer than `near` are not drawn. Arithmetic is float64 in registers.
"""

import math
from typing import no_type_check

import numpy as np
from numba import njit, prange

ALPHA_MIN = 1.0 / 255.0
"""Blending skips fainter contributions, so a Gaussian ends where its alpha falls to this."""
EPS2D = 0.3
"""Added to both variances in pixels squared: a Gaussian is at least about a pixel wide."""

_options = {"cache": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}


@njit(parallel=True, **_options)
@no_type_check
def project_forward(means, quats, scales, opacities, viewmat, K, width, height, near, far):
    """Project all Gaussians into one camera.

    Args:
        means: float32 [N, 3], world.
        quats: float32 [N, 4], wxyz, normalised here.
        scales: float32 [N, 3].
        opacities: float32 [N].
        viewmat: float64 [4, 4], camera from world, OpenCV axes.
        K: float64 [3, 3], pixels.
        width: Image width in pixels.
        height: Image height in pixels.
        near: Nearest depth that is drawn.
        far: Farthest depth that is drawn.

    Returns:
        means2d [N, 2], conics [N, 3] (inverse 2D covariance: xx, xy, yy), depths [N], and extents
        [N, 2]: half the size of the box around the ellipse on which alpha is 1/255; 0 if not seen.
    """
    count = means.shape[0]
    means2d = np.zeros((count, 2), np.float32)
    conics = np.zeros((count, 3), np.float32)
    depths = np.zeros(count, np.float32)
    extents = np.zeros((count, 2), np.float32)
    for n in prange(count):
        x, y, z = _to_camera(means, viewmat, n)
        if not (near < z < far) or not opacities[n] >= ALPHA_MIN:
            continue  # Negated, so that NaN is not drawn either.
        A = _screen_factor(quats, scales, viewmat, K, width, height, n, x, y, z)
        a00, a01, a02, a10, a11, a12 = A
        xx = a00 * a00 + a01 * a01 + a02 * a02 + EPS2D
        xy = a00 * a10 + a01 * a11 + a02 * a12
        yy = a10 * a10 + a11 * a11 + a12 * a12 + EPS2D
        determinant = xx * yy - xy * xy
        u = K[0, 0] * x / z + K[0, 2]
        v = K[1, 1] * y / z + K[1, 2]
        reach = 2.0 * math.log(opacities[n] / ALPHA_MIN)  # Squared Mahalanobis radius.
        extent_x, extent_y = math.sqrt(reach * xx), math.sqrt(reach * yy)
        if not (determinant > 0.0 and math.isfinite(u + v + extent_x + extent_y)):
            continue
        if (
            u + extent_x <= 0
            or u - extent_x >= width
            or v + extent_y <= 0
            or v - extent_y >= height
        ):
            continue
        means2d[n, 0], means2d[n, 1] = u, v
        conics[n, 0] = yy / determinant
        conics[n, 1] = -xy / determinant
        conics[n, 2] = xx / determinant
        depths[n] = z
        extents[n, 0], extents[n, 1] = extent_x, extent_y
    return means2d, conics, depths, extents


@njit(parallel=True, **_options)
@no_type_check
def project_backward(
    means, quats, scales, viewmat, K, width, height, extents, conics, v_means2d, v_conics
):
    """Gradients of `project_forward`: v_means [N, 3], v_quats [N, 4], v_scales [N, 3]."""
    count = means.shape[0]
    v_means = np.zeros((count, 3), np.float32)
    v_quats = np.zeros((count, 4), np.float32)
    v_scales = np.zeros((count, 3), np.float32)
    fx, fy = K[0, 0], K[1, 1]
    for n in prange(count):
        if extents[n, 0] <= 0:
            continue
        x, y, z = _to_camera(means, viewmat, n)
        a00, a01, a02, a10, a11, a12 = _screen_factor(
            quats, scales, viewmat, K, width, height, n, x, y, z
        )
        # The conic is the inverse of the covariance: v_cov = -conic v_conic conic.
        cxx, cxy, cyy = float(conics[n, 0]), float(conics[n, 1]), float(conics[n, 2])
        vxx, vxy, vyy = float(v_conics[n, 0]), 0.5 * v_conics[n, 1], float(v_conics[n, 2])
        p00, p01 = cxx * vxx + cxy * vxy, cxx * vxy + cxy * vyy
        p10, p11 = cxy * vxx + cyy * vxy, cxy * vxy + cyy * vyy
        s00 = -(p00 * cxx + p01 * cxy)
        s01 = -(p00 * cxy + p01 * cyy)
        s11 = -(p10 * cxy + p11 * cyy)
        # The covariance is A Aᵀ: v_A = 2 v_cov A.
        v00, v01, v02 = (
            2 * (s00 * a00 + s01 * a10),
            2 * (s00 * a01 + s01 * a11),
            2 * (s00 * a02 + s01 * a12),
        )
        v10, v11, v12 = (
            2 * (s01 * a00 + s11 * a10),
            2 * (s01 * a01 + s11 * a11),
            2 * (s01 * a02 + s11 * a12),
        )
        # A = J Q M, with J's nonzero entries J00, J02, J11, J12.
        tx, ty, inside_x, inside_y = _clamped(K, width, height, x, y, z)
        J00, J02, J11, J12 = fx / z, -fx * tx / (z * z), fy / z, -fy * ty / (z * z)
        w, i, j, k, length = _unit_quat(quats, n)
        v_J00, v_J02, v_J11, v_J12 = 0.0, 0.0, 0.0, 0.0
        r00, r01, r02, r10, r11, r12, r20, r21, r22 = _rotation(w, i, j, k)
        g00 = g01 = g02 = g10 = g11 = g12 = g20 = g21 = g22 = 0.0  # Gradient of R.
        for axis in range(3):
            if axis == 0:
                ra, rb, rc, va, vb = r00, r10, r20, v00, v10
            elif axis == 1:
                ra, rb, rc, va, vb = r01, r11, r21, v01, v11
            else:
                ra, rb, rc, va, vb = r02, r12, r22, v02, v12
            s = float(scales[n, axis])
            # Column of B = Q M, then v_J = v_A Bᵀ and v_B = Jᵀ v_A.
            b0 = s * (viewmat[0, 0] * ra + viewmat[0, 1] * rb + viewmat[0, 2] * rc)
            b1 = s * (viewmat[1, 0] * ra + viewmat[1, 1] * rb + viewmat[1, 2] * rc)
            b2 = s * (viewmat[2, 0] * ra + viewmat[2, 1] * rb + viewmat[2, 2] * rc)
            v_J00 += va * b0
            v_J02 += va * b2
            v_J11 += vb * b1
            v_J12 += vb * b2
            vb0, vb1, vb2 = J00 * va, J11 * vb, J02 * va + J12 * vb
            vm0 = viewmat[0, 0] * vb0 + viewmat[1, 0] * vb1 + viewmat[2, 0] * vb2
            vm1 = viewmat[0, 1] * vb0 + viewmat[1, 1] * vb1 + viewmat[2, 1] * vb2
            vm2 = viewmat[0, 2] * vb0 + viewmat[1, 2] * vb1 + viewmat[2, 2] * vb2
            v_scales[n, axis] = ra * vm0 + rb * vm1 + rc * vm2
            if axis == 0:
                g00, g10, g20 = s * vm0, s * vm1, s * vm2
            elif axis == 1:
                g01, g11, g21 = s * vm0, s * vm1, s * vm2
            else:
                g02, g12, g22 = s * vm0, s * vm1, s * vm2
        # Rotation matrix to unit quaternion, then through the normalisation.
        vw = 2 * (i * (g21 - g12) + j * (g02 - g20) + k * (g10 - g01))
        vi = 2 * (-2 * i * (g11 + g22) + j * (g01 + g10) + k * (g02 + g20) + w * (g21 - g12))
        vj = 2 * (i * (g01 + g10) - 2 * j * (g00 + g22) + k * (g12 + g21) + w * (g02 - g20))
        vk = 2 * (i * (g02 + g20) + j * (g12 + g21) - 2 * k * (g00 + g11) + w * (g10 - g01))
        along = vw * w + vi * i + vj * j + vk * k
        v_quats[n, 0] = (vw - along * w) / length
        v_quats[n, 1] = (vi - along * i) / length
        v_quats[n, 2] = (vj - along * j) / length
        v_quats[n, 3] = (vk - along * k) / length
        # To the point in the camera: through its pixel, and through J.
        v_u, v_v = float(v_means2d[n, 0]), float(v_means2d[n, 1])
        v_x = fx / z * v_u
        v_y = fy / z * v_v
        v_z = -(fx * x * v_u + fy * y * v_v) / (z * z) - (fx * v_J00 + fy * v_J11) / (z * z)
        if inside_x:
            v_x -= fx / (z * z) * v_J02
            v_z += 2 * fx * tx / (z * z * z) * v_J02
        else:  # tx is a constant times z there.
            v_z += fx * tx / (z * z * z) * v_J02
        if inside_y:
            v_y -= fy / (z * z) * v_J12
            v_z += 2 * fy * ty / (z * z * z) * v_J12
        else:
            v_z += fy * ty / (z * z * z) * v_J12
        for c in range(3):
            v_means[n, c] = viewmat[0, c] * v_x + viewmat[1, c] * v_y + viewmat[2, c] * v_z
    return v_means, v_quats, v_scales


@njit(inline="always", **_options)
@no_type_check
def _to_camera(means, viewmat, n):
    """Centre of Gaussian n in camera axes."""
    mx, my, mz = float(means[n, 0]), float(means[n, 1]), float(means[n, 2])
    x = viewmat[0, 0] * mx + viewmat[0, 1] * my + viewmat[0, 2] * mz + viewmat[0, 3]
    y = viewmat[1, 0] * mx + viewmat[1, 1] * my + viewmat[1, 2] * mz + viewmat[1, 3]
    z = viewmat[2, 0] * mx + viewmat[2, 1] * my + viewmat[2, 2] * mz + viewmat[2, 3]
    return x, y, z


@njit(inline="always", **_options)
@no_type_check
def _unit_quat(quats, n):
    """Unit quaternion of Gaussian n, and the length it is stored with."""
    w, i, j, k = float(quats[n, 0]), float(quats[n, 1]), float(quats[n, 2]), float(quats[n, 3])
    length = max(math.sqrt(w * w + i * i + j * j + k * k), 1e-12)
    return w / length, i / length, j / length, k / length, length


@njit(inline="always", **_options)
@no_type_check
def _rotation(w, i, j, k):
    """Row-major rotation matrix of a unit quaternion."""
    return (
        1 - 2 * (j * j + k * k), 2 * (i * j - w * k), 2 * (i * k + w * j),
        2 * (i * j + w * k), 1 - 2 * (i * i + k * k), 2 * (j * k - w * i),
        2 * (i * k - w * j), 2 * (j * k + w * i), 1 - 2 * (i * i + j * j),
    )  # fmt: skip


@njit(inline="always", **_options)
@no_type_check
def _clamped(K, width, height, x, y, z):
    """The point at which J is evaluated, and whether each coordinate is left as it is."""
    fx, fy = K[0, 0], K[1, 1]
    margin_x, margin_y = 0.15 * width / fx, 0.15 * height / fy
    slope_x, slope_y = x / z, y / z
    low_x, high_x = -(K[0, 2] / fx + margin_x), (width - K[0, 2]) / fx + margin_x
    low_y, high_y = -(K[1, 2] / fy + margin_y), (height - K[1, 2]) / fy + margin_y
    inside_x = low_x <= slope_x <= high_x
    inside_y = low_y <= slope_y <= high_y
    tx = z * min(max(slope_x, low_x), high_x)
    ty = z * min(max(slope_y, low_y), high_y)
    return tx, ty, inside_x, inside_y


@njit(inline="always", **_options)
@no_type_check
def _screen_factor(quats, scales, viewmat, K, width, height, n, x, y, z):
    """A = J Q R diag(s), row-major 2x3."""
    w, i, j, k, _ = _unit_quat(quats, n)
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = _rotation(w, i, j, k)
    tx, ty, _, _ = _clamped(K, width, height, x, y, z)
    J00, J02 = K[0, 0] / z, -K[0, 0] * tx / (z * z)
    J11, J12 = K[1, 1] / z, -K[1, 1] * ty / (z * z)
    q00 = J00 * viewmat[0, 0] + J02 * viewmat[2, 0]
    q01 = J00 * viewmat[0, 1] + J02 * viewmat[2, 1]
    q02 = J00 * viewmat[0, 2] + J02 * viewmat[2, 2]
    q10 = J11 * viewmat[1, 0] + J12 * viewmat[2, 0]
    q11 = J11 * viewmat[1, 1] + J12 * viewmat[2, 1]
    q12 = J11 * viewmat[1, 2] + J12 * viewmat[2, 2]
    s0, s1, s2 = float(scales[n, 0]), float(scales[n, 1]), float(scales[n, 2])
    return (
        (q00 * r00 + q01 * r10 + q02 * r20) * s0,
        (q00 * r01 + q01 * r11 + q02 * r21) * s1,
        (q00 * r02 + q01 * r12 + q02 * r22) * s2,
        (q10 * r00 + q11 * r10 + q12 * r20) * s0,
        (q10 * r01 + q11 * r11 + q12 * r21) * s1,
        (q10 * r02 + q11 * r12 + q12 * r22) * s2,
    )
