"""Projection of 3D to 2D Gaussians, forward and backward in a fused loop (Zwicker et al. 2002).

The covariance of a Gaussian is M Mᵀ with M = R diag(s). A camera with rotation Q and projection
Jacobian J sees (J Q M)(J Q M)ᵀ + eps2d I, so only the 2x3 matrix A = J Q M is ever needed.
Semantics follow gsplat 1.5: J is evaluated at a point clamped to 1.3 times the field of view, and a
Gaussian ends where its alpha falls to 1/255. Arithmetic is float64 in registers; what is divided by
more than once is inverted, since a division takes as long as ten multiplications.

Several cameras give several images of the same N Gaussians, and a batch consists of several such
sets: image i shows set i // cameras. "Instance" i * N + n is Gaussian n of its set in image i.
"""

import math
from typing import no_type_check

import numpy as np
from numba import njit, prange

ALPHA_MIN = 1.0 / 255.0
"""Alpha at which a Gaussian ends, because blending skips fainter contributions."""
PART = 1024
"""Gaussians per unit of parallel work; sums over all are taken part by part, in order."""

_options = {"cache": True, "error_model": "numpy"}


@njit(parallel=True, **_options)
@no_type_check
def project_forward(
    means, quats, scales, opacities, viewmats, Ks, sets, width, height,
    eps2d, near, far, radius_clip, antialiased,
):  # fmt: skip
    """Project all Gaussians into all images.

    Args:
        means: float32 [sets * N, 3], in the world.
        quats: float32 [sets * N, 4], wxyz, normalised here.
        scales: float32 [sets * N, 3].
        opacities: float32 [sets * N].
        viewmats: float64 [I, 4, 4], camera from world, OpenCV axes.
        Ks: float64 [I, 3, 3], in pixels.
        sets: Number of sets of Gaussians; I is a multiple of it.
        width: Image width in pixels.
        height: Image height in pixels.
        eps2d: Blur added to both variances, in pixels squared.
        near: Nearest depth that is drawn.
        far: Farthest depth that is drawn.
        radius_clip: Half size in pixels up to which Gaussians are not drawn.
        antialiased: Whether to dim Gaussians by as much as `eps2d` widens them (Yu et al. 2024,
            Mip-Splatting).

    Returns:
        For each instance, float32: means2d [P, 2], conics [P, 3] (inverse 2D covariance: xx, xy,
        yy), depths [P], dimmed opacities [P], and extents [P, 2]: half the size of the box around
        the ellipse on which alpha is 1/255. All but opacities are 0 for invisible instances.
    """
    images = len(viewmats)
    count, cameras = len(means) // sets, images // sets
    instances = images * count
    # `np.zeros` would be a parallel loop of its own, which takes as long as 2000 Gaussians.
    means2d, extents = np.empty((instances, 2), np.float32), np.empty((instances, 2), np.float32)
    conics = np.empty((instances, 3), np.float32)
    depths, dimmed = np.empty(instances, np.float32), np.empty(instances, np.float32)
    parts = (count + PART - 1) // PART
    for part in prange(images * parts):
        image, first = part // parts, part % parts * PART
        pose, lens = _entries(viewmats[image]), _lens(Ks[image], width, height)
        fx, fy, cx, cy = lens[:4]
        for member in range(first, min(count, first + PART)):
            instance, n = image * count + member, image // cameras * count + member
            dimmed[instance], depths[instance] = opacities[n], 0.0
            means2d[instance, 0], means2d[instance, 1] = 0.0, 0.0
            extents[instance, 0], extents[instance, 1] = 0.0, 0.0
            conics[instance, 0], conics[instance, 1], conics[instance, 2] = 0.0, 0.0, 0.0
            x, y, z = _to_camera(means, pose, n)
            if not (near <= z <= far and opacities[n] >= ALPHA_MIN):
                continue  # Negated, so that NaN is not drawn either.
            per_z = 1.0 / z
            A = _screen_factor(quats, scales, pose, lens, n, x, y, z, per_z)
            xx, xy, yy = _gram(A)
            blurred = (xx + eps2d) * (yy + eps2d) - xy * xy
            opacity = float(opacities[n])
            if antialiased:
                opacity *= math.sqrt(max(0.0, xx * yy - xy * xy) / blurred)
            if not (blurred > 0.0 and opacity >= ALPHA_MIN):
                continue
            u, v = fx * x * per_z + cx, fy * y * per_z + cy
            reach = 2.0 * math.log(opacity / ALPHA_MIN)  # Squared Mahalanobis radius.
            extent_x, extent_y = math.sqrt(reach * (xx + eps2d)), math.sqrt(reach * (yy + eps2d))
            if not math.isfinite(u + v + extent_x + extent_y):
                continue
            radius_x, radius_y = math.ceil(extent_x), math.ceil(extent_y)
            if radius_x <= radius_clip and radius_y <= radius_clip:
                continue
            if (
                u + radius_x <= 0
                or u - radius_x >= width
                or v + radius_y <= 0
                or v - radius_y >= height
            ):
                continue
            means2d[instance, 0], means2d[instance, 1] = u, v
            per_area = 1.0 / blurred
            conics[instance, 0] = (yy + eps2d) * per_area
            conics[instance, 1] = -xy * per_area
            conics[instance, 2] = (xx + eps2d) * per_area
            depths[instance] = z
            dimmed[instance] = opacity
            extents[instance, 0], extents[instance, 1] = extent_x, extent_y
    return means2d, conics, depths, dimmed, extents


