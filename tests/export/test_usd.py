"""OpenUSD stages, read back with OpenUSD itself."""

import numpy as np
import pytest

from splat_uff.export import usd as module
from splat_uff.export.tree import describe_tree
from splat_uff.export.usd import write_usd
from splat_uff.formats.records import needed_columns
from splat_uff.gaussians.source import centres_of
from splat_uff.hierarchy.dendrogram import Dendrogram
from splat_uff.system.errors import InputError

pxr = pytest.importorskip("pxr")
TREE = Dendrogram(
    np.array([7, 7, 8, 8, 8, 9, 9, 10, 10, 11, 11, 11]),
    np.array([*[0.0] * 7, 0.2, 0.3, 0.25, 0.6, 0.9]),
    7,
)
"""Leaves 0 to 6; groups 7 (0, 1), 8 (2, 3, 4) and 9 (5, 6); 10 joins 7 and 8; 11 is the root."""
CUT = np.array([7, 7, 8, 8, 8, 9, 9])


def table_of(count=7, *, rest=9, seed=0, wide=False):
    """Random rows whose opacities, scales and rotations are in raw form."""
    rng = np.random.default_rng(seed)
    kinds = [(n, "<f8" if wide and n in "xyz" else "<f4") for n in needed_columns(rest)]
    table = np.empty(count, kinds)
    for name in table.dtype.names:
        table[name] = rng.normal(size=count)
    return table


def write(path, table=None, *, names=None, cut=CUT, tree=TREE, support=None, **options):
    table = table_of() if table is None else table
    nodes = describe_tree(tree, centres_of(table), names, support)
    write_usd(path, table, nodes, cut, **options)
    return pxr.Usd.Stage.Open(str(path))


@pytest.fixture(autouse=True)
def modules():
    from pxr import Gf, Usd, UsdGeom, UsdValidation, UsdVol  # noqa: F401


def splats_of(stage):
    return [each for each in stage.Traverse() if each.GetTypeName() == module.SCHEMA]


def value(prim, name):
    return np.array(prim.GetAttribute(name).Get())


