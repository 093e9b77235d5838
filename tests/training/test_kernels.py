"""Kernels are compiled ahead once, and a training that starts meanwhile waits for them."""

import subprocess
import sys

import pytest

from splat_uff.training import kernels
from splat_uff.training.kernels import FIT, REST, Kernels, note_of


class Process:
    """A stand-in for a process that compiles."""

    def __init__(self, command, **options):
        self.part, self.waited, self.killed = command[-1], 0, False
        assert (options.pop("cwd") / "splat_uff" / "training").is_dir()
        assert set(options.values()) == {subprocess.DEVNULL}

    def wait(self):
        self.waited += 1

    def kill(self):
        self.killed = True


@pytest.fixture
def processes(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    started = []

    def start(command, **options):
        assert command[:3] == [sys.executable, "-m", "splat_uff.training.kernels"]
        started.append(Process(command, **options))
        return started[-1]

    monkeypatch.setattr(kernels.subprocess, "Popen", start)
    return started


def test_a_stage_waits_for_its_part_alone_and_once(processes):
    ahead = Kernels.ahead(FIT, REST)
    assert [each.part for each in processes] == [FIT, REST]
    ahead.wait(FIT)
    ahead.wait(FIT)
    assert [each.waited for each in processes] == [1, 0]
    ahead.stop()
    assert [each.killed for each in processes] == [False, True]
    ahead.wait(REST)


def test_what_was_compiled_is_not_compiled_again(processes, monkeypatch):
    compiled = []
    monkeypatch.setattr(kernels, "compile_fit", lambda: compiled.append(FIT))
    kernels.main(FIT)
    assert compiled == [FIT]
    Kernels.ahead(FIT, REST)
    assert [each.part for each in processes] == [REST]


def test_other_code_is_compiled_again(processes, monkeypatch, tmp_path):
    before = note_of(FIT)
    assert note_of(FIT) == before
    assert note_of(REST) != before
    monkeypatch.setattr(kernels, "version", lambda name: "another")
    assert note_of(FIT) != before


def test_the_processes_train_as_trainings_do():
    kernels.compile_fit()
    kernels.compile_rest()
