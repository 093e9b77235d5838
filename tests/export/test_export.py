"""What is taken away from a run: the same Gaussians, in the frame of the capture, as named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from splat_uff.cli import main
from splat_uff.evaluate.score import scored_camera
from splat_uff.export.config import Export
from splat_uff.export.run import export_run
from splat_uff.export.splats import PART_ENDINGS, with_labels
from splat_uff.export.tree import describe_tree
from splat_uff.formats.read import read_splats
from splat_uff.gaussians.ply import load_ply, save_ply, table_of
from splat_uff.gaussians.similarity import move_gaussians
from splat_uff.gaussians.source import centres_of
from splat_uff.hierarchy.dendrogram import Dendrogram, cut_into
from splat_uff.hierarchy.segments import largest_first
from splat_uff.run.folder import RunFolder
from splat_uff.run.open import open_run
from splat_uff.system.errors import InputError
from tests.formats.splats import read_table, write_ply

TREE = Dendrogram(np.array([4, 4, 5, 5, 6, 6, 6]), np.array([0, 0, 0, 0, 0.1, 0.2, 0.9]), 4)


@pytest.fixture(scope="module")
def run(trained):
    return open_run(trained)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    output = tmp_path_factory.mktemp("out") / "export"
    main(["export", str(trained), "--segments", "6", "--levels", "3", "9", "--output", str(output)])
    return output


@pytest.fixture(scope="module")
def record(exported):
    return json.loads((exported / "hierarchy.json").read_text())


def test_parts_together_are_all_gaussians_in_the_frame_of_the_capture(run, exported, record):
    gaussians = move_gaussians(run.gaussians, run.source_from_world)
    whole = table_of(gaussians)
    labels = cut_into(run.hierarchy.tree, 6)
    assert len(record["parts"]) == 6
    assert sorted(path.name for path in (exported / "parts").iterdir()) == [
        f"{rank}.ply" for rank in range(1, 7)
    ]
    sizes = []
    for part in record["parts"]:
        inside = run.members(part["node"])
        assert len(np.unique(labels[inside])) == 1
        table = read_table(exported / part["file"])
        assert (table == whole[inside]).all()
        sizes.append(part["size"])
        assert part["size"] == len(table) == (labels == labels[inside][0]).sum()
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == len(gaussians)
    scale = run.source_from_world[0, 0]
    assert scale != 1
    np.testing.assert_allclose(whole["x"], scale * run.gaussians.means[:, 0], rtol=1e-6)


def test_the_scene_says_which_segment_each_gaussian_is_in(run, exported, record):
    table = read_table(exported / "scene.ply")
    assert len(table) == len(run.gaussians)
    for level in (3, 9):
        labels = table[f"segment_{level}"]
        assert labels.min() == 1
        assert labels.max() == level == len(record["levels"][str(level)])
        assert (np.diff(np.bincount(labels)[1:]) <= 0).all()
        for entry in record["levels"][str(level)]:
            assert (run.members(entry["node"]) == (labels == entry["label"])).all()
    load_ply(exported / "scene.ply")  # Others read it as plain 3DGS.


def test_label_pictures_show_the_labels_of_the_scene(run, exported, record):
    view = run.capture.val[0]
    with Image.open(exported / "labels_9" / f"{view.name}.png") as picture:
        labels = np.asarray(picture)
        assert picture.mode.startswith("I;16")
    colours = np.array([[1, 1, 1], *(entry["colour"] for entry in record["levels"]["9"])])
    with Image.open(exported / "labels_9" / f"{view.name}_preview.png") as picture:
        np.testing.assert_allclose(np.asarray(picture) / 255, colours[labels], atol=0.003)
    assert 3 < len(np.unique(labels)) <= 10


def test_views_named_like_previews_keep_their_label_maps(run, tmp_path):
    capture = run.capture
    first, second = (
        replace(view, name=name)
        for view, name in zip(capture.val, ("scan", "scan_preview"), strict=False)
    )
    named = replace(run)
    named.__dict__["capture"] = replace(capture, val=(first, second))
    export_run(named, tmp_path / "new", Export(levels=(9,), only=("labels",)))
    labels = tmp_path / "new" / "labels_9"
    assert len(list(labels.iterdir())) == 4
    for view in (first, second):
        with Image.open(labels / f"{view.name}.png") as picture:
            expected = run.label_map(scored_camera(view), 9)
            np.testing.assert_array_equal(np.asarray(picture), expected)


def test_clouds_and_boxes_can_be_read(run, exported, record):
    o3d = pytest.importorskip("open3d")
    cloud = o3d.io.read_point_cloud(str(exported / "cloud_3.ply"))
    assert len(cloud.points) == len(run.gaussians)
    boxes = o3d.io.read_line_set(str(exported / "boxes_3.ply"))
    assert (len(boxes.points), len(boxes.lines)) == (3 * 8, 3 * 12)
    root = record["nodes"][0]["box"]
    np.testing.assert_allclose(np.asarray(cloud.points).min(axis=0), root[0], atol=1e-5)
    np.testing.assert_allclose(np.asarray(cloud.points).max(axis=0), root[1], atol=1e-5)


@pytest.mark.parametrize("format", ["splat", "compressed-ply", "spz", "sog"])
def test_smaller_formats_hold_every_gaussian(run, trained, tmp_path, format):
    output, ending = tmp_path / "out", PART_ENDINGS[format]
    only = ("--only", "parts", "scene", "--segments", "2", "--format", format)
    main(["export", str(trained), "--output", str(output), *only])
    record = json.loads((output / "hierarchy.json").read_text())
    files = {path.name for path in output.rglob("*") if path.is_file()}
    whole = {"scene.ply", f"scene{ending}"}
    assert files == {"hierarchy.json", f"1{ending}", f"2{ending}", *whole}
    centres = sorted_centres(read_splats(output / f"scene{ending}").table)
    np.testing.assert_allclose(centres, sorted_centres(run.table), atol=2e-3)
    for part in record["parts"]:
        table = read_splats(output / part["file"]).table
        expected = run.table[run.members(part["node"])]
        assert len(table) == part["size"] == len(expected)
        for name in ("x", "y", "z"):
            np.testing.assert_allclose(np.sort(table[name]), np.sort(expected[name]), atol=2e-3)
        for name in ("f_dc_0", "f_dc_1", "f_dc_2"):
            np.testing.assert_allclose(table[name].mean(), expected[name].mean(), atol=0.02)


def sorted_centres(table):
    return np.sort(centres_of(table), axis=0)


def test_nodes_are_parts_too(run, trained, tmp_path):
    tree = run.hierarchy.tree
    root = len(tree.parents) - 1
    child = int(tree.parents[0])
    written = export_run(
        run, tmp_path / "out", Export(nodes=(child, root, child), only=("parts",), levels=())
    )
    record = json.loads((tmp_path / "out" / "hierarchy.json").read_text())
    assert [part["node"] for part in record["parts"]] == [child, root]
    assert record["parts"][1]["size"] == len(run.gaussians)
    assert len(written) == 3


def test_nodes_that_change_less_than_they_seem_to_are_said(run, tmp_path, capsys):
    root = len(run.hierarchy.tree.parents) - 1
    child = int(run.hierarchy.tree.parents[0])
    export_run(run, tmp_path / "a", Export(nodes=(child, root), only=("parts",), levels=()))
    assert f"node {child} lies inside node {root}; both files" in capsys.readouterr().err
    export_run(run, tmp_path / "b", Export(nodes=(child,), only=("scene",), levels=()))
    assert "nodes change only collision, layers, parts" in capsys.readouterr().err
    export_run(run, tmp_path / "c", Export(nodes=(child,), only=("parts",), levels=()))
    assert "node" not in capsys.readouterr().err


def test_gaussians_from_elsewhere_come_back_as_they_were(trained, toy, tmp_path):
    """Order, frame, types and columns that we do not know."""
    theirs = move_gaussians(
        load_ply(RunFolder(trained).gaussians), open_run(trained).source_from_world
    )
    table = table_of(theirs)
    wider = np.empty(len(table), [*table.dtype.descr, ("label", "<u2"), ("score", "<f8")])
    for name in table.dtype.names:
        wider[name] = table[name]
    rng = np.random.default_rng(0)
    wider["label"] = rng.integers(0, 9, len(table))
    wider["score"] = rng.random(len(table))
    rng.shuffle(wider)
    path = tmp_path / "theirs.ply"
    write_ply(path, wider)
    folder = tmp_path / "run"
    few = ("--features.steps", "5", "--size", "32", "--evaluate.cuts", "3")
    main(["train", "--data", str(toy), "--gaussians", str(path), "--output", str(folder), *few])
    path.unlink()  # The run does without.
    main(
        [
            "export",
            str(folder),
            "--segments",
            "3",
            "--levels",
            "4",
            "--output",
            str(tmp_path / "out"),
        ]
    )
    scene = read_table(tmp_path / "out" / "scene.ply")
    assert scene.dtype.names == (*wider.dtype.names, "segment_4")
    for name in wider.dtype.names:
        assert scene.dtype[name] == wider.dtype[name]
        assert (scene[name] == wider[name]).all()
    rows = [read_table(file) for file in sorted((tmp_path / "out" / "parts").iterdir())]
    assert all(row.dtype == wider.dtype for row in rows)
    together = np.sort(np.concatenate(rows), order=("score", "x"))
    assert (together == np.sort(wider, order=("score", "x"))).all()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--segments", "0"), "segments is 0"),
        (("--segments", "20000"), "segments is 20000"),
        (("--levels", "0"), "a level is 0"),
        (("--levels", "70000"), "a level is 70000"),
        (("--nodes", "-1"), "no node -1"),
        (("--nodes", "9999999"), "no node 9999999"),
    ],
)
def test_numbers_out_of_range_are_refused(trained, tmp_path, capsys, flags, words):
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(trained), "--output", str(tmp_path / "out"), *flags])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_and_nothing_is_left_half_written(run, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        export_run(run, tmp_path / "out")
    monkeypatch.setattr("splat_uff.export.run.write_json", None)
    with pytest.raises(TypeError):
        export_run(run, tmp_path / "other", Export(only=("parts",)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_more_segments_than_there_are(run, tmp_path, capsys):
    most = run.hierarchy.tree.most_segments
    export_run(run, tmp_path / "out", Export(segments=most + 5, only=("parts",), levels=()))
    assert f"the tree has {most}" in capsys.readouterr().err
    assert len(list((tmp_path / "out" / "parts").iterdir())) == most


@pytest.mark.parametrize("name", ["config.toml", "hierarchy.npz", "gaussians.ply"])
def test_a_run_that_is_not_whole_is_refused(trained, tmp_path, name):
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        open_run(folder)


def test_describe_tree_adds_up():
    positions = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, -3.0]])
    nodes = {node["id"]: node for node in describe_tree(TREE, positions, {5: "stool"})}
    assert list(nodes) == [6, 5, 4]
    assert [nodes[node]["parent"] for node in (4, 5, 6)] == [6, 6, None]
    assert [nodes[node]["size"] for node in (4, 5, 6)] == [2, 2, 4]
    assert nodes[4]["box"] == [[0, 0, 0], [1, 0, 0]]
    assert nodes[6]["box"] == [[0, 0, -3], [1, 2, 0]]
    assert nodes[5]["name"] == "stool"
    assert nodes[5]["height"] == 0.2
    assert "support" not in nodes[5]
    support = np.array([1, 1, 1, 1, 0.8125, 0.5, 1])
    assert [node["support"] for node in describe_tree(TREE, positions, support=support)] == [
        1,
        0.5,
        0.8125,
    ]


def test_label_columns_take_the_place_of_older_ones():
    table = np.zeros(3, [("x", "<f4"), ("segment_2", "<i4")])
    found = with_labels(table, {"segment_2": np.array([1, 2, 2])})
    assert found.dtype.names == ("x", "segment_2")
    assert found["segment_2"].tolist() == [1, 2, 2]


def test_an_opened_run_answers_what_is_where(run):
    view = run.capture.val[0]
    labels = run.cut(6)
    assert (np.diff(np.bincount(labels)[1:]) <= 0).all()
    shown = run.label_map(view.camera, 6)
    picture = run.render(view.camera)
    assert picture.shape == (*shown.shape, 3)
    rows, columns = np.nonzero(shown)
    row, column = int(rows[0]), int(columns[0])
    node = run.segment_at(view, (column, row), 6)
    assert (run.members(node) == (labels == shown[row, column])).all()
    rows, columns = np.nonzero(shown == 0)
    assert run.segment_at(view, (int(columns[0]), int(rows[0])), 6) == -1
    with pytest.raises(InputError, match="outside of"):
        run.segment_at(view, (view.camera.width, 0), 6)
    with pytest.raises(InputError, match="segments is 0"):
        run.cut(0)


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_a_frame_that_cannot_be_is_refused(trained, tmp_path, value):
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    arrays = dict(np.load(folder / "hierarchy.npz"))
    arrays["source_from_world"] = np.full((4, 4), value)
    np.savez(folder / "hierarchy.npz", **arrays)
    with pytest.raises(InputError, match="source_from_world"):
        open_run(folder)


def test_an_original_of_another_run_is_refused(trained, exported, tmp_path):
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    shutil.copy(exported / "parts" / "1.ply", folder / "original.ply")
    with pytest.raises(InputError, match=r"original\.ply has"):
        export_run(open_run(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def train_on(toy, splats, folder, *flags):
    few = ("--features.steps", "5", "--size", "32", "--evaluate.cuts", "3")
    main(
        [
            "train",
            "--data",
            str(toy),
            "--gaussians",
            str(splats),
            "--output",
            str(folder),
            *few,
            *flags,
        ]
    )


def export(folder, output, *flags):
    main(
        ["export", str(folder), "--segments", "3", "--levels", "4", "--output", str(output), *flags]
    )
    return json.loads((output / "hierarchy.json").read_text())


@pytest.fixture
def theirs(trained):
    """Gaussians in the frame of the capture, as a table."""
    run = open_run(trained)
    return table_of(move_gaussians(run.gaussians, run.source_from_world))


def test_every_row_comes_back_also_those_that_cannot_be_drawn(theirs, toy, tmp_path, capsys):
    """In order and to the bit, in segment 0; numbers of labels and parts are those of the rest."""
    theirs["opacity"][theirs["opacity"] > 3] = np.inf
    theirs["scale_0"][5] = -np.inf
    for i in range(4):
        theirs[f"rot_{i}"][7] = 0
    theirs["z"][11], theirs["f_dc_1"][0], theirs["scale_1"][-1] = np.nan, np.inf, np.inf
    dropped = np.array([0, 7, 11, len(theirs) - 1])
    path = write_ply(tmp_path / "theirs.ply", theirs)
    train_on(toy, path, tmp_path / "run")
    assert "4 of" in capsys.readouterr().err
    run = open_run(tmp_path / "run")
    assert len(run.gaussians) == len(theirs) - 4
    record = export(tmp_path / "run", tmp_path / "out")
    scene = read_table(tmp_path / "out" / "scene.ply")
    for name in theirs.dtype.names:
        assert scene[name].tobytes() == theirs[name].tobytes()
    labels = scene["segment_4"]
    assert np.flatnonzero(labels == 0).tolist() == dropped.tolist()
    assert (labels[labels > 0] == run.cut(4)).all()
    kept = np.delete(theirs, dropped)
    for part in record["parts"]:
        rows = read_table(tmp_path / "out" / part["file"])
        assert rows.tobytes() == kept[run.members(part["node"])].tobytes()


def test_flat_gaussians_come_back_with_two_scales(theirs, toy, tmp_path):
    names = [name for name in theirs.dtype.names if name != "scale_2"]
    flat = np.ascontiguousarray(theirs[names]).astype([(name, "<f4") for name in names])
    path = write_ply(tmp_path / "theirs.ply", flat)
    train_on(toy, path, tmp_path / "run", "--force")
    record = export(tmp_path / "run", tmp_path / "out", "--format", "splat")
    scene = read_table(tmp_path / "out" / "scene.ply")
    assert scene.dtype.names == (*names, "segment_4")
    assert all((scene[name] == flat[name]).all() for name in names)
    sizes = [(tmp_path / "out" / part["file"]).stat().st_size for part in record["parts"]]
    assert sum(sizes) == 32 * len(flat)


def test_splats_of_a_normalised_frame_come_back_in_it(theirs, toy, tmp_path, capsys):
    turn = Rotation.from_euler("xyz", [-60, 20, 100], degrees=True).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = 0.4 * turn, [0.3, -0.2, 0.5]
    record = {"transform": (matrix[:3] / 0.4).tolist(), "scale": 0.4}
    (tmp_path / "dataparser_transforms.json").write_text(json.dumps(record))
    path = write_ply(tmp_path / "exports" / "splat.ply", theirs)
    save_ply(path, move_gaussians(load_ply(path), matrix))
    table = read_table(path)
    train_on(toy, path, tmp_path / "run")
    assert "dataparser_transforms.json tells of" in capsys.readouterr().err
    record = export(tmp_path / "run", tmp_path / "out")
    run = open_run(tmp_path / "run")
    scene = read_table(tmp_path / "out" / "scene.ply")
    assert all(scene[name].tobytes() == table[name].tobytes() for name in table.dtype.names)
    source_from_world = np.array(record["source_from_world"])
    np.testing.assert_allclose(source_from_world, matrix @ run.source_from_world, atol=1e-9)
    moved = run.gaussians.means.numpy() @ source_from_world[:3, :3].T + source_from_world[:3, 3]
    np.testing.assert_allclose(moved, centres_of(table), atol=1e-5)


def test_a_run_of_an_earlier_version_opens_without_original_from_source(trained, tmp_path):
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    arrays = dict(np.load(folder / "hierarchy.npz"))
    del arrays["original_from_source"]
    np.savez(folder / "hierarchy.npz", **arrays)
    run = open_run(folder)
    np.testing.assert_array_equal(run.files_from_world, run.source_from_world)


@pytest.mark.parametrize(
    "value", [np.zeros((4, 4)), np.diag([1.0, 2, 1, 1]), np.eye(3), np.array(1)]
)
def test_an_original_frame_that_cannot_be_is_refused(trained, tmp_path, value):
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    arrays = dict(np.load(folder / "hierarchy.npz")) | {"original_from_source": value}
    np.savez(folder / "hierarchy.npz", **arrays)
    with pytest.raises(InputError, match="original_from_source"):
        open_run(folder)


def far_away(run):
    """The run as if its capture lay millions of metres from its origin."""
    source_from_world = run.source_from_world.copy()
    source_from_world[:3, 3] = [4.2e6, 1.7e5, 4.78e6]
    return replace(run, source_from_world=source_from_world)


def test_centres_far_from_the_origin_are_written_in_64_bits(run, tmp_path, capsys):
    far = far_away(run)
    export_run(
        far, tmp_path / "out", Export(segments=2, levels=(3,), only=("parts", "scene", "cloud"))
    )
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    export_run(far, tmp_path / "labels", Export(segments=2, levels=(3,), only=("cloud",)))
    assert capsys.readouterr().err == ""  # Clouds hold such numbers everywhere.
    assert "4.78e+06 units from the origin, where 32 bits round centres by up to 0.25" in said
    record = json.loads((tmp_path / "out" / "hierarchy.json").read_text())
    assert record["origin"] == [0, 0, 0]
    matrix = np.array(record["source_from_world"])
    expected = run.gaussians.means.numpy().astype(float) @ matrix[:3, :3].T + matrix[:3, 3]
    scene = read_table(tmp_path / "out" / "scene.ply")
    assert scene.dtype["x"] == "<f8"
    assert scene.dtype["opacity"] == "<f4"
    np.testing.assert_allclose(centres_of(scene), expected, rtol=0, atol=1e-6)
    for part in record["parts"]:
        rows = centres_of(read_table(tmp_path / "out" / part["file"]))
        inside = run.members(part["node"])
        np.testing.assert_allclose(rows, expected[inside], rtol=0, atol=1e-6)
    o3d = pytest.importorskip("open3d")
    cloud = o3d.io.read_point_cloud(str(tmp_path / "out" / "cloud_3.ply"))
    np.testing.assert_allclose(np.asarray(cloud.points), expected, rtol=0, atol=1e-6)
    boxes = o3d.io.read_line_set(str(tmp_path / "out" / "boxes_3.ply"))
    corners = np.asarray(boxes.points)
    np.testing.assert_allclose(corners.min(axis=0), expected.min(axis=0), rtol=0, atol=1e-6)


@pytest.mark.parametrize("format", ["splat", "compressed-ply", "spz", "sog"])
def test_formats_of_few_bits_count_from_an_origin_amid_the_scene(run, tmp_path, capsys, format):
    far = far_away(run)
    export_run(far, tmp_path / "out", Export(segments=1, format=format, only=("parts",), levels=()))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "hierarchy.json keeps" in said
    record = json.loads((tmp_path / "out" / "hierarchy.json").read_text())
    origin = np.array(record["origin"])
    assert (origin == np.round(origin)).all()
    table = read_splats(tmp_path / "out" / record["parts"][0]["file"]).table
    expected = centres_of(far.table) - origin
    assert np.abs(expected).max() < 20
    np.testing.assert_allclose(sorted_centres(table), np.sort(expected, axis=0), atol=2e-3)


@pytest.mark.parametrize("wanted", [("glb",), ("collision",), ("scene", "glb")])
def test_files_of_few_bits_of_any_kind_count_from_an_origin(run, tmp_path, capsys, wanted):
    far = far_away(run)
    export_run(far, tmp_path / "out", Export(segments=2, only=wanted, levels=(2,)))
    assert "hierarchy.json keeps" in capsys.readouterr().err
    record = json.loads((tmp_path / "out" / "hierarchy.json").read_text())
    box = np.array(record["nodes"][0]["box"]) - record["origin"]
    assert np.abs(box).max() < 20
    for path in (tmp_path / "out").glob("collision/*.obj"):
        lines = [line.split()[1:] for line in path.read_text().splitlines() if line[:2] == "v "]
        vertices = np.array(lines, float)
        size = np.diff(box, axis=0).max()
        assert (vertices > box[0] - 0.2 * size).all()
        assert (vertices < box[1] + 0.2 * size).all()
    for path in (tmp_path / "out").glob("scene.glb"):
        content = path.read_bytes()
        header = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
        [low] = [each["min"] for each in header["accessors"] if "min" in each]
        assert low == pytest.approx([box[0][0], -box[1][1], -box[1][2]], abs=1e-4)


def test_nothing_is_said_of_an_origin_near_the_scene(run, tmp_path, capsys):
    export_run(
        run, tmp_path / "out", Export(segments=2, format="splat", only=("parts",), levels=())
    )
    assert capsys.readouterr().err == ""
    assert json.loads((tmp_path / "out" / "hierarchy.json").read_text())["origin"] == [0, 0, 0]


def test_splats_that_do_not_fit_leave_nothing_behind(theirs, toy, tmp_path, capsys):
    path = write_ply(tmp_path / "theirs.ply", theirs)
    turned = np.diag([1.0, -1, -1, 1])
    save_ply(path, move_gaussians(load_ply(path), turned))
    with pytest.raises(SystemExit) as stopped:
        train_on(toy, path, tmp_path / "run")
    assert stopped.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "do not fit the photos" in errors[0]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["theirs.ply"]
    train_on(toy, path, tmp_path / "run", "--force")
    assert (tmp_path / "run" / "metrics.json").is_file()
    with pytest.raises(SystemExit):
        main(["train", "--data", str(toy), "--output", str(tmp_path / "other"), "--force"])
    assert "--force goes with --gaussians" in capsys.readouterr().err


def test_splats_in_the_run_that_is_begun_again_are_not_removed(theirs, toy, tmp_path, capsys):
    path = write_ply(tmp_path / "theirs.ply", theirs)
    train_on(toy, path, tmp_path / "run")
    with pytest.raises(SystemExit):
        train_on(toy, tmp_path / "run" / "original.ply", tmp_path / "run", "--overwrite")
    assert "is in the run that --overwrite removes" in capsys.readouterr().err
    assert (tmp_path / "run" / "original.ply").read_bytes() == path.read_bytes()


def test_a_run_that_is_gone_on_with_keeps_the_frame_of_its_splats(
    theirs, toy, tmp_path, monkeypatch
):
    """Also when the file that told of it is gone by then."""
    matrix = np.diag([0.4, 0.4, 0.4, 1.0])
    told = tmp_path / "fit" / "dataparser_transforms.json"
    path = write_ply(tmp_path / "fit" / "splat.ply", theirs)
    told.write_text(json.dumps({"transform": np.eye(4)[:3].tolist(), "scale": 0.4}))
    save_ply(path, move_gaussians(load_ply(path), matrix))
    with monkeypatch.context() as patch:
        patch.setattr("splat_uff.training.stages.fit_features", None)
        with pytest.raises(TypeError):
            train_on(toy, path, tmp_path / "run")
    told.unlink()
    train_on(toy, path, tmp_path / "run", "--resume")
    np.testing.assert_allclose(open_run(tmp_path / "run").original_from_source, matrix, atol=1e-9)


@pytest.fixture
def with_floaters(run, tmp_path):
    """The run with a segment of the cut into 6, and every tenth Gaussian, as its floaters."""
    other = replace(run, known_capture=run.capture)
    whole = largest_first(run.nodes(6))[-1]
    floaters = (run.nodes(6) == whole) | (np.arange(len(run.gaussians)) % 10 == 0)
    other.__dict__["floaters"] = floaters
    return other, whole, floaters


def test_floaters_are_left_out_of_all_files(with_floaters, tmp_path, capsys):
    run, whole, floaters = with_floaters
    also = ("glb", "usd", "layers", "collision")
    wanted = Export(segments=6, levels=(6,), also=also, format="splat", without_floaters=True)
    export_run(run, tmp_path / "out", wanted)
    left = int((~floaters).sum())
    said = capsys.readouterr().err
    assert f"{floaters.sum():,} of {len(floaters):,} Gaussians are floaters and left out." in said
    record = json.loads((tmp_path / "out" / "hierarchy.json").read_text())
    assert (record["num_gaussians"], record["floaters"]) == (left, int(floaters.sum()))
    assert len(record["parts"]) == len(record["collision"]) == 5
    assert sum(part["size"] for part in record["parts"]) == left
    nodes = {each["id"]: each for each in record["nodes"]}
    assert nodes[max(nodes)]["size"] == left
    assert (nodes[whole]["size"], nodes[whole]["box"]) == (0, None)
    np.testing.assert_array_equal(
        nodes[max(nodes)]["box"][0], centres_of(run.table)[~floaters].min(axis=0)
    )
    scene = read_table(tmp_path / "out" / "scene.ply")
    np.testing.assert_array_equal(scene["x"], run.table["x"][~floaters])
    np.testing.assert_array_equal(scene["segment_6"], run.cut(6)[~floaters])
    assert len(read_splats(tmp_path / "out" / "scene.splat").table) == left
    cloud = (tmp_path / "out" / "cloud_6.ply").read_bytes()
    assert f"element vertex {left}\n".encode() in cloud
    layers = tmp_path / "out" / "layers"
    assert len(read_table(layers / "0 all in colours.ply")) == left
    shown = np.unique(Image.open(next((tmp_path / "out" / "labels_6").glob("*[0-9].png"))))
    assert 6 not in shown
    assert len(shown) > 1


def test_floaters_stay_unless_asked(with_floaters, tmp_path, capsys):
    run, _, floaters = with_floaters
    export_run(run, tmp_path / "out", Export(segments=6, levels=(6,), only=("parts",)))
    record = json.loads((tmp_path / "out" / "hierarchy.json").read_text())
    assert record["num_gaussians"] == len(floaters)
    assert "floaters" not in record
    assert "floaters" not in capsys.readouterr().err


def test_a_node_of_floaters_alone_is_refused(with_floaters, tmp_path):
    run, whole, _ = with_floaters
    wanted = Export(nodes=(int(whole),), only=("parts",), without_floaters=True)
    with pytest.raises(InputError, match=f"node {whole} holds nothing but floaters"):
        export_run(run, tmp_path / "out", wanted)
    assert not (tmp_path / "out").exists()


def test_the_command_leaves_out_what_is_found(trained, run, tmp_path, capsys):
    output = ["--output", str(tmp_path / "out"), "--only", "parts"]
    main(["export", str(trained), *output, "--without-floaters"])
    record = json.loads((tmp_path / "out" / "hierarchy.json").read_text())
    assert record["floaters"] == run.floaters.sum()
    assert "are floaters and left out." in capsys.readouterr().err
