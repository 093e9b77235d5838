"""Collision meshes: closed, convex, around what is there, and split where that is worth it."""

import numpy as np
import pytest
import trimesh
from scipy.spatial import ConvexHull

from splat_uff.export import hulls
from splat_uff.export.collision import MOST_CORNERS, collision_pieces, write_collision
from splat_uff.export.hulls import Hull, hull_of, simplify
from splat_uff.formats.records import needed_columns
from splat_uff.hierarchy.dendrogram import Dendrogram
from splat_uff.hierarchy.walk import Walk
from splat_uff.run.open import open_run
from splat_uff.system.errors import InputError

try:
    import open3d as o3d
except ImportError:  # It has no wheel for Python 3.13.
    o3d = None


def table_of(centres, *, sigma=0.01, opacity=0.9):
    """Round Gaussians at given places."""
    table = np.zeros(len(centres), [(name, "<f4") for name in needed_columns(0)])
    for axis, name in enumerate("xyz"):
        table[name] = np.asarray(centres)[:, axis]
    for axis in range(3):
        table[f"scale_{axis}"] = np.log(sigma)
    table["opacity"] = np.log(opacity / (1 - np.asarray(opacity)))
    table["rot_0"] = 1
    return table


def tree_of(*groups):
    """Tree of groups with so many leaves each, joined one after another."""
    leaves, count = sum(groups), len(groups)
    parents = np.repeat(np.arange(leaves, leaves + count), groups).tolist()
    joins = list(range(leaves + count, leaves + 2 * count - 1))
    if not joins:
        return Walk(Dendrogram(np.array([*parents, leaves]), np.zeros(leaves + 1), leaves))
    above = [joins[0], joins[0], *joins[1:]]
    parents += [*above, *joins[1:], joins[-1]]
    altitudes = np.array([*[0.0] * (leaves + count), *np.linspace(0.5, 1, count - 1)])
    return Walk(Dendrogram(np.array(parents), altitudes, leaves))


def filled(low, high, count, seed=0):
    """Points in a box, its corners among them."""
    low, high = np.array(low, float), np.array(high, float)
    corners = np.array(np.meshgrid(*np.stack([low, high], 1))).reshape(3, -1).T
    inner = np.random.default_rng(seed).uniform(low, high, (count - 8, 3))
    return np.concatenate([corners, inner])


def in_open3d(hull):
    return o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(hull.vertices), o3d.utility.Vector3iVector(hull.triangles)
    )


