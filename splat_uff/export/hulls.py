"""Convex hulls as closed meshes: never degenerate, and with as few corners as wanted."""

import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.system.records import array_record

LEAST_CORNERS = 8
"""Fewest corners that a hull can be simplified to: those of a box."""
NEAR = 1e-3
"""Distance, in diagonals of a hull, that a simplified hull may leave out."""
SMALLEST = 1e-5
"""Least thickness of a hull, in units of its largest coordinate, which float32 resolves."""
TINIEST = 1e-9
"""Least thickness of a hull in its own units."""
SAME = 1e-7
"""Distance, in sizes of a hull, below which points count as one."""
SLIVER = 1e-10
"""Area, in squared sizes of a hull, below which a triangle's plane is arbitrary."""
_BOX = np.array(
    [
        *((0, 2, 3), (0, 3, 1), (4, 5, 7), (4, 7, 6), (0, 1, 5), (0, 5, 4)),
        *((2, 6, 7), (2, 7, 3), (0, 4, 6), (0, 6, 2), (1, 3, 7), (1, 7, 5)),
    ]
)
"""Triangles of a box whose corner 4 z + 2 y + x is at the side x, y, z: each 0 or 1."""
_STARTS = np.array(
    [
        (x, y, z)
        for x in (-1, 0, 1)
        for y in (-1, 0, 1)
        for z in (-1, 0, 1)
        if (x, y, z) != (0, 0, 0)
    ]
)


@array_record
class Hull:
    """Closed convex mesh; its triangles run counter-clockwise as seen from outside."""

    vertices: Float[np.ndarray, "V 3"]
    triangles: Int[np.ndarray, "F 3"]

    @property
    def volume(self) -> float:
        """Volume in cubed units of the vertices."""
        corners = (self.vertices - self.vertices.mean(axis=0))[self.triangles]
        return float(np.linalg.det(corners).sum() / 6)

    def holds(self, points: Float[np.ndarray, "N 3"]) -> Bool[np.ndarray, "N"]:
        """Whether each point lies inside, or on the surface up to rounding."""
        normals, offsets = _planes(self)
        size = float(np.ptp(self.vertices, axis=0).max())
        inside = np.ones(len(points), bool)
        for normal, offset in zip(normals, offsets, strict=True):
            inside[inside] = points[inside] @ normal <= offset + 1e-9 * size
        return inside


def hull_of(points: Float[np.ndarray, "N 3"], thickness: float) -> Hull:
    """Convex hull of points, which may all coincide, or lie on a line or a plane.

    Args:
        points: Points; at least one.
        thickness: Least extent along each principal axis of the points, at least 0. A thinner set
            is moved to both sides along that axis, until it is that thick.
    """
    return hull_and_corners(points, thickness)[0]


def hull_and_corners(
    points: Float[np.ndarray, "N 3"], thickness: float
) -> tuple[Hull, Int[np.ndarray, "K"]]:
    """Same hull as `hull_of`, and which of the points it needs."""
    from scipy.spatial import ConvexHull, QhullError

    centre = points.mean(axis=0)
    # Qhull gets numbers of size 1, so that it rounds alike in all scenes.
    size = max(float(np.abs(points - centre).max()), thickness, TINIEST)
    least = max(thickness, SMALLEST * float(np.abs(points).max()), SMALLEST * size, TINIEST)
    apart = _apart((points - centre) / size)
    moved = _thick(((points - centre) / size)[apart], least / size)
    corners, triangles = _box(moved)
    for options in ("Qt", "QJ Pp"):  # The second moves points a little.
        try:
            found = ConvexHull(moved, qhull_options=options)
        except QhullError:
            continue
        turned = _outward(found.simplices, found.equations[:, :3], moved)
        if _is_closed(turned):
            used, triangles = np.unique(turned, return_inverse=True)
            corners = moved[used]
            break
    else:
        used = np.concatenate([moved.argmin(axis=0), moved.argmax(axis=0)])
    # Thick points are copies of the points, one set after another.
    needed = np.unique(apart[used % len(apart)])
    return Hull(corners * size + centre, triangles.reshape(-1, 3)), needed


