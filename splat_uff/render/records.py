"""Records of the Gaussians that a camera sees, and of the resulting render."""

from collections.abc import Mapping
from dataclasses import field, fields, replace

from jaxtyping import Bool, Float, Int
from torch import Tensor

from splat_uff.system.records import array_record


@array_record
class Gaussians:
    """N Gaussians; every field is named after what is *stored*, as in a 3DGS file."""

    means: Float[Tensor, "N 3"]
    """Centres, in world units."""
    quats: Float[Tensor, "N 4"]
    """Rotations, wxyz, of any positive length."""
    log_scales: Float[Tensor, "N 3"]
    """Logarithm of the standard deviations along the rotated axes."""
    opacity_logits: Float[Tensor, "N"]
    sh0: Float[Tensor, "N 1 3"]
    """Spherical harmonics of degree 0; colour is 0.5 + 0.2821 * sh0."""
    shN: Float[Tensor, "N K 3"]
    """Spherical harmonics of higher degrees; K is (degree + 1)**2 - 1 and may be 0."""
    fitted_focal: float = field(default=0.0, kw_only=True)
    """Focal length, in pixels, of the photos to which they were fitted; 0 if unknown.

    They are correct for pixels of that size, since each was blurred by a fixed fraction of a pixel
    during the fit. `blend_weights` accounts for this, whatever the size of its camera.
    """

    antialiased: bool = field(default=False, kw_only=True)
    """Whether they were fitted to be drawn with `rasterize_mode="antialiased"`, which dims each by
    as much as the blur widens it (Yu et al. 2024, Mip-Splatting)."""

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> "Gaussians":
        """Create Gaussians from the stored tensors by name."""
        return Gaussians(*(tensors[each.name] for each in fields(Gaussians) if not each.kw_only))

    def __len__(self) -> int:
        return len(self.means)

    @property
    def scales(self) -> Float[Tensor, "N 3"]:
        """Standard deviations along the rotated axes, in world units."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Float[Tensor, "N"]:
        """Opacity at the centre, in (0, 1)."""
        return self.opacity_logits.sigmoid()

    @property
    def sh_degree(self) -> int:
        """Degree of the stored spherical harmonics."""
        return int((self.shN.shape[1] + 1) ** 0.5) - 1

    def tensors(self) -> dict[str, Tensor]:
        """Stored fields by name."""
        return {each.name: getattr(self, each.name) for each in fields(self) if not each.kw_only}

    def detach(self) -> "Gaussians":
        """Return the same values, detached from any autograd graph."""
        return replace(self, **{name: each.detach() for name, each in self.tensors().items()})

    def to(self, device: str) -> "Gaussians":
        """Return the same values on a device, for example `cpu` or `cuda`."""
        return replace(self, **{name: each.to(device) for name, each in self.tensors().items()})

    def subset(self, chosen: Bool[Tensor, "N"] | Int[Tensor, "M"]) -> "Gaussians":
        """Return the chosen Gaussians, in order."""
        return replace(self, **{name: each[chosen] for name, each in self.tensors().items()})

    def moved(self, means: Float[Tensor, "N 3"]) -> "Gaussians":
        """Return the Gaussians with other centres."""
        return replace(self, means=means)


@array_record
class Render:
    """Render of per-Gaussian values by one camera."""

    values: Float[Tensor, "H W C"]
    """Blended values, not divided by `alpha` and without a background."""
    alpha: Float[Tensor, "H W"]
    """Accumulated opacity, the sum of a pixel's blend weights."""
    means2d: Float[Tensor, "1 N 2"]
    """Projected centres in pixels; the density schedule reads their gradient.

    The first axis is gsplat's camera axis: gradients are kept only on its own tensor.
    """
    radii: Int[Tensor, "1 N 2"]
    """Half extents of each Gaussian as drawn, in pixels; 0 for invisible ones."""
