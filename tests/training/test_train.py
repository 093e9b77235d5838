"""A run from end to end: what it leaves behind, and that it can be cut off and repeated."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from splat_uff.capture import read_capture
from splat_uff.cli import main
from splat_uff.formats.ply import read_elements
from splat_uff.gaussians.classical import gather_seen
from splat_uff.gaussians.ply import load_ply, save_ply
from splat_uff.gaussians.similarity import move_gaussians
from splat_uff.masks.gather import gather_masks
from splat_uff.run.masks import held_out_masks, training_masks
from splat_uff.run.open import open_run
from splat_uff.system.files import read_arrays

SMALL = (
    *("--size", "32", "--evaluate.cuts", "10", "--evaluate.clicks", "10"),
    *("--gaussians.steps", "150", "--gaussians.start", "300", "--gaussians.most", "400"),
    *("--features.steps", "75", "--features.pixels", "128"),
)
"""Settings of a run of two seconds, for tests that do not look at its quality."""

pytestmark = pytest.mark.usefixtures("toy")


def train(output, *flags):
    main(["train", "--scene", "toy", "--output", str(output), *SMALL, *flags])
    return scores(output)


def scores(output):
    """The content of `metrics.json` but the seconds, which no two runs share."""
    metrics = json.loads((output / "metrics.json").read_text())
    del metrics["seconds"]
    metrics.pop("peak_memory_gb", None)
    return metrics


def stop_amid(stage, number, output, *flags):
    """Train in a process of its own and send it a signal once a stage is under way.

    Returns:
        The exit code and what was said on stderr.
    """
    # A shell that started the tests in the background may have left Ctrl-C ignored.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from splat_uff.cli import main; main()"
    )
    often = ["--checkpoint-seconds", "0"]
    given = ["train", "--scene", "toy", "--output", str(output), *SMALL, *often, *flags]
    log, checkpoint = output / "log.jsonl", output / "checkpoint" / f"{stage}.npz"
    command = [sys.executable, "-c", code, *given]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not (checkpoint.exists() and stage in logged_stages(log)):
                assert process.poll() is None, process.communicate()[1]
                time.sleep(0.005)
            process.send_signal(number)
            said = process.communicate()[1]
        finally:
            process.kill()
    return process.returncode, said


def logged_stages(log):
    """Stage of each line of a log, which may not be there yet."""
    return re.findall(r'"stage": "(\w+)"', log.read_text()) if log.exists() else []


@pytest.fixture(scope="module")
def toy_run(toy, tmp_path_factory):
    """The end-to-end run, with the settings that a user gets."""
    output = tmp_path_factory.mktemp("runs") / "toy"
    main(["train", "--scene", "toy", "--output", str(output)])
    return output


@pytest.fixture(scope="module")
def small_run(toy, tmp_path_factory):
    """A finished run of small settings; tests copy it before they change it."""
    output = tmp_path_factory.mktemp("runs") / "small"
    train(output)
    return output


@pytest.fixture
def copied_run(small_run, tmp_path):
    return Path(shutil.copytree(small_run, tmp_path / "run"))


@pytest.mark.slow
def test_train_leaves_a_run_folder(toy_run):
    assert sorted(path.name for path in toy_run.iterdir()) == [
        "config.toml",
        "features.npz",
        "gaussians.ply",
        "hierarchy.npz",
        "log.jsonl",
        "metrics.json",
        "overview.png",
        "report.html",
    ]
    lines = [json.loads(line) for line in (toy_run / "log.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == {"gaussians", "features"}
    assert all("loss" in line for line in lines)


@pytest.mark.slow
def test_train_scores_the_toy_scene(toy_run):
    metrics = json.loads((toy_run / "metrics.json").read_text())
    assert metrics["scene"] == "toy"
    assert metrics["masks"] == "simulated"
    assert metrics["num_cuts"] == 50
    assert metrics["seed"] == 0
    assert metrics["version"]
    stages = ("capture", "masks", "gaussians", "features", "hierarchy", "evaluate", "total")
    assert tuple(metrics["seconds"]) == stages
    assert metrics["psnr"] > 27
    assert set(metrics["nc"]) == {"objects", "collections", "scene", "mean"}
    assert metrics["nc"]["mean"] > 0.85
    assert metrics["nc_masks"]["mean"] < 0.75, "the masks alone must not solve the scene"


@pytest.mark.slow
def test_train_writes_a_report_that_needs_nothing_else(toy_run):
    page = (toy_run / "report.html").read_text()
    assert "simulated" in page
    resources = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", page)
    assert resources
    assert all(each.startswith(("data:", "#")) for each in resources)


def test_train_titles_its_report_by_the_name_of_the_scene(small_run, toy):
    page = (small_run / "report.html").read_text(encoding="utf-8")
    assert toy.name != "toy", "the folder of a built-in scene has another name than the scene"
    assert "<title>toy · splat-uff</title>" in page
    assert "<h1>toy</h1>" in page
    gaussians = scores(small_run)["num_gaussians"]
    assert f"<b>{gaussians}</b><span>Gaussians</span>" in page


@pytest.mark.slow
def test_train_writes_standard_gaussians(toy_run):
    vertex = read_elements(toy_run / "gaussians.ply")["vertex"]
    metrics = json.loads((toy_run / "metrics.json").read_text())
    assert len(vertex) == metrics["num_gaussians"]
    assert list(vertex.dtype.names) == [
        *("x", "y", "z", "nx", "ny", "nz"),
        *(f"f_dc_{i}" for i in range(3)),
        *(f"f_rest_{i}" for i in range(9)),
        "opacity",
        *(f"scale_{i}" for i in range(3)),
        *(f"rot_{i}" for i in range(4)),
    ]


@pytest.mark.slow
def test_metrics_scores_a_run_as_training_did(toy_run, capsys):
    before = scores(toy_run)
    main(["metrics", str(toy_run)])
    assert f"{before['nc']['mean']:.3f}" in capsys.readouterr().out
    after = scores(toy_run)
    assert {name: after[name] for name in before} == before
    assert {"nc_ceiling", "vc_ceiling", "ratios"} <= after.keys()


def test_train_repeats_itself_for_the_same_seed_only(small_run, tmp_path):
    assert train(tmp_path / "again") == scores(small_run)
    for name in ("gaussians.ply", "log.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (small_run / name).read_bytes()
    assert train(tmp_path / "other", "--seed", "1") != scores(small_run) | {"seed": 1}


@pytest.mark.slow
def test_train_resumed_after_kills_ends_like_a_straight_run(small_run, tmp_path):
    output = tmp_path / "run"
    assert stop_amid("gaussians", signal.SIGKILL, output)[0] == -signal.SIGKILL
    assert not (output / "gaussians.ply").exists()
    assert stop_amid("features", signal.SIGKILL, output, "--resume")[0] == -signal.SIGKILL
    assert not (output / "features.npz").exists()
    logged = logged_stages(output / "log.jsonl")
    assert logged.count("gaussians") == 3, "150 steps, logged every 50, are taken once"
    assert train(output, "--resume") == scores(small_run)
    for name in ("gaussians.ply", "features.npz", "hierarchy.npz"):
        assert (output / name).read_bytes() == (small_run / name).read_bytes()
    assert not list(output.glob(".*")), "what the kills left half-written is cleared away"
    assert not (output / "checkpoint").exists()


@pytest.mark.slow
def test_train_interrupted_stops_in_one_line(tmp_path):
    output = tmp_path / "run"
    code, said = stop_amid("gaussians", signal.SIGINT, output)
    assert code == 130
    assert said.splitlines()[-1] == "stopped; the same command with --resume goes on."
    assert "Traceback" not in said
    assert {path.name for path in output.iterdir()} == {"config.toml", "log.jsonl", "checkpoint"}
    kept = {path.name for path in (output / "checkpoint").iterdir()}
    assert kept == {"gaussians.npz", "seconds.json"}


def test_train_begins_a_stage_again_whose_checkpoint_is_damaged(copied_run, small_run, capsys):
    expected = scores(small_run)
    for name in ("metrics.json", "features.npz"):
        (copied_run / name).unlink()
    (copied_run / "checkpoint").mkdir()
    (copied_run / "checkpoint" / "features.npz").write_bytes(b"PK\x03\x04 no more")
    (copied_run / "checkpoint" / "seconds.json").write_text("{")
    assert train(copied_run, "--resume") == expected
    said = capsys.readouterr().err
    assert "features.npz" in said
    assert "begins again" in said


def test_train_goes_on_with_whatever_is_there(copied_run, small_run):
    gaussians = (copied_run / "gaussians.ply").stat()
    for name in ("metrics.json", "hierarchy.npz", "report.html"):
        (copied_run / name).unlink()
    assert train(copied_run, "--resume") == scores(small_run)
    assert (copied_run / "gaussians.ply").stat().st_mtime_ns == gaussians.st_mtime_ns
    assert (copied_run / "report.html").exists()


def test_train_leaves_a_finished_run_alone_unless_told_otherwise(copied_run, capsys):
    before = {path.name: path.read_bytes() for path in copied_run.iterdir()}
    with pytest.raises(SystemExit) as stopped:
        train(copied_run)
    assert stopped.value.code == 2
    assert "finished run" in capsys.readouterr().err
    train(copied_run, "--resume")
    assert "finished already" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in copied_run.iterdir()} == before


def test_train_overwrites_only_files_of_a_run(copied_run):
    (copied_run / "notes.txt").write_text("mine")
    (copied_run / "checkpoint").mkdir()
    scored = train(copied_run, "--overwrite", "--seed", "3", "--gaussians.steps", "60")
    assert scored["seed"] == 3
    assert (copied_run / "notes.txt").read_text() == "mine"
    assert not (copied_run / "checkpoint").exists()


def test_train_refuses_to_go_on_with_other_settings(copied_run, capsys):
    (copied_run / "metrics.json").unlink()
    with pytest.raises(SystemExit) as stopped:
        train(copied_run, "--resume", "--seed", "7")
    assert stopped.value.code == 2
    assert "settings.seed = 0 (now 7)" in capsys.readouterr().err


def test_train_needs_neither_ground_truth_nor_held_out_views(toy, tmp_path, capsys):
    capture = tmp_path / "capture"
    capture.mkdir()
    shutil.copy(toy / "transforms_train.json", capture)
    for name in ("train", "train_seg"):
        shutil.copytree(toy / name, capture / name)
    # The run lies inside the capture and must not count as part of it.
    output = capture / "runs" / "mine"
    given = ["train", "--data", str(capture), "--output", str(output), *SMALL]
    main([*given, "--gaussians.steps", "60", "--features.steps", "20"])
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["masks"] == "imported"
    assert not metrics.keys() & {"nc", "psnr", "nc_masks"}
    assert "No ground truth" in capsys.readouterr().out
    assert (output / "report.html").exists()
    main([*given, "--gaussians.steps", "60", "--features.steps", "20", "--resume"])
    assert "finished already" in capsys.readouterr().err


def test_train_takes_the_settings_of_another_run(copied_run, tmp_path):
    output = tmp_path / "again"
    config = str(copied_run / "config.toml")
    main(["train", "--scene", "toy", "--output", str(output), "--config", config])
    assert scores(output) == scores(copied_run)


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ("--features.steps", "0", "--features.start", "consensus"),
        ("--features.ultrametric", "scene-tree", "--features.ultrametric-weight", "1"),
    ],
)
def test_train_from_the_consensus_cut_off_gives_the_same_bits(tmp_path, flags):
    given = ("--hierarchy.linkage", "consensus", *flags)
    straight = train(tmp_path / "run", *given)
    files = ("features.npz", "hierarchy.npz")
    kept = [(tmp_path / "run" / name).read_bytes() for name in files]
    for again in (files, files[1:]):  # Cut off before the features, and before the tree.
        for name in ("metrics.json", *again):
            (tmp_path / "run" / name).unlink()
        assert train(tmp_path / "run", *given, "--resume") == straight
        assert [(tmp_path / "run" / name).read_bytes() for name in files] == kept


@pytest.mark.slow
def test_train_takes_gaussians_from_elsewhere_in_their_order(toy, small_run, tmp_path):
    fitted = load_ply(small_run / "gaussians.ply")
    source_from_world = read_capture(toy, size=32).source_from_world
    save_ply(tmp_path / "theirs.ply", move_gaussians(fitted, source_from_world))
    train(tmp_path / "run", "--gaussians", str(tmp_path / "theirs.ply"))
    found = load_ply(tmp_path / "run" / "gaussians.ply")
    for name, tensor in fitted.tensors().items():
        np.testing.assert_allclose(getattr(found, name), tensor, atol=1e-5)
    assert '"gaussians"' not in (tmp_path / "run" / "log.jsonl").read_text()  # Nothing was fitted.
    assert (tmp_path / "run" / "overview.png").is_file()


@pytest.mark.slow
def test_train_makes_do_without_masks_of_the_capture(toy, tmp_path):
    bare = shutil.copytree(toy, tmp_path / "toy", ignore=shutil.ignore_patterns("*_seg*"))
    data = ("train", "--data", str(bare), "--output", str(tmp_path / "run"), *SMALL)
    with pytest.raises(SystemExit):
        main([*data])
    (tmp_path / "empty").mkdir()
    for folder in ("nowhere", "empty"):
        with pytest.raises(SystemExit):
            main([*data, "--masks", str(tmp_path / folder)])
    assert not (tmp_path / "run").exists()
    main([*data, "--masks", "classical"])
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["masks"] == "classical"
    assert 0 < metrics["explained"] <= 1
    assert "nc" not in metrics
    with pytest.raises(SystemExit):  # A run is gone on with by its own masks only.
        main([*data, "--masks", str(toy / "train_seg"), "--resume"])


def test_train_makes_the_same_classical_masks_when_resumed_and_opened(tmp_path, monkeypatch):
    made = []

    def record(*given, **options):
        made.append(gather_seen(*given, **options))
        return made[-1]

    monkeypatch.setattr("splat_uff.training.stages.gather_seen", record)
    folder, given = tmp_path / "run", ("--masks", "classical", "--gaussians.depth-weight", "0.1")
    straight = train(folder, *given)
    features = (folder / "features.npz").read_bytes()
    for name in ("metrics.json", "hierarchy.npz", "features.npz"):
        (folder / name).unlink()
    assert train(folder, *given, "--resume") == straight
    assert (folder / "features.npz").read_bytes() == features
    opened = open_run(folder)
    colours = gather_masks(opened.capture, "classical")
    for view, (masks, _) in enumerate(training_masks(opened)):
        for others in made:
            np.testing.assert_array_equal(masks.packed, others[view][0].packed)
    assert made[0].counts != colours.counts
    held_out = held_out_masks(opened)
    assert len(held_out) == len(opened.capture.val)
    assert min(held_out.counts) > 0


@pytest.mark.slow
def test_train_reads_masks_from_another_folder(toy, tmp_path):
    bare = shutil.copytree(toy, tmp_path / "toy", ignore=shutil.ignore_patterns("*_seg*"))
    data = ("train", "--data", str(bare), "--output", str(tmp_path / "run"), *SMALL)
    main([*data, "--masks", str(toy / "train_seg")])
    assert scores(tmp_path / "run")["masks"] == "imported"


def test_train_builds_a_tree_by_consensus_and_keeps_it_when_resumed(tmp_path, capsys):
    metrics = train(tmp_path / "run")
    assert 0 < metrics["nc"]["mean"] <= 1
    assert metrics["nesting_violations"] == 0
    support = read_arrays(tmp_path / "run" / "hierarchy.npz")["support"]
    assert 0 <= support.min() <= support.max() == 1
    np.testing.assert_array_equal(open_run(tmp_path / "run").hierarchy.support, support)
    (tmp_path / "run" / "metrics.json").unlink()
    assert train(tmp_path / "run", "--resume") == metrics
    (tmp_path / "run" / "metrics.json").unlink()
    with pytest.raises(SystemExit):
        train(tmp_path / "run", "--resume", "--hierarchy.linkage", "average")
    assert "hierarchy.linkage = consensus (now average)" in capsys.readouterr().err


@pytest.fixture
def unmasked(toy, tmp_path):
    """The toy scene without its masks and ground truth."""
    folder = tmp_path / "photos"
    shutil.copytree(toy, folder, ignore=shutil.ignore_patterns("*_seg*"))
    return folder


@pytest.fixture
def stand_in_sam(toy, monkeypatch):
    """Puts the true masks where Segment Anything would; returns the captures that it was given."""
    captures = []

    def write(capture, sam, checkpoint, settings, *, folder=None, keep=False):
        captures.append(capture)
        assert keep
        for place, views in ((toy / "train_seg", capture.train), (toy / "val_seg", capture.val)):
            for view in views:
                shutil.copytree(place / view.name, capture.folder / place.name / view.name)
        return len(capture.train)

    monkeypatch.setattr("splat_uff.masks.generate.write_sam_masks", write)
    monkeypatch.setattr("splat_uff.masks.sam.load_sam", lambda *_, **__: None)
    return captures


def test_train_makes_masks_of_photos_that_are_read_once_within_the_budget(
    unmasked, stand_in_sam, small_run, tmp_path, monkeypatch
):  # fmt: skip
    from splat_uff.capture import posed

    read = []
    counted = posed.read_image
    monkeypatch.setattr(posed, "read_image", lambda *a, **k: (read.append(a), counted(*a, **k))[1])
    output = tmp_path / "run"
    flags = ("--sam-checkpoint", "weights.pth", "--memory", "0", "--output", str(output))
    main(["train", "--data", str(unmasked), *SMALL, *flags])
    [capture] = stand_in_sam
    assert len(read) == len(capture.train) + len(capture.val)
    assert all(view.photo.array is None for view in capture.train)  # They wait on disk.
    assert scores(output)["explained"] == scores(small_run)["explained"]


def test_train_goes_on_with_masks_that_are_not_all_made(unmasked, toy, stand_in_sam, tmp_path):
    flags = ("--sam-checkpoint", "weights.pth", "--output", str(tmp_path / "run"))
    made = unmasked / "train_seg" / "r_0"
    shutil.copytree(toy / "train_seg" / "r_0", made)
    main(["train", "--data", str(unmasked), *SMALL, *flags])
    assert stand_in_sam == []  # Masks of some photos that somebody brought are what they are.
    (made / "made_by.json").write_text('{"key": "0"}')
    with pytest.raises(SystemExit):  # The stand-in finds r_0 there.
        main(["train", "--data", str(unmasked), *SMALL, *flags, "--overwrite"])
    assert len(stand_in_sam) == 1
