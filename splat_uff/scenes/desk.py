"""The built-in scene `desk`: a writing desk with a monitor, books, pens and a lamp.

Small parts and repeated objects: keys, drawers, books, pens, two loudspeakers. The user sits at -y.
"""

from splat_uff.scenes.materials import (
    BLACK_PLASTIC,
    CHROME,
    MAPLE,
    OAK,
    RUBBER,
    STEEL,
    WALNUT,
    WHITE_FILM,
    WHITE_PLASTIC,
)
from splat_uff.scenes.parts import Material, Mesh, Part, colour, join
from splat_uff.scenes.shapes import (
    Point,
    box,
    curve,
    cylinder,
    lathe,
    ring,
    sphere,
    torus,
    tube,
)

TOP = -0.22
"""Height of the table top's upper face."""
FLOOR = -0.80
SCREEN = Material(colour("#20384f"), specular=0.4, gloss=50)
TEAL = Material(colour("#1f7f86"), specular=0.3)
MUSTARD = Material(colour("#d49a21"), specular=0.15)
CRIMSON = Material(colour("#a3262f"), specular=0.15)
NAVY = Material(colour("#26386b"), specular=0.15)
COFFEE = Material(colour("#3b2213"), specular=0.5, gloss=50)
GLOW = Material(colour("#fff3cf"), specular=0.0)
GREY_CLOTH = Material(colour("#5b5f66"), specular=0.0)


def build_desk() -> list[Part]:
    """Build the desk and everything on it; a world unit is about 70 cm."""
    on_top = [
        *_monitor(),
        *_keyboard(),
        *_mouse(),
        *_mug(),
        *_pens(),
        *_books(),
        *_lamp(),
        *_speaker("left speaker", x=-0.50),
        *_speaker("right speaker", x=0.50),
        *_notebook(),
    ]
    return [*_table(), *(part.moved(z=TOP) for part in on_top)]


def _table() -> list[Part]:
    name = "table"
    legs = [
        Part(name, f"{front} left leg", box(0.1, 0.1, 0.5, bevel=0.015).moved(-0.88, y, -0.55), OAK)
        for front, y in (("front", -0.46), ("back", 0.46))
    ]
    parts = [
        Part(name, "top", box(2.1, 1.2, 0.08, bevel=0.015).moved(z=TOP - 0.04), OAK),
        *legs,
        Part(name, "drawer case", box(0.52, 1.04, 0.5, bevel=0.01).moved(0.70, 0, -0.55), OAK),
        Part(name, "apron", box(1.35, 0.05, 0.12).moved(-0.22, 0.48, -0.36), OAK),
    ]
    for index in range(3):
        z = -0.39 - 0.16 * index
        front = box(0.46, 0.04, 0.14, bevel=0.01).moved(0.70, -0.53, z)
        knob = sphere(0.032, segments=16).moved(0.70, -0.575, z)
        parts.append(Part(name, f"drawer {index + 1}", front, MAPLE))
        parts.append(Part(name, f"knob {index + 1}", knob, CHROME))
    return parts


def _monitor() -> list[Part]:
    name = "monitor"
    screen = [
        Part(name, "housing", box(0.86, 0.06, 0.52, bevel=0.015), BLACK_PLASTIC),
        Part(name, "display", box(0.80, 0.02, 0.44).moved(y=-0.026, z=0.015), SCREEN),
        Part(name, "badge", box(0.1, 0.012, 0.025).moved(y=-0.032, z=-0.235), CHROME),
    ]
    return [
        *(part.turned("x", degrees=-6).moved(y=0.34, z=0.45) for part in screen),
        Part(name, "neck", box(0.1, 0.05, 0.36, bevel=0.01).moved(y=0.40, z=0.21), STEEL),
        Part(name, "foot", cylinder(0.2, 0.03, bevel=0.01).moved(y=0.37, z=0.015), STEEL),
    ]


