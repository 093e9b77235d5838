"""Watching a training changes nothing about it, and stopping it loses nothing."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.run.open import open_run
from splat_uff.settings import TrainConfig
from splat_uff.system.files import read_arrays
from splat_uff.system.observer import Observer, TrainingStopped
from splat_uff.training.inputs import TrainOptions
from splat_uff.training.train import train
from splat_uff.view.server import start_server, stop_server
from splat_uff.view.training_page import TrainingPage


@pytest.fixture(scope="module")
def server():
    server = start_server("page", port=18500)
    yield server
    stop_server(server)


@pytest.fixture
def page(server, monkeypatch):
    monkeypatch.setattr(server, "get_clients", lambda: {1: None})
    page = TrainingPage(server, HierarchyConfig())
    yield page
    page.close()


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


def test_gaussians_are_shown_as_they_were_when_looked_at(page, trained):
    gaussians = open_run(trained).gaussians
    page.after_step("gaussians", 1, 10, lambda: gaussians)
    until(lambda: page._splats is not None)
    until(lambda: page._next_look != float("inf"))
    np.testing.assert_allclose(page._splats.opacities, gaussians.opacities.numpy() * 255, atol=0.51)
    fewer = gaussians.subset(torch.arange(50))
    page._next_look = 0.0
    page.after_step("gaussians", 2, 10, lambda: fewer)
    until(lambda: len(page._splats.colours) == 50)


def test_nothing_is_looked_at_while_nobody_is_there(page, server, monkeypatch):
    monkeypatch.setattr(server, "get_clients", dict)
    page.after_step("gaussians", 1, 10, lambda: 1 / 0)


def test_looks_are_some_time_apart(page, trained):
    gaussians = open_run(trained).gaussians
    looks = []
    for step in range(2000):
        page.after_step("gaussians", step, 2000, lambda: looks.append(1) or gaussians)
    assert len(looks) == 1


@pytest.mark.parametrize("mode", ["features", "segments"])
def test_features_colour_the_gaussians(page, trained, mode):
    run = open_run(trained)
    features = torch.from_numpy(read_arrays(run.folder.features)["features"])
    page.gaussians(run.gaussians)
    until(lambda: page._next_look != float("inf"))
    page._colour_choice.value = mode
    page._next_look = 0.0
    before = page._splats.colours
    page.after_step("features", 5, 10, lambda: features)
    until(lambda: (page._splats.colours != before).any())
    if mode == "segments":
        before = page._splats.colours
        page._segments.value = 3
        until(lambda: (page._splats.colours != before).any())


def test_a_pause_holds_the_training_and_is_not_counted(page, trained):
    gaussians = open_run(trained).gaussians
    page._paused(SimpleNamespace())
    assert page.holding
    assert page._pause.label == "Continue"
    assert "pausing" in page._said.content
    page.figures("gaussians", 1, {"loss": 0.5})  # The step that was under way says its figures.
    done = threading.Event()

    def step():
        page.after_step("gaussians", 1, 10, lambda: gaussians)
        done.set()

    thread = threading.Thread(target=step)
    thread.start()
    assert not done.wait(0.5)
    assert page._said.content == "**gaussians**, step 1, paused"
    page._paused(SimpleNamespace())
    assert done.wait(5)
    thread.join()
    assert not page.holding
    assert page.take_pauses() > 0.4
    assert page.take_pauses() == 0


def test_stop_waits_until_the_state_is_saved(page, trained):
    gaussians = open_run(trained).gaussians
    page._paused(SimpleNamespace())
    page._stopped(SimpleNamespace())
    page.after_step("gaussians", 1, 10, lambda: gaussians)  # Nobody asked `holding` yet.
    assert page.holding
    with pytest.raises(TrainingStopped):
        page.after_step("gaussians", 2, 10, lambda: gaussians)
    with pytest.raises(TrainingStopped):
        page.stage("features")


def test_curves_and_what_is_said(page):
    page.stage("gaussians")
    for step in (50, 100):
        page.figures("gaussians", step, {"loss": 0.1, "psnr": 30.0, "num_gaussians": 10})
    assert page._said.content == "**gaussians**, step 100: loss 0.1, PSNR 30, Gaussians 10"
    counted = {"loss": 12345.6, "num_gaussians": 29990}
    page.figures("gaussians", 12000, counted)
    assert page._said.content == "**gaussians**, step 12,000: loss 12,346, Gaussians 29,990"
    page.figures("gaussians", 12050, {"num_gaussians": 29990, "loss": 1.2e-5})
    assert page._said.content == "**gaussians**, step 12,050: Gaussians 29,990, loss 1.2e-05"
    assert page._plots["psnr"].visible
    np.testing.assert_array_equal(page._plots["psnr"].data[0], [50, 100])
    page.stage("features")
    page.figures("features", 25, {"loss": 0.5})
    assert not page._plots["psnr"].visible


def test_the_page_goes_without_a_trace(server):
    page = TrainingPage(server, HierarchyConfig())
    page.close()
    names = [handle.name for handle in server.scene._handle_from_node_name.values()]
    assert names in ([], ["/WorldAxes"])
