"""Gaussians as samples of a Markov chain: relocation and noise instead of splitting and pruning.

This follows Kheradmand et al. 2024, "3D Gaussian Splatting as Markov Chain Monte Carlo". The
relocation and noise of gsplat's `MCMCStrategy` run on CUDA only; these run anywhere.
"""

from dataclasses import dataclass
from typing import Any

import torch
from gsplat import MCMCStrategy
from gsplat.utils import normalized_quat_to_rotmat
from jaxtyping import Float, Int
from torch import Tensor

MOST_COPIES = 51
"""Most copies for which one Gaussian counts, as in gsplat."""
STEEPNESS = 100.0
"""Slope of the sigmoid that switches the noise off above the least opacity (section 3.3)."""
Params = dict[str, torch.nn.Parameter] | torch.nn.ParameterDict
Optimizers = dict[str, torch.optim.Optimizer]


@dataclass
class McmcStrategy(MCMCStrategy):
    """gsplat's `MCMCStrategy` for any device, growing evenly up to its cap.

    Moves faded Gaussians to where opaque ones are, adds new ones there, and perturbs the means of
    faint ones.
    """

    def step_post_backward(
        self,
        params: Params,
        optimizers: Optimizers,
        state: dict[str, Any],
        step: int,
        info: dict[str, Any],
        lr: float,
    ) -> None:
        """Refine if a refinement is due and add noise, after the optimizers have stepped.

        Args:
            params: Tensors by gsplat's names: means, quats, scales (log), opacities (logits) and
                others.
            optimizers: Optimizer of each parameter.
            state: Unused.
            step: Number of the step, from 0.
            info: Unused.
            lr: Learning rate of the means.
        """
        due = step % self.refine_every == 0
        if due and self.refine_start_iter < step < self.refine_stop_iter:
            dead = params["opacities"].flatten().sigmoid() <= self.min_opacity
            move_to_the_living(params, optimizers, dead, min_opacity=self.min_opacity)
            remaining = (self.refine_stop_iter - 1 - step) // self.refine_every + 1
            count = max(0, self.cap_max - len(dead)) // remaining
            add_to_the_living(params, optimizers, count, min_opacity=self.min_opacity)
        add_noise(params, lr * self.noise_lr, min_opacity=self.min_opacity)


@torch.no_grad()
def move_to_the_living(
    params: Params, optimizers: Optimizers, dead: Tensor, *, min_opacity: float
) -> None:
    """Move each dead Gaussian onto a living one, drawn by opacity; together they look like that.

    Args:
        params: Tensors as for `McmcStrategy`; changed in place.
        optimizers: Optimizers, whose moments are reset for Gaussians that were drawn.
        dead: Whether each Gaussian is dead [N].
        min_opacity: Least opacity of the resulting Gaussians.
    """
    living = torch.where(~dead)[0]
    if not dead.any() or len(living) == 0:
        return
    sources = _draw(params, living, int(dead.sum()))
    _share_among_copies(params, sources, min_opacity)
    for name, param in params.items():
        param[dead] = param[sources]
        for moments in _moments(optimizers[name], param).values():
            moments[sources] = 0


@torch.no_grad()
def add_to_the_living(
    params: Params, optimizers: Optimizers, count: int, *, min_opacity: float
) -> None:
    """Add `count` Gaussians on living ones, drawn by opacity; together they look like those.

    Args:
        params: Tensors as for `McmcStrategy`; replaced.
        optimizers: Optimizers; the moments of new Gaussians are 0.
        count: Number of Gaussians to add.
        min_opacity: Least opacity of the resulting Gaussians.
    """
    if count == 0 or len(params["means"]) == 0:
        return
    everyone = torch.arange(len(params["means"]), device=params["means"].device)
    sources = _draw(params, everyone, count)
    _share_among_copies(params, sources, min_opacity)
    for name, param in list(params.items()):
        optimizer = optimizers[name]
        state = optimizer.state.pop(param, {})
        grown = torch.nn.Parameter(torch.cat([param, param[sources]]), param.requires_grad)
        for key, moments in state.items():
            if moments.dim() > 0:
                state[key] = torch.cat([moments, torch.zeros_like(moments[sources])])
        optimizer.param_groups[0]["params"] = [grown]
        optimizer.state[grown] = state
        params[name] = grown


