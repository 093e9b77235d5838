"""What other programs get: glTF, OpenUSD, layers and collision meshes of a run, in any frame."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from splat_uff.export.config import Export
from splat_uff.export.frame import rotation_between
from splat_uff.export.layers import file_name
from splat_uff.export.run import export_run
from splat_uff.formats.ply import read_elements, read_header
from splat_uff.formats.read import read_splats
from splat_uff.gaussians.ply import gaussians_of, table_of
from splat_uff.gaussians.similarity import move_gaussians, move_table
from splat_uff.gaussians.source import SourceSplats, centres_of
from splat_uff.render import render_colours
from splat_uff.run.open import open_run
from splat_uff.system.errors import InputError
from tests.formats.splats import make_table
from tests.programs import splat_transform

FEW = {"segments": 3, "levels": (3, 6)}


@pytest.fixture(scope="module")
def run(trained):
    return open_run(trained)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    output = tmp_path_factory.mktemp("formats") / "out"
    run = with_names(run, {int(run.hierarchy.tree.parents[-2]): "all / of it"})
    also = ("glb", "usd", "layers", "collision")
    export_run(run, output, Export(**FEW, only=("scene",), also=also))
    return output


def with_names(run, names):
    folder = shutil.copytree(run.folder.path, run.folder.path.parent / "named")
    (folder / "names.json").write_text(
        json.dumps({"names": {str(key): name for key, name in names.items()}})
    )
    return open_run(folder)


def test_splat_transform_cuts_our_parts_out_of_the_scene(run, exported, tmp_path):
    """The column of labels is all that another program needs."""
    for label in (1, 3):
        part = tmp_path / f"{label}.ply"
        splat_transform(exported / "scene.ply", "-V", f"segment_3,eq,{label}", part)
        scene = read_splats(exported / "scene.ply").table
        expected = scene[scene["segment_3"] == label]
        found = read_splats(part).table
        assert len(found) == len(expected) == (run.cut(3) == label).sum()
        for name in ("x", "y", "z", "opacity", "f_dc_1", "rot_2", "scale_0", "f_rest_5"):
            np.testing.assert_array_equal(found[name], expected[name])


def test_gltf_has_the_segments_of_the_levels(run, exported):
    content = (exported / "scene.glb").read_bytes()
    record = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
    features = record["meshes"][0]["primitives"][0]["extensions"]["EXT_mesh_features"]
    assert [each["label"] for each in features["featureIds"]] == ["segments_3", "segments_6"]
    accessors = record["accessors"]
    assert {each["count"] for each in accessors} == {len(run.gaussians)}


def test_usd_is_nested_as_the_tree(run, exported):
    usd = pytest.importorskip("pxr.Usd", reason="needs the extra usd")
    stage = usd.Stage.Open(str(exported / "scene.usdc"))
    splats = [prim for prim in stage.Traverse() if "ParticleField" in prim.GetTypeName()]
    sizes = [len(prim.GetAttribute("positions").Get()) for prim in splats]
    assert sorted(sizes) == sorted(np.bincount(run.cut(3))[1:].tolist())


def test_layers_are_called_as_the_parts_and_one_shows_their_colours(run, exported):
    layers = json.loads((exported / "layers" / "layers.json").read_text())
    files = sorted(path.name for path in (exported / "layers").iterdir())
    assert files == sorted(
        [*(each["file"] for each in layers), "0 all in colours.ply", "layers.json"]
    )
    sizes = [len(read_splats(exported / "layers" / each["file"]).table) for each in layers]
    assert sizes == np.bincount(run.cut(3))[1:].tolist()
    painted = read_splats(exported / "layers" / "0 all in colours.ply").table
    assert len(painted) == len(run.gaussians)
    shown = np.unique([painted[f"f_dc_{i}"] * 0.28209479 + 0.5 for i in range(3)], axis=1).T
    colours = np.unique([each["colour"] for each in layers], axis=0)
    np.testing.assert_allclose(shown, colours, atol=1e-4)


def test_collision_meshes_surround_the_parts(run, exported):
    o3d = pytest.importorskip("open3d")
    record = json.loads((exported / "hierarchy.json").read_text())
    assert len(record["collision"]) == 3
    for part in record["collision"]:
        mesh = o3d.io.read_triangle_mesh(str(exported / part["file"]))
        mesh.merge_close_vertices(0)
        assert mesh.is_orientable()
        assert part["pieces"] >= 1
        assert part["share"] > 0.9
        centres = centres_of(run.table)[run.members(part["node"])]
        low, high = np.percentile(centres, [5, 95], axis=0)
        points = np.asarray(mesh.vertices)
        assert (points.min(axis=0) <= low).all()
        assert (points.max(axis=0) >= high).all()


@pytest.mark.parametrize("up", ["x", "-x", "y", "-y", "z", "-z"])
def test_turned_upright_scenes_look_the_same_to_a_camera_that_turns_with_them(run, up, tmp_path):
    export_run(run, tmp_path / "out", Export(**FEW, only=("scene",), up=up, scale_to=3.0))
    record = json.loads((tmp_path / "out" / "hierarchy.json").read_text())
    similarity = np.array(record["source_from_world"])
    axis = np.eye(3)["xyz".index(up[-1])] * (-1 if up[0] == "-" else 1)
    turn = similarity @ np.linalg.inv(run.files_from_world)
    scale = np.linalg.det(turn[:3, :3]) ** (1 / 3)
    np.testing.assert_allclose(turn[:3, :3] @ axis / scale, [0, -1, 0], atol=1e-6)
    scene = read_splats(tmp_path / "out" / "scene.ply").table
    low, high = np.percentile(centres_of(scene), [1, 99], axis=0)
    assert (high - low).max() == pytest.approx(3.0, rel=1e-4)
    back = move_gaussians(gaussians_of(scene), np.linalg.inv(similarity))
    camera = run.capture.val[0].camera
    expected = render_colours(run.gaussians, camera).values
    np.testing.assert_allclose(render_colours(back, camera).values, expected, atol=2e-3)


def test_up_is_found_from_the_cameras(run, tmp_path):
    """Those of the toy stand around it, with z up in the capture's frame."""
    export_run(run, tmp_path / "out", Export(**FEW, only=("scene",), up="auto"))
    record = json.loads((tmp_path / "out" / "hierarchy.json").read_text())
    turn = np.array(record["source_from_world"]) @ np.linalg.inv(run.files_from_world)
    np.testing.assert_allclose(turn[:3, :3] @ [0, 0, 1], [0, -1, 0], atol=0.05)


