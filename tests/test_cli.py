"""What the command line answers: quickly, in one line, with the right exit code."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import numpy as np
import pytest

from splat_uff import __version__, settings
from splat_uff.cli import main
from splat_uff.scenes import builtin
from splat_uff.settings import TrainConfig, read_settings
from splat_uff.system.files import read_arrays, write_arrays
from splat_uff.system.observer import TrainingStopped

HEAVY = ("torch", "numba", "embreex", "higra", "scipy", "gsplat", "matplotlib", "viser", "PIL")
TOY = ("train", "--scene", "toy")
CONFIGS = Path(__file__).parents[1] / "configs"
STEPS = ("--gaussians.steps", "60", "--features.steps", "30")
SMALL = ("--size", "32", *STEPS, "--evaluate.cuts", "5", "--evaluate.clicks", "5")


@pytest.fixture(scope="module")
def finished_run(toy, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "toy"
    main([*TOY, "--output", str(output), *SMALL])
    return output


@pytest.fixture
def copied_run(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "run")
    return tmp_path / "run"


PROGRESS = re.compile(r"[\w ]+: \d+ of \d+ in \d+ s.*")


@pytest.fixture
def refused(capsys):
    """Run a command that must fail as a person's mistake does; returns the one line it says."""

    def run(*args):
        with pytest.raises(SystemExit) as stopped:
            main([str(arg) for arg in args])
        said = capsys.readouterr().err
        assert stopped.value.code == 2, said
        # On a busy machine, work of more than a second tells how far it is.
        lines = [line for line in said.splitlines() if not PROGRESS.fullmatch(line)]
        assert len(lines) == 1, said
        assert lines[0].startswith("error: ")
        return lines[0] + "\n"

    return run


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["train", "--scene", "toy", "--output", ""], "nothing follows --output, "),
        (["train", "--scene", "toy", "--output="], "nothing follows --output, "),
        (["view", ""], "an argument is empty, "),
        (["view", "--scene="], "nothing follows --scene, "),
    ],
)
def test_main_refuses_an_empty_argument(refused, args, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in refused(*args)
    assert not list(tmp_path.iterdir())


def test_main_takes_a_value_that_ends_like_a_flag_without_one(refused):
    assert "nothing follows" not in refused(*TOY, "--config=of=")


def run_python(*args):
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, check=False)


def test_main_needs_nothing_heavy_to_start():
    code = f"import sys, splat_uff.cli; print([m for m in {HEAVY} if m in sys.modules])"
    assert run_python("-c", code).stdout == "[]\n"


@pytest.mark.parametrize("args", [["--help"], ["train", "--help"]])
def test_main_answers_help_with_a_second_of_work(args):
    # Seconds of the processor, not of the clock: the machine may be busy with something else.
    before = getrusage(RUSAGE_CHILDREN)
    done = run_python("-m", "splat_uff", *args)
    after = getrusage(RUSAGE_CHILDREN)
    assert done.returncode == 0
    assert "usage: splat-uff" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_main_knows_its_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"splat-uff {__version__}\n"


