"""A test of whether Gaussians from elsewhere show what the photos show.

The rule: up to 8 training photos, spread over the capture and at most 200 pixels large, are
compared with renderings wherever both are opaque, that is, where alpha is at least 0.5 and the
Gaussians cover at least half. One factor per photo allows for a brighter or darker rendering. The
PSNR is judged against that of the photo's own mean colour on the same pixels, which knows nothing
about the scene. Gaussians fit if they are 2 dB better than that; or 5 dB better by the median
error, which tolerates missing parts of the foreground, as when the splats are a single object of
the scene; or if they reach 30 dB. Those that cover less than a thousandth of the photos do not fit.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from splat_uff.capture.images import area_resize
from splat_uff.capture.records import Capture, View
from splat_uff.geometry.cameras import Camera
from splat_uff.render import Gaussians
from splat_uff.render.compositing import render_fitted
from splat_uff.system.records import array_record

MOST_VIEWS = 8
MOST_SIDE = 200
"""Longer side of the compared images, in pixels."""
OPAQUE = 0.5
LEAST_GAIN = 2.0
"""dB by which renderings must be better than the photos' mean colours. On the toy scene, Gaussians
in another frame gain -4 to 1 dB, a few barely fitted ones 4, those of a full run 18."""
LEAST_MEDIAN_GAIN = 5.0
"""dB by which the median error must be better instead. On the toy scene, Gaussians in another frame
gain at most 4.5 dB (the mirrored one), and the floor without the objects on it gains 7."""
CLEAR_GAIN = 6.0
"""Gain in dB from which another reading is named, or no other axes are tried."""
ROUGH_GAIN = 12.0
"""Gain in dB below which Gaussians that fit may be barely fitted or slightly out of place: a set
that spans a third of the picture, moved by a twentieth of its width, gains 10."""
GOOD = 30.0
"""PSNR in dB that is good for any photos: those of a single colour leave nothing to gain."""
LEAST_COVERED = 1e-3
"""Share of the photos' opaque pixels that must be covered."""
MOST_BRIGHTNESS = 3.0
"""Largest factor between the exposures of a rendering and its photo."""


@array_record
class Probe:
    """A downscaled photo with which renderings are compared."""

    camera: Camera
    colours: Float[np.ndarray, "H W 3"]
    """Colours in [0, 1], not multiplied by alpha."""
    opaque: Bool[np.ndarray, "H W"]
    mean: Float[np.ndarray, "3"]
    """Mean colour of the opaque pixels."""


@dataclass(frozen=True)
class Agreement:
    """Measures of how well Gaussians show what the photos show."""

    psnr: float
    """PSNR in dB on the pixels that the Gaussians cover; -inf if they cover none."""
    plain: float
    """PSNR in dB of the photos' mean colours on the same pixels."""
    median_gain: float
    """dB by which the median error on these pixels is smaller than that of the mean colours."""
    covered: float
    """Share of the photos' opaque pixels that the Gaussians cover."""
    explained: float
    """Share of the photos' squared differences from their mean colours that a rendering in front
    of the mean colour explains, on all opaque pixels; below 0 if it increases them."""

    @property
    def gain(self) -> float:
        """dB by which the PSNR is better than that of the mean colours."""
        return self.psnr - self.plain if self.covered > 0 else -np.inf

    @property
    def fits(self) -> bool:
        """Whether the Gaussians fit, by the rule of this module."""
        gains = self.gain >= LEAST_GAIN or self.median_gain >= LEAST_MEDIAN_GAIN
        return self.covered >= LEAST_COVERED and (gains or self.psnr >= GOOD)

    @property
    def is_clear(self) -> bool:
        """Whether the fit is too good for chance, which has many tries in a search."""
        return self.fits and self.gain >= CLEAR_GAIN

    @property
    def is_rough(self) -> bool:
        """Whether the Gaussians fit, but less well than they should."""
        return self.fits and self.gain < ROUGH_GAIN and self.psnr < GOOD

    def is_better(self, other: "Agreement", margin: float) -> bool:
        """Whether this agreement is better by `margin` dB, and not only because less is covered."""
        return self.psnr >= other.psnr + margin and self.explained > other.explained

    def __str__(self) -> str:
        if self.covered < LEAST_COVERED:
            return f"they cover {self.covered:.2%} of the photos"
        return f"{self.psnr:.1f} dB where the photos' mean colours have {self.plain:.1f} dB"


