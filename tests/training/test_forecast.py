"""How long a training takes is said once, after the first steps, by the speed of this machine."""

from dataclasses import replace

import numpy as np
import pytest

from splat_uff.gaussians.config import GaussiansConfig
from splat_uff.settings import TrainConfig
from splat_uff.system.observer import NOBODY, Observer
from splat_uff.training import forecast
from splat_uff.training.forecast import Forecast, Work, in_words
from tests.gaussians.scenes import ball_capture

WORK = Work(
    pixels=160_000,
    step_pixels=160_000,
    views=100,
    held_out=20,
    start=6000,
    most=60_000,
    steps=2000,
    feature_steps=500,
)


def follow(
    monkeypatch, work, *, speed=1.0, more=0.0, steps=100, wrapped=NOBODY, device="cpu", coarse=False
):
    """Let a fit go by on a machine that takes `speed` times as long as the measured one.

    Its steps take `more` seconds than those of the measured scene.
    """
    now = [0.0]
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(forecast, "time_loss", lambda: speed * forecast.LOSS)
    observer = Forecast(work, wrapped, device=device)
    for step in range(1, steps + 1):
        spent = speed * (work.step(work.start, coarse=coarse) + more)
        now[0] += 30.0 if step == 2 else spent  # One compiles.
        observer.after_step("gaussians", step, work.steps, lambda: np.empty(work.start))
    return observer


@pytest.mark.parametrize("speed", [1.0, 3.0])
def test_said_once_by_the_speed_of_this_machine(speed, monkeypatch, capsys):
    observer = follow(monkeypatch, WORK, speed=speed)
    assert observer.seconds is not None
    left = observer.seconds - 30 - speed * 59 * WORK.step(6000)
    assert left == pytest.approx(speed * (WORK.fit_after(61) + WORK.after_fit()))
    assert capsys.readouterr().err.count("the rest of this training takes about") == 1


def test_what_steps_of_this_scene_take_more_is_taken_by_the_fit_alone(monkeypatch):
    usual, slower = (follow(monkeypatch, WORK, speed=2.0, more=more) for more in (0.0, 0.01))
    assert usual.seconds is not None
    assert slower.seconds is not None
    assert slower.seconds - usual.seconds == pytest.approx(2.0 * 0.01 * WORK.steps, rel=0.01)


def test_on_a_card_the_steps_themselves_say_how_fast_it_is(monkeypatch):
    monkeypatch.setattr(forecast, "LOSS", float("nan"))
    observer = follow(monkeypatch, WORK, speed=0.1, device="cuda:0")
    assert observer.seconds is not None
    expected = 0.1 * (WORK.fit_after(0) + WORK.after_fit())
    assert observer.seconds - 30 == pytest.approx(expected, rel=0.01)


def test_the_computation_that_says_how_fast_a_machine_is_takes_a_moment():
    assert 1e-5 < forecast.time_loss() < 1


def test_a_fit_takes_longer_with_more_of_anything():
    base = WORK.fit_after(0) + WORK.after_fit()
    for name in ("pixels", "step_pixels", "views", "held_out", "most", "steps", "feature_steps"):
        more = Work(**{**vars(WORK), name: 2 * getattr(WORK, name)})
        assert more.fit_after(0) + more.after_fit() > base
    assert WORK.fit_after(1000) < WORK.fit_after(0)
    cleaned = Work(**{**vars(WORK), "border_rounds": 1, "border_steps": 200})
    assert cleaned.after_fit() > WORK.after_fit()


def test_steps_that_look_at_reduced_photos_take_less(monkeypatch):
    coarse = {"coarse": 0.5, "coarse_pixels": 40_000}
    work = Work(**{**vars(WORK), **coarse})
    assert work.step(6000, coarse=True) < work.step(6000)
    assert work.fit_after(0) < WORK.fit_after(0)
    assert work.fit_after(1000) == WORK.fit_after(1000)
    observer = follow(monkeypatch, work, coarse=True)
    assert observer.seconds is not None
    assert observer.seconds - 30 == pytest.approx(work.fit_after(0) + work.after_fit(), rel=0.1)


@pytest.mark.parametrize(
    ("width", "height", "pixels"),
    [(40, 40, 1600), (64, 64, 32 * 32), (150, 60, 50 * 20), (300, 18, 2000)],
)
def test_the_pixels_of_reduced_photos_are_known(width, height, pixels):
    """The last photo is too thin to be reduced, and is seen in windows all the time."""
    capture = ball_capture(views=2, size=16)
    views = tuple(
        replace(view, camera=view.camera.resized(width, height)) for view in capture.train
    )
    settings = replace(TrainConfig(), gaussians=GaussiansConfig(step_pixels=2000))
    assert Work.of(replace(capture, train=views), settings).coarse_pixels == pixels


def test_short_trainings_say_nothing(monkeypatch, capsys):
    work = Work(64**2, 64**2, 20, 5, 6000, 12_000, steps=100, feature_steps=50)
    follow(monkeypatch, work)
    assert "takes about" not in capsys.readouterr().err


def test_others_go_on_following(monkeypatch):
    class Follower(Observer):
        heard = 0
        holding = True

        def after_step(self, stage, step, total, look):
            self.heard += 1

    follower = Follower()
    assert follow(monkeypatch, WORK, wrapped=follower).holding
    assert follower.heard == 100


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (21, "about 20 seconds"), (54, "about 50 seconds"), (58, "about a minute"),
        (100, "about 2 minutes"), (860, "about 14 minutes"), (9000, "about 2.5 hours"),
    ],
)  # fmt: skip
def test_times_are_said_roughly(seconds, words):
    assert in_words(seconds) == words
