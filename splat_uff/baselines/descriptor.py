"""A dense descriptor that needs no weights: colour and gradient statistics at several scales.

It replaces LSeg, CLIP or DINO if their features are not available, so that methods built on dense
features run anywhere. It describes texture, but knows nothing about objects.
"""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter, sobel

SIGMAS = (0.005, 0.01, 0.02, 0.04)
"""Standard deviations of the windows, in longer sides: 1, 2, 4 and 8 pixels of 200."""
CHANNELS = 9
"""Number of channels at each scale."""


def describe(photo: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W D"]:
    """Describe the surroundings of every pixel.

    At each scale of `SIGMAS`: the mean and the standard deviation of three opponent colours in a
    Gaussian window, and the structure tensor of the lightness there (its energy, and the cosine and
    sine of twice its orientation, times the energy).

    Args:
        photo: Photo, sRGB in [0, 1].

    Returns:
        Descriptor of each pixel, float32, `CHANNELS` numbers per scale, the finest scale first.
    """
    red, green, blue = np.moveaxis(photo.astype(np.float64), 2, 0)
    colours = [(red + green + blue) / 3, red - green, (red + green) / 2 - blue]
    across, down = sobel(colours[0], axis=1), sobel(colours[0], axis=0)
    products = [across**2 + down**2, across**2 - down**2, 2 * across * down]
    found = []
    for sigma in SIGMAS:
        blur = _blur(sigma * max(photo.shape[:2]))
        means = [blur(colour) for colour in colours]
        squares = [blur(colour**2) for colour in colours]
        found += means
        found += [
            np.sqrt(np.maximum(square - mean**2, 0))
            for square, mean in zip(squares, means, strict=True)
        ]
        found += [np.sign(tensor) * np.sqrt(np.abs(tensor)) for tensor in map(blur, products)]
    return np.stack(found, axis=2).astype(np.float32)


def _blur(sigma: float):
    return lambda image: gaussian_filter(image, sigma, truncate=3, mode="nearest")
