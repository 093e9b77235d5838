"""Structural similarity as a loss: value and gradient in a few passes over the image.

On a CPU, `torch.conv2d` takes 100 ms for a 200x200 photo that renders in 10 ms; these loops take
3 ms. On CUDA, convolutions are what a GPU does best, and the image stays there.
"""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor
from torch.nn.functional import conv2d

from splat_uff.system import kernels

RADIUS, SIGMA = 5, 1.5
"""Gaussian window of 11 pixels (Wang et al. 2004)."""
C1, C2 = 0.01**2, 0.03**2

_options = {"cache": True, "error_model": "numpy", "boundscheck": False, "fastmath": True}


def mean_ssim(first: Float[Tensor, "H W C"], second: Float[Tensor, "H W C"]) -> Float[Tensor, ""]:
    """Mean structural similarity of two images in [0, 1], zero-padded at the border as in 3DGS.

    Differentiable in `first` only. Numba's kernels compute it on the CPU, torch's on other devices.
    """
    if kernels.numba_computes(first.device):
        return _MeanSsim.apply(first, second)
    return mean_ssim_by_torch(first, second)


def mean_ssim_by_torch(
    first: Float[Tensor, "H W C"], second: Float[Tensor, "H W C"]
) -> Float[Tensor, ""]:
    """`mean_ssim` in torch's operations, on any device: five blurs, each by two convolutions."""
    one, two = first.permute(2, 0, 1), second.detach().permute(2, 0, 1)
    planes = torch.cat([one, two, one * one, two * two, one * two])
    m1, m2, square1, square2, product = _blurred(planes).chunk(5)
    similar = (2 * m1 * m2 + C1) * (2 * (product - m1 * m2) + C2)
    spread = (m1 * m1 + m2 * m2 + C1) * (square1 - m1 * m1 + square2 - m2 * m2 + C2)
    return (similar / spread).mean()


def _blurred(planes: Float[Tensor, "K H W"]) -> Float[Tensor, "K H W"]:
    taps = torch.from_numpy(_taps()).to(planes)
    rows = conv2d(planes[:, None], taps[None, None, None, :], padding=(0, RADIUS))
    return conv2d(rows, taps[None, None, :, None], padding=(RADIUS, 0))[:, 0]


class _MeanSsim(torch.autograd.Function):
    @staticmethod
    def forward(ctx, first, second):
        one, two = _planes(first), _planes(second)
        mean, slopes = ssim_and_slopes(one, two)
        ctx.planes, ctx.slopes = (one, two), slopes
        return first.new_tensor(mean)

    @staticmethod
    def backward(ctx, v_mean):  # pyright: ignore[reportIncompatibleMethodOverride]
        one, two = ctx.planes
        gradient = pull_back_ssim(one, two, ctx.slopes, v_mean.item())
        return torch.from_numpy(gradient).permute(1, 2, 0).to(v_mean.device), None


def ssim_and_slopes(
    one: Float[np.ndarray, "C H W"], two: Float[np.ndarray, "C H W"]
) -> tuple[float, Float[np.ndarray, "3 C H W"]]:
    """`mean_ssim` of two images on the CPU, and what `pull_back_ssim` needs."""
    totals, slopes = _ssim_and_slopes(one, two, _taps())
    return float(totals.sum()) / one.size, slopes


def pull_back_ssim(
    one: Float[np.ndarray, "C H W"],
    two: Float[np.ndarray, "C H W"],
    slopes: Float[np.ndarray, "3 C H W"],
    v_mean: float,
) -> Float[np.ndarray, "C H W"]:
    """Gradient of the first image, given that of the mean SSIM."""
    return _pull_back(one, two, slopes, _taps(), np.float32(v_mean / one.size))


def _planes(image: Tensor) -> np.ndarray:
    return image.detach().permute(2, 0, 1).contiguous().cpu().numpy()


def _taps() -> np.ndarray:
    offsets = np.arange(-RADIUS, RADIUS + 1)
    taps = np.exp(-(offsets**2) / (2 * SIGMA**2))
    return (taps / taps.sum()).astype(np.float32)


