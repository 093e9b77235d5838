"""The rasterizer once more: plain float64 torch, no tiles, no shortcuts; slow and obvious."""

import torch

from splat_uff.cameras import Camera
from splat_uff.render import Gaussians

ALPHA_MIN = 1 / 255


def reference_render(gaussians: Gaussians, camera: Camera, values: torch.Tensor):
    """Blended values [H, W, C] and accumulated opacity [H, W], float64, differentiable."""
    means, quats = gaussians.means.double(), gaussians.quats.double()
    scales, opacities = gaussians.log_scales.double().exp(), gaussians.opacity_logits.double()
    opacities = opacities.sigmoid()
    viewmat, K = torch.as_tensor(camera.cam_from_world), torch.as_tensor(camera.K)
    in_cam = means @ viewmat[:3, :3].T + viewmat[:3, 3]
    x, y, z = in_cam.unbind(1)
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    zero = torch.zeros_like(z)
    margin_x, margin_y = 0.15 * camera.width / fx, 0.15 * camera.height / fy
    tx = z * (x / z).clamp(-cx / fx - margin_x, (camera.width - cx) / fx + margin_x)
    ty = z * (y / z).clamp(-cy / fy - margin_y, (camera.height - cy) / fy + margin_y)
    J = torch.stack([fx / z, zero, -fx * tx / z**2, zero, fy / z, -fy * ty / z**2], 1)
    J = J.reshape(-1, 2, 3)
    factor = J @ viewmat[:3, :3] @ _rotations(quats) @ torch.diag_embed(scales)
    covariances = factor @ factor.transpose(1, 2) + 0.3 * torch.eye(2, dtype=torch.float64)
    conics = torch.linalg.inv(covariances)
    means2d = torch.stack([fx * x / z + cx, fy * y / z + cy], 1)

    order = torch.argsort(z, stable=True)
    order = order[z[order] > 0.01]
    ys, xs = torch.meshgrid(
        torch.arange(camera.height) + 0.5, torch.arange(camera.width) + 0.5, indexing="ij"
    )
    pixels = torch.stack([xs.ravel(), ys.ravel()], 1).double()
    offsets = means2d[order] - pixels[:, None]
    sigma = 0.5 * torch.einsum("pni,nij,pnj->pn", offsets, conics[order], offsets)
    faint = opacities[order] * torch.exp(-sigma)
    alpha = torch.where(faint >= ALPHA_MIN, faint.clamp(max=0.999), 0.0)
    with torch.no_grad():
        stopped = torch.cumprod(1 - alpha, 1) <= 1e-4
    alpha = torch.where(stopped, 0.0, alpha)
    after = torch.cumprod(1 - alpha, 1)
    before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], 1)
    image = (alpha * before) @ values.double()[order]
    shape = camera.height, camera.width
    return image.reshape(*shape, -1), (1 - after[:, -1]).reshape(shape)


def _rotations(quats):
    w, x, y, z = torch.nn.functional.normalize(quats, dim=1).unbind(1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, 1).reshape(-1, 3, 3)
