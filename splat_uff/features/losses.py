"""The contrastive and norm losses (docs/method.md, "Losses")."""

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus


def contrastive_loss(
    positive: Float[Tensor, "P"], negative: Float[Tensor, "P R"], *, tau: float
) -> Float[Tensor, ""]:
    """Mean of -log(e^{s+/tau} / (e^{s+/tau} + sum e^{s-/tau})) over pairs (UFF, equation 3).

    Args:
        positive: Similarity of each positive pair.
        negative: Similarities of the R negative pairs of each positive one.
        tau: Temperature, above 0.
    """
    rivals = negative[:, 0] / tau if negative.shape[1] == 1 else (negative / tau).logsumexp(dim=1)
    return softplus(rivals - positive / tau).mean()


def norm_loss(blended: Float[Tensor, "S D"]) -> Float[Tensor, ""]:
    """Mean of (|f| - 1)^2 over the blended features f, before they are normalised."""
    return (blended.norm(dim=1) - 1).square().mean()