def test_main_lists_the_scenes(own_cache, capsys):
    main(["scenes"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(builtin.RECIPES)


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        ([*TOY, "--gaussians.stepps", "3"], "--gaussians.steps"),
        ([*TOY, "--overwrit"], "--overwrite"),
        ([*TOY, "--gaussians.steps", "many"], "--gaussians.steps"),
        ([*TOY, "--device", "tpu"], "auto"),
        ([*TOY, "--config"], "--config"),
        (["trian"], "train"),
        ([], "train"),
        (["metrics"], "splat-uff metrics --help"),
    ],
)
def test_main_answers_a_mistyped_command_with_the_nearest(args, answer, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(args)
    assert stopped.value.code == 2
    assert answer in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        (["train"], "either --scene NAME or --data DIR"),
        ([*TOY, "--data", "."], "not both"),
        (["train", "--scene", "tyo"], "did you mean toy"),
        (["train", "--scene", "../toy"], "use --data"),
        (["train", "--scene", "toy", "--data-root", "absent"], "--data-root is absent"),
        (["train", "--data", "absent"], "no folder absent"),
        ([*TOY, "--resume", "--overwrite"], "give one of them"),
        ([*TOY, "--device", "cuda"], "no CUDA device"),
        ([*TOY, "--checkpoint-seconds", "nan"], "--checkpoint-seconds is nan"),
        (["metrics", "absent"], "no run in absent"),
    ],
)
def test_main_answers_a_mistake_in_one_line(args, answer, toy, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert answer in refused(*args)
    assert list(tmp_path.iterdir()) == []


def test_main_refuses_data_that_cannot_be_trained_on(toy, refused, tmp_path):
    file = tmp_path / "photo.png"
    file.touch()
    assert "photo.png" in refused("train", "--data", file)
    assert "transforms_train.json" in refused("train", "--data", tmp_path)
    shutil.copy(toy / "transforms_train.json", tmp_path)
    shutil.copytree(toy / "train", tmp_path / "train")
    said = refused("train", "--data", tmp_path, "--output", tmp_path / "run")
    assert "no masks" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "flag",
    [
        *("--size=0", "--size=-3", "--size=100000", "--seed=-1"),
        *("--gaussians.steps=0", "--gaussians.steps=-1", "--gaussians.start=0"),
        *("--gaussians.sh-degree=4", "--gaussians.sh-degree=-1", "--gaussians.ssim-weight=1.5"),
        *("--gaussians.means-lr=0", "--gaussians.means-lr=nan", "--gaussians.refine-every=0"),
        "--gaussians.refine-stop=-0.1",
        *("--features.steps=-1", "--features.dimension=0", "--features.pixels=0"),
        *("--features.tau=0", "--features.tau=-1", "--features.lr=inf", "--features.neg-ratio=0"),
        *("--features.foreground=2", "--features.pairs-per-group=0"),
        *("--features.euclidean-weight=-1", "--features.ultrametric-weight=nan"),
        *("--hierarchy.neighbours=0", "--hierarchy.superpoints=0", "--hierarchy.min-weight=2"),
        *("--evaluate.cuts=0", "--evaluate.most-segments=0", "--evaluate.clicks=0"),
    ],
)
def test_main_refuses_flags_out_of_range_before_any_work(flag, refused, monkeypatch):
    monkeypatch.setattr(builtin, "find_scene", pytest.fail)
    said = refused(*TOY, flag)
    name = flag.partition("=")[0].removeprefix("--").replace("-", "_")
    assert name in said


def test_main_refuses_losses_without_weight(refused, monkeypatch):
    monkeypatch.setattr(builtin, "find_scene", pytest.fail)
    weights = ("--features.euclidean-weight", "0", "--features.ultrametric-weight", "0")
    assert "both 0" in refused(*TOY, *weights)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("size = [", "no readable TOML"),
        ("\ud800", "no text in UTF-8"),
        ("[gaussians]\nstepps = 3", "no setting gaussians.stepps; did you mean gaussians.steps?"),
        ("colour = 1", "no setting colour"),
        ("[gaussian]\nsteps = 3", "no setting gaussian.steps; did you mean gaussians.steps?"),
        ('size = "large"', "size is 'large'; expected int, got str"),
        ("size = 64.5", "size is 64.5; expected int, got float"),
        ("size = true", "size is True; expected int, got bool"),
        ("gaussians = 3", "gaussians is 3; expected a section, got int"),
        ("settings = 3", "no setting settings"),
        ("[gaussians]\nsteps = 0", "gaussians.steps is 0; expected int >= 1"),
        ("[features]\ntau = nan", "features.tau is nan; expected float > 0"),
        ('[hierarchy]\nlinkage = "single"', "hierarchy.linkage is 'single'"),
        ("[features]\neuclidean_weight = 0\nultrametric_weight = 0", "both 0"),
    ],
)
def test_main_answers_bad_settings_in_one_line(text, answer, refused, tmp_path):
    path = tmp_path / "settings.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    said = refused("train", "--data", tmp_path, "--config", path)
    assert str(path) in said
    assert answer in said


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_main_answers_settings_in_another_encoding_in_one_line(encoding, refused, tmp_path):
    path = tmp_path / "settings.toml"
    path.write_text("seed = 5  # für später\n", encoding=encoding)
    said = refused("train", "--data", tmp_path, "--config", path)
    assert f"{path} is no text in UTF-8; save it with that encoding." in said


def test_main_answers_missing_settings_in_one_line(refused, tmp_path):
    assert "absent.toml" in refused(*TOY, "--config", tmp_path / "absent.toml")
    assert "no file" in refused(*TOY, "--config", tmp_path)


@pytest.fixture
def settings_of(monkeypatch, tmp_path):
    """The settings that a command would train with."""
    seen = []
    monkeypatch.setattr(builtin, "find_scene", lambda *_, **__: builtin.SceneFolder(tmp_path, "."))
    monkeypatch.setattr(
        "splat_uff.training.train.train", lambda _, __, settings, **___: seen.append(settings) or {}
    )

    def run(*args):
        main([str(arg) for arg in args])
        return seen[-1]

    return run


