"""The built-in scene `drums`: a five-piece drum kit with three cymbals, seen without its floor.

The drummer sits at -y and looks along +y. Groups of the ground truth are the instruments; objects
are what a drum technician would take apart. Chrome, black and red recur on neighbouring parts, so
that colour alone does not separate them.
"""

import math

import numpy as np

from splat_uff.capture.scenes.materials import (
    BLACK_FELT,
    BLACK_PLASTIC,
    BRASS,
    CHROME,
    DARK_BRASS,
    DARK_LACQUER,
    LEATHER,
    MAPLE,
    RED_LACQUER,
    RUBBER,
    STEEL,
    WHITE_FELT,
    WHITE_FILM,
)
from splat_uff.capture.scenes.parts import Material, Mesh, Part, colour, join
from splat_uff.capture.scenes.shapes import (
    Point,
    box,
    cylinder,
    hull,
    lathe,
    ring,
    sphere,
    torus,
    tube,
)

FLOOR = -0.78
EMBLEM = Material(colour("#c9a44a"), specular=0.3)
CLEAR_FILM = Material(colour("#b9b6ac"), specular=0.2, gloss=25)


def build_drums() -> list[Part]:
    """All parts of the kit; world units are about 80 cm."""
    parts = [
        *_bass_drum(),
        *_tom_mount(),
        *_rack_tom("left tom", radius=0.205, depth=0.25, x=-0.25, lean=-8),
        *_rack_tom("right tom", radius=0.23, depth=0.28, x=0.27, lean=8),
        *_floor_tom(),
        *_snare(),
        *_hi_hat(),
        *_cymbal_on_stand("crash", x=-0.68, y=0.32, z=0.66, radius=0.37, tilt=16, heading=25),
        *_cymbal_on_stand("ride", x=0.73, y=0.26, z=0.53, radius=0.43, tilt=18, heading=-35),
        *_throne(),
        *_pedal(),
    ]
    return [part.moved(y=0.16, z=0.09) for part in parts]


def _drum(
    collection: str, radius: float, depth: float, shell: Material, *, lugs: int
) -> list[Part]:
    """A drum standing upright on the origin's level: heads at z = -depth/2 and depth/2."""
    half = depth / 2
    head = lathe([(0, 0), (radius + 0.008, 0), (radius + 0.004, 0.014), (0, 0.016)])
    hoop = ring(radius + 0.006, radius + 0.036, 0.062, bevel=0.009)
    flange = torus(radius + 0.03, 0.012, sides=8)
    hoop_up = join([hoop, flange.moved(z=-0.03)])
    parts = [
        Part(collection, "shell", ring(radius - 0.02, radius, depth), shell),
        Part(collection, "upper head", head.moved(z=half), WHITE_FILM),
        Part(collection, "lower head", head.turned("x", degrees=180).moved(z=-half), CLEAR_FILM),
        Part(collection, "upper hoop", hoop_up.moved(z=half + 0.004), CHROME),
        Part(
            collection,
            "lower hoop",
            hoop_up.turned("x", degrees=180).moved(z=-half - 0.004),
            CHROME,
        ),
    ]
    for index in range(lugs):
        lug = _lug(radius, half).turned("z", degrees=360 * (index + 0.5) / lugs)
        parts.append(Part(collection, f"lug {index + 1}", lug, CHROME))
    return parts


def _lug(radius: float, half: float) -> Mesh:
    """A casing on the shell with tension rods to both hoops, at +x."""
    height = min(0.16, half)
    casing = box(0.05, 0.075, height, bevel=0.016).moved(x=radius + 0.02)
    x = radius + 0.036
    rod = tube([(x, 0, -half - 0.012), (x, 0, half + 0.012)], 0.015, sides=8)
    nuts = [cylinder(0.022, 0.03, segments=8).moved(x=x, z=s * (half + 0.022)) for s in (-1, 1)]
    return join([casing, rod, *nuts])


