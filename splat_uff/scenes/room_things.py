"""Furniture of the built-in scene `room`; here the floor is at z = 0, a world unit is a metre."""

import numpy as np

from splat_uff.scenes.materials import BRASS, CHROME, MAPLE, OAK, STEEL, WALNUT, WHITE_FILM
from splat_uff.scenes.parts import Material, Mesh, Part, colour, join
from splat_uff.scenes.shapes import (
    Point,
    box,
    curve,
    cylinder,
    lathe,
    quads,
    ring,
    sheet,
    sphere,
    tube,
)

SOFA_CLOTH = Material(colour("#476a8c"), specular=0.0)
SOFA_SEAT = Material(colour("#5b80a3"), specular=0.0)
RUST = Material(colour("#b5482f"), specular=0.0)
OCHRE = Material(colour("#d39b2c"), specular=0.0)
CREAM = Material(colour("#e8dfc8"), specular=0.0)
TEAL = Material(colour("#1f6f74"), specular=0.05)
CRIMSON = Material(colour("#8f2430"), specular=0.05)
NAVY = Material(colour("#27375f"), specular=0.05)
MOSS = Material(colour("#66803a"), specular=0.05)
PLUM = Material(colour("#5d3558"), specular=0.05)
COVERS = (TEAL, CRIMSON, OCHRE, NAVY, CREAM, MOSS, RUST, PLUM)
WHITE_WOOD = Material(colour("#e3ddcf"), specular=0.12, gloss=20)
CLAY = Material(colour("#c7663a"), specular=0.05)
BARK = Material(colour("#6b4a30"), specular=0.0)
LEAF = Material(colour("#35803f"), specular=0.2, gloss=20)
SOIL = Material(colour("#3b281c"), specular=0.0)
OCEAN = Material(colour("#3a78b5"), specular=0.3, gloss=40)
APPLE = Material(colour("#b3202a"), specular=0.3, gloss=35)
LEMON = Material(colour("#e6c62c"), specular=0.2, gloss=25)
LAMPSHADE = Material(colour("#f3dfb4"), specular=0.0, glow=0.55)
MILK_GLASS = Material(colour("#fbf3e2"), specular=0.1, glow=0.7)
SUNSET = Material(colour("#e2804a"), specular=0.0)

SEATS = ((0.38, 0.62, 90.0), (1.45, -0.20, 180.0), (1.45, 1.44, 0.0))
"""Place (x, y) of each chair and the way it faces, in degrees: 0 is -y, towards +x at 90."""


def block(low: Point, high: Point, *, bevel: float = 0.0) -> Mesh:
    """Box between two opposite corners."""
    x, y, z = (b - a for a, b in zip(low, high, strict=True))
    middle = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    return box(x, y, z, bevel=bevel).moved(*middle)


def panel(corner: Point, along: Point, up: Point, *, cell: float = 0.048) -> Mesh:
    """Flat one-sided rectangle at a corner, facing along x up, in cells of nearly one size."""
    u, v = (
        np.linspace(0, 1, 1 + max(1, round(float(np.linalg.norm(way)) / cell)))
        for way in (along, up)
    )
    points = corner + u[:, None, None] * np.array(along) + v[:, None] * np.array(up)
    numbers = np.arange(len(u) * len(v)).reshape(len(u), len(v))
    return Mesh(points.reshape(-1, 3), quads(numbers))


def niche(opening: tuple[float, float, float, float], near: float, far: float) -> list[Mesh]:
    """Four sides, seen from within, of a rectangular hole along y.

    Args:
        opening: Least and greatest x, least and greatest z.
        near: Least y.
        far: Greatest y.
    """
    left, right, low, high = opening
    into, wide, tall = (0, far - near, 0), (right - left, 0, 0), (0, 0, high - low)
    return [
        panel((left, near, low), into, tall),
        panel((right, near, low), tall, into),
        panel((left, near, low), wide, into),
        panel((left, near, high), into, wide),
    ]


