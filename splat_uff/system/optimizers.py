"""Adam's state as arrays for a checkpoint, and back."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def save_state(
    optimizer: torch.optim.Optimizer, param: Tensor, prefix: str
) -> dict[str, np.ndarray]:
    """What an optimizer remembers of one parameter, by `prefix` and its own names.

    Args:
        optimizer: That has the parameter.
        param: One of its parameters.
        prefix: Goes before each name, for example `adam.`; empty before the first step.
    """
    return {
        f"{prefix}{name}": value.detach().cpu().numpy()
        for name, value in optimizer.state[param].items()
    }


def load_state(
    optimizer: torch.optim.Optimizer, param: Tensor, arrays: Mapping[str, np.ndarray], prefix: str
) -> None:
    """Put back what `save_state` gave; other arrays may stand among it.

    Moments go to where the parameter lives, the count of steps to the CPU, where Adam keeps it.
    """
    optimizer.state[param] = {
        name.removeprefix(prefix): torch.from_numpy(array).to(
            "cpu" if name == f"{prefix}step" else param.device
        )
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
