"""The files of a run folder that are text."""

import json

from splat_uff.run import Run, read_metrics, read_provenance, write_log
from splat_uff.settings import TrainConfig, read_settings


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


def test_the_records_of_a_run_may_begin_with_a_byte_order_mark(trained, tmp_path):
    run, marked = Run(trained), Run(tmp_path)
    for name in ("config.toml", "metrics.json", "log.jsonl"):
        text = (trained / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
    assert read_provenance(marked) == read_provenance(run)
    assert read_metrics(marked) == read_metrics(run)
    first = logged(run)[0]
    write_log(marked, "hierarchy")(1, loss=0.0)
    assert json.loads(marked.log.read_text(encoding="utf-8-sig").splitlines()[0]) == first


def test_runs_from_before_features_had_a_start_began_with_noise(small_run, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    lines = (small_run / "config.toml").read_text(encoding="utf-8").splitlines()
    count = next(line for line in lines if line.startswith("num_settings"))
    fewer = f"num_settings = {int(count.partition('=')[2]) - 1}"
    text = "\n".join(fewer if line == count else line for line in lines if 'start = "' not in line)
    (folder / "config.toml").write_text(text, encoding="utf-8")
    assert read_provenance(Run(small_run)).settings.features.start == "consensus"
    assert read_provenance(Run(folder)).settings.features.start == "noise"
    again = read_settings(folder / "config.toml", TrainConfig())
    assert again == read_provenance(Run(folder)).settings
    mine = tmp_path / "mine.toml"
    mine.write_text("[features]\nsteps = 3\n")
    assert read_settings(mine, TrainConfig()).features.start == "consensus"
