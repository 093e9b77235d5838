"""Collision meshes: convex pieces around a part of a tree, as physics engines take them.

The tree says where a part can be taken apart. Of all ways to cover it by convex hulls of nodes, the
pieces are the one of least price: the volume of the hulls, and a fixed price for each hull.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.export.ellipsoids import half_axes
from splat_uff.export.hulls import LEAST_CORNERS, Hull, hull_and_corners, hull_of, simplify
from splat_uff.formats.rows import finite_parts
from splat_uff.gaussians.source import centres_of
from splat_uff.hierarchy.walk import Walk
from splat_uff.system.errors import InputError, argument
from splat_uff.system.files import replacing
from splat_uff.system.records import array_record

VISIBLE = 0.1
"""Least opacity of a Gaussian that counts as solid."""
NEIGHBOURS, STRAY = 8, 8.0
"""A Gaussian is a stray if its k-th neighbour is this many times as far as that of most others."""
LONGEST = 4.0
"""Longest half axis of a Gaussian, in units of what is common in the part."""
LOSS = 10.0
"""Price of leaving out Gaussians: that of their share of the part times this."""
GRAIN = 0.005
"""Share of a part's Gaussians below which a node is not split."""
THINNEST = 0.025
"""Least thickness of a piece, in units of its extent. PhysX simulates convex meshes on a GPU if the
radius of the sphere inside is at least 1/100 of the extent."""
PRICE = 0.03
"""Price of a piece, in volumes of the part's hull; see docs/research/collision.md."""
MOST_PIECES = 16
MOST_CORNERS = 34
"""Most corners of a piece, which then has at most 64 triangles: the limit of convex meshes that
PhysX simulates on a GPU (on a CPU, 255 corners and faces; Unity, 255 triangles)."""
_ROUNDS = 3
_DIRECTIONS = 300


@array_record
class Collision:
    """Convex pieces around a part."""

    pieces: tuple[Hull, ...]
    """Closed convex meshes in the frame of the table, the largest first; they may overlap."""
    nodes: tuple[int, ...]
    """Node of the tree that each piece surrounds."""
    share: float
    """Share of the part's visible Gaussians whose centres lie inside of a piece."""

    @property
    def volume(self) -> float:
        """Sum of the volumes of the pieces, in cubed units of the table."""
        return sum(piece.volume for piece in self.pieces)


def collision_pieces(
    table: np.ndarray,
    walk: Walk,
    node: int,
    *,
    most_pieces: int = MOST_PIECES,
    price: float = PRICE,
    most_corners: int = MOST_CORNERS,
) -> Collision:
    """Surround the visible Gaussians of a part with convex meshes.

    A Gaussian is visible if its opacity is at least 0.1, and ends at one standard deviation along
    each of its axes. Strays are left out, and so are nodes of few Gaussians that would cost more.
    If none is visible, all count.

    Args:
        table: Structured array [N] of 3DGS columns, one row per leaf of the tree.
        walk: Tree of the Gaussians.
        node: Node of the tree, or a leaf.
        most_pieces: Most pieces, at least 1.
        price: Price of a piece, as the share of the volume of the part's convex hull that splitting
            must save for each further piece; above 0, at most 1.
        most_corners: Most corners of a piece, at least 8.

    Returns:
        At least one piece. A part that is flat, straight or a single point gets thin ones.

    Raises:
        InputError: If a number is out of range, or there is no such node.
    """
    _check(table, walk, node, most_pieces, price, most_corners)
    rows = np.sort(walk.leaves(node))
    part = _solid(table[rows])
    chosen = np.full(len(table), -1)
    chosen[rows[part.near]] = np.flatnonzero(part.near)
    branches = _Branches.of(part, walk, node, chosen)
    for _ in range(_ROUNDS):
        lost = branches.cheapest(price, loss=LOSS)[1]
        if not lost:
            break
        # Far away Gaussians made the hull large and all pieces seem cheap; without them, again.
        for each in lost:
            chosen[walk.leaves(each)] = -1
        branches = _Branches.of(part, walk, node, chosen)
    pieces = branches.cut(price, most_pieces)
    hulls = [_piece(part.points(branches.members[each]), most_corners) for each in pieces]
    order = sorted(range(len(hulls)), key=lambda i: (-hulls[i].volume, pieces[i]))
    found = tuple(hulls[i] for i in order)
    centres = part.centres[part.visible]
    inside = np.any([hull.holds(centres) for hull in found], axis=0)
    return Collision(found, tuple(pieces[i] for i in order), float(inside.mean()))


