"""The contrastive and norm losses of METHOD.md section 4."""

import torch
from jaxtyping import Float
from torch import Tensor


def contrastive_loss(
    positive: Float[Tensor, "P"], negative: Float[Tensor, "P R"], *, tau: float
) -> Float[Tensor, ""]:
    """Mean of -log(e^{s+/tau} / (e^{s+/tau} + sum e^{s-/tau})) over pairs (UFF, equation 3).

    Args:
        positive: Similarity of each positive pair.
        negative: Similarities of the negative pairs it is told apart from.
        tau: Temperature.
    """
    logits = torch.cat([positive[:, None], negative], dim=1) / tau
    return (torch.logsumexp(logits, dim=1) - logits[:, 0]).mean()


def norm_loss(blended: Float[Tensor, "S D"]) -> Float[Tensor, ""]:
    """Mean of (|f| - 1)^2 over the blended features, before they are normalised."""
    return (blended.norm(dim=1) - 1).square().mean()
