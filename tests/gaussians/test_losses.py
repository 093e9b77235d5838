"""SSIM as a loss against its definition written with torch convolutions, and scikit-image's."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch.nn.functional import conv2d

from splat_uff.gaussians.losses import Compared, photometric_loss
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


@pytest.mark.parametrize("size", [(5, 7), (23, 31), (64, 200)])
def test_mean_ssim_equals_scikit_images_of_images_in_a_black_frame(size):
    rng = np.random.default_rng(0)
    first, second = rng.random((2, *size, 3))
    first = 0.7 * second + 0.3 * first
    frame = ((10, 10), (10, 10), (0, 0))  # Wider than the window reaches.
    _, similarity = structural_similarity(
        np.pad(first, frame), np.pad(second, frame), full=True,
        gaussian_weights=True, use_sample_covariance=False, data_range=1.0, channel_axis=-1,
    )  # fmt: skip
    expected = similarity[10:-10, 10:-10].mean()
    ours = mean_ssim(*(torch.from_numpy(image.astype(np.float32)) for image in (first, second)))
    assert ours.item() == pytest.approx(expected, abs=1e-5)


def test_photometric_loss_of_equal_images_is_zero():
    first, second = images()
    assert photometric_loss(first, first, ssim_weight=0.2).item() < 1e-6
    assert photometric_loss(first, second, ssim_weight=0.2).item() > 0.1


@pytest.mark.parametrize("weight", [0.0, 0.2, 1.0])
def test_compared_equals_the_loss_over_a_background_with_its_gradients(weight):
    rng = np.random.default_rng(0)
    image, photo = rng.random((23, 31, 3)) * 0.6, rng.random((23, 31, 4))
    arrays = image, rng.random((23, 31)), photo, rng.random(3)
    image, alphas, photo, background = (each.astype(np.float32) for each in arrays)
    photo[5:9, 5:9, 3] = 1.0
    shown, opaque = (torch.from_numpy(each).requires_grad_() for each in (image, alphas))
    behind, truth = torch.from_numpy(background), torch.from_numpy(photo)
    ours = shown + (1 - opaque[..., None]) * behind
    theirs = truth[..., :3] + (1 - truth[..., 3:]) * behind
    loss = photometric_loss(ours, theirs, ssim_weight=weight)
    loss.backward()
    found = Compared.of(image, alphas, photo, background, ssim_weight=weight)
    assert found.loss == pytest.approx(loss.item(), rel=1e-5)
    np.testing.assert_allclose(found.v_image, shown.grad, rtol=1e-4, atol=1e-8)
    np.testing.assert_allclose(found.v_alphas, opaque.grad, rtol=1e-4, atol=1e-8)
    psnr = -10 * torch.log10((ours - theirs).detach().square().mean()).item()
    assert found.psnr == pytest.approx(psnr, abs=1e-3)