def write_collision(path: Path, pieces: Sequence[Hull], name: str) -> None:
    """Write convex meshes as a Wavefront `.obj`, each as an object of its own.

    PyBullet makes a convex shape of each object; MuJoCo makes one of each file, and needs a file
    for each piece. Triangles run counter-clockwise as seen from outside. Format: Wavefront OBJ,
    http://paulbourke.net/dataformats/obj/.

    Args:
        path: File to write.
        pieces: Pieces of a part.
        name: Name of the part; objects are called so, with a number.
    """
    plain = "".join(c if c.isalnum() and c.isascii() else "_" for c in name)[:60] or "part"
    lines, first = ["# Convex pieces; lengths and axes are those of the splats."], 1
    digits = len(str(len(pieces)))
    for number, piece in enumerate(pieces, start=1):
        lines.append(f"o {plain}_{number:0{digits}d}")
        lines += [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in piece.vertices.tolist()]
        lines += [f"f {a} {b} {c}" for a, b, c in (piece.triangles + first).tolist()]
        first += len(piece.vertices)
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="ascii", newline="\n")


@array_record
class _Part:
    """Gaussians of a part."""

    centres: Float[np.ndarray, "N 3"]
    axes: Float[np.ndarray, "N 3 3"]
    """Half axes, none overlong."""
    visible: Bool[np.ndarray, "N"]
    near: Bool[np.ndarray, "N"]
    """Whether each is visible and no stray."""

    def points(self, chosen: Int[np.ndarray, "M"]) -> Float[np.ndarray, "K 3"]:
        """Both ends of the axes of chosen Gaussians."""
        centres, axes = self.centres[chosen, None], self.axes[chosen]
        return np.concatenate([centres - axes, centres + axes], axis=1).reshape(-1, 3)


@array_record
class _Branches:
    """Nodes into which a part can be taken apart, each after its children."""

    root: int
    children: dict[int, list[int]]
    members: dict[int, Int[np.ndarray, "_"]]
    """Rows of each node's Gaussians in the part."""
    volumes: dict[int, float]
    """Volume of each node's hull, in volumes of the root's."""

    @staticmethod
    def of(part: _Part, walk: Walk, root: int, chosen: Int[np.ndarray, "N"]) -> "_Branches":
        """Take a part apart as far as is of use; `chosen` is the row in `part`, or -1."""

        order, children, members = [root], {}, {}
        for node in order:  # Grows meanwhile.
            found = chosen[walk.leaves(node)]
            members[node] = found[found >= 0]
            fine = len(members[node]) < max(GRAIN * len(members[root]), 2)
            below = [] if fine else walk.children(node)
            children[node] = [each for each in below if (chosen[walk.leaves(each)] >= 0).any()]
            order += children[node]
        span = float(np.ptp(part.points(members[root]), axis=0).max())
        points, volumes = {}, {}
        for node in reversed(order):
            below = [points[child] for child in children[node]]
            known = np.concatenate(below) if below else part.points(members[node])
            # One thickness for all: else halves of a sheet would be thinner than the whole.
            hull, corners = hull_and_corners(known, THINNEST * span)
            points[node] = _fewer(known[corners])
            volumes[node] = hull.volume
        volumes = {each: volume / volumes[root] for each, volume in volumes.items()}
        return _Branches(root, children, members, volumes)

    def cut(self, price: float, most: int) -> list[int]:
        """Nodes of least price that are pieces, with no Gaussian left out.

        If there are too many pieces, the price of each is raised as little as necessary.
        """
        found = self.cheapest(price)[0]
        if len(found) <= most:
            return found
        low, high = price, 2.0  # No split saves twice the whole volume.
        for _ in range(40):
            middle = (low * high) ** 0.5
            if len(self.cheapest(middle)[0]) > most:
                low = middle
            else:
                high = middle
        return self.cheapest(high)[0]

    def cheapest(self, price: float, loss: float = np.inf) -> tuple[list[int], list[int]]:
        """Nodes of least price that are pieces, and nodes to leave out.

        Args:
            price: Price of each piece, beside its volume.
            loss: Price of leaving out all Gaussians.
        """
        best: dict[int, float] = {}
        choice: dict[int, str] = {}
        for node in self.volumes:
            below = self.children[node]
            ways = {"whole": self.volumes[node] + price}
            if below:
                ways["apart"] = sum(best[child] for child in below)
            if node != self.root:
                share = len(self.members[node]) / len(self.members[self.root])
                ways["out"] = loss * share
            choice[node] = min(ways, key=ways.__getitem__)
            best[node] = ways[choice[node]]
        pieces, lost, waiting = [], [], [self.root]
        while waiting:
            node = waiting.pop()
            if choice[node] == "apart":
                waiting += self.children[node]
            else:
                (pieces if choice[node] == "whole" else lost).append(node)
        return pieces, lost


