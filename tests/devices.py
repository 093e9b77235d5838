"""Devices on which the torch side of an operation is compared with numba's kernels."""

import pytest
import torch

ON_CUDA = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
)
DEVICES = ["cpu", pytest.param("cuda", marks=ON_CUDA)]
"""Torch's operations run anywhere: on the CPU always, and on CUDA where there is one."""


def pulled(values, *, seed=1):
    """A sum with fixed random weights, so that every value has another gradient."""
    weights = torch.randn(values.shape, generator=torch.Generator().manual_seed(seed))
    return (values * weights.to(values)).sum()