def build_sofa() -> list[Part]:
    """Build a sofa for two at the wall at -x, with seats, backs and two cushions."""
    name = "sofa"
    body = [
        block((-2.46, -1.2, 0.08), (-1.62, 0.8, 0.30), bevel=0.02),
        block((-2.46, -1.02, 0.30), (-2.28, 0.62, 0.82), bevel=0.03),
        block((-2.46, -1.2, 0.30), (-1.62, -1.02, 0.60), bevel=0.03),
        block((-2.46, 0.62, 0.30), (-1.62, 0.8, 0.60), bevel=0.03),
    ]
    feet = [cylinder(0.03, 0.08).moved(x, y, 0.04) for x in (-2.4, -1.68) for y in (-1.12, 0.72)]
    parts = [
        Part(name, "body", join(body), SOFA_CLOTH),
        Part(name, "body", join(feet), WALNUT),
    ]
    for word, y in (("left", -0.61), ("right", 0.21)):
        seat = box(0.66, 0.80, 0.17, bevel=0.04).moved(-1.94, y, 0.385)
        back = box(0.17, 0.78, 0.42, bevel=0.05).turned("y", degrees=-10)
        parts.append(Part(name, f"{word} seat", seat, SOFA_SEAT))
        parts.append(Part(name, f"{word} back", back.moved(-2.17, y - 0.005, 0.67), SOFA_SEAT))
    pillow = sphere(0.22).stretched(0.38, 1.0, 0.95).turned("y", degrees=-24)
    parts.append(Part(name, "red cushion", pillow.moved(-1.98, -0.80, 0.66), RUST))
    parts.append(Part(name, "yellow cushion", pillow.moved(-1.97, 0.37, 0.66), OCHRE))
    return parts


def build_low_table() -> list[Part]:
    """Build a round table in front of the sofa, on a rug, with a book and a cup on it."""
    name = "low table"
    rug = [
        Part(name, "rug", block((-1.5, -1.35, 0), (0.2, 0.95, 0.012)), CRIMSON),
        Part(name, "rug", block((-1.4, -1.25, 0), (0.1, 0.85, 0.016)), CREAM),
        Part(name, "rug", block((-1.28, -1.13, 0), (-0.02, 0.73, 0.02)), NAVY),
    ]
    for index in range(5):
        tile = box(0.2, 0.2, 0.024).turned("z", degrees=45)
        for x in (-1.05, -0.25):
            rug.append(Part(name, "rug", tile.moved(x, -0.92 + 0.36 * index, 0.012), OCHRE))
    legs = [
        tube(
            [(-0.65 + 0.36 * c, -0.2 + 0.36 * s, 0.02), (-0.65 + 0.2 * c, -0.2 + 0.2 * s, 0.4)],
            0.02,
        )
        for c, s in ((np.cos(a), np.sin(a)) for a in (0.5, 2.6, 4.7))
    ]
    top = cylinder(0.44, 0.035, bevel=0.01).moved(-0.65, -0.2, 0.415)
    book = [Part(name, "book", box(0.26, 0.19, 0.006).moved(z=z), TEAL) for z in (0.003, 0.037)]
    book.append(Part(name, "book", box(0.25, 0.18, 0.028).moved(z=0.02), WHITE_FILM))
    cup = lathe([(0, 0), (0.035, 0), (0.05, 0.09), (0.043, 0.09), (0.03, 0.01), (0, 0.01)])
    return [
        *rug,
        Part(name, "legs", join(legs), WALNUT),
        Part(name, "top", top, MAPLE),
        *(part.turned("z", degrees=35).moved(-0.74, -0.3, 0.4325) for part in book),
        Part(name, "cup", cup.moved(-0.48, -0.02, 0.4325), WHITE_WOOD),
    ]


def build_dining() -> list[Part]:
    """Build a dining table with three chairs and a bowl of fruit."""
    name = "dining"
    legs = [
        block((x, y, 0), (x + 0.06, y + 0.06, 0.71)) for x in (0.82, 2.02) for y in (0.24, 0.94)
    ]
    apron = block((0.88, 0.30, 0.63), (2.02, 0.94, 0.71))
    bowl = lathe([(0, 0), (0.06, 0), (0.15, 0.085), (0.135, 0.085), (0.05, 0.015), (0, 0.015)])
    fruit = [(0.06, 0.0, APPLE), (-0.035, 0.055, LEMON), (-0.035, -0.055, APPLE)]
    parts = [
        Part(name, "table top", block((0.78, 0.2, 0.71), (2.12, 1.04, 0.75), bevel=0.01), OAK),
        Part(name, "table legs", join([*legs, apron]), OAK),
        Part(name, "bowl", bowl.moved(1.4, 0.6, 0.75), TEAL),
        *(
            Part(name, "fruit", sphere(0.045, segments=16).moved(1.4 + x, 0.6 + y, 0.82), material)
            for x, y, material in fruit
        ),
    ]
    for index, (x, y, degrees) in enumerate(SEATS):
        for part in _chair(f"chair {index + 1}"):
            parts.append(part.turned("z", degrees=degrees).moved(x, y))
    return parts