def _keyboard() -> list[Part]:
    name = "keyboard"
    parts = [Part(name, "case", box(0.80, 0.28, 0.035, bevel=0.01).moved(z=0.02), BLACK_PLASTIC)]
    rows = [("top row", 11, 0.09), ("upper row", 11, 0.035), ("home row", 11, -0.02)]
    for word, count, y in rows:
        keys = [_key(0.042).moved(x=-0.35 + 0.05 * index, y=y) for index in range(count)]
        parts.append(Part(name, word, join(keys), WHITE_PLASTIC))
    space = [_key(width).moved(x=x, y=-0.085) for x, width in ((-0.33, 0.08), (0.12, 0.08))]
    parts.append(Part(name, "shift keys", join(space), TEAL))
    parts.append(Part(name, "space bar", _key(0.3).moved(-0.105, -0.085), WHITE_PLASTIC))
    pad = [
        _key(0.042).moved(x=0.24 + 0.05 * column, y=0.09 - 0.055 * row)
        for row in range(3)
        for column in range(3)
    ]
    parts.append(Part(name, "number pad", join(pad), WHITE_PLASTIC))
    parts.append(Part(name, "enter key", _key(0.14).moved(0.29, -0.085), CRIMSON))
    return [part.turned("z", degrees=3).moved(-0.08, -0.26) for part in parts]


def _key(width: float) -> Mesh:
    """Key cap of the given width, on top of the keyboard's case."""
    return box(width, 0.046, 0.03, bevel=0.007).moved(z=0.047)


def _mouse() -> list[Part]:
    name = "mouse"
    body = sphere(0.1).stretched(0.62, 1.0, 0.5).moved(z=0.03)
    wheel = cylinder(0.03, 0.02).turned("y", degrees=90).moved(y=0.05, z=0.075)
    parts = [
        Part(name, "pad", box(0.34, 0.3, 0.014, bevel=0.004).moved(z=0.007), GREY_CLOTH),
        Part(name, "body", body, WHITE_PLASTIC),
        Part(name, "wheel", wheel, RUBBER),
    ]
    return [part.turned("z", degrees=-8).moved(0.58, -0.28) for part in parts]


def _mug() -> list[Part]:
    name = "mug"
    cup = lathe(
        [
            (0, 0.03),
            (0.085, 0.03),
            (0.1, 0.05),
            (0.1, 0.235),
            (0.086, 0.235),
            (0.084, 0.06),
            (0, 0.05),
        ]
    )
    loop: list[Point] = [(0.09, 0, 0.19), (0.16, 0, 0.19), (0.17, 0, 0.10), (0.09, 0, 0.08)]
    parts = [
        Part(name, "cup", cup, TEAL),
        Part(name, "handle", tube(curve(loop, steps=5), 0.02), TEAL),
        Part(name, "coffee", cylinder(0.086, 0.02).moved(z=0.19), COFFEE),
        Part(
            name, "saucer", lathe([(0, 0), (0.1, 0), (0.17, 0.03), (0.165, 0.04), (0, 0.02)]), TEAL
        ),
        Part(name, "spoon", tube([(-0.13, 0.03, 0.045), (0.0, 0.15, 0.05)], 0.013), CHROME),
    ]
    return [part.turned("z", degrees=-40).moved(-0.66, -0.30) for part in parts]


def _pens() -> list[Part]:
    name = "pen holder"
    cup = lathe([(0, 0), (0.1, 0), (0.1, 0.22), (0.088, 0.22), (0.088, 0.02), (0, 0.02)])
    parts = [
        Part(name, "cup", cup, BLACK_PLASTIC),
        Part(name, "rim", torus(0.095, 0.012).moved(z=0.22), CHROME),
    ]
    inks = (CRIMSON, NAVY, MUSTARD, TEAL, MAPLE)
    for index, ink in enumerate(inks):
        shape = tube(
            [(0.02, 0, 0.03), (0.06, 0, 0.36), (0.064, 0, 0.39), (0.068, 0, 0.42)],
            [0.02, 0.02, 0.018, 0.007],
        )
        parts.append(
            Part(name, f"pen {index + 1}", shape.turned("z", degrees=72 * index + 10), ink)
        )
    return [part.moved(0.86, 0.16) for part in parts]


def _books() -> list[Part]:
    parts = []
    flat = (
        (0.42, 0.30, 0.07, NAVY, 8),
        (0.38, 0.28, 0.055, CRIMSON, -6),
        (0.34, 0.25, 0.06, MUSTARD, 14),
    )
    z = 0.0
    for index, (length, width, height, cover, turn) in enumerate(flat):
        for part in _book(f"book {index + 1}", length, width, height, cover):
            parts.append(part.turned("z", degrees=turn).moved(-0.78, 0.05, z + height / 2))
        z += height
    row = ((0.05, 0.34, CRIMSON), (0.07, 0.30, TEAL), (0.045, 0.36, MUSTARD), (0.06, 0.32, NAVY))
    x = 0.70
    for index, (thickness, height, cover) in enumerate(row):
        for part in _book(f"book {index + 4}", height, 0.25, thickness, cover):
            upright = part.turned("y", degrees=-90).moved(x + thickness / 2, 0.44, height / 2)
            parts.append(upright)
        x += thickness + 0.004
    return parts


