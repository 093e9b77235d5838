"""The Gaussians that a camera looks at, and what it gets to see."""

from collections.abc import Mapping
from dataclasses import field, fields, replace

from jaxtyping import Bool, Float, Int
from torch import Tensor

from splat_uff.system.records import array_record


@array_record
class Gaussians:
    """N Gaussians; every field is named after what is *stored*, as in a 3DGS file."""

    means: Float[Tensor, "N 3"]
    """Centres, world units."""
    quats: Float[Tensor, "N 4"]
    """Rotations, wxyz, of any positive length."""
    log_scales: Float[Tensor, "N 3"]
    """Logarithm of the standard deviations along the rotated axes."""
    opacity_logits: Float[Tensor, "N"]
    sh0: Float[Tensor, "N 1 3"]
    """Spherical harmonics of degree 0; colour is 0.5 + 0.2821 * sh0."""
    shN: Float[Tensor, "N K 3"]
    """The higher degrees; K is (degree + 1)**2 - 1 and may be 0."""
    fitted_focal: float = field(default=0.0, kw_only=True)
    """Focal length, in pixels, of the photos that they were fitted to; 0 if unknown.

    They are right for pixels of that size: each was blurred by a fixed part of one when it was
    fitted. `blend_weights` looks at them so, whatever the size of its camera.
    """

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> "Gaussians":
        """Put the stored tensors together by name."""
        return Gaussians(*(tensors[each.name] for each in fields(Gaussians) if not each.kw_only))

    def __len__(self) -> int:
        return len(self.means)

    @property
    def scales(self) -> Float[Tensor, "N 3"]:
        """Standard deviations along the rotated axes, world units."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Float[Tensor, "N"]:
        """Opacity at the centre, in (0, 1)."""
        return self.opacity_logits.sigmoid()

    @property
    def sh_degree(self) -> int:
        """Degree of the spherical harmonics stored."""
        return int((self.shN.shape[1] + 1) ** 0.5) - 1

    def tensors(self) -> dict[str, Tensor]:
        """The stored fields by name."""
        return {each.name: getattr(self, each.name) for each in fields(self) if not each.kw_only}

    def detach(self) -> "Gaussians":
        """The same numbers, cut off from any graph."""
        return replace(self, **{name: each.detach() for name, each in self.tensors().items()})

    def subset(self, chosen: Bool[Tensor, "N"] | Int[Tensor, "M"]) -> "Gaussians":
        """The chosen Gaussians, in order."""
        return replace(self, **{name: each[chosen] for name, each in self.tensors().items()})

    def moved(self, means: Float[Tensor, "N 3"]) -> "Gaussians":
        """The same Gaussians around other centres."""
        return replace(self, means=means)


@array_record
class Render:
    """What one camera sees of per-Gaussian values."""

    values: Float[Tensor, "H W C"]
    """Blended values, not divided by `alpha`; nothing is composited behind them."""
    alpha: Float[Tensor, "H W"]
    """Accumulated opacity: the blend weights of a pixel sum to this."""
    means2d: Float[Tensor, "1 N 2"]
    """Projected centres in pixels; the density schedule reads their gradient.

    The first axis is gsplat's axis of cameras: gradients are kept only on its own tensor.
    """
    radii: Int[Tensor, "1 N 2"]
    """Half extents in pixels of what is drawn of each Gaussian; 0 for those not seen."""
