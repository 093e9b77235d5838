"""The CUDA side of the seam: gsplat's documented `rasterization`, kept thin."""

import torch
from jaxtyping import Float
from torch import Tensor

from splat_uff.cameras import Camera
from splat_uff.render.records import Gaussians, Render


def rasterize_gsplat(gaussians: Gaussians, camera: Camera, values: Float[Tensor, "N C"]) -> Render:
    """`rasterize` for tensors on a CUDA device."""
    from gsplat import rasterization

    like = {"dtype": gaussians.means.dtype, "device": gaussians.means.device}
    image, alpha, meta = rasterization(
        means=gaussians.means,
        quats=gaussians.quats,
        scales=gaussians.scales,
        opacities=gaussians.opacities,
        colors=values,
        viewmats=torch.as_tensor(camera.cam_from_world, **like)[None],
        Ks=torch.as_tensor(camera.K, **like)[None],
        width=camera.width,
        height=camera.height,
        packed=False,  # Keeps means2d and radii aligned with the Gaussians.
        absgrad=True,
    )
    return Render(image[0], alpha[0, ..., 0], meta["means2d"], meta["radii"])
