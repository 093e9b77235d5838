"""Dot products of pairs of rows, on which all pairwise losses are built."""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from torch import Tensor

from splat_uff.system import kernels

AT_ONCE = 2**18
"""Most pairs whose rows torch gathers at once, to bound memory."""
_options = {"cache": True, "error_model": "numpy", "boundscheck": False, "fastmath": True}


def pair_cosines(unit: Float[Tensor, "S D"], ends: Int[np.ndarray, "P 2"]) -> Float[Tensor, "P"]:
    """Dot product of the two rows of each pair, differentiable; for unit rows, their cosine.

    On the CPU it makes one pass over the pairs: gathering both ends first, or taking all S^2
    products, makes a step of the fit ten times as slow. On other devices torch gathers them.
    """
    if kernels.numba_computes(unit.device):
        return _PairCosines.apply(unit, ends)
    return pair_cosines_by_torch(unit, ends)


def pair_cosines_by_torch(
    unit: Float[Tensor, "S D"], ends: Int[np.ndarray, "P 2"]
) -> Float[Tensor, "P"]:
    """`pair_cosines` in torch's operations, on any device."""
    return _GatheredCosines.apply(unit, torch.from_numpy(ends).to(unit.device))


class _PairCosines(torch.autograd.Function):
    @staticmethod
    def forward(ctx, unit, ends):
        rows = unit.detach().cpu().contiguous().numpy()
        ctx.rows, ctx.ends = rows, ends
        return torch.from_numpy(_products(rows, ends)).to(unit.device)

    @staticmethod
    def backward(ctx, v_products):  # pyright: ignore[reportIncompatibleMethodOverride]
        v = v_products.contiguous().cpu().numpy()
        gradient = _scatter_products(ctx.rows, ctx.ends, v)
        return torch.from_numpy(gradient).to(v_products.device), None


class _GatheredCosines(torch.autograd.Function):
    """Products of gathered rows; the backward pass gathers them again and need not keep them."""

    @staticmethod
    def forward(ctx, unit, ends):
        ctx.save_for_backward(unit, ends)
        return torch.cat([(unit[a] * unit[b]).sum(1) for a, b in _portions(ends)])

    @staticmethod
    def backward(ctx, v_products):  # pyright: ignore[reportIncompatibleMethodOverride]
        unit, ends = ctx.saved_tensors
        gradient = torch.zeros_like(unit)
        for (a, b), v in zip(_portions(ends), v_products.split(AT_ONCE), strict=True):
            gradient.index_add_(0, a, v[:, None] * unit[b])
            gradient.index_add_(0, b, v[:, None] * unit[a])
        return gradient, None


def _portions(ends: Int[Tensor, "P 2"]) -> list[tuple[Tensor, Tensor]]:
    """Both ends of so many pairs at a time."""
    return [(part[:, 0], part[:, 1]) for part in ends.split(AT_ONCE)]


@njit(**_options)
@no_type_check
def _products(rows, ends):
    products = np.empty(len(ends), np.float32)
    for p in range(len(ends)):
        a, b = ends[p, 0], ends[p, 1]
        total = np.float32(0)
        for c in range(rows.shape[1]):
            total += rows[a, c] * rows[b, c]
        products[p] = total
    return products


@njit(**_options)
@no_type_check
def _scatter_products(rows, ends, v):
    """Gradient with respect to the rows; one thread, so that sums have one order."""
    gradient = np.zeros_like(rows)
    for p in range(len(ends)):
        a, b = ends[p, 0], ends[p, 1]
        for c in range(rows.shape[1]):
            gradient[a, c] += v[p] * rows[b, c]
            gradient[b, c] += v[p] * rows[a, c]
    return gradient