def _bass_drum() -> list[Part]:
    name, radius, depth, y, z = "bass drum", 0.41, 0.54, 0.30, FLOOR + 0.455
    half = depth / 2
    head = lathe([(0, 0), (radius - 0.004, 0), (radius - 0.01, 0.012), (0, 0.02)])
    hoop = ring(radius - 0.012, radius + 0.045, 0.075, bevel=0.012)
    parts = [
        Part(name, "shell", ring(radius - 0.02, radius, depth), RED_LACQUER),
        Part(name, "batter head", head.moved(z=half + 0.012), WHITE_FILM),
        Part(name, "front head", head.turned("x", degrees=180).moved(z=-half - 0.012), WHITE_FILM),
        Part(name, "batter hoop", hoop.moved(z=half + 0.012), DARK_LACQUER),
        Part(name, "front hoop", hoop.moved(z=-half - 0.012), DARK_LACQUER),
        Part(name, "emblem ring", torus(0.25, 0.018).moved(z=-half - 0.03), EMBLEM),
        Part(name, "emblem disc", cylinder(0.13, 0.03, bevel=0.008).moved(z=-half - 0.03), EMBLEM),
    ]
    x = radius + 0.05
    rod = join(
        [
            tube([(x, 0, -half - 0.05), (x, 0, half + 0.05)], 0.015, sides=8),
            box(0.06, 0.065, 0.2, bevel=0.015).moved(x=radius + 0.025),
            *(
                box(0.04, 0.06, 0.085, bevel=0.01).moved(x=x + 0.005, z=s * (half + 0.012))
                for s in (-1, 1)
            ),
        ]
    )
    for index, degrees in enumerate((-22, 18, 56, 124, 162, 202)):
        # The drum will be turned onto its side; 90 degrees is then the top, where the mount sits.
        parts.append(
            Part(name, f"tension rod {index + 1}", rod.turned("z", degrees=degrees), CHROME)
        )
    parts = [part.turned("x", degrees=90).moved(y=y, z=z) for part in parts]
    for side, word in ((-1, "left"), (1, "right")):
        knee: Point = (side * 0.40, y + 0.16, z - 0.12)
        foot: Point = (side * 0.62, y + 0.36, FLOOR + 0.02)
        parts.append(Part(name, f"{word} spur", tube([knee, foot], 0.027), CHROME))
        block = box(0.09, 0.1, 0.1, bevel=0.015).moved(side * 0.40, y + 0.16, z - 0.11)
        parts.append(Part(name, f"{word} spur", block, BLACK_PLASTIC))
        parts.append(Part(name, f"{word} spur", sphere(0.042).moved(*foot), RUBBER))
    return parts


def _tom_mount() -> list[Part]:
    name, y, top = "tom mount", 0.30, FLOOR + 0.865
    arms = [
        Part(
            name,
            "clamp",
            tube([(0, y, 0.30), (side * 0.06, y, 0.31), (side * 0.13, y - 0.01, 0.36)], 0.027),
            CHROME,
        )
        for side in (-1, 1)
    ]
    return [
        Part(name, "plate", box(0.17, 0.24, 0.05, bevel=0.015).moved(y=y, z=top + 0.005), CHROME),
        Part(name, "post", cylinder(0.042, 0.24).moved(y=y, z=top + 0.12), CHROME),
        Part(name, "clamp", box(0.11, 0.1, 0.09, bevel=0.02).moved(y=y, z=0.31), BLACK_PLASTIC),
        *arms,
    ]


def _rack_tom(name: str, *, radius: float, depth: float, x: float, lean: float) -> list[Part]:
    side = 1 if x > 0 else -1
    bracket = box(0.07, 0.1, 0.12, bevel=0.015).moved(x=-side * (radius + 0.02))
    parts = [
        *_drum(name, radius, depth, RED_LACQUER, lugs=5),
        Part(name, "bracket", bracket, BLACK_PLASTIC),
    ]
    return [
        part.turned("x", degrees=20).turned("y", degrees=lean / 2).moved(x, 0.27, 0.40)
        for part in parts
    ]


