"""Features of a scene while they are fitted: a superpoint's own, and what each Gaussian adds to it.

A step shows a few thousand pixels, in which a small part of a large scene's Gaussians lies. Only
these take part in it, and only their additions are updated; the features of the superpoints, of
which there are at most a few thousand, take all Gaussians along. So a step takes as long as it has
pixels, however large the scene is.
"""

from collections.abc import Mapping
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit, prange
from torch import Tensor

from splat_uff.system.optimizers import load_state, save_state
from splat_uff.system.records import array_record

BETAS = 0.9, 0.999
EPS = 1e-8


class Features:
    """Features of N Gaussians: that of the superpoint, plus the Gaussian's own addition."""

    def __init__(
        self,
        superpoints: Float[np.ndarray, "G D"],
        own: Float[np.ndarray, "N D"],
        group: Int[np.ndarray, "N"],
        *,
        device: str = "cpu",
    ) -> None:
        """Start the fit.

        Args:
            superpoints: Feature of each superpoint; there may be none.
            own: What each Gaussian adds.
            group: Superpoint of each Gaussian, from 0; not used if there are none.
            device: Device of the tensors: `cpu` or `cuda`.
        """
        self.superpoints = torch.nn.Parameter(torch.from_numpy(superpoints).to(device))
        self.own = torch.nn.Parameter(torch.from_numpy(own).to(device))
        self._group = torch.from_numpy(group.astype(np.int64)).to(device)
        self._adam = torch.optim.Adam([self.superpoints], betas=BETAS, eps=EPS)
        self._row_adam = torch.optim.SparseAdam([self.own], betas=BETAS, eps=EPS)

    def __len__(self) -> int:
        return len(self.own)

    def take(self, rows: Int[np.ndarray, "T"]) -> "Taken":
        """Features of some Gaussians for one step, each at most once."""
        places = torch.from_numpy(rows.astype(np.int64)).to(self.own.device)
        own = self.own.detach()[places].requires_grad_()
        if not len(self.superpoints):
            return Taken(places, own, own)
        return Taken(places, own, self.superpoints[self._group[places]] + own)

    def step(self, taken: "Taken", lr: float) -> None:
        """Take a step of Adam with the gradients of superpoints and of the Gaussians taken.

        Moments of other Gaussians stay as they are, as in `torch.optim.SparseAdam`.
        """
        self._adam.param_groups[0]["lr"] = self._row_adam.param_groups[0]["lr"] = lr
        if len(self.superpoints):
            self._adam.step()
            self._adam.zero_grad(set_to_none=True)
        gradient = taken.own.grad
        if gradient is not None:
            step_rows(self._row_adam, self.own, taken.places, gradient)

    def all(self) -> Float[Tensor, "N D"]:
        """Features of all Gaussians."""
        own = self.own.detach()
        return self.superpoints.detach()[self._group] + own if len(self.superpoints) else own

    def state(self) -> dict[str, np.ndarray]:
        """Content of a checkpoint."""
        return {
            "superpoints": self.superpoints.detach().cpu().numpy(),
            "own": self.own.detach().cpu().numpy(),
            **save_state(self._adam, self.superpoints, "adam."),
            **save_state(self._row_adam, self.own, "row_adam."),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from the content of a checkpoint."""
        with torch.no_grad():
            self.superpoints.copy_(torch.from_numpy(state["superpoints"]))
            self.own.copy_(torch.from_numpy(state["own"]))
        load_state(self._adam, self.superpoints, state, "adam.")
        load_state(self._row_adam, self.own, state, "row_adam.")


@array_record
class Taken:
    """Features of the T Gaussians of one step."""

    places: Int[Tensor, "T"]
    """Index of each."""
    own: Float[Tensor, "T D"]
    """What each adds to its superpoint's; a leaf, which gets the gradient."""
    features: Float[Tensor, "T D"]
    """The sums, which the step's losses are of."""


def step_rows(
    optimizer: torch.optim.SparseAdam,
    param: torch.nn.Parameter,
    rows: Int[Tensor, "T"],
    gradient: Float[Tensor, "T D"],
) -> None:
    """Step of `SparseAdam` on distinct rows; on the CPU in one pass, a tenth of torch's time.

    Args:
        optimizer: Optimizer of the parameter alone.
        param: Parameter [N, D].
        rows: Rows that the gradient is of.
        gradient: Gradient of these rows; it is 0 in all others.
    """
    if param.device.type != "cpu":
        param.grad = torch.sparse_coo_tensor(
            rows[None], gradient, param.shape, check_invariants=False, is_coalesced=True
        )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return
    state, group = optimizer.state[param], optimizer.param_groups[0]
    if not state:
        state["step"] = 0
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(param), torch.zeros_like(param)
    state["step"] += 1
    first, second = group["betas"]
    rate = group["lr"] * (1 - second ** state["step"]) ** 0.5 / (1 - first ** state["step"])
    tensors = (param.detach(), state["exp_avg"], state["exp_avg_sq"], rows, gradient.contiguous())
    numbers = (np.float32(each) for each in (first, second, rate, group["eps"]))
    _step_rows(*(tensor.detach().numpy() for tensor in tensors), *numbers)


@njit(parallel=True, cache=True, error_model="numpy", boundscheck=False)
@no_type_check
def _step_rows(param, mean, square, rows, gradient, first, second, rate, eps):
    one = np.float32(1)
    for t in prange(len(rows)):
        n = rows[t]
        for c in range(gradient.shape[1]):
            g = gradient[t, c]
            mean[n, c] += (g - mean[n, c]) * (one - first)
            square[n, c] += (g * g - square[n, c]) * (one - second)
            param[n, c] -= rate * mean[n, c] / (np.sqrt(square[n, c]) + eps)
