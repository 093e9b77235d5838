"""Point clouds and boxes, as programs of others read them."""

import numpy as np
import pytest
import trimesh

from splat_uff.export.cloud import write_boxes, write_cloud
from splat_uff.formats.ply import read_elements


@pytest.fixture
def points():
    """Centres, their segments, and the colours of these."""
    rng = np.random.default_rng(0)
    segments = np.repeat([3, 1, 7], [50, 20, 1])
    return rng.normal(size=(71, 3)), segments, rng.random((8, 3))[segments]


def test_write_cloud_is_read_by_others(points, tmp_path):
    positions, _, colours = points
    write_cloud(tmp_path / "a.ply", positions, colours)
    cloud = trimesh.load(tmp_path / "a.ply")
    np.testing.assert_array_equal(cloud.vertices, positions)
    np.testing.assert_allclose(cloud.colors[:, :3] / 255, colours, atol=0.5 / 255 + 1e-9)


def test_write_boxes_surround_their_segments_with_twelve_edges(points, tmp_path):
    positions, segments, colours = points
    write_boxes(tmp_path / "a.ply", positions, segments, colours)
    found = read_elements(tmp_path / "a.ply")
    corners = np.stack([found["vertex"][axis] for axis in "xyz"], axis=1)
    ends = np.stack([found["edge"]["vertex1"], found["edge"]["vertex2"]], axis=1)
    tones = np.stack([found["edge"][name] for name in ("red", "green", "blue")], axis=1)
    for box, segment in enumerate((1, 3, 7)):
        inside = positions[segments == segment]
        mine = corners[8 * box : 8 * box + 8]
        np.testing.assert_array_equal(mine.min(axis=0), inside.min(axis=0))
        np.testing.assert_array_equal(mine.max(axis=0), inside.max(axis=0))
        edges = ends[12 * box : 12 * box + 12] - 8 * box
        assert len({frozenset(each) for each in edges.tolist()}) == 12
        assert (np.bincount(edges.ravel(), minlength=8) == 3).all()
        sides = mine[edges[:, 0]] != mine[edges[:, 1]]
        assert (sides.sum(axis=1) == (len(inside) > 1)).all()  # Along one axis each.
        expected = np.broadcast_to(colours[segments == segment][0], (12, 3))
        np.testing.assert_allclose(
            tones[12 * box : 12 * box + 12] / 255, expected, atol=0.5 / 255 + 1e-9
        )


def test_no_centres_make_files_without_rows(tmp_path):
    none = np.zeros((0, 3))
    write_cloud(tmp_path / "cloud.ply", none, none)
    write_boxes(tmp_path / "boxes.ply", none, np.zeros(0, int), none)
    assert {len(each) for each in read_elements(tmp_path / "boxes.ply").values()} == {0}
    assert len(read_elements(tmp_path / "cloud.ply")["vertex"]) == 0
