"""Conversion of Adam's state to arrays for a checkpoint, and back."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


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
