"""Binary glTF: the numbers, the frame, the tree as feature ids, and what other programs say."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from splat_uff.export import glb
from splat_uff.export.glb import write_glb
from splat_uff.export.node_table import Cut, prune_nodes
from splat_uff.export.tree import describe_tree
from splat_uff.hierarchy.dendrogram import Dendrogram
from splat_uff.hierarchy.walk import Walk
from splat_uff.render.harmonics import basis_values
from splat_uff.system.errors import InputError
from tests.export.glb_files import Glb, make_splats
from tests.programs import MODULES, require_node, run_node, splat_transform

TREE = Dendrogram(
    np.array([5, 5, 6, 6, 7, 8, 8, 9, 9, 9]),
    np.array([0, 0, 0, 0, 0, 0.1, 0.2, 0.3, 0.5, 0.9]),
    5,
)
MONOMIALS = [
    *("y", "z", "x", "xy", "yz", "zz", "xz", "xx"),
    *("yxx", "xyz", "yzz", "zzz", "xzz", "zxx", "xxx"),
]
"""A term of each basis function above degree 0, as in the appendix of KHR_gaussian_splatting."""


def write_plain_ply(path: Path, table: np.ndarray) -> Path:
    lines = [f"property float {name}" for name in table.dtype.names]
    head = "\n".join(
        ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}", *lines]
    )
    path.write_bytes(f"{head}\nend_header\n".encode() + table.tobytes())
    return path


def stack(table, *names):
    return np.stack([table[name] for name in names], axis=1).astype(np.float64)


def spreads(quats, scales):
    """Covariances of Gaussians with rotations xyzw."""
    axes = Rotation.from_quat(quats).as_matrix() * np.asarray(scales, np.float64)[:, None, :]
    return axes @ axes.transpose(0, 2, 1)


def harmonics_of(attributes):
    """Coefficients above degree 0, [N, K, 3]."""
    names = [name for name in attributes if name.startswith("SH_") and "DEGREE_0" not in name]
    return np.stack([attributes[name] for name in names], axis=1)


def written(path, table, **options):
    write_glb(path / "a.glb", table, **options)
    return Glb(path / "a.glb")


def tree_options(levels=(4, 2), names=None, support=None):
    """Arguments for the tree above."""
    nodes = describe_tree(TREE, np.zeros((5, 3)), names, support)
    cuts = [Cut(f"segments_{each}", Walk(TREE).cut(each)) for each in levels]
    return {"cuts": cuts, "nodes": nodes, "colours": Walk(TREE).colours}


def test_the_numbers_are_those_of_a_gaussian_worked_out_by_hand(tmp_path):
    table = np.zeros(1, make_splats(1).dtype)
    for name, value in {
        **{"x": 1, "y": 2, "z": 3, "opacity": np.log(3), "f_dc_0": 1, "f_dc_1": -9},
        **{"scale_0": np.log(2), "scale_1": 0, "scale_2": -1, "rot_0": 2},
        **{f"f_rest_{i}": i for i in range(9)},
    }.items():
        table[name] = value
    found = written(tmp_path, table).attributes()
    expected = {
        "POSITION": [1, -2, -3],
        "ROTATION": [1, 0, 0, 0],
        "SCALE": [2, 1, np.exp(-1)],
        "OPACITY": [0.75],
        "SH_DEGREE_0_COEF_0": [1, -9, 0],
        "SH_DEGREE_1_COEF_0": [-0.0, -3, -6],  # y
        "SH_DEGREE_1_COEF_1": [-1, -4, -7],  # z
        "SH_DEGREE_1_COEF_2": [2, 5, 8],  # x
    }
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], [values], rtol=1e-6, atol=1e-7, err_msg=name)
        assert found[name].dtype == np.float32
    # sRGB 0.7821, 0 and 0.5, made linear; opacity as it is.
    np.testing.assert_array_equal(found["COLOR_0"], [[37612, 0, 14027, 49151]])
    assert found.keys() == expected.keys() | {"COLOR_0"}


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_splat_transform_writes_the_same_numbers(tmp_path, degree):
    """It turns captures by half about z and we do about x: its scenes face away from +z."""
    table = make_splats(50, degree, seed=degree)
    source = write_plain_ply(tmp_path / "a.ply", table)
    splat_transform(source, tmp_path / "other.glb")
    other, ours = Glb(tmp_path / "other.glb"), written(tmp_path, table)
    assert other.primitive["extensions"] == ours.primitive["extensions"]
    theirs, own = other.attributes(), ours.attributes()
    assert theirs.keys() == own.keys()
    about_y = np.diag([-1.0, 1, -1])
    np.testing.assert_allclose(own["POSITION"] @ about_y, theirs["POSITION"], rtol=1e-6)
    for name in ("SCALE", "OPACITY", "SH_DEGREE_0_COEF_0"):
        np.testing.assert_allclose(own[name], theirs[name], rtol=2e-6, err_msg=name)
    np.testing.assert_allclose(
        about_y @ spreads(own["ROTATION"], own["SCALE"]) @ about_y,
        spreads(theirs["ROTATION"], theirs["SCALE"]),
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    if degree:
        here = harmonics_of(own)
        kept = MONOMIALS[: here.shape[1]]
        signs = np.array([(-1) ** (name.count("x") + name.count("z")) for name in kept])
        np.testing.assert_allclose(
            here * signs[:, None], harmonics_of(theirs), rtol=1e-5, atol=1e-6
        )


def test_centres_shapes_and_colours_are_turned_together(tmp_path):
    table = make_splats(20, 3)
    file = written(tmp_path, table)
    found = file.attributes()
    matrix = np.array(file.json["asset"]["extras"]["gltf_from_source"])
    turn = matrix[:3, :3]
    assert (turn == np.diag([1, -1, -1])).all()
    np.testing.assert_allclose(found["POSITION"], stack(table, *"xyz") @ turn.T, atol=1e-5)
    quats = stack(table, "rot_1", "rot_2", "rot_3", "rot_0")
    before = spreads(quats, np.exp(stack(table, "scale_0", "scale_1", "scale_2")))
    np.testing.assert_allclose(
        spreads(found["ROTATION"], found["SCALE"]), turn @ before @ turn.T, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(np.linalg.norm(found["ROTATION"], axis=1), 1, atol=1e-6)
    directions = np.random.default_rng(0).normal(size=(30, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rest = stack(table, *(f"f_rest_{i}" for i in range(45))).reshape(-1, 3, 15)
    seen_before = np.einsum("dk,nck->dnc", basis_values(directions, 3), rest)
    seen = np.einsum("dk,nkc->dnc", basis_values(directions @ turn.T, 3), harmonics_of(found))
    np.testing.assert_allclose(seen, seen_before, atol=1e-4)


def test_an_origin_far_away_keeps_the_precision(tmp_path):
    table = make_splats(9, kinds=dict.fromkeys("xyz", "<f8"))
    near = written(tmp_path, table).attributes()["POSITION"]
    origin = np.array([5e6, 3e5, 7e5])
    for axis, name in enumerate("xyz"):
        table[name] += origin[axis]
    file = written(tmp_path, table, origin=origin)
    np.testing.assert_allclose(file.attributes()["POSITION"], near, atol=1e-6)
    matrix = np.array(file.json["asset"]["extras"]["gltf_from_source"])
    back = (near - matrix[:3, 3]) @ matrix[:3, :3]
    np.testing.assert_allclose(back, stack(table, *"xyz"), atol=1e-6)


def test_feature_ids_lead_to_the_nodes_of_segments(tmp_path):
    support = np.linspace(0, 1, 10)
    options = tree_options(names={9: "all", 6: "Türe"}, support=support)
    file = written(tmp_path, make_splats(5), **options)
    count, columns = file.table()
    assert columns["id"][:, 0].tolist() == [9, 8, 7, 6, 5]
    assert count == 5
    assert columns["parent"][:, 0].tolist() == [-1, 0, 0, 1, 1]
    assert columns["height"][:, 0].tolist() == [0.9, 0.5, 0.3, 0.2, 0.1]
    assert columns["size"][:, 0].tolist() == [5, 4, 1, 2, 2]
    assert columns["name"] == ["all", "", "", "Türe", ""]
    np.testing.assert_allclose(columns["support"][:, 0], support[[9, 8, 7, 6, 5]], atol=1e-4)
    np.testing.assert_allclose(
        columns["colour"] / 255, options["colours"][[9, 8, 7, 6, 5]], atol=0.5 / 255
    )
    found = file.attributes()
    described = file.primitive["extensions"]["EXT_mesh_features"]["featureIds"]
    for i, (cut, each) in enumerate(zip(options["cuts"], described, strict=True)):
        rows = found[f"_FEATURE_ID_{i}"][:, 0]
        assert columns["id"][rows, 0].tolist() == cut.nodes.tolist()
        assert each == {
            "featureCount": len(set(rows.tolist())),
            "attribute": i,
            "label": cut.label,
            "propertyTable": 0,
        }


def test_the_example_in_the_docs_reads_a_file(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "gltf.md").read_text(encoding="utf-8")
    write_glb(tmp_path / "scene.glb", make_splats(5), **tree_options())
    monkeypatch.chdir(tmp_path)
    space = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], space)
    assert capsys.readouterr().out == "2 Gaussians are in the segment of the first\n"
    assert space["rows"].tolist() == [4, 4, 3, 3, 2]


def test_prune_nodes_keeps_segments_and_what_is_above_them():
    nodes = describe_tree(TREE, np.zeros((5, 3)))
    fine, coarse = Cut("fine", Walk(TREE).cut(4)), Cut("coarse", Walk(TREE).cut(2))
    assert [each["id"] for each in prune_nodes(nodes, [fine])] == [9, 8, 7, 6, 5]
    assert [each["id"] for each in prune_nodes(nodes, [coarse])] == [9, 8, 7]
    assert prune_nodes(nodes, [coarse, fine]) == prune_nodes(nodes, [fine])
    whole = Cut("whole", Walk(TREE).cut(1))
    assert prune_nodes(nodes, [whole]) == nodes[:1]
    with pytest.raises(InputError, match="node 8 of the tree does not follow its parent 9"):
        prune_nodes(nodes[::-1], [fine])


def test_columns_that_would_be_empty_are_left_out(tmp_path):
    options = tree_options() | {"colours": None}
    _, columns = written(tmp_path, make_splats(5), **options).table()
    assert list(columns) == ["id", "parent", "height", "size"]


def test_rows_beyond_16_bits_are_floats(tmp_path):
    count = 2**16
    nodes = [{"id": 2 * count, "parent": None, "height": 1.0, "size": count, "name": ""}]
    nodes += [
        {"id": each, "parent": 2 * count, "height": 0.0, "size": 1, "name": ""}
        for each in range(2 * count - 1, count - 1, -1)
    ]
    cut = Cut("each", np.arange(count, 2 * count))
    file = written(tmp_path, make_splats(count, 0), cuts=[cut], nodes=nodes)
    rows = file.attributes()["_FEATURE_ID_0"]
    assert rows.dtype == np.float32
    assert file.table()[1]["id"][rows[:, 0].astype(int), 0].tolist() == cut.nodes.tolist()


def test_everything_is_aligned_to_8_bytes_and_the_same_every_time(tmp_path):
    for count in (5, 7):
        options = tree_options(names={9: "odd"}) if count == 5 else {}
        file = written(tmp_path, make_splats(count), **options)
        assert file.start % 8 == 0
        assert len(file.binary) % 8 == 0
        assert all(view["byteOffset"] % 8 == 0 for view in file.json["bufferViews"])
        before = (tmp_path / "a.glb").read_bytes()
        written(tmp_path, make_splats(count), **options)
        assert (tmp_path / "a.glb").read_bytes() == before


def test_a_part_has_no_features(tmp_path):
    file = written(tmp_path, make_splats(3))
    assert file.json["extensionsUsed"] == ["KHR_gaussian_splatting"]
    assert "extensions" not in file.json
    assert file.primitive["mode"] == 0
    assert file.primitive["extensions"] == {
        "KHR_gaussian_splatting": {
            "kernel": "ellipse",
            "colorSpace": "srgb_rec709_display",
            "projection": "perspective",
            "sortingMethod": "cameraDistance",
        }
    }


@pytest.mark.parametrize("whole", [True, False])
def test_the_validator_of_khronos_finds_nothing_else(tmp_path, whole):
    """It does not know the extension yet, and takes the names of its attributes for mistakes."""
    require_node("gltf-validator")
    options = tree_options(names={9: "all"}) if whole else {}
    write_glb(tmp_path / "a.glb", make_splats(5, 3), **options)
    script = Path(__file__).parent / "validate_gltf.mjs"
    report = json.loads(run_node(script, tmp_path / "a.glb", MODULES))
    assert report["info"]["totalVertexCount"] == 5
    issues = [(each["code"], each["pointer"]) for each in report["issues"]["messages"]]
    wrong_names = [at for code, at in issues if code == "MESH_PRIMITIVE_INVALID_ATTRIBUTE"]
    assert len(wrong_names) == 19
    assert all("/KHR_gaussian_splatting:" in at for at in wrong_names)
    others = {code for code, _ in issues} - {"MESH_PRIMITIVE_INVALID_ATTRIBUTE"}
    # Views of the table look unused to a validator that does not know it.
    assert others == {"UNSUPPORTED_EXTENSION", *(["UNUSED_OBJECT"] if whole else [])}
    assert report["issues"]["numErrors"] == 19
    assert report["issues"]["numWarnings"] == report["issues"]["numHints"] == 0


def test_the_validator_accepts_the_same_file_under_names_it_knows(tmp_path):
    require_node("gltf-validator")
    write_glb(tmp_path / "a.glb", make_splats(5, 3), **tree_options())
    content = (tmp_path / "a.glb").read_bytes()
    renamed = content.replace(b"KHR_gaussian_splatting:", b"_HR_GAUSSIAN_SPLATTING_")
    (tmp_path / "b.glb").write_bytes(renamed)
    script = Path(__file__).parent / "validate_gltf.mjs"
    issues = json.loads(run_node(script, tmp_path / "b.glb", MODULES))["issues"]
    assert issues["numErrors"] == issues["numWarnings"] == issues["numHints"] == 0
    assert len(renamed) == len(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cuts": [Cut("20", np.full(5, 9))]}, "'20' cannot be the label of a cut"),
        ({"cuts": [Cut("a", np.full(4, 9))]}, "cut a is of 4 Gaussians, and there are 5"),
        ({"cuts": [Cut("a", np.full(5, 2))]}, "cut a has a segment of node 2, which the tree"),
        ({"cuts": [Cut("a", np.full(5, 9))] * 2}, "two cuts have the label a"),
        ({"cuts": [Cut("a", np.full(5, 9))] * 5}, "there are 5 cuts; a .glb holds 4"),
    ],
)
def test_write_glb_refuses(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        write_glb(tmp_path / "a.glb", make_splats(5), **(tree_options() | change))
    assert not list(tmp_path.iterdir())


def test_write_glb_refuses_nothing_and_too_much(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"no Gaussians to write to .*a\.glb"):
        write_glb(tmp_path / "a.glb", make_splats(5)[:0])
    monkeypatch.setattr(glb, "MOST_BYTES", 4000)
    too_much = r"a\.glb would take 0\.0 GB, and a \.glb holds 4\.29 GB"
    with pytest.raises(InputError, match=too_much):  # 41 * 100 bytes.
        write_glb(tmp_path / "a.glb", make_splats(41))
    with pytest.raises(InputError, match=too_much):  # With the JSON, which takes 2600.
        write_glb(tmp_path / "a.glb", make_splats(30))
    assert not list(tmp_path.iterdir())
    write_glb(tmp_path / "a.glb", make_splats(5))
