"""The single place where devices differ: all rendering goes through `rasterization`."""

import torch
from jaxtyping import Float
from torch import Tensor

from splat_uff.geometry.cameras import Camera
from splat_uff.render.cpu import EPS2D
from splat_uff.render.rasterization import rasterization
from splat_uff.render.records import Gaussians, Render
from splat_uff.render.weights import blend_weights

__all__ = [
    "Gaussians",
    "Render",
    "blend_weights",
    "rasterization",
    "rasterize",
    "render_colours",
    "render_colours_and_depth",
]


def rasterize(
    gaussians: Gaussians, camera: Camera, values: Float[Tensor, "N C"], *, eps2d: float = EPS2D
) -> Render:
    """Composite per-Gaussian `values` (colour, features, one-hot labels) into `camera`.

    Differentiable in the means, quats, scales, opacities and values.

    Args:
        gaussians: Gaussians to render.
        camera: Camera of the view; the render has its size.
        values: One row per Gaussian, with any number of channels.
        eps2d: Blur, in pixels squared.
    """
    return _render(gaussians, camera, values, eps2d=eps2d)


def render_colours(
    gaussians: Gaussians, camera: Camera, *, degree: int | None = None, eps2d: float = EPS2D
) -> Render:
    """Composite the colours of the Gaussians, with spherical harmonics up to `degree`.

    Args:
        gaussians: Gaussians to render.
        camera: Camera of the view; the render has its size.
        degree: Highest degree to use; the stored degree by default.
        eps2d: Blur, in pixels squared.

    Raises:
        ValueError: If `degree` is above the stored degree.
    """
    degree = gaussians.sh_degree if degree is None else degree
    return _render(gaussians, camera, _coefficients(gaussians), sh_degree=degree, eps2d=eps2d)


def render_colours_and_depth(
    gaussians: Gaussians, camera: Camera, *, degree: int | None = None
) -> Render:
    """Composite colours, with blended depth (z, not divided by alpha) as a fourth channel."""
    degree = gaussians.sh_degree if degree is None else degree
    coefficients = _coefficients(gaussians)
    return _render(gaussians, camera, coefficients, sh_degree=degree, render_mode="RGB+D")


def _coefficients(gaussians: Gaussians) -> Float[Tensor, "N K 3"]:
    return torch.cat([gaussians.sh0, gaussians.shN], dim=1)


def _render(gaussians: Gaussians, camera: Camera, colours: Tensor, **settings) -> Render:
    # gsplat's kernels take float32; ours benefit from poses in full precision.
    like = {"dtype": torch.float32 if colours.is_cuda else torch.float64, "device": colours.device}
    image, alphas, meta = rasterization(
        gaussians.means,
        gaussians.quats,
        gaussians.scales,
        gaussians.opacities,
        colours,
        torch.as_tensor(camera.cam_from_world, **like)[None],
        torch.as_tensor(camera.K, **like)[None],
        camera.width,
        camera.height,
        packed=False,  # Keeps means2d and radii aligned with the Gaussians.
        rasterize_mode="antialiased" if gaussians.antialiased else "classic",
        **settings,
    )
    return Render(image[0], alphas[0, ..., 0], meta["means2d"], meta["radii"])