@njit(parallel=True, **_options)
@no_type_check
def project_backward(
    means, quats, scales, opacities, viewmats, Ks, sets, width, height, eps2d, antialiased, rows,
    v_means2d, v_conics, v_depths, v_dimmed, with_poses,
):  # fmt: skip
    """Gradients of `project_forward`, given the gradients of its results.

    Args:
        means, quats, scales, opacities, viewmats, Ks, sets, width, height, eps2d, antialiased:
            Inputs of `project_forward`.
        rows: int32 [P], row of each instance in the gradients, -1 for none.
        v_means2d, v_conics, v_depths, v_dimmed: float32 [rows, ...].
        with_poses: Whether to compute the gradients of `viewmats`.

    Returns:
        v_means, v_quats, v_scales and v_opacities, float32, and v_viewmats in parts whose sum is
        wanted, float64 [parts, I, 4, 4], undefined unless `with_poses`.
    """
    images, total = len(viewmats), len(means)
    count, cameras = total // sets, images // sets
    v_means, v_scales = np.empty((total, 3), np.float32), np.empty((total, 3), np.float32)
    v_quats, v_opacities = np.empty((total, 4), np.float32), np.empty(total, np.float32)
    parts = (total + PART - 1) // PART
    v_viewmats = np.empty((parts, images, 4, 4))
    for part in prange(parts):
        for n in range(part * PART, min(total, (part + 1) * PART)):
            v_means[n, 0], v_means[n, 1], v_means[n, 2] = 0.0, 0.0, 0.0
            v_scales[n, 0], v_scales[n, 1], v_scales[n, 2] = 0.0, 0.0, 0.0
            v_quats[n, 0], v_quats[n, 1], v_quats[n, 2], v_quats[n, 3] = 0.0, 0.0, 0.0, 0.0
            v_opacities[n] = 0.0
        # Cameras are the outer loop: slicing an array costs more than the math for one Gaussian.
        for image in range(images):
            pose, lens = _entries(viewmats[image]), _lens(Ks[image], width, height)
            v_viewmat = v_viewmats[part, image]
            for c in range(16):
                v_viewmat[c // 4, c % 4] = 0.0
            first = image // cameras * count  # First Gaussian of this image's set.
            start, end = max(first, part * PART), min(first + count, total, (part + 1) * PART)
            for n in range(start, end):
                row = rows[image * count + n - first]
                if row >= 0:
                    _pull_back(
                        means, quats, scales, opacities, pose, lens, eps2d, antialiased, n,
                        v_means2d, v_conics, v_depths, v_dimmed, row,
                        v_means, v_quats, v_scales, v_opacities, v_viewmat, with_poses,
                    )  # fmt: skip
    return v_means, v_quats, v_scales, v_opacities, v_viewmats


@njit(inline="always", **_options)  # A call would pass a hundred numbers, which costs a third.
@no_type_check
def _pull_back(
    means, quats, scales, opacities, pose, lens, eps2d, antialiased, n,
    v_means2d, v_conics, v_depths, v_dimmed, row,
    v_means, v_quats, v_scales, v_opacities, v_viewmat, with_poses,
):  # fmt: skip
    """Add the gradients of Gaussian n in one image to the arrays v_means to v_viewmat."""
    fx, fy = lens[0], lens[1]
    q00, q01, q02, _, q10, q11, q12, _, q20, q21, q22, _ = pose
    x, y, z = _to_camera(means, pose, n)
    per_z = 1.0 / z
    A = _screen_factor(quats, scales, pose, lens, n, x, y, z, per_z)
    a00, a01, a02, a10, a11, a12 = A
    xx, xy, yy = _gram(A)
    blurred = (xx + eps2d) * (yy + eps2d) - xy * xy
    # The conic is the inverse of the covariance: v_cov = -conic v_conic conic.
    per_area = 1.0 / blurred
    cxx, cxy, cyy = (yy + eps2d) * per_area, -xy * per_area, (xx + eps2d) * per_area
    vxx, vxy, vyy = float(v_conics[row, 0]), 0.5 * v_conics[row, 1], float(v_conics[row, 2])
    p00, p01 = cxx * vxx + cxy * vxy, cxx * vxy + cxy * vyy
    p10, p11 = cxy * vxx + cyy * vxy, cxy * vxy + cyy * vyy
    s00 = -(p00 * cxx + p01 * cxy)
    s01 = -(p00 * cxy + p01 * cyy)
    s11 = -(p10 * cxy + p11 * cyy)
    if antialiased:
        # The factor is sqrt(det(cov) / det(cov + eps2d I)).
        factor = math.sqrt(max(0.0, xx * yy - xy * xy) / blurred)
        v_opacities[n] += v_dimmed[row] * factor
        if factor > 0:
            v = 0.5 * float(v_dimmed[row]) * opacities[n] / blurred
            s00 += v * (yy / factor - factor * (yy + eps2d))
            s01 -= v * xy * (1.0 / factor - factor)
            s11 += v * (xx / factor - factor * (xx + eps2d))
    else:
        v_opacities[n] += v_dimmed[row]
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
    tx, ty, inside_x, inside_y = _clamped(lens, x, y, z, per_z)
    J00, J11 = fx * per_z, fy * per_z
    J02, J12 = -J00 * tx * per_z, -J11 * ty * per_z
    w, i, j, k, per_length = _unit_quat(quats, n)
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
        b0 = s * (q00 * ra + q01 * rb + q02 * rc)
        b1 = s * (q10 * ra + q11 * rb + q12 * rc)
        b2 = s * (q20 * ra + q21 * rb + q22 * rc)
        v_J00 += va * b0
        v_J02 += va * b2
        v_J11 += vb * b1
        v_J12 += vb * b2
        vb0, vb1, vb2 = J00 * va, J11 * vb, J02 * va + J12 * vb
        if with_poses:
            v_viewmat[0, 0] += vb0 * s * ra
            v_viewmat[0, 1] += vb0 * s * rb
            v_viewmat[0, 2] += vb0 * s * rc
            v_viewmat[1, 0] += vb1 * s * ra
            v_viewmat[1, 1] += vb1 * s * rb
            v_viewmat[1, 2] += vb1 * s * rc
            v_viewmat[2, 0] += vb2 * s * ra
            v_viewmat[2, 1] += vb2 * s * rb
            v_viewmat[2, 2] += vb2 * s * rc
        vm0 = q00 * vb0 + q10 * vb1 + q20 * vb2
        vm1 = q01 * vb0 + q11 * vb1 + q21 * vb2
        vm2 = q02 * vb0 + q12 * vb1 + q22 * vb2
        v_scales[n, axis] += ra * vm0 + rb * vm1 + rc * vm2
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
    if w == 0 and i == 0 and j == 0 and k == 0:
        per_length = 0.0  # There is no direction in which to turn it.
    v_quats[n, 0] += (vw - along * w) * per_length
    v_quats[n, 1] += (vi - along * i) * per_length
    v_quats[n, 2] += (vj - along * j) * per_length
    v_quats[n, 3] += (vk - along * k) * per_length
    # Gradient of the point in camera axes: through its pixel, its depth, and J.
    v_u, v_v = float(v_means2d[row, 0]), float(v_means2d[row, 1])
    v_x = J00 * v_u
    v_y = J11 * v_v
    v_z = v_depths[row] - per_z * (J00 * (x * v_u + v_J00) + J11 * (y * v_v + v_J11))
    if inside_x:
        v_x -= J00 * per_z * v_J02
        v_z -= 2 * J02 * per_z * v_J02
    else:  # tx is a constant times z there.
        v_z -= J02 * per_z * v_J02
    if inside_y:
        v_y -= J11 * per_z * v_J12
        v_z -= 2 * J12 * per_z * v_J12
    else:
        v_z -= J12 * per_z * v_J12
    v_means[n, 0] += q00 * v_x + q10 * v_y + q20 * v_z
    v_means[n, 1] += q01 * v_x + q11 * v_y + q21 * v_z
    v_means[n, 2] += q02 * v_x + q12 * v_y + q22 * v_z
    if with_poses:
        for c in range(3):
            v_viewmat[0, c] += v_x * means[n, c]
            v_viewmat[1, c] += v_y * means[n, c]
            v_viewmat[2, c] += v_z * means[n, c]
        v_viewmat[0, 3] += v_x
        v_viewmat[1, 3] += v_y
        v_viewmat[2, 3] += v_z


@njit(inline="always", **_options)
@no_type_check
def _entries(viewmat):
    """First three rows of a matrix as twelve numbers, which the compiler keeps in registers."""
    return (
        viewmat[0, 0], viewmat[0, 1], viewmat[0, 2], viewmat[0, 3],
        viewmat[1, 0], viewmat[1, 1], viewmat[1, 2], viewmat[1, 3],
        viewmat[2, 0], viewmat[2, 1], viewmat[2, 2], viewmat[2, 3],
    )  # fmt: skip


@njit(inline="always", **_options)
@no_type_check
def _lens(K, width, height):
    """Focal lengths and centre, then least and greatest slope at which J is evaluated, x and y."""
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    margin_x, margin_y = 0.15 * width / fx, 0.15 * height / fy
    low_x, high_x = -(cx / fx + margin_x), (width - cx) / fx + margin_x
    low_y, high_y = -(cy / fy + margin_y), (height - cy) / fy + margin_y
    return fx, fy, cx, cy, low_x, high_x, low_y, high_y


@njit(inline="always", **_options)
@no_type_check
def _gram(A):
    """Entries xx, xy and yy of A Aᵀ."""
    a00, a01, a02, a10, a11, a12 = A
    return (
        a00 * a00 + a01 * a01 + a02 * a02,
        a00 * a10 + a01 * a11 + a02 * a12,
        a10 * a10 + a11 * a11 + a12 * a12,
    )


@njit(inline="always", **_options)
@no_type_check
def _to_camera(means, pose, n):
    """Centre of Gaussian n in camera axes."""
    mx, my, mz = float(means[n, 0]), float(means[n, 1]), float(means[n, 2])
    x = pose[0] * mx + pose[1] * my + pose[2] * mz + pose[3]
    y = pose[4] * mx + pose[5] * my + pose[6] * mz + pose[7]
    z = pose[8] * mx + pose[9] * my + pose[10] * mz + pose[11]
    return x, y, z


@njit(inline="always", **_options)
@no_type_check
def _unit_quat(quats, n):
    """Unit quaternion of Gaussian n, and the inverse of its stored length."""
    w, i, j, k = float(quats[n, 0]), float(quats[n, 1]), float(quats[n, 2]), float(quats[n, 3])
    per_length = 1.0 / max(math.sqrt(w * w + i * i + j * j + k * k), 1e-12)
    return w * per_length, i * per_length, j * per_length, k * per_length, per_length


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
def _clamped(lens, x, y, z, per_z):
    """Point at which J is evaluated, and whether each coordinate stays unclamped."""
    _, _, _, _, low_x, high_x, low_y, high_y = lens
    slope_x, slope_y = x * per_z, y * per_z
    inside_x = low_x <= slope_x <= high_x
    inside_y = low_y <= slope_y <= high_y
    tx = z * min(max(slope_x, low_x), high_x)
    ty = z * min(max(slope_y, low_y), high_y)
    return tx, ty, inside_x, inside_y


@njit(inline="always", **_options)
@no_type_check
def _screen_factor(quats, scales, pose, lens, n, x, y, z, per_z):
    """A = J Q R diag(s), row-major 2x3."""
    w, i, j, k, _ = _unit_quat(quats, n)
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = _rotation(w, i, j, k)
    tx, ty, _, _ = _clamped(lens, x, y, z, per_z)
    J00, J11 = lens[0] * per_z, lens[1] * per_z
    J02, J12 = -J00 * tx * per_z, -J11 * ty * per_z
    q00, q01, q02 = (
        J00 * pose[0] + J02 * pose[8],
        J00 * pose[1] + J02 * pose[9],
        J00 * pose[2] + J02 * pose[10],
    )
    q10, q11, q12 = (
        J11 * pose[4] + J12 * pose[8],
        J11 * pose[5] + J12 * pose[9],
        J11 * pose[6] + J12 * pose[10],
    )
    s0, s1, s2 = float(scales[n, 0]), float(scales[n, 1]), float(scales[n, 2])
    return (
        (q00 * r00 + q01 * r10 + q02 * r20) * s0,
        (q00 * r01 + q01 * r11 + q02 * r21) * s1,
        (q00 * r02 + q01 * r12 + q02 * r22) * s2,
        (q10 * r00 + q11 * r10 + q12 * r20) * s0,
        (q10 * r01 + q11 * r11 + q12 * r21) * s1,
        (q10 * r02 + q11 * r12 + q12 * r22) * s2,
    )