def make_probes(capture: Capture, *, most: int = MOST_VIEWS, side: int = MOST_SIDE) -> list[Probe]:
    """Downscale training photos spread over the capture, except those without opaque pixels."""
    chosen = np.unique(np.linspace(0, len(capture.train) - 1, most).round().astype(int))
    probes = (_make_probe(capture.train[index], side) for index in chosen)
    return [probe for probe in probes if probe.opaque.any()]


def measure(gaussians: Gaussians, probes: Iterable[Probe], *, device: str = "cpu") -> Agreement:
    """Compare Gaussians in our world with photos.

    Args:
        gaussians: Gaussians to judge, on any device.
        probes: Photos to compare with, at least one.
        device: Device that renders: `cpu` or `cuda`.
    """
    moved = gaussians.to(device)
    compared = [_compare(moved, probe) for probe in probes]
    ours, plain = (np.concatenate([each[kind] for each in compared]) for kind in (0, 1))
    pixels, left, there = np.sum([each[2:] for each in compared], axis=0)
    if len(ours) == 0:
        return Agreement(-np.inf, 0.0, -np.inf, 0.0, 0.0)
    return Agreement(
        psnr=_decibels(ours.mean()),
        plain=_decibels(plain.mean()),
        median_gain=_decibels(np.median(ours)) - _decibels(np.median(plain)),
        covered=len(ours) / float(pixels),
        explained=1 - float(left) / max(float(there), 1e-12),
    )


def _compare(
    gaussians: Gaussians, probe: Probe
) -> tuple[Float[np.ndarray, "P"], Float[np.ndarray, "P"], float, float, float]:
    """Squared errors of a rendering and of the mean colour on covered pixels.

    Also returns the number of opaque pixels and the sum of each error over all of them.
    """
    values, alpha = np.split(render_fitted(gaussians, probe.camera).astype(np.float64), [3], axis=2)
    values, alpha = np.nan_to_num(values, posinf=1.0), np.nan_to_num(alpha)
    seen = probe.opaque & (alpha[..., 0] >= OPAQUE)
    photo, whole = probe.colours[seen], probe.colours[probe.opaque]
    shown = np.clip(values[seen] / alpha[seen], 0, 1)
    factor = _brightness(shown, photo)
    everywhere = np.clip(factor * values + (1 - alpha) * probe.mean, 0, 1)[probe.opaque]
    return (
        _errors(np.clip(factor * shown, 0, 1), photo),
        _errors(probe.mean, photo),
        float(len(whole)),
        float(_errors(everywhere, whole).sum()),
        float(_errors(probe.mean, whole).sum()),
    )


def _errors(
    shown: Float[np.ndarray, "*P 3"], photo: Float[np.ndarray, "P 3"]
) -> Float[np.ndarray, "P"]:
    return ((shown - photo) ** 2).mean(axis=1)


def _brightness(shown: Float[np.ndarray, "P 3"], photo: Float[np.ndarray, "P 3"]) -> float:
    """Brightness factor that brings a rendering nearest to its photo."""
    power = float((shown**2).sum())
    factor = float((shown * photo).sum()) / power if power > 0 else 1.0
    return float(np.clip(factor, 1 / MOST_BRIGHTNESS, MOST_BRIGHTNESS))


def _decibels(error: float) -> float:
    return float(-10 * np.log10(max(error, 1e-10)))


def _make_probe(view: View, side: int) -> Probe:
    image, camera = view.image, view.camera
    shrink = min(1.0, side / max(camera.width, camera.height))
    if shrink < 1:
        width, height = (max(1, round(shrink * each)) for each in (camera.width, camera.height))
        image, camera = area_resize(image, height, width), camera.resized(width, height)
    alpha = image[..., 3:].astype(np.float64)
    opaque = alpha[..., 0] >= OPAQUE
    colours = np.clip(image[..., :3] / np.maximum(alpha, OPAQUE), 0, 1)
    mean = colours[opaque].mean(axis=0) if opaque.any() else np.full(3, 0.5)
    return Probe(camera, colours, opaque, mean)
