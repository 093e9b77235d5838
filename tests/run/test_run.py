"""The files of a run folder that are text."""

import inspect
import json
from dataclasses import replace

import msgspec
import tomli_w

from splat_uff.capture import read_capture
from splat_uff.capture.blender import read_blender
from splat_uff.capture.colmap import read_colmap
from splat_uff.capture.llff import read_llff
from splat_uff.capture.nerfstudio import read_nerfstudio
from splat_uff.capture.partnet import read_partnet
from splat_uff.commands import masks as commands
from splat_uff.features.config import FeaturesConfig
from splat_uff.run.folder import RunFolder
from splat_uff.run.log import write_log
from splat_uff.run.provenance import Provenance, read_metrics, read_provenance
from splat_uff.settings import TrainConfig, convert, flatten, read_settings


def logged(run):
    return [json.loads(line) for line in run.log.read_text(encoding="utf-8").splitlines()]


def test_write_log_takes_the_place_of_steps_that_a_kill_made_again(tmp_path):
    run = RunFolder(tmp_path)
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
    run, marked = RunFolder(trained), RunFolder(tmp_path)
    for name in ("config.toml", "metrics.json", "log.jsonl"):
        text = (trained / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
    assert read_provenance(marked) == read_provenance(run)
    assert read_metrics(marked) == read_metrics(run)
    first = logged(run)[0]
    write_log(marked, "hierarchy")(1, loss=0.0)
    assert json.loads(marked.log.read_text(encoding="utf-8-sig").splitlines()[0]) == first


def test_runs_from_before_features_had_a_start_began_with_noise(tmp_path):
    # Its settings are all there but `start`, which there was not, and their number is right.
    then = msgspec.to_builtins(Provenance("toy", "toy", "own", "", TrainConfig()))
    del then["settings"]["features"]["start"]
    count = len(flatten(then["settings"]))
    path = RunFolder(tmp_path).config
    path.write_text(tomli_w.dumps({"num_settings": count, **then}), encoding="utf-8")
    found = read_provenance(RunFolder(tmp_path)).settings
    assert found == replace(TrainConfig(), features=replace(FeaturesConfig(), start="noise"))
    assert read_settings(path, TrainConfig()) == found
    path.write_text("[features]\nsteps = 3\n", encoding="utf-8")  # A person's, of today.
    assert read_settings(path, TrainConfig()).features.start == "consensus"


def test_settings_that_say_little_are_kept_whole():
    few = convert({"features": {"steps": 3}}, TrainConfig, source="")
    assert msgspec.to_builtins(few) == msgspec.to_builtins(
        replace(TrainConfig(), features=replace(TrainConfig().features, steps=3))
    )


def test_captures_are_read_at_the_size_that_is_trained_on():
    size = TrainConfig().size
    for read in (read_capture, read_blender, read_colmap, read_llff, read_nerfstudio, read_partnet):
        assert inspect.signature(read).parameters["size"].default == size
    assert inspect.signature(commands.masks).parameters["size"].default == size
