"""The capture that is made of a splat alone, and trainings on it."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import splat_uff
from splat_uff.capture import read_capture
from splat_uff.cli import main
from splat_uff.features.config import FeaturesConfig
from splat_uff.gaussians.placed import place_as_it_is
from splat_uff.gaussians.ply import load_ply, save_ply, table_of
from splat_uff.gaussians.source import read_source
from splat_uff.masks.folders import write_masks
from splat_uff.masks.records import MaskSet
from splat_uff.render.compositing import WHITE, render_over_white
from splat_uff.run.masks import training_masks
from splat_uff.run.open import open_run
from splat_uff.settings import TrainConfig
from splat_uff.system.errors import InputError
from splat_uff.training.inputs import TrainOptions
from splat_uff.training.train import train
from splat_uff.virtual.config import VirtualConfig
from splat_uff.virtual.photos import virtual_capture
from tests.formats.splats import write_ply
from tests.virtual.splats import ball, joined, room, sheet, splat

FEW = VirtualConfig(fewest=8, most=12, held_out=3)
QUICK = TrainConfig(size=48, views=FEW, features=replace(FeaturesConfig(), steps=20, pixels=128))


@pytest.fixture
def two_balls(tmp_path):
    path = tmp_path / "two.ply"
    pieces = [ball((at, 0, 0), count=300, seed=at + 2) for at in (-1, 1)]
    save_ply(path, joined(*pieces, sheet("z", -0.4, side=4.0, count=400)))
    return path


def make(path, folder, **changes):
    return virtual_capture(
        folder, read_source(path), path, replace(FEW, **changes), size=48, digest="a"
    )


@pytest.mark.parametrize("fitted_focal", [0.0, 12.0, 400.0])
def test_photos_are_renderings_in_the_frame_of_the_file(fitted_focal, two_balls, tmp_path):
    save_ply(two_balls, replace(load_ply(two_balls), fitted_focal=fitted_focal))
    words = make(two_balls, tmp_path / "capture")
    capture = read_capture(tmp_path / "capture", size=48)
    assert capture.virtual
    assert capture.has_alpha
    assert (len(capture.train), len(capture.val)) == (12, 3)
    assert "12 virtual views around a thing" in words
    gaussians = place_as_it_is(read_source(two_balls), capture).gaussians
    for view in (*capture.train, *capture.val):
        shown = render_over_white(gaussians, view.camera)
        assert np.abs(shown - view.composite(WHITE)).max() < 0.01  # Photos have 8 bits.


def test_a_room_is_photographed_from_inside(tmp_path):
    save_ply(tmp_path / "room.ply", room())
    words = make(tmp_path / "room.ply", tmp_path / "capture")
    assert "inside a place" in words
    capture = read_capture(tmp_path / "capture", size=48)
    from_world = capture.source_from_world
    for view in capture.train:
        centre = from_world[:3, :3] @ view.camera.centre + from_world[:3, 3]
        assert (np.abs(centre) < 1).all()
    kind = {"kind": "around"}
    assert "around a thing" in make(tmp_path / "room.ply", tmp_path / "other", **kind)


def test_the_same_capture_is_made_once_and_another_anew(two_balls, tmp_path):
    folder = tmp_path / "capture"
    make(two_balls, folder)
    (folder / "train_seg").mkdir()  # Masks that somebody made of the photos.
    make(two_balls, folder)
    assert (folder / "train_seg").is_dir()
    make(two_balls, folder, up="x")
    assert not (folder / "train_seg").exists()


def test_a_folder_of_others_is_left_alone(two_balls, tmp_path):
    (tmp_path / "capture").mkdir()
    (tmp_path / "capture" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        make(two_balls, tmp_path / "capture")
    assert (tmp_path / "capture" / "mine.txt").read_text() == "mine"


def test_training_on_a_splat_alone(two_balls, tmp_path):
    metrics = train(None, tmp_path / "run", QUICK, splats=two_balls)
    assert metrics["masks"] == "classical"
    assert "psnr" not in metrics
    assert "ssim" not in metrics
    assert "virtual views" in metrics["virtual_views"]
    report = (tmp_path / "run" / "report.html").read_text()
    assert "Virtual photos" in report
    assert "without photos" in report
    again = train(
        None, tmp_path / "run", QUICK, splats=two_balls, options=TrainOptions(resume=True)
    )
    assert again == metrics
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")  # The run holds its photos.
    run = open_run(tmp_path / "elsewhere", finished=True)
    assert len(run.capture.train) == 12
    assert np.allclose(run.files_from_world, run.capture.source_from_world)


def test_an_interrupted_run_keeps_its_splat(two_balls, tmp_path):
    def stop(self, name):
        if name == "features":
            raise KeyboardInterrupt

    observer = type("Stopping", (splat_uff.system.observer.Observer,), {"stage": stop})()
    with pytest.raises(KeyboardInterrupt):
        train(None, tmp_path / "run", QUICK, splats=two_balls, observer=observer)
    other = tmp_path / "other.ply"
    save_ply(other, joined(ball(count=200)))
    before = (tmp_path / "run" / "capture" / "transforms.json").read_bytes()
    with pytest.raises(InputError, match="made from other inputs"):
        train(None, tmp_path / "run", QUICK, splats=other, options=TrainOptions(resume=True))
    assert (tmp_path / "run" / "capture" / "transforms.json").read_bytes() == before
    metrics = train(
        None, tmp_path / "run", QUICK, splats=two_balls, options=TrainOptions(resume=True)
    )
    fresh = train(None, tmp_path / "fresh", QUICK, splats=two_balls)
    timed = ("seconds", "peak_memory_gb")
    assert {n: v for n, v in metrics.items() if n not in timed} == {
        n: v for n, v in fresh.items() if n not in timed
    }


def test_overwriting_replaces_the_photos(two_balls, tmp_path):
    train(None, tmp_path / "run", QUICK, splats=two_balls)
    other = tmp_path / "other.ply"
    save_ply(other, joined(ball(count=200)))
    train(None, tmp_path / "run", QUICK, splats=other, options=TrainOptions(overwrite=True))
    record = json.loads((tmp_path / "run" / "capture" / "transforms.json").read_text())
    assert record["virtual_views"]["source"] == "other.ply"


def halves(capture):
    """Masks of the left and right half of every training photo, in the capture's folder."""
    for view in capture.train:
        left = np.zeros((2, view.camera.height, view.camera.width), bool)
        left[0, :, : view.camera.width // 2] = True
        left[1] = ~left[0]
        write_masks(capture.folder, "train", view.name, MaskSet.of(left))


def test_masks_are_made_for_the_virtual_photos_by_a_function(two_balls, tmp_path):
    asked = []

    def make_them(capture):
        asked.append(capture.folder)
        halves(capture)

    metrics = train(None, tmp_path / "run", QUICK, splats=two_balls, masks=make_them)
    assert asked == [tmp_path / "run" / "capture"]
    assert metrics["masks"] == "imported"
    halved = {len(each) for each, _ in training_masks(open_run(tmp_path / "run"))}
    assert halved == {2}


def test_masks_of_another_tool_for_photos_written_before(two_balls, tmp_path):
    make(two_balls, tmp_path / "photos")
    halves(read_capture(tmp_path / "photos", size=48))
    masks = tmp_path / "photos" / "train_seg"
    alone = train(None, tmp_path / "run", QUICK, splats=two_balls, masks=str(masks))
    assert alone["masks"] == "imported"
    assert "psnr" not in alone
    both = train(tmp_path / "photos", tmp_path / "both", QUICK, splats=two_balls)
    assert both["num_segments"] == alone["num_segments"]
    assert "psnr" not in both  # These photos are virtual, too.


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(InputError, match="neither photos nor Gaussians"):
        train(None, tmp_path / "run", QUICK)


ODD = {
    "one": splat([[1.0, 2, 3]]),
    "same": splat(np.zeros((50, 3))),
    "line": splat(np.linspace([-1.0, 0, 0], [1, 0, 0], 100)),
    "wall": joined(sheet("z", 0.0, count=800)),
    "noise": splat(np.random.default_rng(0).normal(size=(500, 3))),
    "far": splat(np.random.default_rng(0).normal(size=(300, 3)) + np.array([4e5, 5e6, 0])),
    "faint": splat(np.random.default_rng(0).normal(size=(300, 3)), opacity=-5.0),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_splats_give_a_tree_or_one_line(name, tmp_path):
    save_ply(tmp_path / "odd.ply", ODD[name])
    if name == "faint":
        with pytest.raises(InputError, match="half opaque"):
            train(None, tmp_path / "run", QUICK, splats=tmp_path / "odd.ply")
        assert not (tmp_path / "run" / "config.toml").exists()
        return
    metrics = train(None, tmp_path / "run", QUICK, splats=tmp_path / "odd.ply")
    assert metrics["num_gaussians"] == len(ODD[name])


def test_rows_that_cannot_be_drawn_are_left_out(tmp_path):
    table = table_of(ODD["noise"])
    table["x"][:100] = np.nan
    write_ply(tmp_path / "odd.ply", table)
    metrics = train(None, tmp_path / "run", QUICK, splats=tmp_path / "odd.ply")
    assert metrics["num_gaussians"] == 400


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"opacity"}, "opacity is read as 0 to 1: write it as a logit"),
        ({"scale_0", "scale_1", "scale_2"}, "read as lengths: write their logarithms"),
        ({"f_dc_0", "f_dc_1", "f_dc_2"}, "read as colours of 0 to 1"),
    ],
)
def test_values_of_another_convention_are_refused(columns, words, two_balls, tmp_path):
    table = read_source(two_balls).table.copy()
    rng = np.random.default_rng(0)
    for name in columns:
        table[name] = rng.uniform(0.01, 0.99, len(table)) * (3 if name.startswith("scale") else 1)
    write_ply(tmp_path / "wrong.ply", table)
    with pytest.raises(InputError, match=words):
        train(None, tmp_path / "run", QUICK, splats=tmp_path / "wrong.ply")
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_large_gaussians_in_a_scene_of_small_units_are_right(two_balls, tmp_path):
    """Logarithms of all scales are above 0 where a unit is a millimetre."""
    table = read_source(two_balls).table.copy()
    for name in "xyz":
        table[name] *= 10_000
    for axis in range(3):
        table[f"scale_{axis}"] += np.log(10_000)
    write_ply(tmp_path / "large.ply", table)
    assert "12 virtual views" in make(tmp_path / "large.ply", tmp_path / "capture")


