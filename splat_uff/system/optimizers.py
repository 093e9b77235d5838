"""Steps of several of torch's optimizers at once, and their state as arrays for a checkpoint."""

# pyright: reportCallIssue=false
# Tuples of arrays are passed to a kernel, whose parallel form pyright cannot see.

from collections.abc import Iterable, Mapping
from typing import no_type_check

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from splat_uff.system import kernels

PARTS = 32
"""Parts of each parameter that threads share among them."""


def step_adams(optimizers: Iterable[torch.optim.Optimizer]) -> None:
    """Take a step with each optimizer, and drop the gradients.

    On the CPU, all parameters are updated in one pass, in a quarter of the time of torch's steps.
    The state is torch's, so that anything else that knows these optimizers goes on working.

    Args:
        optimizers: Plain Adam, without weight decay or its variants; each has one parameter, which
            is float32. Without a gradient, it stays as it is.
    """
    rows, numbers = [], []
    for optimizer in optimizers:
        (group,) = optimizer.param_groups
        (param,) = group["params"]
        if param.grad is None:
            continue
        # Flattened, memory with gaps would be a copy, and the parameter would stay as it is.
        if not (kernels.numba_computes(param.device) and param.is_contiguous()):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            continue
        state = optimizer.state[param]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(param), torch.zeros_like(param)
        state["step"] += 1
        step, (first, second) = float(state["step"]), group["betas"]
        rate, root = group["lr"] / (1 - first**step), (1 - second**step) ** 0.5
        numbers.append((first, second, rate, 1 / root, group["eps"]))
        tensors = param, state["exp_avg"], state["exp_avg_sq"], param.grad
        rows.append([tensor.detach().numpy().reshape(-1) for tensor in tensors])
        param.grad = None
    if rows:
        _step_adams(
            *(tuple(column) for column in zip(*rows, strict=True)), np.array(numbers, np.float32)
        )


@njit(parallel=True, cache=True, error_model="numpy", boundscheck=False)
@no_type_check
def _step_adams(params, means, squares, gradients, numbers):
    """Update flat arrays; a row of `numbers` is both betas, rate, 1 / root of the second bias, and
    eps."""
    one = np.float32(1)
    for part in prange(PARTS):
        for each in range(len(params)):
            size = len(params[each])
            start, end = part * size // PARTS, (part + 1) * size // PARTS
            param, gradient = params[each][start:end], gradients[each][start:end]
            mean, square = means[each][start:end], squares[each][start:end]
            first, second, rate = numbers[each, 0], numbers[each, 1], numbers[each, 2]
            scale, eps = numbers[each, 3], numbers[each, 4]
            for i in range(end - start):
                g = gradient[i]
                m = mean[i] + (g - mean[i]) * (one - first)
                s = square[i] * second + g * g * (one - second)
                mean[i], square[i] = m, s
                param[i] -= rate * m / (np.sqrt(s) * scale + eps)


def save_state(
    optimizer: torch.optim.Optimizer, param: Tensor, prefix: str
) -> dict[str, np.ndarray]:
    """An optimizer's state for one parameter, by its own names after a prefix.

    Before the first step, there is no state.

    Args:
        optimizer: Optimizer of the parameter.
        param: One of its parameters.
        prefix: Prefix of each name, for example `adam.`.
    """
    return {
        f"{prefix}{name}": torch.as_tensor(value).detach().cpu().numpy()
        for name, value in optimizer.state[param].items()
    }


def load_state(
    optimizer: torch.optim.Optimizer, param: Tensor, arrays: Mapping[str, np.ndarray], prefix: str
) -> None:
    """Restore the result of `save_state`; `arrays` may contain other entries, too.

    Moments go to the parameter's device, the step count to the CPU, where Adam keeps it;
    `SparseAdam` keeps a number.
    """
    optimizer.state[param] = {
        name.removeprefix(prefix): torch.from_numpy(array).to(
            "cpu" if name == f"{prefix}step" else param.device
        )
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    state = optimizer.state[param]
    if isinstance(optimizer, torch.optim.SparseAdam) and "step" in state:
        state["step"] = int(state["step"])