def _floor_tom() -> list[Part]:
    name, radius, depth, z = "floor tom", 0.31, 0.46, -0.24
    parts = _drum(name, radius, depth, RED_LACQUER, lugs=6)
    x = radius + 0.055
    foot = FLOOR - z
    for index in range(3):
        leg = tube([(x, 0, 0.12), (x, 0, foot + 0.12), (x + 0.05, 0, foot + 0.02)], 0.024)
        block = box(0.085, 0.09, 0.11, bevel=0.015).moved(x=radius + 0.035, z=-0.06)
        tip = sphere(0.04).moved(x=x + 0.05, z=foot + 0.03)
        for word, mesh, material in (
            (f"leg {index + 1}", leg, CHROME),
            (f"leg {index + 1}", block, BLACK_PLASTIC),
            (f"leg {index + 1}", tip, RUBBER),
        ):
            parts.append(Part(name, word, mesh.turned("z", degrees=120 * index + 60), material))
    return [part.moved(0.62, -0.30, z) for part in parts]


def _snare() -> list[Part]:
    name, x, y, z = "snare", -0.46, -0.38, -0.08
    parts = _drum(name, 0.27, 0.17, BRASS, lugs=6)
    strainer = box(0.06, 0.09, 0.13, bevel=0.012).moved(x=-0.305)
    parts.append(Part(name, "strainer", strainer, BLACK_PLASTIC))
    for index, (at, turn) in enumerate(((-0.05, 38), (0.06, 62))):
        stick = tube(
            [(-0.22, 0, 0), (0.22, 0, 0), (0.29, 0, 0), (0.31, 0, 0), (0.34, 0, 0)],
            [0.019, 0.019, 0.011, 0.017, 0.010],
        )
        stick = stick.turned("z", degrees=turn).moved(y=at, z=0.14)
        parts.append(Part("sticks", f"stick {index + 1}", stick, MAPLE))
    parts = [part.turned("x", degrees=6).moved(x, y, z) for part in parts]
    arms = [
        Part(
            name,
            "basket",
            tube([(0.02, 0, -0.30), (0.24, 0, -0.16), (0.325, 0, -0.14), (0.33, 0, -0.06)], 0.021)
            .turned("z", degrees=120 * index + 15)
            .moved(x, y, z),
            CHROME,
        )
        for index in range(3)
    ]
    return [*parts, *arms, *_tripod(name, x, y, top=z - 0.27, spread=0.30, heading=75)]


def _tripod(
    name: str, x: float, y: float, *, top: float, spread: float, heading: float
) -> list[Part]:
    """A stand from the floor up to `top`: a tube, a collar and three braced legs."""
    height = min(0.30, top - FLOOR - 0.05)
    parts = [
        Part(name, "lower tube", _upright(0.034, FLOOR + 0.1, top), CHROME),
        Part(
            name,
            "lower tube",
            _upright(0.056, FLOOR + height - 0.03, FLOOR + height + 0.04),
            BLACK_PLASTIC,
        ),
    ]
    for index in range(3):
        leg = join(
            [
                tube([(0.045, 0, FLOOR + height), (spread, 0, FLOOR + 0.035)], 0.025),
                tube([(0.02, 0, FLOOR + 0.11), (spread * 0.55, 0, FLOOR + 0.16)], 0.014, sides=8),
            ]
        ).turned("z", degrees=heading + 120 * index)
        tip = sphere(0.04).stretched(1.3, 1, 0.9).moved(x=spread, z=FLOOR + 0.035)
        parts.append(Part(name, f"tripod leg {index + 1}", leg, CHROME))
        tip = tip.turned("z", degrees=heading + 120 * index)
        parts.append(Part(name, f"tripod leg {index + 1}", tip, RUBBER))
    return [part.moved(x, y) for part in parts]


