"""Merging parts to one set of triangles for lighting: shading normals and a fine enough grid."""

import numpy as np
from jaxtyping import Float, Int

from splat_uff.scenes.parts import Mesh, Part
from splat_uff.system.records import array_record


@array_record
class Surface:
    """Triangles of a scene; vertices with different shading normals are separate."""

    vertices: Float[np.ndarray, "N 3"]
    normals: Float[np.ndarray, "N 3"]
    """Unit shading normals, facing outwards."""
    triangles: Int[np.ndarray, "M 3"]
    part_of_triangle: Int[np.ndarray, "M"]
    """Index of each triangle's part in the list of parts."""


def build_surface(parts: list[Part], *, crease_degrees: float, max_edge: float) -> Surface:
    """Merge all parts into one surface.

    Args:
        parts: Parts of the scene.
        crease_degrees: Angle, in degrees, below which faces that meet are shaded smoothly.
        max_edge: Maximum length of an edge, in world units; longer ones are split, so that light
            stored per vertex is fine enough.
    """
    pieces = [_refine(*_shaded(part.mesh, crease_degrees), max_edge) for part in parts]
    counts = np.cumsum([0] + [len(vertices) for vertices, _, _ in pieces])
    return Surface(
        np.concatenate([vertices for vertices, _, _ in pieces]),
        np.concatenate([normals for _, normals, _ in pieces]),
        np.concatenate([piece[2] + start for piece, start in zip(pieces, counts, strict=False)]),
        np.repeat(np.arange(len(pieces)), [len(triangles) for _, _, triangles in pieces]),
    )


def _shaded(mesh: Mesh, crease_degrees: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, normals and triangles, with a copy of each vertex for every smoothing group."""
    corners = mesh.vertices[mesh.triangles]
    areas = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(areas, axis=1, keepdims=True)
    solid = lengths[:, 0] > 1e-12
    triangles, areas, lengths = mesh.triangles[solid], areas[solid], lengths[solid]
    units = areas / lengths

    # Every ordered pair of corners at the same vertex; two faces blend if their angle is small.
    flat = triangles.reshape(-1)
    order = np.argsort(flat, kind="stable")
    valence = np.bincount(flat, minlength=len(mesh.vertices))
    starts = np.cumsum(valence) - valence
    many = valence[flat[order]]
    first = np.repeat(order, many)
    within = np.arange(len(first)) - np.repeat(np.cumsum(many) - many, many)
    second = order[np.repeat(starts[flat[order]], many) + within]
    blend = np.sum(units[first // 3] * units[second // 3], axis=1) > np.cos(
        np.radians(crease_degrees)
    )
    sums = np.stack(
        [
            np.bincount(first, weights=areas[second // 3, k] * blend, minlength=len(flat))
            for k in range(3)
        ],
        axis=1,
    )
    normals = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)

    keys = np.concatenate([flat[:, None], np.round(normals * 500).astype(np.int64)], axis=1)
    _, picks, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return mesh.vertices[flat[picks]], normals[picks], inverse.reshape(-1, 3)


def _refine(
    vertices: np.ndarray, normals: np.ndarray, triangles: np.ndarray, max_edge: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Halve edges until none is longer than `max_edge`; neighbours split shared edges alike."""
    while True:
        edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]], axis=2).reshape(-1, 2)
        lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
        long = lengths > max_edge
        if not long.any():
            return vertices, normals, triangles
        ends, inverse = np.unique(edges[long], axis=0, return_inverse=True)
        middle = np.full(len(edges), -1)
        middle[long] = len(vertices) + inverse.reshape(-1)
        vertices = np.concatenate([vertices, vertices[ends].mean(axis=1)])
        between = normals[ends].sum(axis=1)
        between /= np.maximum(np.linalg.norm(between, axis=1, keepdims=True), 1e-12)
        normals = np.concatenate([normals, between])
        triangles = _split(triangles, middle.reshape(-1, 3), lengths.reshape(-1, 3))


def _split(triangles: np.ndarray, middle: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Cut triangles at the midpoints of their edges; `middle` is -1 where an edge stays whole."""
    # With each triangle turned so that its longest edge comes first, four cases remain.
    turn = (np.argmax(np.where(middle >= 0, lengths, -1), axis=1)[:, None] + np.arange(3)) % 3
    a, b, c = np.take_along_axis(triangles, turn, axis=1).T
    ab, bc, ca = np.take_along_axis(middle, turn, axis=1).T
    cases = [
        (ab < 0, [(a, b, c)]),
        ((ab >= 0) & (bc < 0) & (ca < 0), [(a, ab, c), (ab, b, c)]),
        ((ab >= 0) & (bc >= 0) & (ca < 0), [(a, ab, c), (ab, b, bc), (ab, bc, c)]),
        ((ab >= 0) & (bc < 0) & (ca >= 0), [(a, ab, ca), (ab, b, c), (ca, ab, c)]),
        (
            (ab >= 0) & (bc >= 0) & (ca >= 0),
            [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)],
        ),
    ]
    return np.concatenate(
        [np.stack(piece, axis=1)[chosen] for chosen, pieces in cases for piece in pieces]
    )
