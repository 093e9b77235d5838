"""SSIM as a loss against scikit-image's definition written with torch convolutions."""

import torch
from torch.nn.functional import conv2d

from splat_uff.gaussians.losses import photometric_loss
from splat_uff.gaussians.ssim import mean_ssim


def reference_ssim(first, second):
    """Zero-padded SSIM with an 11-pixel Gaussian window, plain torch."""
    taps = torch.exp(-((torch.arange(11.0, dtype=first.dtype) - 5) ** 2) / (2 * 1.5**2))
    taps = taps / taps.sum()
    window = (taps[:, None] * taps)[None, None]

    def blur(image):
        return conv2d(image.permute(2, 0, 1)[:, None], window, padding=5)

    mean_1, mean_2 = blur(first), blur(second)
    variance_1 = blur(first * first) - mean_1**2
    variance_2 = blur(second * second) - mean_2**2
    covariance = blur(first * second) - mean_1 * mean_2
    above = (2 * mean_1 * mean_2 + 1e-4) * (2 * covariance + 9e-4)
    return (above / ((mean_1**2 + mean_2**2 + 1e-4) * (variance_1 + variance_2 + 9e-4))).mean()


def images():
    rng = torch.Generator().manual_seed(0)
    return torch.rand(23, 31, 3, generator=rng), torch.rand(23, 31, 3, generator=rng)


def test_mean_ssim_equals_the_definition_with_its_gradient():
    first, second = images()
    first = (0.7 * second + 0.3 * first).requires_grad_()
    ours = mean_ssim(first, second)
    ours.backward()
    truth_first = first.detach().double().requires_grad_()
    truth = reference_ssim(truth_first, second.double())
    truth.backward()
    assert abs(ours.item() - truth.item()) < 1e-5
    assert (first.grad - truth_first.grad).abs().max() < 1e-4 * truth_first.grad.abs().max()


def test_photometric_loss_of_equal_images_is_zero():
    first, second = images()
    assert photometric_loss(first, first, ssim_weight=0.2).item() < 1e-6
    assert photometric_loss(first, second, ssim_weight=0.2).item() > 0.1