def _cymbal(radius: float) -> Mesh:
    """A cymbal, its hole at the origin, the bell up."""
    top = [(radius * index / 30, _cymbal_height(index / 30)) for index in range(31)]
    bottom = [(r, z - 0.012) for r, z in top[::3]]
    return lathe([*bottom, *reversed(top)], segments=64)


def _grooves(radius: float) -> Mesh:
    """Bands of lathe marks, a hair above the upper face of a cymbal."""
    bands = []
    for inner, outer in ((0.34, 0.42), (0.56, 0.64), (0.80, 0.88)):
        shares = [inner + (outer - inner) * step / 4 for step in range(5)]
        # Thickest in the middle: an upright edge, however low, would throw a shadow.
        rise = (-0.001, 0.002, 0.003, 0.002, -0.001)
        face = [(radius * s, _cymbal_height(s) + up) for s, up in zip(shares, rise, strict=True)]
        under = [(radius * s, _cymbal_height(s) - 0.004) for s in shares]
        bands.append(lathe([*under, *reversed(face), under[0]], segments=64))
    return join(bands)


def _cymbal_height(share: float) -> float:
    """Height of the upper face at a share of the radius: a bell on a slightly bowed disc."""
    bell = 0.055 * math.sqrt(max(0.0, 1 - (share / 0.24) ** 2))
    return bell - 0.05 * share**2


def _cymbal_on_stand(
    name: str, *, x: float, y: float, z: float, radius: float, tilt: float, heading: float
) -> list[Part]:
    """A cymbal on a boom-less stand, tilted by `tilt` degrees towards the drummer."""
    head = [
        Part(name, "cymbal", _cymbal(radius), BRASS),
        Part(name, "cymbal", _grooves(radius), DARK_BRASS),
        Part(name, "felts", _upright(0.055, -0.035, 0.03), BLACK_FELT),
        Part(name, "felts", _upright(0.048, 0.04, 0.085), WHITE_FELT),
        Part(name, "wing nut", _wing_nut().moved(z=0.10), CHROME),
        Part(
            name,
            "upper tube",
            join(
                [_upright(0.03, -0.12, -0.03), box(0.075, 0.09, 0.09, bevel=0.015).moved(z=-0.12)]
            ),
            CHROME,
        ),
    ]
    head = [
        part.turned("x", degrees=tilt).turned("z", degrees=heading).moved(x, y, z) for part in head
    ]
    middle = FLOOR + 0.58 * (z - FLOOR)
    clamp = join(
        [
            _upright(0.052, middle - 0.05, middle + 0.04),
            box(0.14, 0.03, 0.045, bevel=0.01).moved(x=0.07, z=middle),
        ]
    ).moved(x, y)
    upper = tube([(x, y, middle), (x, y, z - 0.12)], 0.025)
    return [
        *head,
        Part(name, "upper tube", upper, CHROME),
        Part(name, "height clamp", clamp, BLACK_PLASTIC),
        *_tripod(name, x, y, top=middle, spread=0.31, heading=heading + 90),
    ]


