"""PSNR and SSIM of renderings against photos."""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter

from splat_uff.system.errors import InputError
from splat_uff.system.records import array_record

SSIM_SIGMA = 1.5
"""Standard deviation of the window of Wang et al., in pixels."""
SSIM_RADIUS = 5
"""Half width of the window, in pixels: the window is 11 x 11."""
SMALLEST_ERROR = 1e-10
"""Lower bound of the mean squared error, so that equal images score a finite 100 dB."""


@array_record
class ImageScores:
    """Similarity of renderings and photos, one entry per view."""

    psnr_per_view: Float[np.ndarray, "V"]
    """PSNR of each view, in dB."""
    ssim_per_view: Float[np.ndarray, "V"]

    @property
    def psnr(self) -> float:
        """Mean PSNR over views, in dB (not the PSNR of the mean error)."""
        return float(self.psnr_per_view.mean())

    @property
    def ssim(self) -> float:
        """Mean SSIM over views."""
        return float(self.ssim_per_view.mean())


def score_images(
    pairs: Iterable[tuple[Float[np.ndarray, "_ _ 3"], Float[np.ndarray, "_ _ 3"]]],
) -> ImageScores:
    """Compare renderings with photos over the same background.

    Args:
        pairs: Rendering and photo of each view, colours in [0, 1] over the same background. Values
            of renderings outside this range are clipped, as on a screen.

    Returns:
        Scores per view.

    Raises:
        InputError: If there is nothing to compare, sizes differ, or an image is smaller than the
            SSIM window.
    """
    scores = []
    for rendering, photo in pairs:
        clipped = np.clip(rendering, 0.0, 1.0)
        scores.append((psnr(clipped, photo), ssim(clipped, photo)))
    if not scores:
        raise InputError("no rendering to compare with a photo; expected at least one.")
    psnr_per_view, ssim_per_view = np.array(scores).T
    return ImageScores(psnr_per_view, ssim_per_view)


def psnr(image: Float[np.ndarray, "_ _ 3"], reference: Float[np.ndarray, "_ _ 3"]) -> float:
    """Peak signal-to-noise ratio of colours in [0, 1], in dB; at most 100.

    Example:
        >>> psnr(np.full((2, 2, 3), 0.5), np.full((2, 2, 3), 0.6))
        20.0
    """
    _check_same_shape(image, reference)
    error = np.mean((image.astype(np.float64) - reference) ** 2)
    return round(float(-10 * np.log10(max(error, SMALLEST_ERROR))), 9)


def ssim(image: Float[np.ndarray, "H W 3"], reference: Float[np.ndarray, "H W 3"]) -> float:
    """Structural similarity of colours in [0, 1], mean over channels.

    Parameters are an 11 x 11 Gaussian window, K1 = 0.01, K2 = 0.03 and population covariance. The
    mean is over the pixels whose whole window lies in the image. Source: Wang et al., "Image
    quality assessment: from error visibility to structural similarity", IEEE TIP 2004.

    Raises:
        InputError: If shapes differ or a side is shorter than the window.
    """
    _check_same_shape(image, reference)
    if min(image.shape[:2]) < 2 * SSIM_RADIUS + 1:
        raise InputError(
            f"an image is {image.shape[0]} x {image.shape[1]} pixels; SSIM needs at least "
            f"{2 * SSIM_RADIUS + 1} a side."
        )
    x, y = image.astype(np.float64), reference.astype(np.float64)
    with ThreadPoolExecutor(min(5, os.cpu_count() or 1)) as pool:
        mean_x, mean_y, xx, yy, xy = pool.map(_blur, (x, y, x * x, y * y, x * y))
    variance_x, variance_y = xx - mean_x**2, yy - mean_y**2
    covariance = xy - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
    return float(similarity[SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS].mean())


def _blur(image: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W 3"]:
    return gaussian_filter(image, (SSIM_SIGMA, SSIM_SIGMA, 0), truncate=SSIM_RADIUS / SSIM_SIGMA)


def _check_same_shape(image: np.ndarray, reference: np.ndarray) -> None:
    if image.shape != reference.shape:
        raise InputError(
            f"a rendering has shape {image.shape} and its photo {reference.shape}; "
            "render at the size of the photo."
        )
