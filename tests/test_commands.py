"""`view`, `render` and `train --view` on what is no whole run: one line, and nothing written."""

import shutil

import numpy as np
import pytest

from splat_uff.cli import main


def one_line(capsys, *args):
    with pytest.raises(SystemExit) as stopped:
        main(list(args))
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    assert "Traceback" not in captured.err
    return lines[0]


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "toy")


def harm(run, kind):
    if kind == "no hierarchy":
        (run / "hierarchy.npz").unlink()
    elif kind == "no Gaussians":
        (run / "gaussians.ply").unlink()
    elif kind == "cut off":
        content = (run / "hierarchy.npz").read_bytes()
        (run / "hierarchy.npz").write_bytes(content[: len(content) // 2])
    elif kind == "no tree":
        np.savez(run / "hierarchy.npz", parents=np.zeros(3), altitudes=np.zeros(3))
    elif kind == "NaN":
        arrays = dict(np.load(run / "hierarchy.npz"))
        arrays["altitudes"][-3] = np.nan
        np.savez(run / "hierarchy.npz", **arrays)
    elif kind == "names":
        (run / "names.json").write_text("{")
    elif kind == "Gaussians cut off":
        content = (run / "gaussians.ply").read_bytes()
        (run / "gaussians.ply").write_bytes(content[: len(content) // 2])
    else:
        shutil.rmtree(run)
        run.mkdir()


KINDS = {
    "no hierarchy": "has no hierarchy yet; train --resume makes it",
    "no Gaussians": "gaussians.ply",
    "cut off": "is damaged",
    "no tree": "lacks",
    "NaN": "holds no tree",
    "names": "names.json is damaged",
    "Gaussians cut off": "gaussians.ply",
    "empty": "no run in",
}


@pytest.mark.parametrize("kind", KINDS)
def test_view_of_a_harmed_run(run, kind, capsys):
    harm(run, kind)
    said = one_line(capsys, "view", str(run), "--port", "18600")
    assert KINDS[kind] in said


@pytest.mark.parametrize("kind", ["no hierarchy", "cut off", "empty"])
def test_render_of_a_harmed_run(run, kind, capsys):
    harm(run, kind)
    before = sorted(run.iterdir())
    assert KINDS[kind] in one_line(capsys, "render", str(run), "--turntable")
    assert sorted(run.iterdir()) == before


def test_render_asks_what_to_render(run, capsys):
    assert "--turntable" in one_line(capsys, "render", str(run))


def test_render_writes_a_film(run, capsys):
    output = run / "film.gif"
    main(["render", str(run), "--turntable", "--frames", "3", "--size", "64",
          "--output", str(output)])  # fmt: skip
    assert output.stat().st_size > 500
    assert str(output) in capsys.readouterr().out


@pytest.mark.parametrize(("flag", "value"), [("--port", "0"), ("--host", "no such host")])
def test_train_on_a_page_that_cannot_be_served_writes_nothing(toy, tmp_path, flag, value, capsys):
    output = tmp_path / "run"
    said = one_line(
        capsys, "train", "--data", str(toy), "--output", str(output), "--view", flag, value
    )
    assert flag in said
    assert not output.exists()
