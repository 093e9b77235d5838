"""The rasterizer once more: plain float64 torch, no tiles, no shortcuts; slow and obvious."""

import torch

ALPHA_MIN = 1 / 255


def reference_rasterization(
    means,
    quats,
    scales,
    opacities,
    colors,
    viewmats,
    Ks,
    width,
    height,
    *,
    near_plane=0.01,
    far_plane=1e10,
    eps2d=0.3,
    sh_degree=None,
    backgrounds=None,
    render_mode="RGB",
    rasterize_mode="classic",
):
    """Images [C, H, W, X] and accumulated opacities [C, H, W, 1], float64, differentiable.

    Colours are [N, D] or [C, N, D], harmonics [N, K, 3] or [C, N, K, 3].
    """
    tensors = (means, quats, scales, opacities, colors, viewmats, Ks)
    means, quats, scales, opacities, colors, viewmats, Ks = (t.double() for t in tensors)
    per_camera = colors.dim() == (3 if sh_degree is None else 4)
    images, alphas = [], []
    for index, (viewmat, K) in enumerate(zip(viewmats, Ks, strict=True)):
        means2d, conics, depths, fading = project(
            means, quats, scales, viewmat, K, width, height, eps2d
        )
        values = colors[index] if per_camera else colors
        if sh_degree is not None:
            centre = torch.linalg.inv(viewmat)[:3, 3]
            directions = torch.nn.functional.normalize(means - centre, dim=1)
            bases = harmonics(directions)[:, : (sh_degree + 1) ** 2]
            values = torch.einsum("nk,nkc->nc", bases, values[:, : bases.shape[1]])
            values = (values + 0.5).clamp_min(0)
        if render_mode == "RGB":
            pass
        elif render_mode.startswith("RGB"):
            values = torch.cat([values, depths[:, None]], 1)
        else:
            values = depths[:, None]
        dimmed = opacities * fading if rasterize_mode == "antialiased" else opacities
        order = torch.argsort(depths, stable=True)
        order = order[(depths[order] >= near_plane) & (depths[order] <= far_plane)]
        image, alpha = blend(
            means2d[order], conics[order], dimmed[order], values[order], width, height
        )
        if backgrounds is not None and render_mode.startswith("RGB"):
            colour = torch.zeros_like(image[0, 0])
            colour[: backgrounds.shape[1]] += backgrounds[index].double()
            image = image + (1 - alpha) * colour
        if render_mode.endswith("ED"):
            image = torch.cat([image[..., :-1], image[..., -1:] / alpha.clamp(min=1e-10)], -1)
        images.append(image)
        alphas.append(alpha)
    return torch.stack(images), torch.stack(alphas)


def project(means, quats, scales, viewmat, K, width, height, eps2d):
    """Centres [N, 2], conics [N, 2, 2], depths [N], and what antialiasing leaves of opacity [N]."""
    x, y, z = (means @ viewmat[:3, :3].T + viewmat[:3, 3]).unbind(1)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    zero = torch.zeros_like(z)
    margin_x, margin_y = 0.15 * width / fx, 0.15 * height / fy
    tx = z * (x / z).clamp(-cx / fx - margin_x, (width - cx) / fx + margin_x)
    ty = z * (y / z).clamp(-cy / fy - margin_y, (height - cy) / fy + margin_y)
    J = torch.stack([fx / z, zero, -fx * tx / z**2, zero, fy / z, -fy * ty / z**2], 1)
    factor = J.reshape(-1, 2, 3) @ viewmat[:3, :3] @ rotations(quats) @ torch.diag_embed(scales)
    sharp = factor @ factor.transpose(1, 2)
    blurred = sharp + eps2d * torch.eye(2, dtype=torch.float64)
    fading = (torch.det(sharp) / torch.det(blurred)).clamp_min(0).sqrt()
    return torch.stack([fx * x / z + cx, fy * y / z + cy], 1), torch.linalg.inv(blurred), z, fading


def blend(means2d, conics, opacities, values, width, height):
    """Composite Gaussians that come sorted by depth."""
    ys, xs = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([xs.ravel(), ys.ravel()], 1).double()
    offsets = means2d - pixels[:, None]
    sigma = 0.5 * torch.einsum("pni,nij,pnj->pn", offsets, conics, offsets)
    faint = opacities * torch.exp(-sigma)
    alpha = torch.where(faint >= ALPHA_MIN, faint.clamp(max=0.999), 0.0)
    with torch.no_grad():
        stopped = torch.cumprod(1 - alpha, 1) <= 1e-4
    alpha = torch.where(stopped, 0.0, alpha)
    after = torch.cumprod(1 - alpha, 1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], 1)
    image = (alpha * before) @ values
    return image.reshape(height, width, -1), 1 - after[:, -1].reshape(height, width, 1)


def harmonics(directions):
    """The sixteen real spherical harmonics up to degree 3, in the order and signs of 3DGS files."""
    x, y, z = directions.unbind(1)
    a, b, c, d = 0.4886025119029199, 1.0925484305920792, 0.31539156525252005, 0.5462742152960396
    e, f, g = 0.5900435899266435, 2.890611442640554, 0.4570457994644658
    h, k = 0.3731763325901154, 1.445305721320277
    bases = [
        0.28209479177387814 * torch.ones_like(x),
        *(-a * y, a * z, -a * x),
        *(b * x * y, -b * y * z, c * (2 * z * z - x * x - y * y), -b * x * z, d * (x * x - y * y)),
        *(-e * y * (3 * x * x - y * y), f * x * y * z, -g * y * (4 * z * z - x * x - y * y)),
        h * z * (2 * z * z - 3 * x * x - 3 * y * y),
        *(
            -g * x * (4 * z * z - x * x - y * y),
            k * z * (x * x - y * y),
            -e * x * (x * x - 3 * y * y),
        ),
    ]
    return torch.stack(bases, 1)


def rotations(quats):
    """Rotation matrices [N, 3, 3] of quaternions of any length, wxyz."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=1).unbind(1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, 1).reshape(-1, 3, 3)
