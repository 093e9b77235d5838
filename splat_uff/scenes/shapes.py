"""Mesh primitives: surfaces of revolution, tubes, boxes, sheets.

All are centred on the origin unless a point is given, closed, and wound to face outwards.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.spatial import ConvexHull

from splat_uff.scenes.parts import Mesh

Point = tuple[float, float, float]


def lathe(profile: Sequence[tuple[float, float]], *, segments: int | None = None) -> Mesh:
    """Surface of revolution of a profile of (radius, z) points about the z axis.

    The profile runs from bottom to top along the outside (and back down along the inside); points
    of radius 0 close it. A profile that ends where it starts makes a ring. The number of segments
    depends on the radius unless given.
    """
    if segments is None:
        segments = int(np.clip(10 + 120 * max(radius for radius, _ in profile), 12, 60))
    angles = np.arange(segments) * (2 * np.pi / segments)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rings, indices, count = [], [], 0
    for radius, z in profile:
        on_axis = radius < 1e-9
        ring = np.zeros((1 if on_axis else segments, 3))
        ring[:, 2] = z
        if not on_axis:
            ring[:, :2] = circle * radius
        rings.append(ring)
        indices.append(count + (np.zeros(segments, int) if on_axis else np.arange(segments)))
        count += len(ring)
    if tuple(profile[0]) == tuple(profile[-1]) and profile[0][0] > 1e-9:
        indices[-1] = indices[0]
    return Mesh(np.concatenate(rings), _bands(np.stack(indices)))


def cylinder(
    radius: float, height: float, *, bevel: float = 0.0, segments: int | None = None
) -> Mesh:
    """Solid cylinder along z."""
    r, h, b = radius, height / 2, bevel
    side = [(r, -h), (r, h)] if b == 0 else [(r - b, -h), (r, b - h), (r, h - b), (r - b, h)]
    return lathe([(0.0, -h), *side, (0.0, h)], segments=segments)


def ring(inner: float, outer: float, height: float, *, bevel: float = 0.0) -> Mesh:
    """Ring of rectangular cross-section along z, with bevelled outer edges."""
    h, b = height / 2, bevel
    start = (inner, -h)
    side = [(outer, -h), (outer, h)]
    if b > 0:
        side = [(outer - b, -h), (outer, b - h), (outer, h - b), (outer - b, h)]
    return lathe([start, *side, (inner, h), start])


def torus(radius: float, thickness: float, *, segments: int | None = None, sides: int = 10) -> Mesh:
    """Torus about z; `thickness` is the radius of its tube."""
    angles = np.linspace(-np.pi / 2, 1.5 * np.pi, sides + 1)
    r, z = radius + thickness * np.cos(angles), thickness * np.sin(angles)
    profile = [(float(a), float(b)) for a, b in zip(r, z, strict=True)]
    return lathe([*profile[:-1], profile[0]], segments=segments)


def sphere(radius: float, *, segments: int = 24) -> Mesh:
    """Sphere; stretch it for an ellipsoid."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)
    middle = [(radius * float(np.cos(a)), radius * float(np.sin(a))) for a in angles[1:-1]]
    return lathe([(0.0, -radius), *middle, (0.0, radius)], segments=segments)


