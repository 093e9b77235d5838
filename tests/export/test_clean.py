"""Parts with clean borders: the run stays as it is, and numbers, names and columns carry over."""

import json

import numpy as np
import pytest
from PIL import Image

from splat_uff.cli import main
from splat_uff.export.clean import clean_run
from splat_uff.export.config import Export
from splat_uff.export.run import export_run
from splat_uff.run.folder import RunFolder
from splat_uff.run.node_names import write_names
from splat_uff.run.open import open_run
from tests.formats.splats import read_table

FEW = ("--borders.steps", "40", "--borders.segments", "20")


@pytest.fixture(scope="module")
def trained_briefly(toy, tmp_path_factory):
    output = tmp_path_factory.mktemp("few") / "toy"
    few = ("--gaussians.steps", "200", "--features.steps", "40", "--features.pixels", "256")
    main(["train", "--scene", "toy", "--output", str(output), *few, *FEW])
    return output


def test_an_export_says_how_many_were_split_and_leaves_the_run_alone(
    trained_briefly, tmp_path, capsys
):
    run = open_run(trained_briefly)
    node = int(run.nodes(6)[0])
    write_names(run.folder, {node: "the first"})
    before = {path.name: path.read_bytes() for path in trained_briefly.iterdir() if path.is_file()}
    output = tmp_path / "out"
    given = ["--nodes", str(node), "--levels", "9", "--output", str(output)]
    main(["export", str(trained_briefly), "--clean", *given])
    said = capsys.readouterr().err
    record = json.loads((output / "hierarchy.json").read_text())
    split = record["clean"]["num_split"]
    count = len(run.gaussians)
    assert split > 0
    assert f"{split} of {count} Gaussians lay across borders and were split" in said
    assert record["clean"]["straddling_after"] < record["clean"]["straddling_before"]
    assert record["clean"]["psnr_after"] > record["clean"]["psnr_before"] - 0.1
    assert record["num_gaussians"] == count + split
    (part,) = record["parts"]
    assert part["name"] == "the first"
    assert part["node"] == node + split  # Leaves come first, so that nodes above them move up.
    table = read_table(output / "scene.ply")
    assert len(table) == count + split
    assert len(np.unique(table["segment_9"])) == 9
    assert len(read_table(output / part["file"])) == part["size"] < len(table)
    with Image.open(output / "clean.png") as pictures:
        assert pictures.width > 600  # Photo, before and after.
    after = {path.name: path.read_bytes() for path in trained_briefly.iterdir() if path.is_file()}
    assert after == before


def test_every_gaussian_hangs_in_the_segment_it_shows_in(trained_briefly):
    run = open_run(trained_briefly)
    clean = clean_run(run)
    tree, former = clean.run.hierarchy.tree, run.hierarchy.tree
    assert tree.num_leaves == len(clean.run.gaussians)
    assert tree.most_segments == former.most_segments
    assert len(tree.parents) - tree.num_leaves == len(former.parents) - former.num_leaves
    assert (np.diff(tree.altitudes[tree.num_leaves :]) >= -1e-9).all()
    for number in (2, 7):
        assert len(np.unique(clean.run.nodes(number))) == number
        same = clean.run.nodes(number)[: former.num_leaves] == run.nodes(number) + clean.num_split
        assert same.mean() > 0.9


def test_splats_from_elsewhere_keep_their_columns(trained_briefly, toy, tmp_path):
    from splat_uff.formats.ply import write_ply

    table = open_run(trained_briefly).table
    kinds = [(name, table.dtype[name]) for name in table.dtype.names] + [("score", "<f4")]
    wider = np.empty(len(table) + 1, kinds)
    for name in table.dtype.names:
        wider[name][:-1] = table[name]
        wider[name][-1] = table[name][0]
    wider["score"] = np.arange(len(wider))
    wider["opacity"][-1] = np.nan  # A row that cannot be drawn.
    write_ply(tmp_path / "wide.ply", {"vertex": wider})
    few = ("--features.steps", "20", "--features.pixels", "256", *FEW)
    output = tmp_path / "run"
    given = ["--gaussians", str(tmp_path / "wide.ply"), "--output", str(output)]
    main(["train", "--data", str(toy), *given, *few])
    original = RunFolder(output).original.read_bytes()
    export_run(open_run(output), tmp_path / "out", Export(clean=True, only=("scene",)))
    assert RunFolder(output).original.read_bytes() == original
    scene = read_table(tmp_path / "out" / "scene.ply")
    count = len(wider)
    assert len(scene) > count
    assert (scene["score"][:count] == wider["score"]).all()
    assert np.isnan(scene["opacity"][count - 1])
    pieces = scene["score"][count:].astype(int)
    near = np.stack([scene[axis][count:] - wider[axis][pieces] for axis in "xyz"])
    assert np.linalg.norm(near, axis=0).max() < 1
    assert (scene["x"][: count - 1] != wider["x"][:-1]).any()


def test_training_with_clean_borders_splits_and_says_so(toy, tmp_path, capsys):
    few = ("--gaussians.steps", "200", "--features.steps", "20", "--features.pixels", "256")
    output = tmp_path / "run"
    main(["train", "--scene", "toy", "--output", str(output), *few, "--borders.rounds", "1", *FEW])
    assert "lay across borders and were split" in capsys.readouterr().err
    assert len(open_run(output).gaussians) > 0
    assert RunFolder(output).borders_sheet.is_file()
    assert "three parts before and after" in RunFolder(output).report.read_text()