def _chair(word: str) -> list[Part]:
    """Chair around the origin that faces -y, in two objects: its frame and its seat."""
    legs = [block((x, -0.2, 0), (x + 0.035, -0.165, 0.43)) for x in (-0.2, 0.165)]
    posts = [block((x, 0.165, 0), (x + 0.035, 0.2, 0.92)) for x in (-0.2, 0.165)]
    slats = [block((-0.165, 0.172, z), (0.165, 0.193, z + 0.08)) for z in (0.58, 0.71, 0.84)]
    seat = box(0.42, 0.42, 0.045, bevel=0.012).moved(z=0.452)
    return [
        Part("dining", f"{word} frame", join([*legs, *posts, *slats]), WHITE_WOOD),
        Part("dining", f"{word} seat", seat, RUST),
    ]


def build_shelf() -> list[Part]:
    """Build a shelf at the wall at -y, with two rows of books, a box, a globe and a vase."""
    name = "shelf"
    left, right, back, front, top = -1.25, 0.05, -2.1, -1.78, 1.75
    levels = (0.10, 0.66, 1.20)
    boards = [block((left, back, z - 0.03), (right, front, z)) for z in (*levels, top)]
    sides = [
        block((left - 0.03, back, 0), (left, front, top)),
        block((right, back, 0), (right + 0.03, front, top)),
        block((left, back, 0.1), (right, back + 0.01, top - 0.03)),
    ]
    globe = sphere(0.12).moved(-0.25, -1.92, 0.90)
    stand = [cylinder(0.08, 0.02, bevel=0.006), cylinder(0.012, 0.16).moved(z=0.06)]
    belt = ring(0.121, 0.135, 0.012).turned("x", degrees=20).moved(-0.25, -1.92, 0.90)
    vase = lathe(
        [(0, 0), (0.05, 0), (0.085, 0.1), (0.04, 0.22), (0.055, 0.27), (0.04, 0.27), (0, 0.2)]
    )
    return [
        Part(name, "case", join([*boards, *sides]), WALNUT),
        *_books("lower books", left + 0.02, right - 0.5, levels[0]),
        *_books("upper books", left + 0.25, right - 0.02, levels[2]),
        Part(name, "box", block((-0.42, -2.05, 0.1), (-0.02, -1.80, 0.42), bevel=0.01), OCHRE),
        Part(name, "globe", globe, OCEAN),
        Part(name, "globe", join([belt, *(m.moved(-0.25, -1.92, 0.67) for m in stand)]), BRASS),
        Part(name, "vase", vase.moved(-0.95, -1.93, levels[1]), CREAM),
    ]


def _books(word: str, left: float, right: float, bottom: float) -> list[Part]:
    """Row of books of many colours, which is one object."""
    parts, x, index = [], left, 0
    while x < right - 0.06:
        width, height = 0.032 + 0.007 * (index * 5 % 4), 0.24 + 0.03 * (index * 7 % 5)
        depth = 0.19 + 0.02 * (index * 3 % 3)
        low, high = (x, -2.08, bottom), (x + width, -2.08 + depth, bottom + height)
        parts.append(Part("shelf", word, block(low, high), COVERS[index * 5 % 8]))
        x, index = x + width + 0.003, index + 1
    return parts


def build_lamps(ceiling: float) -> list[Part]:
    """Build a standard lamp beside the sofa and a flat lamp at the ceiling."""
    name = "lamps"
    shade = lathe(
        [(0.22, 1.3), (0.14, 1.62), (0.132, 1.62), (0.212, 1.3), (0.22, 1.3)], segments=40
    )
    bulb = sphere(0.05, segments=16).moved(z=1.44)
    foot = [cylinder(0.16, 0.03, bevel=0.01).moved(z=0.015)]
    foot.append(tube([(0, 0, 0.02), (0, 0, 1.42)], 0.014))
    disc = lathe(
        [
            (0, ceiling - 0.1),
            (0.16, ceiling - 0.09),
            (0.22, ceiling - 0.05),
            (0.22, ceiling),
            (0, ceiling),
        ]
    )
    corner = (-2.12, -1.68)
    return [
        Part(name, "foot", join(foot).moved(*corner), STEEL),
        Part(name, "shade", shade.moved(*corner), LAMPSHADE),
        Part(name, "shade", bulb.moved(*corner), MILK_GLASS),
        Part(name, "ceiling lamp", disc, MILK_GLASS),
        Part(name, "ceiling lamp", ring(0.22, 0.235, 0.05).moved(z=ceiling - 0.025), CHROME),
    ]


