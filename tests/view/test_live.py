"""Watching a training changes nothing about it, and stopping it loses nothing."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from splat_uff.files import read_arrays
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.observer import Observer, TrainingStopped
from splat_uff.run.open import open_run
from splat_uff.settings import TrainConfig
from splat_uff.training.inputs import TrainOptions
from splat_uff.training.train import train
from splat_uff.view.live import LivePage
from splat_uff.view.serve import start_server, stop_server


@pytest.fixture(scope="module")
def server():
    server = start_server("live", port=18500)
    yield server
    stop_server(server)


@pytest.fixture
def live(server, monkeypatch):
    monkeypatch.setattr(server, "get_clients", lambda: {1: None})
    live = LivePage(server, HierarchyConfig())
    yield live
    live.close()


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


class Stops(Observer):
    """Stops at a step, as somebody would who pressed the button before it."""

    def __init__(self, stage, step):
        self._at, self._asked = (stage, step), False

    @property
    def holding(self):
        return self._asked

    def after_step(self, stage, step, total, look):
        if self._asked:
            raise TrainingStopped
        self._asked = (stage, step) == self._at


def settings():
    few = {"gaussians": {"steps": 120}, "features": {"steps": 60, "pixels": 256}}
    from splat_uff.settings import convert

    return convert(few, TrainConfig, source="")


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "step"), [("gaussians", 70), ("features", 33)])
def test_a_training_stopped_while_watched_goes_on_to_the_same_numbers(toy, tmp_path, stage, step):
    train(toy, tmp_path / "straight", settings())
    with pytest.raises(TrainingStopped):
        train(
            toy, tmp_path / "stopped", settings(), options=TrainOptions(checkpoint_seconds=1e9),
            observer=Stops(stage, step),
        )  # fmt: skip
    state = read_arrays(tmp_path / "stopped" / "checkpoint" / f"{stage}.npz")
    assert int(state["step"]) == step + 1  # Not a step was lost.
    train(toy, tmp_path / "stopped", settings(), options=TrainOptions(resume=True))
    straight, stopped = (read_arrays(tmp_path / name / "features.npz") for name in
                         ("straight", "stopped"))  # fmt: skip
    np.testing.assert_array_equal(straight["features"], stopped["features"])


def test_gaussians_are_shown_as_they_were_when_looked_at(live, trained):
    gaussians = open_run(trained).gaussians
    live.after_step("gaussians", 1, 10, lambda: gaussians)
    until(lambda: live._splats is not None)
    until(lambda: live._next_look != float("inf"))
    shown = live._splats._handle.buffer[:, 7:].copy().view(np.uint8)[:, 3]
    np.testing.assert_allclose(shown, gaussians.opacities.numpy() * 255, atol=0.51)
    fewer = gaussians.subset(torch.arange(50))
    live._next_look = 0.0
    live.after_step("gaussians", 2, 10, lambda: fewer)
    until(lambda: len(live._splats._handle.buffer) == 50)


def test_nothing_is_looked_at_while_nobody_is_there(live, server, monkeypatch):
    monkeypatch.setattr(server, "get_clients", dict)
    live.after_step("gaussians", 1, 10, lambda: 1 / 0)


def test_looks_are_some_time_apart(live, trained):
    gaussians = open_run(trained).gaussians
    looks = []
    for step in range(2000):
        live.after_step("gaussians", step, 2000, lambda: looks.append(1) or gaussians)
    assert len(looks) == 1


@pytest.mark.parametrize("mode", ["features", "segments"])
def test_features_colour_the_gaussians(live, trained, mode):
    opened = open_run(trained)
    features = torch.from_numpy(read_arrays(opened.run.features)["features"])
    live.gaussians(opened.gaussians)
    until(lambda: live._next_look != float("inf"))
    live._mode.value = mode
    live._next_look = 0.0
    before = live._splats._handle.buffer[:, 7].copy()
    live.after_step("features", 5, 10, lambda: features)
    until(lambda: (live._splats._handle.buffer[:, 7] != before).any())
    if mode == "segments":
        before = live._splats._handle.buffer[:, 7].copy()
        live._segments.value = 3
        until(lambda: (live._splats._handle.buffer[:, 7] != before).any())


def test_a_pause_holds_the_training_and_is_not_counted(live, trained):
    gaussians = open_run(trained).gaussians
    live._paused(SimpleNamespace())
    assert live.holding
    assert live._pause.label == "Continue"
    done = threading.Event()

    def step():
        live.after_step("gaussians", 1, 10, lambda: gaussians)
        done.set()

    thread = threading.Thread(target=step)
    thread.start()
    assert not done.wait(0.5)
    live._paused(SimpleNamespace())
    assert done.wait(5)
    thread.join()
    assert not live.holding
    assert live.take_pauses() > 0.4
    assert live.take_pauses() == 0


def test_stop_waits_until_the_state_is_saved(live, trained):
    gaussians = open_run(trained).gaussians
    live._paused(SimpleNamespace())
    live._stopped(SimpleNamespace())
    live.after_step("gaussians", 1, 10, lambda: gaussians)  # Nobody asked `holding` yet.
    assert live.holding
    with pytest.raises(TrainingStopped):
        live.after_step("gaussians", 2, 10, lambda: gaussians)
    with pytest.raises(TrainingStopped):
        live.stage("features")


def test_curves_and_what_is_said(live):
    live.stage("gaussians")
    for step in (50, 100):
        live.figures("gaussians", step, {"loss": 0.1, "psnr": 30.0, "num_gaussians": 10})
    assert live._said.content == "**gaussians**, step 100: loss 0.1, PSNR 30, Gaussians 10"
    counted = {"loss": 12345.6, "num_gaussians": 29990}
    live.figures("gaussians", 12000, counted)
    assert live._said.content == "**gaussians**, step 12,000: loss 12,346, Gaussians 29,990"
    live.figures("gaussians", 12050, {"num_gaussians": 29990, "loss": 1.2e-5})
    assert live._said.content == "**gaussians**, step 12,050: Gaussians 29,990, loss 1.2e-05"
    assert live._plots["psnr"].visible
    np.testing.assert_array_equal(live._plots["psnr"].data[0], [50, 100])
    live.stage("features")
    live.figures("features", 25, {"loss": 0.5})
    assert not live._plots["psnr"].visible


def test_the_page_goes_without_a_trace(server):
    live = LivePage(server, HierarchyConfig())
    live.close()
    names = [handle.name for handle in server.scene._handle_from_node_name.values()]
    assert names in ([], ["/WorldAxes"])