@pytest.mark.parametrize("ending", [".usdc", ".usda", ".usd"])
def test_write_usd_holds_every_gaussian_once_to_the_bit(tmp_path, ending):
    table = table_of(rest=9)
    stage = write(tmp_path / f"a{ending}", table)
    found = {str(prim.GetPath()).split("/")[-2]: prim for prim in splats_of(stage)}
    assert sorted(found) == ["node_7", "node_8", "node_9"]
    for name, rows in {"node_7": [0, 1], "node_8": [2, 3, 4], "node_9": [5, 6]}.items():
        prim, part = found[name], table[rows]
        positions = value(prim, "positions")
        assert positions.dtype == np.float32
        assert (positions == np.stack([part["x"], part["y"], part["z"]], 1)).all()
        scales = np.exp(np.stack([part[f"scale_{i}"] for i in range(3)], 1).astype(np.float64))
        assert (value(prim, "scales") == scales.astype(np.float32)).all()
        opacities = 1 / (1 + np.exp(-part["opacity"].astype(np.float64)))
        np.testing.assert_array_max_ulp(
            value(prim, "opacities"), opacities.astype(np.float32), maxulp=1
        )
        quats = np.stack([part[f"rot_{i}"] for i in range(4)], 1).astype(np.float64)
        quats = (quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype(np.float32)
        read = [(q.GetReal(), *q.GetImaginary()) for q in prim.GetAttribute("orientations").Get()]
        assert (np.array(read, np.float32) == quats).all()


@pytest.mark.parametrize(("rest", "degree"), [(0, 0), (9, 1), (24, 2), (45, 3), (72, 3)])
def test_write_usd_groups_harmonics_by_particle_and_degree(tmp_path, rest, degree):
    table = table_of(rest=rest)
    stage = write(tmp_path / "a.usdc", table)
    prim = stage.GetPrimAtPath("/Scene/node_11/node_10/node_7/Gaussians")
    assert prim.GetAttribute("radiance:sphericalHarmonicsDegree").Get() == degree
    coefficients = value(prim, "radiance:sphericalHarmonicsCoefficients")
    each = (degree + 1) ** 2
    assert coefficients.shape == (2 * each, 3)
    for particle in range(2):
        for channel in range(3):
            assert coefficients[particle * each, channel] == table[f"f_dc_{channel}"][particle]
            for k in range(each - 1):
                column = f"f_rest_{channel * (rest // 3) + k}"
                assert coefficients[particle * each + 1 + k, channel] == table[column][particle]


def test_write_usd_nests_and_names_nodes_as_the_tree(tmp_path):
    support = np.linspace(0, 1, 12)
    stage = write(tmp_path / "a.usda", names={10: "chair", 8: "left leg"}, support=support)
    paths = [str(each.GetPath()) for each in stage.Traverse()]
    assert sorted(paths) == [
        "/Scene",
        "/Scene/node_11",
        "/Scene/node_11/chair",
        "/Scene/node_11/chair/left_leg",
        "/Scene/node_11/chair/left_leg/Gaussians",
        "/Scene/node_11/chair/node_7",
        "/Scene/node_11/chair/node_7/Gaussians",
        "/Scene/node_11/node_9",
        "/Scene/node_11/node_9/Gaussians",
    ]
    leg = stage.GetPrimAtPath("/Scene/node_11/chair/left_leg")
    assert leg.GetDisplayName() == "left leg"
    assert leg.GetCustomDataByKey("splat_uff") == {
        "id": 8, "parent": 10, "height": 0.3, "size": 3, "name": "left leg", "support": 0.7273,
    }  # fmt: skip


def test_write_usd_sets_the_stage_up(tmp_path):
    from pxr import UsdGeom

    stage = write(tmp_path / "a.usdc", metres=0.5)
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 0.5
    scene = stage.GetDefaultPrim()
    assert str(scene.GetPath()) == "/Scene"
    # No op on the default prim: a stage that refers to it places it with ops of its own.
    assert not UsdGeom.Xformable(scene).GetOrderedXformOps()


def in_world(stage, path, point):
    from pxr import Gf, Usd, UsdGeom

    matrix = UsdGeom.Xformable(stage.GetPrimAtPath(path)).ComputeLocalToWorldTransform(
        Usd.TimeCode.Default()
    )
    return list(matrix.Transform(Gf.Vec3d(*point)))


def test_write_usd_turns_up_to_y(tmp_path):
    segment = "/Scene/node_11/node_9/Gaussians"
    opencv = write(tmp_path / "a.usdc")
    assert in_world(opencv, segment, (1, 2, 3)) == [1, -2, -3]


def test_write_usd_moves_the_origin_of_centres_that_32_bits_cannot_hold(tmp_path):
    table = table_of(wide=True)
    table["x"] += 4e6
    stage = write(tmp_path / "a.usdc", table)
    path = "/Scene/node_11/node_10/node_7/Gaussians"
    first = stage.GetPrimAtPath(path).GetAttribute("positions").Get()[0]
    assert max(map(abs, first)) < 20
    expected = [table["x"][0], -table["y"][0], -table["z"][0]]
    np.testing.assert_allclose(in_world(stage, path, first), expected, atol=1e-6)


def test_write_usd_gives_extents_that_hold_the_ellipsoids(tmp_path):
    from pxr import Usd, UsdGeom

    table = table_of(1)
    for name in table.dtype.names:
        table[name] = 0
    table["x"], table["rot_0"], table["rot_3"] = 5, 1, 1  # A quarter of a turn about z.
    table["scale_0"], table["scale_1"], table["scale_2"] = np.log(2), 0, np.log(0.5)
    tree = Dendrogram(np.array([1, 1]), np.array([0.0, 0.5]), 1)
    stage = write(tmp_path / "a.usdc", table, tree=tree, cut=np.array([1]))
    (prim,) = splats_of(stage)
    low, high = value(prim, "extent")
    np.testing.assert_allclose([low, high], [[2, -6, -1.5], [8, 6, 1.5]], rtol=1e-6)
    assert (low <= [2, -6, -1.5]).all()
    assert (high >= [8, 6, 1.5]).all()
    cache = UsdGeom.BBoxCache(Usd.TimeCode.Default(), ["default"])
    box = cache.ComputeWorldBound(stage.GetDefaultPrim()).ComputeAlignedRange()
    np.testing.assert_allclose(box.GetMax(), [8, 6, 1.5], rtol=1e-6)


def complaints(stage):
    """Everything that the validators of OpenUSD have to say."""
    from pxr import UsdValidation

    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    errors = UsdValidation.ValidationContext(validators).Validate(stage)
    return [(each.GetName(), each.GetMessage()) for each in errors]


def test_write_usd_passes_validation_which_finds_mistakes(tmp_path):
    stage = write(tmp_path / "a.usdc", names={8: "leg"})
    assert complaints(stage) == []
    stage.ClearDefaultPrim()
    assert complaints(stage)


HOSTILE = [
    "a/b",
    "../..",
    "日本",
    "",
    "7up",
    "a\nb\"'''",
    "x" * 5000,
    "\ud800",
    "a\0b",
    "{}[]<>",
    ".",
]


@pytest.mark.parametrize("ending", [".usdc", ".usda"])
def test_write_usd_takes_any_name(tmp_path, ending):
    from pxr import Sdf

    count = len(HOSTILE)
    tree = Dendrogram(
        np.array([*range(count, 2 * count), *[2 * count] * (count + 1)]),
        np.array([*[0.0] * count, *[0.1] * count, 1.0]),
        count,
    )
    names = dict(enumerate(HOSTILE, start=count))
    cut = np.arange(count, 2 * count)
    stage = write(tmp_path / f"a{ending}", table_of(count), names=names, tree=tree, cut=cut)
    prims = {
        each.GetCustomDataByKey("splat_uff")["id"]: each
        for each in stage.GetPrimAtPath(f"/Scene/node_{2 * count}").GetChildren()
    }
    assert sorted(prims) == list(range(count, 2 * count))
    for prim in prims.values():
        assert Sdf.Path.IsValidIdentifier(prim.GetName())
        assert prim.GetName().isascii()
        assert len(prim.GetName()) < 100
    said = [prims[node].GetDisplayName() for node in sorted(prims)]
    assert said[:6] == HOSTILE[:6]
    assert said[6:] == ["x" * 1000, "?", "ab", "{}[]<>", "."]
    assert complaints(stage) == []


def test_write_usd_tells_namesakes_apart(tmp_path):
    tree = Dendrogram(np.array([4, 5, 6, 7, 8, 8, 8, 8, 8]), np.array([*[0.0] * 8, 1.0]), 4)
    names = {4: "gaussians", 5: "Leg", 6: "leg", 7: "leg_5"}
    stage = write(tmp_path / "a.usdc", table_of(4), tree=tree, names=names, cut=np.arange(4, 8))
    found = [each.GetName() for each in stage.GetPrimAtPath("/Scene/node_8").GetChildren()]
    assert (
        sorted(found) == ["Leg_5", "gaussians_4", "leg_5_7", "leg_6"]
        or len({each.lower() for each in found}) == 4
    )
    assert "Gaussians" not in found


def test_write_usd_places_segments_of_one_gaussian(tmp_path):
    cut = np.array([0, 1, 8, 8, 8, 9, 9])
    stage = write(tmp_path / "a.usdc", cut=cut, parents=TREE.parents)
    path = "/Scene/node_11/node_10/node_7/node_1"
    assert stage.GetPrimAtPath(path).GetCustomDataByKey("splat_uff")["parent"] == 7
    assert len(stage.GetPrimAtPath(f"{path}/Gaussians").GetAttribute("positions").Get()) == 1
    stage = write(tmp_path / "b.usdc", cut=cut)
    assert stage.GetPrimAtPath("/Scene/node_11/node_1/Gaussians")


def test_write_usd_takes_a_cut_of_the_root_and_flat_and_opaque_gaussians(tmp_path):
    table = table_of()
    table["scale_1"], table["opacity"] = -np.inf, np.inf
    stage = write(tmp_path / "a.usdc", table, cut=np.full(7, 11))
    (prim,) = splats_of(stage)
    assert str(prim.GetPath()) == "/Scene/node_11/Gaussians"
    assert (value(prim, "opacities") == 1).all()
    assert np.isfinite(value(prim, "scales")).all()
    assert np.isfinite(value(prim, "extent")).all()


def test_write_usd_bounds_the_depth(tmp_path):
    count = 400
    parents = np.array([*range(count, 2 * count), *range(count + 1, 2 * count), 2 * count - 1])
    tree = Dendrogram(parents, np.linspace(0, 1, 2 * count), count)
    stage = write(tmp_path / "a.usdc", table_of(count), tree=tree, cut=np.arange(count, 2 * count))
    found = splats_of(stage)
    assert len(found) == count
    assert max(len(str(each.GetPath()).split("/")) for each in found) == module.DEEPEST + 3


def test_write_usd_writes_the_same_bytes_twice(tmp_path):
    write(tmp_path / "a.usdc")
    write(tmp_path / "b.usdc")
    assert (tmp_path / "a.usdc").read_bytes() == (tmp_path / "b.usdc").read_bytes()


def test_write_usd_refuses_mistakes_and_leaves_no_file(tmp_path, monkeypatch):
    table = table_of()
    with pytest.raises(InputError, match=r"expected one of \.usdc, \.usda, \.usd"):
        write(tmp_path / "a.glb")
    with pytest.raises(InputError, match="metres is 0"):
        write(tmp_path / "a.usdc", metres=0)
    with pytest.raises(InputError, match="the cut has 6 rows, the table 7"):
        write(tmp_path / "a.usdc", cut=CUT[:6])
    with pytest.raises(InputError, match="names node 99, which is not in the tree"):
        write(tmp_path / "a.usdc", cut=np.where(CUT == 9, 99, CUT))
    table["x"][2] = np.nan
    nodes = describe_tree(TREE, centres_of(table_of()))
    with pytest.raises(InputError, match="1 Gaussians cannot be drawn"):
        write_usd(tmp_path / "a.usdc", table, nodes, CUT)
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install usd-core"):
        write(tmp_path / "a.usdc")
    assert list(tmp_path.iterdir()) == []
