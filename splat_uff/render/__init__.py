"""The one seam for devices: everything that looks through a camera calls `rasterize`."""

import torch
from jaxtyping import Float
from torch import Tensor

from splat_uff.cameras import Camera
from splat_uff.render.cpu import rasterize_numba
from splat_uff.render.cuda import rasterize_gsplat
from splat_uff.render.harmonics import colours_seen
from splat_uff.render.records import Gaussians, Render
from splat_uff.render.weights import blend_weights

__all__ = [
    "Gaussians",
    "Render",
    "blend_weights",
    "rasterize",
    "render_colours",
    "render_colours_and_depth",
]


def rasterize(gaussians: Gaussians, camera: Camera, values: Float[Tensor, "N C"]) -> Render:
    """Composite per-Gaussian `values` (colour, features, one-hot labels) into `camera`.

    Where the tensors live picks the kernel; both keep one contract, so no caller asks which ran.
    Differentiable in the means, quats, scales, opacities and values.

    Args:
        gaussians: What is looked at.
        camera: Where from; the render has its size.
        values: One row per Gaussian, any number of channels.
    """
    kernel = rasterize_gsplat if values.is_cuda else rasterize_numba
    return kernel(gaussians, camera, values)


def render_colours(gaussians: Gaussians, camera: Camera, *, degree: int | None = None) -> Render:
    """Composite the colours of the Gaussians, with spherical harmonics up to `degree`."""
    degree = gaussians.sh_degree if degree is None else degree
    colours = colours_seen(gaussians.means, gaussians.sh0, gaussians.shN, camera.centre, degree)
    return rasterize(gaussians, camera, colours)


def render_colours_and_depth(
    gaussians: Gaussians, camera: Camera, *, degree: int | None = None
) -> Render:
    """As `render_colours`, with blended depth (z, not divided by alpha) as a fourth channel."""
    degree = gaussians.sh_degree if degree is None else degree
    colours = colours_seen(gaussians.means, gaussians.sh0, gaussians.shN, camera.centre, degree)
    axis = torch.as_tensor(camera.cam_from_world[2], dtype=colours.dtype, device=colours.device)
    depths = gaussians.means @ axis[:3, None] + axis[3]
    return rasterize(gaussians, camera, torch.cat([colours, depths], dim=1))