def test_train_takes_settings_from_scene_then_file_then_flags(settings_of, tmp_path):
    ours = settings_of("train", "--scene", "drums")
    preset = settings_of(*TOY)
    assert preset.gaussians.steps < ours.gaussians.steps
    path = tmp_path / "mine.toml"
    for encoding in ("utf-8", "utf-8-sig"):  # The latter begins with a byte order mark.
        path.write_text("seed = 5  # für später\n[gaussians]\nsteps = 77\n", encoding=encoding)
        mine = settings_of(*TOY, "--config", path)
        assert (mine.seed, mine.gaussians.steps) == (5, 77)
    assert mine.gaussians.start == preset.gaussians.start
    assert settings_of(*TOY, "--config", path, "--gaussians.steps", 9).gaussians.steps == 9
    assert settings_of(*TOY, "--max-size", 48).size == settings_of(*TOY, "--size", 48).size == 48


def test_train_takes_a_recipe_by_its_name(settings_of, tmp_path, monkeypatch):
    paper = settings_of("train", "--scene", "drums", "--config", "paper")
    assert paper == read_settings(CONFIGS / "recipes" / "paper.toml", TrainConfig())
    assert paper.hierarchy.linkage == "watershed"
    ultrametric = settings_of("train", "--scene", "drums", "--config", "ultrametric")
    assert ultrametric.features.ultrametric_refresh > 0
    # A file needs its ending or a folder where a recipe has its name.
    monkeypatch.chdir(tmp_path)
    for name in ("paper", "mine"):
        Path(name).write_text("seed = 5\n")
    assert settings_of("train", "--scene", "drums", "--config", "paper") == paper
    assert settings_of("train", "--scene", "drums", "--config", "./paper").seed == 5
    assert settings_of("train", "--scene", "drums", "--config", "mine").seed == 5


def test_main_lists_the_recipes_where_there_is_none_of_a_name(refused):
    said = refused(*TOY, "--config", "papre")
    assert "there is no recipe papre; expected one of paper, ultrametric, or a TOML file" in said


def test_help_of_train_names_the_recipes(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"name of a recipe: {', '.join(settings.recipe_names())}." in said


def test_train_keeps_settings_of_ours_from_scenes_of_the_user(settings_of, tmp_path):
    (tmp_path / "toy").mkdir()
    theirs = settings_of(*TOY, "--data-root", tmp_path)
    assert theirs == settings_of("train", "--scene", "drums")


@pytest.mark.parametrize(
    ("place", "answer"),
    [
        ("file", "is a file"),
        ("file/run", "cannot write"),
        ("photos", "no run"),
        ("project", "no whole run"),
    ],
)
def test_train_refuses_an_output_that_is_no_run(place, answer, toy, refused, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "config.toml").write_text('title = "my web site"')
    (tmp_path / "project" / "metrics.json").write_text("{}")
    for flag in ("--resume", "--overwrite"):
        assert answer in refused(*TOY, "--output", tmp_path / place, flag)
    assert (tmp_path / "project" / "config.toml").read_text() == 'title = "my web site"'
    assert (tmp_path / "project" / "metrics.json").exists()


@pytest.mark.parametrize("name", ["config.toml", "metrics.json", "hierarchy.npz", "gaussians.ply"])
@pytest.mark.parametrize("share", [0, 0.99, None])
def test_metrics_answers_a_damaged_run_in_one_line(name, share, copied_run, refused):
    whole = (copied_run / name).read_bytes()
    (copied_run / name).unlink()
    if share is not None:
        (copied_run / name).write_bytes(whole[: int(share * len(whole))])
    refused("metrics", copied_run)


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("parents"),
        lambda arrays: arrays.update(parents=arrays["parents"][:-1]),
        lambda arrays: arrays.update(parents=np.roll(arrays["parents"], 1)),
        lambda arrays: arrays.update(parents=arrays["parents"].astype(float)),
        lambda arrays: arrays.update(altitudes=arrays["altitudes"][:3]),
        lambda arrays: arrays.update(shaping=arrays["shaping"][:3]),
        lambda arrays: arrays.update(num_leaves=np.array([3, 4])),
        lambda arrays: arrays.update(num_leaves=np.array("many")),
        lambda arrays: arrays.update(support=np.ones(3)),
        lambda arrays: arrays.update(support=np.ones(len(arrays["parents"]), int)),
        lambda arrays: arrays.update(support=np.full(len(arrays["parents"]), np.nan)),
        lambda arrays: arrays.update(support=np.full(len(arrays["parents"]), 1.5)),
    ],
)
def test_metrics_refuses_a_tree_that_is_none(change, copied_run, refused):
    arrays = read_arrays(copied_run / "hierarchy.npz")
    change(arrays)
    write_arrays(copied_run / "hierarchy.npz", **arrays)
    assert "hierarchy.npz" in refused("metrics", copied_run)


