"""Photometric and geometric losses of a rendering."""

from jaxtyping import Float
from torch import Tensor

from splat_uff.gaussians.ssim import mean_ssim


def photometric_loss(
    image: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"], *, ssim_weight: float
) -> Float[Tensor, ""]:
    """(1 - w) L1 + w (1 - SSIM), the loss of 3DGS (Kerbl et al. 2023, equation 7)."""
    absolute = (image - photo).abs().mean()
    if ssim_weight == 0:
        return absolute
    return (1 - ssim_weight) * absolute + ssim_weight * (1 - mean_ssim(image, photo))
