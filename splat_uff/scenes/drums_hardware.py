"""Hardware of the built-in scene `drums`: cymbals, stands, the pedal and the throne."""

import math

import numpy as np

from splat_uff.scenes.materials import (
    BLACK_FELT,
    BLACK_PLASTIC,
    BRASS,
    CHROME,
    DARK_BRASS,
    LEATHER,
    RED_LACQUER,
    RUBBER,
    STEEL,
    WHITE_FELT,
)
from splat_uff.scenes.parts import Mesh, Part, join
from splat_uff.scenes.shapes import (
    box,
    cylinder,
    hull,
    lathe,
    sphere,
    torus,
    tube,
)

FLOOR = -0.78
"""Height of the ground that stands and legs rest on."""


def cymbal_on_stand(
    name: str, *, x: float, y: float, z: float, radius: float, tilt: float, heading: float
) -> list[Part]:
    """Cymbal on a boom-less stand, tilted by `tilt` degrees towards the drummer."""
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
        *tripod(name, x, y, top=middle, spread=0.31, heading=heading + 90),
    ]


def hi_hat() -> list[Part]:
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
    return [*parts, *tripod(name, x, y, top=z - 0.40, spread=0.31, heading=95)]


def throne() -> list[Part]:
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
    return [*parts, *tripod(name, x, y, top=z - 0.24, spread=0.33, heading=30)]


def pedal() -> list[Part]:
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


def tripod(
    name: str, x: float, y: float, *, top: float, spread: float, heading: float
) -> list[Part]:
    """Stand from the floor up to `top`: a tube, a collar and three braced legs."""
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
    """Cymbal with its hole at the origin and the bell up."""
    top = [(radius * index / 30, _cymbal_height(index / 30)) for index in range(31)]
    bottom = [(r, z - 0.012) for r, z in top[::3]]
    return lathe([*bottom, *reversed(top)], segments=64)


def _grooves(radius: float) -> Mesh:
    """Bands of lathe marks, just above the upper face of a cymbal."""
    bands = []
    for inner, outer in ((0.34, 0.42), (0.56, 0.64), (0.80, 0.88)):
        shares = [inner + (outer - inner) * step / 4 for step in range(5)]
        # Bands are thickest in the middle: an upright edge, however low, would cast a shadow.
        rise = (-0.001, 0.002, 0.003, 0.002, -0.001)
        face = [(radius * s, _cymbal_height(s) + up) for s, up in zip(shares, rise, strict=True)]
        under = [(radius * s, _cymbal_height(s) - 0.004) for s in shares]
        bands.append(lathe([*under, *reversed(face), under[0]], segments=64))
    return join(bands)


def _cymbal_height(share: float) -> float:
    """Height of the upper face at a share of the radius: a bell on a slightly bowed disc."""
    bell = 0.055 * math.sqrt(max(0.0, 1 - (share / 0.24) ** 2))
    return bell - 0.05 * share**2


def _footboard() -> Mesh:
    """Pedal board with its heel at -y on the floor and its toe raised."""
    heel, toe = [(-0.06, -0.19), (0.06, -0.19)], [(-0.075, 0.17), (0.075, 0.17)]
    points = [(x, y, z) for x, y in heel for z in (0.035, 0.06)]
    points += [(x, y, z) for x, y in toe for z in (0.15, 0.175)]
    return hull(np.array(points))


def _wing_nut() -> Mesh:
    wings = box(0.11, 0.02, 0.04, bevel=0.008).moved(z=0.025)
    return join([cylinder(0.026, 0.05, segments=16), wings])


def _upright(radius: float, low: float, high: float) -> Mesh:
    """Cylinder on the z axis, from `low` to `high`."""
    return cylinder(radius, high - low, bevel=min(0.008, radius / 4)).moved(z=(low + high) / 2)