def test_commands(two_balls, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    few = ["--size", "48", "--views.fewest", "8", "--views.most", "12"]
    main(["photos", "two.ply", "--output", "photos", *few])
    assert (tmp_path / "photos" / "images" / "view_000.png").is_file()
    quick = [*few, "--features.steps", "20", "--features.pixels", "128"]
    main(["train", "--gaussians", "two.ply", *quick])
    assert (tmp_path / "runs" / "two" / "metrics.json").is_file()
    assert "without photos" in capsys.readouterr().out
    save_ply(tmp_path / "other" / "two.ply", joined(ball(count=100)))
    with pytest.raises(SystemExit) as stopped:
        main(["view", "other/two.ply"])
    assert stopped.value.code == 2
    assert "holds a run of something else" in capsys.readouterr().err
    (tmp_path / "cut.ply").write_bytes((tmp_path / "two.ply").read_bytes()[:3000])
    for name, words in (("none.ply", "no file"), ("cut.ply", "export it again")):
        with pytest.raises(SystemExit):
            main(["view", name])
        said = capsys.readouterr()
        assert words in said.err
        assert "page:" not in said.out
    with pytest.raises(SystemExit):
        main(["photos", "two.ply", "--output", "photos"])
    assert "is there already" in capsys.readouterr().err
