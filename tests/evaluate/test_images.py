import numpy as np
import pytest
from skimage.metrics import structural_similarity

from splat_uff.evaluate.images import psnr, score_images, ssim
from splat_uff.system.errors import InputError


def photo_and_noise(noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    photo = rng.random((6, 7, 3)).repeat(6, axis=0).repeat(6, axis=1)
    return np.clip(photo + noise * rng.standard_normal(photo.shape), 0, 1), photo


def test_psnr_of_a_constant_error_is_its_decibels():
    photo = np.full((4, 4, 3), 0.25)
    assert psnr(photo + 0.01, photo) == pytest.approx(40)
    assert psnr(photo, photo) == 100


def test_ssim_of_equal_images_is_one_and_falls_with_noise():
    values = [ssim(*photo_and_noise(noise)) for noise in (0, 0.05, 0.2)]
    assert values[0] == pytest.approx(1)
    assert values[0] > values[1] > values[2] > 0


def pairs(height: int, width: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kinds of pairs of images: alike, unlike, flat, dark, bright, and with hard edges."""
    rng = np.random.default_rng(height * width)
    y, x = np.mgrid[:height, :width] / max(height, width)
    smooth = np.stack([y, x, 0.5 + 0.5 * np.sin(9 * x * y)], axis=2)
    noise = rng.random((height, width, 3))
    edges = (smooth > 0.4).astype(np.float64)
    grey = np.full_like(noise, 0.3)
    return {
        "same": (smooth, smooth),
        "noisy": (np.clip(smooth + 0.1 * (noise - 0.5), 0, 1), smooth),
        "unlike": (noise, noise[::-1].copy()),
        "negative": (1 - edges, edges),
        "flat": (grey, grey + 0.1),
        "black and white": (np.zeros_like(noise), np.ones_like(noise)),
        "dark": (0.01 * noise, 0.01 * smooth),
    }


@pytest.mark.parametrize("kind", pairs(11, 11))
@pytest.mark.parametrize("size", [(11, 11), (12, 40), (75, 64), (200, 200)])
def test_ssim_equals_scikit_images_to_nine_decimals(kind, size):
    image, reference = pairs(*size)[kind]
    expected = structural_similarity(
        image, reference, gaussian_weights=True, use_sample_covariance=False, data_range=1.0,
        channel_axis=-1,
    )  # fmt: skip
    assert ssim(image, reference) == pytest.approx(expected, abs=1e-9)


def test_score_images_averages_views_and_clips_renderings():
    noisy, photo = photo_and_noise()
    photo[:6, :6], noisy[:6, :6] = 1.0, 1.0
    too_bright = photo + 2 * (photo == 1.0)
    assert too_bright.max() == 3
    scores = score_images([(noisy, photo), (too_bright, photo)])
    assert scores.psnr == pytest.approx((psnr(noisy, photo) + 100) / 2)
    assert scores.ssim == pytest.approx((ssim(noisy, photo) + 1) / 2)


def test_score_images_refuses_what_cannot_be_compared():
    photo = np.zeros((20, 20, 3))
    with pytest.raises(InputError, match="no rendering"):
        score_images([])
    with pytest.raises(InputError, match=r"\(20, 10, 3\)"):
        score_images([(photo[:, :10], photo)])
    with pytest.raises(InputError, match="8 x 8"):
        score_images([(photo[:8, :8], photo[:8, :8])])