@torch.no_grad()
def add_noise(params: Params, strength: float, *, min_opacity: float) -> None:
    """Perturb the means of faint Gaussians along their own shape (equation 8 and section 3.3).

    Args:
        params: Tensors as for `McmcStrategy`; the means are changed in place.
        strength: Noise per unit of variance: the learning rate times lambda_noise.
        min_opacity: Opacity at which the noise has half its strength.
    """
    opacities = params["opacities"].flatten().sigmoid()
    faintness = torch.sigmoid(-STEEPNESS * (opacities - min_opacity))
    noise = torch.randn_like(params["means"]) * (faintness * strength)[:, None]
    quats = torch.nn.functional.normalize(params["quats"], dim=1)
    axes = normalized_quat_to_rotmat(quats) * params["scales"].exp()[:, None]
    params["means"].add_(torch.einsum("nij,nkj,nk->ni", axes, axes, noise))


def relocated(
    opacities: Float[Tensor, "N"], scales: Float[Tensor, "N 3"], copies: Int[Tensor, "N"]
) -> tuple[Float[Tensor, "N"], Float[Tensor, "N 3"]]:
    """Opacity and scales with which `copies` equal Gaussians look like one (equation 9).

    With o' = 1 - (1 - o)^(1/n), n copies are as opaque at the centre as the original, and scales
    shrink by o / sum_j C(n, j) (-1)^(j-1) o'^j / sqrt(j), j = 1 ... n, which preserves the integral
    along a line. (The paper sums over i and k, j = k + 1; over i, binomials add up to C(n, j).)

    Args:
        opacities: Opacities of the original Gaussians, in [0, 1).
        scales: Scales of the original Gaussians.
        copies: Number of Gaussians that replace each one, itself included.
    """
    n = copies.clamp(1, MOST_COPIES).double()[:, None]
    old = opacities.double()[:, None]
    new = 1 - (1 - old) ** (1 / n)
    j = torch.arange(1, MOST_COPIES + 1, device=old.device, dtype=torch.float64)
    logs = torch.lgamma(n + 1) - torch.lgamma(j + 1) - torch.lgamma((n - j).clamp_min(0) + 1)
    terms = logs.exp() * new**j * (-1.0) ** (j - 1) / j.sqrt()
    total = torch.where(j <= n, terms, 0.0).sum(dim=1, keepdim=True)
    shrinking = torch.where(total > 0, old / total, 1.0)
    return new[:, 0].to(opacities.dtype), (scales * shrinking).to(scales.dtype)


def _draw(params: Params, candidates: Tensor, count: int) -> Tensor:
    """Draw from the candidates by opacity, with replacement."""
    weights = params["opacities"].flatten()[candidates].sigmoid()
    ends = weights.double().cumsum(0)  # `torch.multinomial` takes at most 2^24 weights.
    draws = torch.rand(count, dtype=torch.float64, device=ends.device) * ends[-1]
    return candidates[torch.searchsorted(ends, draws, right=True).clamp(max=len(ends) - 1)]


def _share_among_copies(params: Params, sources: Tensor, min_opacity: float) -> None:
    """Give each source the opacity and scales that it needs once its copies are added."""
    logits, log_scales = params["opacities"], params["scales"]
    copies = torch.bincount(sources, minlength=len(logits))[sources] + 1
    found = relocated(logits.flatten()[sources].sigmoid(), log_scales[sources].exp(), copies)
    most = 1 - torch.finfo(torch.float32).eps
    opacities = found[0].clamp(min_opacity, most)
    logits[sources] = opacities.logit().reshape(logits[sources].shape)
    log_scales[sources] = found[1].log()


def _moments(optimizer: torch.optim.Optimizer, param: torch.nn.Parameter) -> dict[str, Tensor]:
    """Entries of an optimizer's state that have one row per Gaussian."""
    state = optimizer.state.get(param, {})
    return {key: value for key, value in state.items() if value.dim() > 0}
