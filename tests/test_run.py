"""The run folder's log."""

import json

from splat_uff.run import Run, write_log


def logged(run):
    return [json.loads(line) for line in run.log.read_text(encoding="utf-8").splitlines()]


def test_write_log_takes_the_place_of_steps_that_a_kill_made_again(tmp_path):
    run = Run(tmp_path)
    first, other = write_log(run, "gaussians"), write_log(run, "features")
    for step in (50, 100, 150):
        first(step, loss=1.0)
    other(50, loss=7.0)
    with run.log.open("a", encoding="utf-8") as file:
        file.write('{"stage": "gaussians", "st')
    again = write_log(run, "gaussians")
    again(100, loss=2.0)
    again(150, loss=3.0)
    assert [(line["stage"], line["step"], line["loss"]) for line in logged(run)] == [
        ("gaussians", 50, 1.0),
        ("features", 50, 7.0),
        ("gaussians", 100, 2.0),
        ("gaussians", 150, 3.0),
    ]