def simplify(hull: Hull, most: int) -> Hull:
    """Hull of some corners of a hull, scaled to keep its volume.

    Corners are taken one by one, each time the one furthest outside of those taken so far, until no
    other is further outside than a thousandth of the diagonal.

    Args:
        hull: Hull.
        most: Most corners, at least `LEAST_CORNERS`; there are up to twice as many triangles.
    """
    if most < LEAST_CORNERS:
        raise ValueError(f"{most} corners; expected at least {LEAST_CORNERS}")
    vertices = hull.vertices
    near = NEAR * float(np.linalg.norm(np.ptp(vertices, axis=0)))
    taken = _first_corners(vertices, most)
    simple = hull_of(vertices[taken], 0.0)
    while len(taken) < most:
        normals, offsets = _planes(simple)
        outside = (vertices @ normals.T - offsets).max(axis=1)
        furthest = int(outside.argmax())
        if outside[furthest] <= near or furthest in taken:
            break
        taken.append(furthest)
        simple = hull_of(vertices[taken], 0.0)
    centre = simple.vertices.mean(axis=0)
    growth = (hull.volume / simple.volume) ** (1 / 3)
    return Hull(centre + growth * (simple.vertices - centre), simple.triangles)


def _first_corners(vertices: Float[np.ndarray, "V 3"], most: int) -> list[int]:
    """Corners that are furthest in some directions, in a frame in which the hull is not thin."""
    centred = vertices - vertices.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    along = centred @ axes.T
    along /= np.ptp(along, axis=0)
    found = dict.fromkeys((along @ _STARTS.T).argmax(axis=0).tolist())
    return list(found)[: max(most // 2, LEAST_CORNERS)]


def _apart(points: Float[np.ndarray, "N 3"]) -> Int[np.ndarray, "M"]:
    """One point of each cell of a fine grid; rounding cannot tell nearer ones apart."""
    cells = np.round(points / SAME).astype(np.int64)
    return np.sort(np.unique(cells, axis=0, return_index=True)[1])


def _box(
    points: Float[np.ndarray, "N 3"],
) -> tuple[Float[np.ndarray, "8 3"], Int[np.ndarray, "12 3"]]:
    """Box around points along the axes: corners and triangles."""
    sides = np.array([(x, y, z) for z in (0, 1) for y in (0, 1) for x in (0, 1)])
    low, high = points.min(axis=0), points.max(axis=0)
    return low + sides * (high - low), _BOX


def _thick(points: Float[np.ndarray, "N 3"], least: float) -> Float[np.ndarray, "M 3"]:
    """Points moved to both sides along each principal axis along which they are too thin.

    They are brought onto a plane before, since the crumpled surface of a sheet would have corners
    that rounding cannot tell apart.
    """
    centred = points - points.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    for axis in axes.T:
        along = points @ axis
        if np.ptp(along) < least:
            middle = (along.min() + along.max()) / 2
            flat = points - np.outer(along - middle, axis)
            points = np.concatenate([flat - axis * least / 2, flat + axis * least / 2])
    return points


def _outward(
    triangles: Int[np.ndarray, "F 3"],
    normals: Float[np.ndarray, "F 3"],
    points: Float[np.ndarray, "N 3"],
) -> Int[np.ndarray, "F 3"]:
    """Triangles turned so that they run counter-clockwise about their outward normals."""
    a, b, c = (points[triangles[:, i]] for i in range(3))
    wrong = (np.cross(b - a, c - a) * normals).sum(axis=1) < 0
    turned = triangles.astype(np.int64)
    turned[wrong] = turned[wrong][:, ::-1]
    return turned


def _is_closed(triangles: Int[np.ndarray, "F 3"]) -> bool:
    """Whether each edge is run along once in both directions, on one surface without holes."""
    edges = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    both = np.unique(edges, axis=0)
    back = np.unique(edges[:, ::-1], axis=0)
    closed = len(both) == len(edges) and np.array_equal(both, back)
    return closed and len(np.unique(triangles)) - len(edges) // 2 + len(triangles) == 2


def _planes(hull: Hull) -> tuple[Float[np.ndarray, "F 3"], Float[np.ndarray, "F"]]:
    """Outward unit normals of the triangles, and their distances from the origin.

    Slivers are left out, as rounding decides where they look; their neighbours close the gap.
    """
    a, b, c = (hull.vertices[hull.triangles[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    lengths = np.linalg.norm(normals, axis=1)
    wide = lengths > SLIVER * float(np.ptp(hull.vertices, axis=0).max()) ** 2
    normals = normals[wide] / lengths[wide, None]
    return normals, (normals * a[wide]).sum(axis=1)
