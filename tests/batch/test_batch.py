"""The command on this machine, without Ray: failures apart, and nothing trained twice."""

import os
import signal

import pytest

from splat_uff.batch.notes import Notes
from splat_uff.cli import main
from tests.batch.small import (
    attempts,
    batch_process,
    files_of,
    has_ended,
    in_the_middle,
    kill,
    standings,
    wait_for,
    write_list,
)

pytestmark = pytest.mark.usefixtures("toy")


@pytest.fixture
def run(capsys):
    """Run a batch; returns its exit code and what it says on stdout and stderr."""

    def run_batch(*args):
        try:
            main(["batch", *map(str, args), "--no-ray"])
            code = 0
        except SystemExit as stopped:
            code = stopped.code
        return code, *capsys.readouterr()

    return run_batch


@pytest.mark.slow
def test_batch_tells_a_failure_apart_and_finishes_the_others(run, tmp_path):
    listed, output = write_list(tmp_path / "scenes.toml", ["good"]), tmp_path / "runs"
    broken = tmp_path / "broken"
    broken.mkdir()
    listed.write_text(listed.read_text() + '[[captures]]\ndata = "broken"\n')
    code, out, err = run(listed, "--output", output)
    assert code == 1
    assert "1 of 2 finished, 1 failed" in out
    last = err.splitlines()[-1]
    assert last.startswith("failed: broken: ")
    assert str(broken) in last
    assert standings(output) == {"good": "finished", "broken": "failed"}
    assert "good/overview.png" in (output / "batch.html").read_text()

    before = files_of(output, ["good"])
    assert run(listed, "--output", output)[0] == 1
    assert files_of(output, ["good"]) == before
    assert len(attempts(output, "good")) == 1, "what is finished is not begun again"
    assert len(attempts(output, "broken")) == 2, "what failed is tried again"

    code, _, err = run(listed, "--output", output, "--set", "seed=5")
    assert code == 1
    assert "seed = 0 (now 5)" in err
    assert files_of(output, ["good"]) == before


@pytest.mark.slow
def test_batch_tells_of_a_process_that_is_killed(tmp_path):
    listed, output = write_list(tmp_path / "scenes.toml", ["one"]), tmp_path / "runs"
    with batch_process(listed, "--output", output, "--no-ray") as process:
        trainer = wait_for(lambda: in_the_middle(output, "one"), process)
        os.kill(trainer, signal.SIGKILL)
        said = process.communicate()[0]
    assert process.returncode == 1
    assert "failed: one: its process was ended by SIGKILL" in said
    assert str(Notes.of(output, "one").log) in said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_batch_goes_on_after_it_was_ended(number, tmp_path):
    names = ["first", "second"]
    listed, output = write_list(tmp_path / "scenes.toml", names), tmp_path / "runs"
    one_at_a_time = ("--cores", len(os.sched_getaffinity(0)))
    args = (listed, "--output", output, "--no-ray", *one_at_a_time)
    with batch_process(*args) as process:
        trainer = wait_for(lambda: in_the_middle(output, "second"), process)
        if number == signal.SIGKILL:
            kill(process)
        else:
            process.send_signal(number)
            said = process.communicate()[0]
            assert process.returncode == 130
            assert "the same command goes on" in said
            assert standings(output)["second"] == "cut off"
    with batch_process(*args) as process:
        wait_for(lambda: has_ended(trainer), process)
        before = files_of(output, ["first"])
        said = process.communicate()[0]
    assert process.returncode == 0, said
    assert standings(output) == {"first": "finished", "second": "finished"}
    assert before
    assert files_of(output, ["first"]) == before, "what is finished is not touched"
    first, again = attempts(output, "second")
    assert first.first_step == "gaussians 1 of 150"
    assert again.first_step.startswith("gaussians ")
    assert int(again.first_step.split()[1]) > 1, "it goes on where it was cut off"


def test_batch_refuses_in_one_line(run, tmp_path):
    for args, answer in (
        (["toy", "--address", "auto"], "contradict"),
        (["toy", "--shard", "5/4"], "the shard is 5/4"),
        (["toy", "--cores", "0"], "--cores is 0"),
        (["toy", "--gpus", "1.5"], "--gpus is 1.5"),
        (["toy", "--memory-gb", "nan"], "--memory-gb is nan"),
        (["toy", "--set", "size"], "no setting"),
        (["toy", "--cores", "9999"], "this machine has"),
        (["nowhere/at/all"], "there is no nowhere/at/all"),
    ):
        code, out, err = run(*args, "--output", tmp_path / "runs")
        assert code == 2
        assert answer in err
        assert not out
        assert len(err.splitlines()) == 1