@pytest.mark.parametrize("name", ["metrics.json", "gaussians.ply", "features.npz"])
def test_train_resumed_answers_a_damaged_run_in_one_line(name, copied_run, refused):
    if name != "metrics.json":
        (copied_run / "metrics.json").unlink()
    (copied_run / name).write_bytes((copied_run / name).read_bytes()[:40])
    assert name in refused(*TOY, *SMALL, "--output", copied_run, "--resume")


def test_metrics_says_when_the_capture_has_changed(toy, tmp_path, capsys):
    capture = tmp_path / "capture"
    shutil.copytree(toy, capture)
    main(["train", "--data", str(capture), "--output", str(tmp_path / "run"), *SMALL])
    main(["metrics", str(tmp_path / "run")])
    assert "has changed" not in capsys.readouterr().err
    next((capture / "train_seg" / "r_0").iterdir()).unlink()
    main(["metrics", str(tmp_path / "run")])
    assert "has changed" in capsys.readouterr().err
    shutil.rmtree(capture)
    with pytest.raises(SystemExit):
        main(["metrics", str(tmp_path / "run")])
    assert str(capture) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "stopped; the same command with --resume goes on."),
        (TrainingStopped(), 130, "stopped; the same command with --resume goes on."),
        (OSError(28, "No space left on device"), 1, "error: [Errno 28] No space left on device"),
    ],
)
def test_main_ends_in_one_line_when_cut_off(error, code, line, toy, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("splat_uff.training.train.train", fail)
    with pytest.raises(SystemExit) as stopped:
        main(list(TOY))
    assert stopped.value.code == code
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == 1


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_main_ends_in_one_line_when_an_interrupt_is_disguised(
    number, code, toy, monkeypatch, capsys
):
    """Compiled code turns what is raised in it into exceptions of its own."""
    import signal

    def fail(*_, **__):
        try:
            signal.raise_signal(getattr(signal, number))
        except KeyboardInterrupt as error:
            raise SystemError("returned a result with an exception set") from error

    monkeypatch.setattr("splat_uff.training.train.train", fail)
    # In the background jobs of a shell Ctrl-C is ignored from the start.
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as stopped:
            main(list(TOY))
        after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGINT, outside)
    assert stopped.value.code == code
    assert capsys.readouterr().err == "stopped; the same command with --resume goes on.\n"
    assert after == before


def test_config_folder_holds_a_file_per_preset():
    assert "toy" in settings.scene_presets()
    assert settings.scene_presets() <= set(builtin.RECIPES)


def test_labels_and_metrics_of_them_agree_with_the_run(finished_run, tmp_path, capsys):
    output = tmp_path / "labels"
    main(["labels", str(finished_run), "--output", str(output)])
    views = len(list((output / "..").resolve().glob("labels/*/0.010.npy")))
    assert f"{views} views in {output}" in capsys.readouterr().out
    main(["metrics", str(finished_run)])
    own = capsys.readouterr().out
    main(["metrics", "--predictions", str(output), "--scene", "toy"])
    others = capsys.readouterr().out
    for said in (own, others):
        assert "NC, normalized covering" in said
        assert "SI, segmentation injectivity" in said
        assert "VC, view consistency" in said
    # Five clicks a segment in the run's settings, a hundred here: close, not the same.
    mean = [float(said.split("nested cuts")[1].split()[3]) for said in (own, others)]
    assert mean[0] == pytest.approx(mean[1], abs=0.03)
    assert "ceiling" in own
    assert "ceiling" not in others


def test_labels_replace_nothing(finished_run, tmp_path, refused):
    (tmp_path / "mine").write_text("precious")
    said = refused("labels", finished_run, "--output", tmp_path)
    assert "is there already" in said
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["metrics"], "either a run folder, as runs/drums, or --predictions"),
        (["metrics", "runs/x", "--predictions", "y"], "not both"),
        (["metrics", "runs/x", "--scene", "toy"], "a run knows its capture"),
        (["metrics", "--predictions", "y"], "--scene NAME or --data DIR"),
        (["metrics", "--predictions", "no/such/folder", "--scene", "toy"], "no folder"),
        (["labels", "no/such/run"], "no run in"),
    ],
)
def test_metrics_and_labels_say_what_they_need(args, said, refused, toy):
    assert said in refused(*args)


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.toml")), ids=lambda path: path.stem)
def test_settings_that_come_along_are_settings(path):
    assert read_settings(path, TrainConfig()) != TrainConfig()