def _book(title: str, length: float, width: float, height: float, cover: Material) -> list[Part]:
    """Closed book lying flat, with its spine at +y."""
    board = 0.012
    boards = [box(length, width, board).moved(z=side * (height - board) / 2) for side in (-1, 1)]
    spine = box(length, board, height).moved(y=width / 2)
    pages = box(length - 0.02, width - 0.02, height - 2 * board)
    return [
        Part("books", f"{title} cover", join([*boards, spine]), cover),
        Part("books", f"{title} pages", pages, WHITE_FILM),
    ]


def _lamp() -> list[Part]:
    name = "lamp"
    elbow: Point = (-0.98, 0.34, 0.50)
    tip: Point = (-0.66, 0.20, 0.82)
    shade = lathe(
        [(0.05, 0.12), (0.06, 0.12), (0.17, -0.07), (0.16, -0.07), (0.045, 0.10), (0.05, 0.12)]
    )
    bulb = join([sphere(0.055, segments=16).moved(z=-0.02), cylinder(0.03, 0.1).moved(z=0.05)])
    shade, bulb = (
        mesh.turned("y", degrees=-22).moved(tip[0] + 0.04, tip[1] - 0.02, tip[2] - 0.06)
        for mesh in (shade, bulb)
    )
    return [
        Part(name, "base", cylinder(0.15, 0.05, bevel=0.015).moved(-0.84, 0.42, 0.025), MUSTARD),
        Part(name, "lower arm", tube([(-0.84, 0.42, 0.04), elbow], 0.02), CHROME),
        Part(name, "elbow", sphere(0.042, segments=16).moved(*elbow), BLACK_PLASTIC),
        Part(name, "upper arm", tube([elbow, tip], 0.02), CHROME),
        Part(name, "head joint", sphere(0.045, segments=16).moved(*tip), BLACK_PLASTIC),
        Part(name, "shade", shade, MUSTARD),
        Part(name, "bulb", bulb, GLOW),
    ]


def _speaker(name: str, *, x: float) -> list[Part]:
    cone = lathe([(0, 0.0), (0.07, 0.0), (0.085, 0.012), (0.07, 0.012), (0.025, 0.004), (0, 0.006)])
    parts = [
        Part(name, "cabinet", box(0.2, 0.2, 0.36, bevel=0.012).moved(z=0.19), WALNUT),
        Part(name, "woofer", cone.turned("x", degrees=90).moved(y=-0.1, z=0.12), BLACK_PLASTIC),
        Part(
            name,
            "woofer ring",
            ring(0.075, 0.088, 0.02).turned("x", degrees=90).moved(y=-0.105, z=0.12),
            CHROME,
        ),
        Part(
            name,
            "tweeter",
            sphere(0.04, segments=16).stretched(y=0.5).moved(y=-0.1, z=0.28),
            BLACK_PLASTIC,
        ),
        Part(name, "base", box(0.22, 0.22, 0.02).moved(z=0.01), RUBBER),
    ]
    turn = 14 if x > 0 else -14
    return [part.turned("z", degrees=-turn).moved(x * 1.1, 0.42) for part in parts]


def _notebook() -> list[Part]:
    name = "notebook"
    spiral = [torus(0.022, 0.006, segments=12, sides=6).turned("x", degrees=90) for _ in range(9)]
    coils = [
        mesh.moved(x=-0.13, y=-0.16 + 0.04 * index, z=0.02) for index, mesh in enumerate(spiral)
    ]
    pencil = tube([(-0.14, 0, 0), (0.14, 0, 0), (0.19, 0, 0)], [0.016, 0.016, 0.003], sides=6)
    eraser = cylinder(0.017, 0.04, segments=12).turned("y", degrees=90).moved(x=-0.155)
    parts = [
        Part(name, "cover", box(0.28, 0.38, 0.012).moved(z=0.006), CRIMSON),
        Part(name, "pages", box(0.26, 0.36, 0.026).moved(x=0.005, z=0.025), WHITE_FILM),
        Part(name, "spiral", join(coils), STEEL),
        Part(name, "pencil", pencil.turned("z", degrees=62).moved(z=0.055), MUSTARD),
        Part(name, "eraser", eraser.turned("z", degrees=62).moved(z=0.055), CRIMSON),
    ]
    return [part.turned("z", degrees=-15).moved(0.85, -0.33) for part in parts]