def _hi_hat() -> list[Part]:
    name, x, y, z, radius = "hi-hat", -0.87, -0.16, 0.20, 0.28
    lower = _cymbal(radius).turned("x", degrees=180)
    parts = [
        Part(name, "top cymbal", _cymbal(radius).moved(z=0.085), BRASS),
        Part(name, "top cymbal", _grooves(radius).moved(z=0.085), DARK_BRASS),
        Part(name, "bottom cymbal", lower, BRASS),
        Part(name, "clutch", _upright(0.042, 0.14, 0.21), BLACK_PLASTIC),
        Part(name, "clutch", _wing_nut().moved(z=0.20), CHROME),
        Part(name, "rod", _upright(0.016, 0.2, 0.42), STEEL),
        Part(name, "seat", _upright(0.06, -0.13, -0.05), BLACK_PLASTIC),
        Part(name, "upper tube", _upright(0.026, -0.42, -0.1), CHROME),
        Part(name, "height clamp", _upright(0.05, -0.44, -0.36), BLACK_PLASTIC),
    ]
    parts = [part.moved(x, y, z) for part in parts]
    board = _footboard().turned("z", degrees=-25).moved(x + 0.06, y - 0.17, FLOOR)
    parts.append(Part(name, "footboard", board, STEEL))
    return [*parts, *_tripod(name, x, y, top=z - 0.40, spread=0.31, heading=95)]


def _throne() -> list[Part]:
    name, x, y, z = "throne", 0.04, -0.86, -0.24
    cushion = lathe(
        [
            (0, 0.02),
            (0.25, 0.02),
            (0.275, 0.05),
            (0.28, 0.09),
            (0.262, 0.13),
            (0.2, 0.15),
            (0, 0.155),
        ]
    )
    parts = [
        Part(name, "cushion", cushion, LEATHER),
        Part(name, "piping", torus(0.277, 0.02).moved(z=0.07), RED_LACQUER),
        Part(name, "seat base", cylinder(0.265, 0.06, bevel=0.02).moved(z=-0.005), BLACK_PLASTIC),
        Part(name, "seat clamp", _upright(0.065, -0.12, -0.03), CHROME),
        Part(name, "upper tube", _upright(0.034, -0.30, -0.1), CHROME),
        Part(name, "height clamp", _upright(0.062, -0.27, -0.2), BLACK_PLASTIC),
    ]
    parts = [part.moved(x, y, z) for part in parts]
    return [*parts, *_tripod(name, x, y, top=z - 0.24, spread=0.33, heading=30)]


def _pedal() -> list[Part]:
    name, y = "pedal", -0.13
    posts = [
        Part(
            name, "frame", box(0.035, 0.05, 0.28, bevel=0.01).moved(side * 0.09, 0.03, 0.16), CHROME
        )
        for side in (-1, 1)
    ]
    beater = cylinder(0.055, 0.1, bevel=0.015).turned("x", degrees=75).moved(y=0.02, z=0.42)
    parts = [
        Part(
            name,
            "base plate",
            box(0.2, 0.44, 0.025, bevel=0.008).moved(y=-0.16, z=0.015),
            BLACK_PLASTIC,
        ),
        Part(name, "footboard", _footboard().moved(y=-0.17), STEEL),
        *posts,
        Part(name, "frame", tube([(-0.13, 0.03, 0.27), (0.13, 0.03, 0.27)], 0.024), CHROME),
        Part(name, "beater", tube([(0, 0.03, 0.27), (0, 0.01, 0.42)], 0.014), CHROME),
        Part(name, "beater", beater, WHITE_FELT),
    ]
    return [part.moved(0.0, y, FLOOR) for part in parts]


def _footboard() -> Mesh:
    """A pedal board, its heel at -y on the floor, its toe raised."""
    heel, toe = [(-0.06, -0.19), (0.06, -0.19)], [(-0.075, 0.17), (0.075, 0.17)]
    points = [(x, y, z) for x, y in heel for z in (0.035, 0.06)]
    points += [(x, y, z) for x, y in toe for z in (0.15, 0.175)]
    return hull(np.array(points))


def _wing_nut() -> Mesh:
    wings = box(0.11, 0.02, 0.04, bevel=0.008).moved(z=0.025)
    return join([cylinder(0.026, 0.05, segments=16), wings])


def _upright(radius: float, low: float, high: float) -> Mesh:
    """A cylinder on the z axis from `low` to `high`."""
    return cylinder(radius, high - low, bevel=min(0.008, radius / 4)).moved(z=(low + high) / 2)