def _check(
    table: np.ndarray, walk: Walk, node: int, most_pieces: int, price: float, most_corners: int
) -> None:
    if len(table) != walk.tree.num_leaves:
        raise InputError(
            f"the table has {len(table)} rows, the tree {walk.tree.num_leaves} leaves; pass those "
            "of one run."
        )
    if not 0 <= node <= walk.root:
        raise InputError(f"there is no node {node}; expected one below {walk.root + 1}.")
    if most_pieces < 1:
        raise InputError(f"{argument('most_pieces')} is {most_pieces}; expected at least 1.")
    if not 0 < price <= 1:
        raise InputError(f"{argument('price')} is {price}; expected a number above 0, at most 1.")
    if most_corners < LEAST_CORNERS:
        raise InputError(
            f"{argument('most_corners')} is {most_corners}; expected at least {LEAST_CORNERS}."
        )


def _solid(table: np.ndarray) -> _Part:
    """Gaussians of a part as solid ellipsoids, and which of them count."""
    from scipy.spatial import KDTree
    from scipy.special import expit

    parts, centres = finite_parts(table), centres_of(table)
    visible = expit(parts.opacity_logits) >= VISIBLE
    if not visible.any():
        visible = np.ones(len(table), bool)
    near, seen = visible.copy(), centres[visible]
    if len(seen) > 2 * NEIGHBOURS:
        apart = KDTree(seen).query(seen, k=NEIGHBOURS + 1)[0][:, -1]
        near[visible] = apart <= STRAY * np.median(apart)
    scales = np.exp(parts.log_scales.astype(np.float64))
    longest = LONGEST * float(np.median(scales[near].max(axis=1)))
    return _Part(centres, half_axes(parts.quats, np.minimum(scales, longest)), visible, near)


def _piece(points: Float[np.ndarray, "N 3"], most_corners: int) -> Hull:
    span = float(np.ptp(points, axis=0).max())
    return simplify(hull_of(points, THINNEST * span), most_corners)


def _fewer(corners: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "M 3"]:
    """Corners of a hull, or if they are many, those that are furthest in evenly spread directions.

    Hulls of parents are hulls of these, which saves most of the time.
    """
    if len(corners) <= _DIRECTIONS:
        return corners
    number = np.arange(_DIRECTIONS) + 0.5
    z, angle = 1 - 2 * number / _DIRECTIONS, np.pi * (1 + 5**0.5) * number
    across = np.sqrt(1 - z**2)
    directions = np.stack([across * np.cos(angle), across * np.sin(angle), z])
    return corners[np.unique((corners @ directions).argmax(axis=0))]
