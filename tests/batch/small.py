"""Batches of captures that train in seconds, and what they leave behind."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from splat_uff.batch.notes import Notes

SETTINGS = """
[settings]
size = 32
evaluate = {cuts = 5, clicks = 5}
gaussians = {steps = 150, start = 300, most = 400}
features = {steps = 75, pixels = 128}
"""
SECONDS = 1200
"""Most seconds that anything is waited for; the machine may be busy with something else."""


def write_list(path, names):
    """Write a list of captures of `toy`, each with a seed of its own."""
    captures = (
        f'[[captures]]\nname = "{name}"\nscene = "toy"\nsettings.seed = {seed}\n'
        for seed, name in enumerate(names)
    )
    path.write_text(SETTINGS + "\n".join(captures))
    return path


@contextmanager
def batch_process(*args):
    """Run `splat-uff batch` in a process of its own, saving at every step."""
    # A shell that started the tests in the background may have left Ctrl-C ignored.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from splat_uff.cli import main; main()"
    )
    given = ("batch", *map(str, args), "--checkpoint-seconds", "0")
    command = [sys.executable, "-c", code, *given]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(found, process):
    """Wait until a function returns something, while a process runs."""
    end = time.monotonic() + SECONDS
    while not (result := found()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "nothing of the kind happened"
        time.sleep(0.01)
    return result


def attempts(output, name):
    return Notes.of(output, name).read().attempts


def in_the_middle(output, name):
    """The process that trains a capture, once it has saved and noted a step; else None."""
    state = Notes.of(output, name).read()
    saved = (output / name / "checkpoint" / "gaussians.npz").exists()
    under_way = saved and not (output / name / "gaussians.ply").exists()
    noted = state.attempts and state.attempts[-1].first_step  # Noted after the step is saved.
    return state.attempts[-1].process if under_way and noted else None


def finished(output, names):
    return {name for name in names if (output / name / "metrics.json").exists()}


def files_of(output, names):
    """Content and time of every file of some runs."""
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for name in names
        for path in (output / name).rglob("*")
        if path.is_file()
    }


def has_ended(process):
    """Whether a process is gone; one of which only the exit code is left counts as gone."""
    try:
        os.kill(process, 0)
        return _status(process)[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def parent_of(process):
    return int(_status(process)[1])


def _status(process):
    """What Linux tells of a process, from its state on."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def standings(output):
    record = json.loads((output / "batch.json").read_text())
    return {each["name"]: each["standing"] for each in record["captures"]}


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()
