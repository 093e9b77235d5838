"""Random Gaussians and cameras that several tests look at, as the tensors of `rasterization`."""

import numpy as np
import torch

from splat_uff.geometry.cameras import Camera
from splat_uff.render import Gaussians

WIDTH, HEIGHT = 37, 29


def random_gaussians(count=300, *, seed=0, degree=0):
    """Gaussians of a few pixels in front of `camera()`."""
    rng = torch.Generator().manual_seed(seed)
    depth = 2 + 4 * torch.rand(count, generator=rng)
    offsets = (torch.rand(count, 2, generator=rng) - 0.5) * 1.4 * depth[:, None]
    return Gaussians(
        means=torch.cat([offsets, depth[:, None]], 1),
        quats=torch.randn(count, 4, generator=rng),
        log_scales=torch.log(0.03 + 0.1 * torch.rand(count, 3, generator=rng)),
        opacity_logits=torch.randn(count, generator=rng),
        sh0=torch.randn(count, 1, 3, generator=rng),
        shN=torch.randn(count, (degree + 1) ** 2 - 1, 3, generator=rng) * 0.3,
    )


def camera(width=WIDTH, height=HEIGHT, *, angle=0.2):
    """A camera at the origin, turned a little about its y axis."""
    pose = np.eye(4)
    pose[:3, :3] = [
        [np.cos(angle), 0, np.sin(angle)],
        [0, 1, 0],
        [-np.sin(angle), 0, np.cos(angle)],
    ]
    K = np.array([[width * 0.9, 0, width / 2 + 1], [0, width * 0.9, height / 2], [0, 0, 1.0]])
    return Camera(pose, K, width, height)


def random_inputs(count=300, *, channels=3, degree=None, cameras=1, width=WIDTH, seed=0):
    """The tensors of `rasterization` by name; `colors` are harmonics where a degree is given."""
    gaussians = random_gaussians(count, seed=seed, degree=degree or 0)
    views = [camera(width, angle=0.2 - 0.3 * index) for index in range(cameras)]
    rng = torch.Generator().manual_seed(seed + 2)
    harmonics = torch.cat([gaussians.sh0, gaussians.shN], 1)
    viewmats = torch.tensor(np.stack([view.cam_from_world for view in views]))
    viewmats[:, :3, 3] = 0.1 * torch.randn(cameras, 3, generator=rng)
    return {
        "means": gaussians.means,
        "quats": gaussians.quats,
        "scales": gaussians.scales,
        "opacities": gaussians.opacities,
        "colors": torch.randn(count, channels, generator=rng) if degree is None else harmonics,
        "viewmats": viewmats.float(),
        "Ks": torch.tensor(np.stack([view.K for view in views])).float(),
    }


def with_gradients(tensors):
    """Copies that collect gradients; of `Ks` there are none."""
    return {
        name: tensor.detach().clone().requires_grad_(name != "Ks")
        for name, tensor in tensors.items()
    }


def loss_of(image, alphas):
    """A sum with fixed random weights: every pixel and channel counts differently."""
    rng = torch.Generator().manual_seed(1)
    weights = torch.randn(image.shape, generator=rng, dtype=torch.float64)
    return (image * weights).sum() + (alphas[..., 0] * weights[..., 0]).sum()