def tube(
    points: Sequence[Point],
    radius: float | Sequence[float] | Float[np.ndarray, "K"],
    *,
    sides: int = 10,
) -> Mesh:
    """Round tube along a polyline, closed at its ends.

    Args:
        points: Points of the polyline, at least two; no two neighbours are equal.
        radius: Radius of the tube: one, or one per point.
        sides: Number of facets around the tube.
    """
    path = np.asarray(points, float)
    radii = np.broadcast_to(np.asarray(radius, float), len(path))
    steps = np.diff(path, axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    tangents = np.concatenate([steps[:1], steps[:-1] + steps[1:], steps[-1:]])
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    across = np.cross(tangents[0], np.eye(3)[np.argmin(np.abs(tangents[0]))])
    angles = np.arange(sides) * (2 * np.pi / sides)
    rings = []
    for centre, tangent, thickness in zip(path, tangents, radii, strict=True):
        across = across - tangent * (across @ tangent)  # Transported, so it never twists.
        across /= np.linalg.norm(across)
        up = np.cross(tangent, across)
        circle = np.outer(np.cos(angles), across) + np.outer(np.sin(angles), up)
        rings.append(centre + thickness * circle)
    vertices = np.concatenate([path[:1], *rings, path[-1:]])
    grid = 1 + np.arange(len(path) * sides).reshape(len(path), sides)
    ends = np.zeros((1, sides), int)
    return Mesh(vertices, _bands(np.concatenate([ends, grid, ends + len(vertices) - 1])))


def curve(points: Sequence[Point], *, steps: int = 8) -> list[Point]:
    """Smooth polyline (Catmull-Rom) through `points`, with `steps` pieces between neighbours."""
    p = np.asarray(points, float)
    padded = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2)
        + 0.5 * (3 * b - a - 3 * c + d) * t**3
        for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False)
    ]
    return [(float(x), float(y), float(z)) for x, y, z in np.concatenate([*pieces, p[-1:]])]


def hull(points: Float[np.ndarray, "N 3"]) -> Mesh:
    """Convex hull of points: wedges, chamfered blocks, any convex shape."""
    triangles = ConvexHull(points).simplices.astype(np.int64)
    corners = points[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inward = np.sum(normals * (corners[:, 0] - points.mean(axis=0)), axis=1) < 0
    triangles[inward] = triangles[inward][:, ::-1]
    return Mesh(points, triangles)


def box(x: float, y: float, z: float, *, bevel: float = 0.0) -> Mesh:
    """Box with the given edge lengths, its edges cut by `bevel`."""
    signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1], indexing="ij"), axis=-1).reshape(8, 3)
    half = np.array([x, y, z]) / 2
    if bevel == 0:
        return hull(signs * half)
    return hull(np.concatenate([signs * (half - bevel * (1 - np.eye(3)[k])) for k in range(3)]))


def sheet(surface: Float[np.ndarray, "U V 3"], *, thickness: float) -> Mesh:
    """Thin solid over a grid of points; the grid faces along d/du x d/dv.

    Args:
        surface: Points of the middle surface, at least 2 x 2. Rows may shrink to a point.
        thickness: Distance between the two faces.
    """
    rows, columns = surface.shape[:2]
    normals = np.cross(np.gradient(surface, axis=0), np.gradient(surface, axis=1))
    normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-9)
    offset = normals * (thickness / 2)
    vertices = np.concatenate(
        [(surface + offset).reshape(-1, 3), (surface - offset).reshape(-1, 3)]
    )
    top = np.arange(rows * columns).reshape(rows, columns)
    bottom = top + rows * columns
    rim = np.concatenate([top[0, :-1], top[:-1, -1], top[-1, :0:-1], top[:0:-1, 0]])
    edge = np.stack([rim, rim + rows * columns])
    return Mesh(
        vertices,
        np.concatenate([quads(top), quads(bottom[:, ::-1]), _bands(edge)]),
    )


def _bands(grid: np.ndarray) -> np.ndarray:
    """Triangles between the closed rows of an index grid [K S], except for degenerate ones."""
    return quads(np.concatenate([grid, grid[:, :1]], axis=1)[:, ::-1])


def quads(grid: np.ndarray) -> np.ndarray:
    """Two triangles for each cell of an index grid, facing along d/drow x d/dcolumn."""
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    triangles = np.concatenate(
        [np.stack([a, b, c], axis=-1).reshape(-1, 3), np.stack([a, c, d], axis=-1).reshape(-1, 3)]
    )
    i, j, k = triangles.T
    return triangles[(i != j) & (j != k) & (k != i)].astype(np.int64)