def build_plant() -> list[Part]:
    """Build a plant with large leaves in the corner between sofa and window."""
    name = "plant"
    pot = lathe([(0, 0), (0.13, 0), (0.18, 0.32), (0.155, 0.32), (0.15, 0.27), (0, 0.27)])
    earth = cylinder(0.152, 0.03).moved(z=0.275)
    trunk: list[Point] = [(0, 0, 0.25), (0.03, 0.02, 0.6), (-0.02, 0.02, 0.95), (0.0, 0.0, 1.2)]
    stems, leaves = [tube(curve(trunk), np.linspace(0.03, 0.015, 25))], []
    for index in range(13):
        azimuth, height = 137.5 * index, 0.55 + 0.055 * index
        reach = 0.16 + 0.02 * (index * 3 % 4)
        stem = tube([(0, 0, height), (reach, 0, height + 0.15)], 0.009, sides=6)
        leaf = _leaf(0.30 + 0.03 * (index * 2 % 3)).moved(reach - 0.01, 0, height + 0.15)
        stems.append(stem.turned("z", degrees=azimuth))
        leaves.append(leaf.turned("z", degrees=azimuth))
    parts = [
        Part(name, "pot", pot, CLAY),
        Part(name, "pot", earth, SOIL),
        Part(name, "stems", join(stems), BARK),
        Part(name, "leaves", join(leaves), LEAF),
    ]
    return [part.moved(-1.98, 1.56) for part in parts]


def _leaf(length: float) -> Mesh:
    """Oval leaf from the origin along +x that droops at its tip."""
    along, across = np.linspace(0, 1, 10)[:, None], np.linspace(-1, 1, 7)[None, :]
    width = 0.27 * length * np.sin(np.pi * along**0.8) ** 0.7 + 0.01
    height = length * (0.35 * along - 0.6 * along**2) + 0.2 * width * np.abs(across)
    grid = np.broadcast_arrays(length * along, width * across, height)
    return sheet(np.stack(grid, axis=-1), thickness=0.012)


def build_pictures() -> list[Part]:
    """Build two pictures above the sofa and a large one beside the dining table."""
    facing = 90.0
    places = (
        ("still life", (0.5, 0.6), (-2.5, -0.72, 1.62), facing, _still_life),
        ("sunset", (0.8, 0.6), (-2.5, 0.28, 1.62), facing, _sunset),
        ("stripes", (1.1, 0.8), (2.5, -0.55, 1.5), -facing, _stripes),
    )
    parts = []
    for word, (width, height), place, degrees, paint in places:
        rim = 0.04
        frame = [
            block((-width / 2, -0.035, z - rim / 2), (width / 2, 0, z + rim / 2))
            for z in (-height / 2, height / 2)
        ]
        frame += [
            block((x - rim / 2, -0.035, -height / 2), (x + rim / 2, 0, height / 2))
            for x in (-width / 2, width / 2)
        ]
        canvas = [(box(width, 0.012, height).moved(y=-0.007), CREAM), *paint()]
        own = [Part("pictures", f"{word} frame", join(frame), WALNUT)]
        own += [Part("pictures", word, mesh, material) for mesh, material in canvas]
        parts += [part.turned("z", degrees=degrees).moved(*place) for part in own]
    return parts


def _still_life() -> list[tuple[Mesh, Material]]:
    """Two fruits and a table's edge, as flat shapes that face -y."""
    flat = cylinder(0.09, 0.01, segments=32).turned("x", degrees=90)
    return [
        (box(0.46, 0.01, 0.2).moved(y=-0.012, z=-0.18), PLUM),
        (flat.moved(-0.08, -0.016, -0.03), APPLE),
        (flat.stretched(0.9, 1, 0.9).moved(0.09, -0.018, -0.05), LEMON),
    ]


def _sunset() -> list[tuple[Mesh, Material]]:
    """Sea, sky and sun, as flat shapes that face -y."""
    sun = cylinder(0.1, 0.01, segments=32).turned("x", degrees=90)
    return [
        (box(0.76, 0.01, 0.33).moved(y=-0.010, z=0.115), SUNSET),
        (sun.moved(0.1, -0.012, 0.02), LEMON),
        (box(0.76, 0.01, 0.24).moved(y=-0.016, z=-0.16), NAVY),
    ]


def _stripes() -> list[tuple[Mesh, Material]]:
    """Coloured stripes of different widths that face -y."""
    stripes, x = [], -0.5
    for index, width in enumerate((0.09, 0.16, 0.06, 0.2, 0.11, 0.17, 0.08)):
        material = COVERS[index * 3 % 8]
        stripes.append((box(width, 0.01, 0.7).moved(x + width / 2, -0.012), material))
        x += width + 0.018
    return stripes