@pytest.mark.parametrize("length", [-1.0, np.nan, np.inf, 1e300, 1e-300, 1e39])
def test_lengths_that_cannot_be_are_refused(run, tmp_path, length):
    with pytest.raises(InputError, match="expected a length above 0"):
        export_run(run, tmp_path / "out", Export(**FEW, scale_to=length))
    assert not (tmp_path / "out").exists()


def test_rotations_between_axes_are_exact_and_shortest():
    axes = [*np.eye(3), *-np.eye(3)]
    for given in axes:
        for wanted in axes:
            turn = rotation_between(given, wanted)
            assert (turn @ given == wanted).all()
            assert np.linalg.det(turn) == pytest.approx(1)
            assert np.trace(turn) == pytest.approx(1 + 2 * given @ wanted)


@pytest.mark.parametrize("rest", [0, 9, 24, 45, 72])
def test_tables_move_as_gaussians_do_whatever_their_types(rest):
    names = [*make_table(1).dtype.names, "nx", "ny", "nz", "mark"]
    columns = [*names, *(f"f_rest_{i}" for i in range(rest))]
    table = make_table(9, columns=columns, kinds={"x": "<f8", "mark": "<i4", "scale_1": "<f8"})
    similarity = np.eye(4)
    similarity[:3, :3] = 2.5 * rotation_between(np.array([0.6, 0, 0.8]), np.array([0, -1.0, 0]))
    similarity[:3, 3] = [1, -2, 3]
    moved = move_table(table, similarity)
    expected = table_of(move_gaussians(gaussians_of(table), similarity))
    for name in set(expected.dtype.names) - {"nx", "ny", "nz"}:
        np.testing.assert_allclose(moved[name], expected[name], atol=2e-5)
    assert (moved["mark"] == table["mark"]).all()
    assert moved.dtype["x"] == "<f8"
    assert "f_rest_45" not in moved.dtype.names
    normals = np.stack([table[name] for name in ("nx", "ny", "nz")], axis=1)
    turned = np.stack([moved[name] for name in ("nx", "ny", "nz")], axis=1)
    np.testing.assert_allclose(turned, normals @ similarity[:3, :3].T / 2.5, atol=1e-5)
    still = move_table(table, np.eye(4))
    assert still.tobytes() == table.tobytes()


def test_comments_and_other_elements_come_back(run, tmp_path):
    content = replace(
        run.source.content,
        comments=("Exported from Brush", "SplatRenderMode: mip"),
        others={"camera": np.array([(1.5,)], [("focal", "<f4")])},
    )
    other = replace(run, gaussians=replace(run.gaussians, antialiased=True))
    other.__dict__["source"] = SourceSplats(content, run.source.kept)
    export_run(other, tmp_path / "out", Export(**FEW, only=("scene", "parts")))
    header = read_header(tmp_path / "out" / "scene.ply")
    assert header.comments[:2] == content.comments
    assert read_elements(tmp_path / "out" / "scene.ply")["camera"]["focal"] == [1.5]
    assert read_header(tmp_path / "out" / "parts" / "1.ply").comments == header.comments


@pytest.mark.parametrize("format", ["ply", "spz", "sog"])
def test_formats_that_can_say_so_keep_how_splats_are_drawn(run, tmp_path, format):
    other = replace(run, gaussians=replace(run.gaussians, antialiased=True))
    wanted = Export(segments=1, levels=(), only=("parts",), format=format)
    export_run(other, tmp_path / "out", wanted)
    [part] = (tmp_path / "out" / "parts").iterdir()
    assert read_splats(part).antialiased


def test_names_of_files_are_plain():
    assert file_name("1", "../etc/passwd") == "1 .. etc passwd"
    assert file_name("1", 'a<b>:"c"\n') == "1 a b c"
    assert file_name("1", "x" * 199 + ".") == "1 " + "x" * 120
    assert len(file_name("1", "\N{GRINNING FACE}" * 80).encode()) <= 127
    assert file_name("1", "leg 2") == "1 leg 2 part"