@njit(inline="always", **_options)
@no_type_check
def _blur(plane, taps, padded, rows, out):
    """Separable blur of one plane [H, W]; `padded` [W + 10] and `rows` [H + 10, W] are scratch
    space that is 0 outside the image."""
    height, width = plane.shape
    t0, t1, t2, t3, t4, t5 = taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]
    for y in range(height):
        for x in range(width):
            padded[x + RADIUS] = plane[y, x]
        for x in range(width):  # All taps at once, so that sums stay in registers.
            rows[y + RADIUS, x] = (
                t0 * (padded[x] + padded[x + 10])
                + t1 * (padded[x + 1] + padded[x + 9])
                + t2 * (padded[x + 2] + padded[x + 8])
                + t3 * (padded[x + 3] + padded[x + 7])
                + t4 * (padded[x + 4] + padded[x + 6])
                + t5 * padded[x + 5]
            )
    for y in range(height):
        for x in range(width):
            out[y, x] = (
                t0 * (rows[y, x] + rows[y + 10, x])
                + t1 * (rows[y + 1, x] + rows[y + 9, x])
                + t2 * (rows[y + 2, x] + rows[y + 8, x])
                + t3 * (rows[y + 3, x] + rows[y + 7, x])
                + t4 * (rows[y + 4, x] + rows[y + 6, x])
                + t5 * rows[y + 5, x]
            )


@njit(parallel=True, **_options)
@no_type_check
def _ssim_and_slopes(one, two, taps):
    """Sums of SSIM of each row [C, H], and the slopes of SSIM in the first image's mean, square and
    product [3, C, H, W]."""
    channels, height, width = one.shape
    moments = np.empty((5, channels, height, width), np.float32)
    for task in prange(5 * channels):
        kind, c = task // channels, task % channels
        plane = np.empty((height, width), np.float32)
        for y in range(height):
            for x in range(width):
                a = two[c, y, x] if kind == 1 or kind == 3 else one[c, y, x]
                b = two[c, y, x] if kind == 3 or kind == 4 else one[c, y, x]
                plane[y, x] = a if kind < 2 else a * b
        padded = np.zeros(width + 2 * RADIUS, np.float32)
        rows = np.zeros((height + 2 * RADIUS, width), np.float32)
        _blur(plane, taps, padded, rows, moments[kind, c])
    slopes = np.empty((3, channels, height, width), np.float32)
    totals = np.empty((channels, height))
    c1, c2, double = np.float32(C1), np.float32(C2), np.float32(2)
    for task in prange(channels * height):
        c, y = task // height, task % height
        total = 0.0
        for x in range(width):
            m1, m2 = moments[0, c, y, x], moments[1, c, y, x]
            a1 = double * m1 * m2 + c1
            a2 = double * (moments[4, c, y, x] - m1 * m2) + c2
            b1 = m1 * m1 + m2 * m2 + c1
            b2 = moments[2, c, y, x] - m1 * m1 + moments[3, c, y, x] - m2 * m2 + c2
            inverse = np.float32(1) / (b1 * b2)
            ssim = a1 * a2 * inverse
            total += ssim
            slopes[0, c, y, x] = double * (
                m2 * (a2 - a1) * inverse - ssim * m1 * (np.float32(1) / b1 - np.float32(1) / b2)
            )
            slopes[1, c, y, x] = -ssim / b2
            slopes[2, c, y, x] = double * a1 * inverse
        totals[c, y] = total
    return totals, slopes


@njit(parallel=True, **_options)
@no_type_check
def _pull_back(one, two, slopes, taps, factor):
    """Gradient with respect to the first image, times `factor`; the blur is its own adjoint."""
    channels, height, width = one.shape
    blurred = np.empty_like(slopes)
    for task in prange(3 * channels):
        kind, c = task // channels, task % channels
        padded = np.zeros(width + 2 * RADIUS, np.float32)
        rows = np.zeros((height + 2 * RADIUS, width), np.float32)
        _blur(slopes[kind, c], taps, padded, rows, blurred[kind, c])
    gradient = np.empty_like(one)
    for task in prange(channels * height):
        c, y = task // height, task % height
        for x in range(width):
            gradient[c, y, x] = factor * (
                blurred[0, c, y, x]
                + np.float32(2) * one[c, y, x] * blurred[1, c, y, x]
                + two[c, y, x] * blurred[2, c, y, x]
            )
    return gradient
