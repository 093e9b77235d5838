"""A forecast of the time that a training takes, made after the first steps of the fit.

A step's time is a constant, a part for the pixels that it looks at, a part for all Gaussians, and
one for those in its window; there are few Gaussians at first. How these parts compare, and what the
stages after the fit take beside them, was measured (docs/research/growth.md). A small computation
says how fast this machine is. What the first steps take besides comes from the scene, whose pixels
blend more Gaussians or fewer than those of the measured one, and stays until the fit ends.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from splat_uff.capture import Capture
from splat_uff.gaussians.losses import Compared
from splat_uff.gaussians.windows import reduction
from splat_uff.settings import TrainConfig
from splat_uff.system import kernels
from splat_uff.system.observer import Observer
from splat_uff.system.progress import notice

FIRST, LAST = 20, 60
"""Steps between which the time is taken; those before may compile kernels."""
STEP = 4.9e-3
"""Seconds of any step of the fit, on the measured machine."""
STEP_PIXEL, STEP_GAUSSIAN, STEP_SHOWN = 9.3e-8, 3.3e-7, 3.9e-7
"""Further seconds of a step for each pixel, for each Gaussian, and for each in the window."""
LOSS = 1.5e-3
"""Seconds of `time_loss` on the measured machine."""
GROWTH = 0.15, 0.57
"""Shares of the steps between which the number of Gaussians grows."""
VIEW_PIXEL, VIEW_GAUSSIAN = 1.07e-6, 1.12e-6
"""Seconds for each training photo and each of its pixels, or each Gaussian, that features and tree
take with blend weights and consensus."""
WORTH_SAYING = 20.0
"""Seconds of what is left from which it is said."""
FEATURE_STEP = 4.2e-2
"""Seconds of a step of the contrastive fit."""
SCORES, HELD_OUT_PIXEL = 5.5, 4.6e-6
"""Seconds that scores and report take, and further seconds for each held-out photo and each of its
pixels."""


@dataclass(frozen=True)
class Work:
    """Amount of work of a training."""

    pixels: float
    """Mean number of pixels of a training photo."""
    step_pixels: float
    """Mean number of pixels that a step of the fit looks at."""
    views: int
    held_out: int
    start: int
    """Gaussians at the start of the fit."""
    most: int
    steps: int
    feature_steps: int
    border_rounds: int = 0
    border_steps: int = 0
    """Steps of all rounds of clean borders."""
    coarse: float = 0.0
    """Share of the steps, from the first on, that look at whole photos, reduced where necessary."""
    coarse_pixels: float = 0.0
    """Mean number of pixels of such a photo."""

    @staticmethod
    def of(capture: Capture, settings: TrainConfig) -> "Work":
        """Work of a training that fits Gaussians."""
        cameras = [view.camera for view in capture.train]
        config = settings.gaussians
        pixels = np.array([camera.width * camera.height for camera in cameras])
        most = config.step_pixels
        by = np.array([reduction(camera.width, camera.height, most) for camera in cameras])
        whole = config.depth_weight > 0
        return Work(
            pixels=float(pixels.mean()),
            step_pixels=float((pixels if whole else np.minimum(pixels, most)).mean()),
            views=len(cameras),
            held_out=len(capture.val),
            start=min(config.start, config.most),
            most=config.most,
            steps=config.steps,
            feature_steps=settings.features.steps,
            border_rounds=settings.borders.rounds,
            border_steps=settings.borders.rounds * settings.borders.steps,
            coarse=0.0 if whole else config.coarse,
            coarse_pixels=float(np.minimum(pixels / by**2, most).mean()),
        )

    def step(self, number: float, *, coarse: bool = False) -> float:
        """Seconds of one step of the fit with so many Gaussians, on the measured machine."""
        photo, looked = self.pixels, self.step_pixels
        if coarse:
            photo = looked = self.coarse_pixels
        shown = number * looked / photo
        return STEP + STEP_PIXEL * looked + STEP_GAUSSIAN * number + STEP_SHOWN * shown

    def fit_after(self, done: int) -> float:
        """Seconds of the fit from a step on."""
        shares = (np.arange(done, self.steps) + 0.5) / self.steps
        grown = np.interp(shares, GROWTH, (self.start, self.most))
        parts = ((True, grown[shares < self.coarse]), (False, grown[shares >= self.coarse]))
        return sum(
            len(part) * self.step(float(part.mean()), coarse=coarse)
            for coarse, part in parts
            if len(part)
        )

    def after_fit(self) -> float:
        """Seconds of all stages after the fit."""
        seen = self.views * (VIEW_PIXEL * self.pixels + VIEW_GAUSSIAN * self.most)
        borders = self.border_rounds * seen + self.border_steps * self.step(self.most)
        features = FEATURE_STEP * self.feature_steps
        scores = SCORES + HELD_OUT_PIXEL * self.pixels * self.held_out
        return seen + borders + features + scores


class Forecast(Observer):
    """An observer that says once how long the training will take, and passes on what it hears.

    Args:
        work: Amount of work of the training.
        observer: Observer that hears of every step, too.
        device: Device that fits: on `cpu`, a small computation beside the steps says how fast the
            machine is; on any other, all stages are taken to be as fast as the first steps.
    """

    def __init__(self, work: Work, observer: Observer, *, device: str = "cpu") -> None:
        self._work, self._observer, self._device = work, observer, device
        self._first = self._resumed = float("nan")
        self._count = 0
        self._steps: list[float] = []
        self._losses: list[float] = []
        self.seconds: float | None = None
        """Seconds from the beginning of the fit to the end of the training, once known."""

    @property
    def holding(self) -> bool:
        """Whether the other observer holds the training."""
        return self._observer.holding

    def after_step(self, stage: str, step: int, total: int, look: Callable[[], Any]) -> None:
        """Take the time of the step."""
        now = time.perf_counter()
        self._first = now if self._count == 0 else self._first
        if FIRST < self._count <= LAST:
            self._steps.append(now - self._resumed)
            if kernels.numba_computes(self._device):
                self._losses.append(time_loss())
            if self._count == LAST and step < total:
                self._say(now, step, total, len(look()))
        self._count += 1
        self._observer.after_step(stage, step, total, look)
        self._resumed = time.perf_counter()

    def _say(self, now: float, step: int, total: int, number: int) -> None:
        """Find how long the rest takes, and say so if it is long."""
        spent = float(np.median(self._steps))
        usual = self._work.step(number, coarse=step <= self._work.coarse * total)
        # A quarter of the runs is hardly interrupted by anything.
        speed = np.quantile(self._losses, 0.25) / LOSS if self._losses else spent / usual
        more = max(-usual / 2, spent / speed - usual)  # Seconds of each step, for this scene.
        left = self._work.fit_after(step) + (total - step) * more + self._work.after_fit()
        self.seconds = now - self._first + float(speed * left)
        if speed * left >= WORTH_SAYING:
            notice(f"the rest of this training takes {in_words(speed * left)}.")


def time_loss() -> float:
    """Seconds of the loss of a photo of 200 x 200 pixels on the CPU."""
    photo, image, alphas, black = _photo()
    start = time.perf_counter()
    Compared.of(image, alphas, photo, black, ssim_weight=0.2)
    return time.perf_counter() - start


@cache
def _photo() -> tuple[np.ndarray, ...]:
    """A photo of noise, a rendering of it, its opacities, and a background."""
    photo = np.random.default_rng(0).random((200, 200, 4), np.float32)
    image = np.ascontiguousarray(photo[..., :3])
    return photo, image, np.ones((200, 200), np.float32), np.zeros(3, np.float32)


def in_words(seconds: float) -> str:
    """A length of time, roughly: `about 40 seconds`, `about 14 minutes`, `about 2.5 hours`."""
    if seconds < 55:
        return f"about {max(10, round(seconds / 10) * 10)} seconds"
    if seconds < 90:
        return "about a minute"
    if seconds < 5400:
        return f"about {round(seconds / 60)} minutes"
    hours = round(seconds / 1800) / 2
    return f"about {hours:g} hours"