def check_closed(hull):
    """Closed, outward, convex and finite, by programs that are not ours."""
    assert np.isfinite(hull.vertices).all()
    if o3d is not None:
        mesh = in_open3d(hull)
        assert mesh.is_orientable()
        assert mesh.is_edge_manifold(allow_boundary_edges=False)
        assert mesh.is_vertex_manifold()
        assert mesh.get_volume() == pytest.approx(hull.volume)
    other = trimesh.Trimesh(hull.vertices, hull.triangles, process=False)
    assert other.is_watertight
    assert other.is_winding_consistent
    assert other.volume > 0  # Negative if normals point inwards.
    assert other.euler_number == 2
    centred = hull.vertices - hull.vertices.mean(axis=0)
    size = np.abs(centred).max()
    # A closed surface through all of the corners with the area of their hull is that hull.
    assert other.area / size**2 == pytest.approx(ConvexHull(centred / size).area, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_hull_of_is_the_convex_hull(seed):
    points = np.random.default_rng(seed).normal(size=(200, 3)) + 100 * seed
    hull = hull_of(points, 0)
    check_closed(hull)
    assert hull.volume == pytest.approx(ConvexHull(points).volume, rel=1e-9)
    assert hull.holds(points).all()
    assert not hull.holds(points + 100).any()


DEGENERATE = {
    "point": np.zeros((1, 3)),
    "same points": np.ones((50, 3)),
    "far point": np.full((3, 3), 1e6),
    "line": np.linspace(0, 1, 30)[:, None] * [1, 2, 3],
    "plane": np.random.default_rng(0).random((40, 2)) @ [[1, 0, 1], [0, 1, 1]],
    "grid": np.array(np.meshgrid(range(5), range(5), [0])).reshape(3, -1).T.astype(float),
    "cube": np.array(np.meshgrid(range(5), range(5), range(5))).reshape(3, -1).T.astype(float),
    "needle": np.random.default_rng(0).random((40, 3)) * [1, 1e-9, 1e-12],
    "tiny": np.random.default_rng(0).random((40, 3)) * 1e-12,
    "huge": np.random.default_rng(0).random((40, 3)) * 1e12,
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_hull_of_degenerate_points_is_closed_and_as_thick_as_asked(name):
    points = DEGENERATE[name]
    size = max(np.ptp(points, axis=0).max(), 1e-9)
    hull = hull_of(points, 0.02 * size)
    check_closed(hull)
    assert hull.holds(points).all()
    _, axes = np.linalg.eigh(np.cov(hull.vertices.T))
    assert (np.ptp(hull.vertices @ axes, axis=0) > 0.019 * size).all()


@pytest.mark.parametrize("name", DEGENERATE)
def test_hull_of_falls_back_to_a_box(name, monkeypatch):
    monkeypatch.setattr(hulls, "_is_closed", lambda _: False)
    hull = hull_of(DEGENERATE[name], 0)
    assert len(hull.vertices) == 8
    check_closed(hull)
    assert hull.holds(DEGENERATE[name]).all()


@pytest.mark.parametrize("most", [8, 16, 34, 64])
def test_simplify_keeps_the_volume_and_the_limit(most):
    points = np.random.default_rng(0).normal(size=(2000, 3))
    ball = hull_of(points / np.linalg.norm(points, axis=1, keepdims=True) * [1, 2, 0.1] + 50, 0)
    simple = simplify(ball, most)
    check_closed(simple)
    assert len(simple.vertices) <= most
    assert len(simple.triangles) <= 2 * most - 4
    assert simple.volume == pytest.approx(ball.volume)


def test_simplify_leaves_a_box_as_it_is():
    box = hull_of(DEGENERATE["cube"], 0)
    simple = simplify(box, 8)
    assert sorted(simple.vertices.round(9).tolist()) == sorted(
        [float(x), float(y), float(z)] for x in (0, 4) for y in (0, 4) for z in (0, 4)
    )
    assert simple.volume == pytest.approx(64)


def test_collision_pieces_of_an_l_are_its_two_arms():
    """Arms of 3 x 1 x 1 and 1 x 2 x 1: volume 5, and 7 of their common hull."""
    centres = np.concatenate(
        [filled((0, 0, 0), (3, 1, 1), 300), filled((0, 1, 0), (1, 3, 1), 200, seed=1)]
    )
    table, walk = table_of(centres), tree_of(300, 200)
    whole = collision_pieces(table, walk, walk.root, most_pieces=1)
    assert len(whole.pieces) == 1
    assert whole.volume == pytest.approx(7, rel=0.05)
    found = collision_pieces(table, walk, walk.root)
    assert found.nodes == (500, 501)
    sides = [3.02 * 1.02 * 1.02, 1.02 * 2.02 * 1.02]  # One sigma, 0.01, more on each side.
    assert [piece.volume for piece in found.pieces] == pytest.approx(sides, rel=1e-3)
    assert found.share > 0.99
    for piece in (*found.pieces, *whole.pieces):
        check_closed(piece)
        # This includes that it does not cut through itself.
        assert o3d is None or in_open3d(piece).is_watertight()
    assert len(collision_pieces(table, walk, walk.root, price=0.9).pieces) == 1


def test_collision_pieces_do_not_split_what_is_convex():
    centres = np.concatenate(
        [filled((0, 0, 0), (1, 1, 1), 200), filled((1, 0, 0), (2, 1, 1), 200, seed=1)]
    )
    walk = tree_of(200, 200)
    found = collision_pieces(table_of(centres), walk, walk.root)
    assert found.nodes == (walk.root,)
    assert found.volume == pytest.approx(2, rel=0.1)


def test_price_decides_whether_a_hollow_ball_comes_apart():
    """Hulls of its octants save a third of the volume, which 7 more pieces may be worth."""
    points = np.random.default_rng(0).normal(size=(2400, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    octants = (points > 0) @ [4, 2, 1]
    table = table_of(points[np.argsort(octants, kind="stable")])
    walk = tree_of(*np.bincount(octants).tolist())
    assert collision_pieces(table, walk, walk.root, price=0.06).nodes == (walk.root,)
    assert len(collision_pieces(table, walk, walk.root, price=0.03).pieces) == 8


def test_collision_pieces_do_not_halve_a_sheet():
    """Its halves are as thick as the whole, although each is thinner by itself."""
    sheet = np.concatenate([filled((0, 0, 0), (1, 1, 0), 200), filled((1, 0, 0), (2, 1, 0), 200)])
    walk = tree_of(200, 200)
    found = collision_pieces(table_of(sheet, sigma=1e-6), walk, walk.root)
    assert found.nodes == (walk.root,)
    check_closed(found.pieces[0])


def test_collision_pieces_leave_out_strays_and_haze():
    cube = filled((0, 0, 0), (1, 1, 1), 400)
    centres = np.concatenate([cube, [[30, 0, 0]], np.full((20, 3), 40.0)])
    opacity = np.concatenate([np.full(401, 0.9), np.full(20, 0.05)])
    walk = tree_of(421)
    found = collision_pieces(table_of(centres, opacity=opacity), walk, walk.root)
    assert found.volume == pytest.approx(1, rel=0.1)
    assert found.share == pytest.approx(400 / 401)


def test_collision_pieces_leave_out_a_small_group_far_away():
    """Without it, the legs of the L are still told apart: prices are those of what remains."""
    centres = np.concatenate(
        [
            filled((0, 0, 0), (3, 1, 1), 1800),
            filled((0, 1, 0), (1, 3, 1), 1200, seed=1),
            filled((50, 50, 50), (50.3, 50.3, 50.3), 10, seed=2),
        ]
    )
    walk = tree_of(1800, 1200, 10)
    found = collision_pieces(table_of(centres), walk, walk.root)
    assert found.nodes == (3010, 3011)
    assert found.share == pytest.approx(3000 / 3010, abs=0.01)


def test_collision_pieces_keep_to_their_number():
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 10, (12, 3))
    centres = np.concatenate([place + rng.random((30, 3)) for place in places])
    walk = tree_of(*[30] * 12)
    counts = [
        len(collision_pieces(table_of(centres), walk, walk.root, most_pieces=most).pieces)
        for most in (1, 2, 5, 12, 16)
    ]
    assert counts[0] == 1
    assert all(found <= most for found, most in zip(counts, (1, 2, 5, 12, 16), strict=True))
    assert counts == sorted(counts)
    assert counts[-1] > 5


@pytest.mark.parametrize("sigma", [0.01, 1e-30])
@pytest.mark.parametrize("place", ["leaf", "invisible", "pair", "line"])
def test_collision_pieces_of_little_are_closed(place, sigma):
    centres = {"line": np.linspace(0, 1, 40)[:, None] * [1, 0, 0]}.get(place, np.eye(3)[:2])
    table = table_of(centres, sigma=sigma, opacity=0.001 if place == "invisible" else 0.9)
    walk = tree_of(len(centres))
    found = collision_pieces(table, walk, 0 if place == "leaf" else walk.root)
    for piece in found.pieces:
        check_closed(piece)
    assert found.share == 1


def test_collision_pieces_end_at_one_sigma_of_turned_gaussians():
    table = table_of([[5, 0, 0]])
    table["scale_0"], table["scale_1"], table["scale_2"] = np.log([0.1, 0.2, 0.4])
    table["rot_0"], table["rot_2"] = np.cos(np.pi / 4), np.sin(np.pi / 4)  # Takes z to x.
    (piece,) = collision_pieces(table, tree_of(1), 1).pieces
    np.testing.assert_allclose(piece.vertices.min(axis=0), [4.6, -0.2, -0.1], atol=1e-6)
    np.testing.assert_allclose(piece.vertices.max(axis=0), [5.4, 0.2, 0.1], atol=1e-6)


def test_collision_pieces_refuse_mistakes():
    table, walk = table_of(np.eye(3)), tree_of(3)
    with pytest.raises(InputError, match="there is no node 4; expected one below 4"):
        collision_pieces(table, walk, 4)
    with pytest.raises(InputError, match="the table has 2 rows, the tree 3 leaves"):
        collision_pieces(table[:2], walk, 3)
    with pytest.raises(InputError, match="most_pieces is 0"):
        collision_pieces(table, walk, 3, most_pieces=0)
    for price in (0, -1, 2, np.nan):
        with pytest.raises(InputError, match="price is"):
            collision_pieces(table, walk, 3, price=price)
    with pytest.raises(InputError, match="most_corners is 7; expected at least 8"):
        collision_pieces(table, walk, 3, most_corners=7)


def test_every_part_of_a_run_gets_closed_pieces_twice_alike(trained):
    run = open_run(trained)
    nodes = np.unique(run.nodes(10)).tolist()
    assert len(nodes) == 10
    for node in [run.walk.root, *nodes, 0]:
        found = collision_pieces(run.table, run.walk, node)
        assert 1 <= len(found.pieces) <= 16
        for piece in found.pieces:
            check_closed(piece)
            assert len(piece.vertices) <= MOST_CORNERS
        assert found.share > 0.8
        again = collision_pieces(run.table, run.walk, node)
        assert again.nodes == found.nodes
        for one, other in zip(found.pieces, again.pieces, strict=True):
            assert (one.vertices == other.vertices).all()
            assert (one.triangles == other.triangles).all()


def read_objects(path):
    """Objects of an `.obj`, read by hand: name, vertices and triangles counted from the first."""
    objects, vertices = [], []
    for word, *values in map(str.split, path.read_text().splitlines()):
        if word == "o":
            objects.append((values[0], []))
        elif word == "v":
            vertices.append([float(each) for each in values])
        elif word == "f":
            objects[-1][1].append([int(each) - 1 for each in values])
    return objects, np.array(vertices)


def test_write_collision_is_read_by_others(tmp_path):
    pieces = [hull_of(filled((x, 0, 0), (x + 1, 1, 1), 30, seed=x), 0) for x in range(3)]
    write_collision(tmp_path / "a.obj", pieces, "left leg")
    objects, vertices = read_objects(tmp_path / "a.obj")
    assert [name for name, _ in objects] == ["left_leg_1", "left_leg_2", "left_leg_3"]
    for (_, triangles), piece in zip(objects, pieces, strict=True):
        used, local = np.unique(triangles, return_inverse=True)
        check_closed(Hull(vertices[used], local.reshape(-1, 3)))
        assert vertices[used] == pytest.approx(piece.vertices)
    scene = trimesh.load_scene(tmp_path / "a.obj", split_objects=True, group_material=False)
    assert sorted(each.volume for each in scene.geometry.values()) == pytest.approx([1, 1, 1])
    if o3d is not None:
        mesh = o3d.io.read_triangle_mesh(str(tmp_path / "a.obj"))
        assert len(mesh.triangles) == sum(len(piece.triangles) for piece in pieces)


@pytest.mark.parametrize("name", ["", "a\nv 1 2 3", "日本", "x" * 500, "../a"])
def test_write_collision_takes_any_name(tmp_path, name):
    write_collision(tmp_path / "a.obj", [hull_of(DEGENERATE["cube"], 0)], name)
    objects, vertices = read_objects(tmp_path / "a.obj")
    assert len(objects) == 1
    assert len(vertices) == 8
    assert len(objects[0][0]) < 70


def test_write_collision_writes_the_same_bytes_twice(tmp_path):
    for name in "ab":
        points = np.random.default_rng(0).normal(size=(99, 3))
        write_collision(tmp_path / f"{name}.obj", [hull_of(points, 0)], "part")
    assert (tmp_path / "a.obj").read_bytes() == (tmp_path / "b.obj").read_bytes()
