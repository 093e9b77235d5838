"""The built-in scene `truck`: a flat-bed work truck with a visible interior.

It has hard surfaces, thin parts, and parts inside parts: the seats and the steering wheel are
visible through windows without glass. The truck faces +x.
"""

from dataclasses import replace

from splat_uff.scenes.materials import (
    BLACK_PLASTIC,
    CHROME,
    LEATHER,
    OAK,
    RUBBER,
    STEEL,
    WALNUT,
)
from splat_uff.scenes.parts import Material, Mesh, Part, colour, join
from splat_uff.scenes.shapes import box, cylinder, lathe, sphere, torus, tube

PAINT = Material(colour("#2c6e9b"), specular=0.45, gloss=45)
CREAM = Material(colour("#e6dcc0"), specular=0.3, gloss=35)
FRAME = Material(colour("#3b3d42"), specular=0.2)
LAMP_GLASS = Material(colour("#f4efd8"), specular=0.5, gloss=50)
RED_GLASS = Material(colour("#b3161a"), specular=0.5, gloss=50)
AMBER = Material(colour("#e58a12"), specular=0.5, gloss=50)
HEMP = Material(colour("#b89b6a"), specular=0.0)

FLOOR = -0.62
AXLE = FLOOR + 0.24
DECK = -0.12
"""Height of the cabin floor and the bed."""
HALF = 0.44
"""Half of the body's width."""


def build_truck() -> list[Part]:
    """Build all parts; a world unit is about two metres."""
    wheels = [
        _wheel(f"{end} {side} wheel", x=x, y=y)
        for end, x in (("front", 0.78), ("rear", -0.68))
        for side, y in (("left", HALF - 0.02), ("right", -HALF + 0.02))
    ]
    parts = [
        *_chassis(),
        *_nose(),
        *_cabin(),
        *_interior(),
        *_bed(),
        *_cargo(),
        *_ladder(),
        *(part for wheel in wheels for part in wheel),
    ]
    # The photos frame a ball of radius 1.36; unscaled, the truck is a little too long for it.
    return [replace(part, mesh=part.mesh.stretched(0.95, 0.95, 0.95)) for part in parts]


def _both(mesh: Mesh) -> Mesh:
    """Join a mesh with its mirror image across the vertical plane y = 0."""
    mirrored = Mesh(mesh.vertices * [1, -1, 1], mesh.triangles[:, ::-1])
    return join([mesh, mirrored])


def _pair(name: str, word: str, mesh: Mesh, material: Material) -> list[Part]:
    """Part on the left (+y) and its mirror image on the right."""
    mirrored = Mesh(mesh.vertices * [1, -1, 1], mesh.triangles[:, ::-1])
    return [
        Part(name, f"left {word}", mesh, material),
        Part(name, f"right {word}", mirrored, material),
    ]


def _chassis() -> list[Part]:
    name = "chassis"
    tank = cylinder(0.11, 0.36, bevel=0.02).turned("y", degrees=90).moved(-0.10, HALF - 0.08, -0.30)
    box_tool = box(0.40, 0.16, 0.2, bevel=0.015).moved(-0.10, -HALF + 0.08, -0.30)
    return [
        *_pair(name, "rail", box(2.0, 0.07, 0.1).moved(-0.02, 0.22, -0.22), FRAME),
        Part(name, "front axle", _axle(0.78), FRAME),
        Part(name, "rear axle", _axle(-0.68), FRAME),
        Part(name, "front bumper", box(0.08, 1.0, 0.12, bevel=0.025).moved(1.17, 0, -0.33), CHROME),
        Part(name, "rear bumper", box(0.07, 0.9, 0.09, bevel=0.02).moved(-1.19, 0, -0.30), CHROME),
        Part(name, "fuel tank", tank, STEEL),
        Part(name, "tool box", box_tool, FRAME),
        *_pair(
            name, "step", box(0.36, 0.13, 0.04, bevel=0.01).moved(0.32, HALF + 0.02, -0.33), STEEL
        ),
        Part(
            name,
            "exhaust",
            tube([(0.02, -0.37, -0.2), (0.02, -0.37, 0.62), (-0.06, -0.37, 0.70)], 0.032),
            CHROME,
        ),
        Part(name, "plate", box(0.02, 0.26, 0.08).moved(1.22, 0, -0.33), CREAM),
    ]


def _axle(x: float) -> Mesh:
    return tube([(x, -HALF, AXLE), (x, HALF, AXLE)], 0.04)


def _wheel(name: str, *, x: float, y: float) -> list[Part]:
    """Wheel with its outer face towards the nearer side."""
    tyre = lathe(
        [
            (0.13, -0.08),
            (0.21, -0.085),
            (0.24, -0.06),
            (0.24, 0.06),
            (0.21, 0.085),
            (0.13, 0.08),
            (0.13, -0.08),
        ]
    )
    rim = lathe([(0, 0.0), (0.14, 0.0), (0.14, 0.082), (0.12, 0.082), (0.105, 0.045), (0, 0.05)])
    hub = lathe([(0, 0.04), (0.05, 0.04), (0.045, 0.095), (0, 0.1)])
    nuts = [
        cylinder(0.016, 0.04, segments=6).moved(x=0.077, z=0.065).turned("z", degrees=60 * k)
        for k in range(6)
    ]
    parts = [
        Part(name, "tyre", tyre, RUBBER),
        Part(name, "rim", rim, CREAM),
        Part(name, "hub", hub, CHROME),
        Part(name, "nuts", join(nuts), CHROME),
    ]
    turn = -90 if y > 0 else 90
    return [part.turned("x", degrees=turn).moved(x, y, AXLE) for part in parts]


def _nose() -> list[Part]:
    name = "nose"
    slats = [box(0.03, 0.44, 0.022).moved(1.145, 0, z) for z in (-0.16, -0.11, -0.06, -0.01, 0.04)]
    lamp = cylinder(0.085, 0.06, bevel=0.02).turned("y", degrees=90).moved(1.13, 0.34, -0.10)
    glass = sphere(0.07, segments=20).stretched(x=0.45).moved(1.16, 0.34, -0.10)
    fender = lathe([(0.26, -0.1), (0.30, -0.1), (0.30, 0.1), (0.26, 0.1), (0.26, -0.1)])
    upper = fender.triangles[(fender.vertices[fender.triangles][:, :, 1] > -0.02).all(axis=1)]
    arch = Mesh(fender.vertices, upper).turned("x", degrees=90).moved(0.78, HALF - 0.03, AXLE)
    return [
        Part(name, "engine cover", box(0.48, 0.62, 0.36, bevel=0.05).moved(0.88, 0, -0.02), PAINT),
        Part(name, "cover rib", box(0.46, 0.05, 0.03, bevel=0.01).moved(0.88, 0, 0.17), CHROME),
        Part(name, "radiator", box(0.04, 0.54, 0.34, bevel=0.01).moved(1.115, 0, -0.05), CHROME),
        Part(name, "grille", join(slats), BLACK_PLASTIC),
        *_pair(name, "lamp housing", lamp, PAINT),
        *_pair(name, "lamp glass", glass, LAMP_GLASS),
        *_pair(name, "fender", arch, PAINT),
    ]


def _cabin() -> list[Part]:
    name, back, front, top = "cabin", 0.06, 0.64, 0.52
    width = 2 * HALF
    sill = 0.12
    wall = [
        box(0.04, width, sill - DECK + 0.06).moved(back, 0, (sill + DECK) / 2),
        box(0.04, 0.10, top - sill).moved(back, HALF - 0.05, (top + sill) / 2),
        box(0.04, 0.10, top - sill).moved(back, -HALF + 0.05, (top + sill) / 2),
    ]
    pillar = tube([(front, HALF - 0.03, sill), (front - 0.10, HALF - 0.04, top)], 0.028)
    shell = box(front - back - 0.04, 0.035, sill - DECK + 0.05, bevel=0.01)
    door = shell.moved((front + back) / 2, HALF - 0.01, (sill + DECK) / 2)
    handle = box(0.09, 0.03, 0.025, bevel=0.008).moved(back + 0.13, HALF + 0.025, 0.05)
    arm = tube([(front - 0.03, HALF, 0.16), (front + 0.02, HALF + 0.12, 0.24)], 0.013)
    mirror = box(0.035, 0.11, 0.17, bevel=0.012).moved(front + 0.02, HALF + 0.14, 0.29)
    beacon = lathe([(0, 0), (0.06, 0), (0.055, 0.08), (0, 0.1)])
    return [
        Part(name, "floor", box(front - back, width, 0.05).moved(0.35, 0, DECK - 0.03), PAINT),
        Part(name, "back wall", join(wall), PAINT),
        Part(name, "fire wall", box(0.05, width, 0.26).moved(front, 0, 0.0), PAINT),
        *_pair(name, "pillar", pillar, PAINT),
        Part(
            name,
            "roof",
            box(0.58, width + 0.02, 0.07, bevel=0.03).moved(0.30, 0, top + 0.03),
            CREAM,
        ),
        Part(
            name,
            "visor",
            box(0.12, width, 0.025, bevel=0.01).moved(0.62, 0, top + 0.01),
            BLACK_PLASTIC,
        ),
        *_pair(name, "door", door, PAINT),
        *_pair(name, "door handle", handle, CHROME),
        *_pair(name, "mirror arm", arm, CHROME),
        *_pair(name, "mirror", mirror, BLACK_PLASTIC),
        Part(name, "beacon", beacon.moved(0.30, 0, top + 0.06), AMBER),
        Part(
            name,
            "horn",
            tube([(0.2, 0.26, 0.61), (0.42, 0.26, 0.61), (0.5, 0.26, 0.61)], [0.025, 0.03, 0.06]),
            CHROME,
        ),
    ]


def _interior() -> list[Part]:
    name = "interior"
    parts = []
    for side, y in (("driver", 0.2), ("passenger", -0.2)):
        cushion = box(0.28, 0.3, 0.1, bevel=0.03).moved(0.26, y, 0.0)
        backrest = box(0.09, 0.3, 0.34, bevel=0.03).turned("y", degrees=-10).moved(0.13, y, 0.2)
        parts.append(Part(name, f"{side} cushion", cushion, LEATHER))
        parts.append(Part(name, f"{side} backrest", backrest, LEATHER))
    wheel = torus(0.11, 0.018).turned("y", degrees=-55).moved(0.46, 0.2, 0.18)
    spokes = [tube([(0, -0.1, 0), (0, 0.1, 0)], 0.012), tube([(-0.1, 0, 0), (0.0, 0, 0)], 0.012)]
    spoke = join(spokes).turned("y", degrees=-55).moved(0.46, 0.2, 0.18)
    return [
        *parts,
        Part(
            name, "dashboard", box(0.1, 0.82, 0.1, bevel=0.03).moved(0.58, 0, 0.12), BLACK_PLASTIC
        ),
        Part(name, "steering wheel", join([wheel, spoke]), WALNUT),
        Part(name, "steering column", tube([(0.47, 0.2, 0.17), (0.6, 0.2, 0.08)], 0.02), STEEL),
        Part(name, "gear lever", tube([(0.44, 0, -0.1), (0.42, 0, 0.1)], 0.015), STEEL),
        Part(name, "gear knob", sphere(0.03, segments=14).moved(0.42, 0, 0.11), WALNUT),
    ]


def _bed() -> list[Part]:
    name, front, rear = "bed", -0.02, -1.18
    middle, length = (front + rear) / 2, front - rear
    parts = []
    for index in range(5):
        y = (index - 2) * 0.19
        plank = box(length, 0.18, 0.05, bevel=0.008).moved(middle, y, DECK - 0.02)
        parts.append(Part(name, f"plank {index + 1}", plank, OAK))
    for height, word in ((0.02, "lower"), (0.13, "upper")):
        board = box(length, 0.03, 0.09, bevel=0.006).moved(middle, HALF + 0.03, height - 0.02)
        parts += _pair(name, f"{word} side board", board, OAK)
        gate = box(0.03, 2 * HALF, 0.09, bevel=0.006).moved(rear, 0, height - 0.02)
        parts.append(Part(name, f"{word} tail board", gate, OAK))
    for index, x in enumerate((front - 0.06, middle, rear + 0.06)):
        post = box(0.05, 0.03, 0.32, bevel=0.006).moved(x, HALF + 0.058, 0.02)
        parts += _pair(name, f"post {index + 1}", post, FRAME)
    fender = box(0.52, 0.2, 0.03, bevel=0.01).moved(-0.68, HALF - 0.02, -0.10)
    lamp = box(0.03, 0.09, 0.07, bevel=0.01).moved(rear - 0.02, 0.36, -0.2)
    rack = [
        tube([(-0.05, HALF - 0.04, DECK), (-0.05, HALF - 0.04, 0.66), (-0.05, 0, 0.66)], 0.026),
    ]
    return [
        *parts,
        *_pair(name, "mud guard", fender, FRAME),
        *_pair(name, "tail lamp", lamp, RED_GLASS),
        Part(name, "rack", _both(join(rack)), FRAME),
        Part(
            name,
            "rear rack",
            _both(
                tube(
                    [(-1.13, HALF - 0.04, DECK), (-1.13, HALF - 0.04, 0.66), (-1.13, 0, 0.66)],
                    0.026,
                )
            ),
            FRAME,
        ),
    ]


def _cargo() -> list[Part]:
    name = "cargo"
    staves = lathe(
        [(0, 0), (0.12, 0), (0.15, 0.17), (0.12, 0.34), (0.1, 0.34), (0.1, 0.32), (0, 0.32)]
    )
    hoops = join([torus(0.142, 0.012).moved(z=0.09), torus(0.142, 0.012).moved(z=0.25)])
    barrels = []
    for index, (x, y) in enumerate(((-0.22, 0.24), (-0.24, -0.10))):
        barrels.append(Part(name, f"barrel {index + 1}", staves.moved(x, y, DECK), OAK))
        barrels.append(Part(name, f"barrel hoops {index + 1}", hoops.moved(x, y, DECK), STEEL))
    crate = box(0.32, 0.32, 0.24, bevel=0.01)
    rope = join([torus(0.12, 0.032).moved(z=0.03), torus(0.115, 0.032).moved(z=0.085)])
    return [
        *barrels,
        Part(name, "large crate", crate.moved(-0.64, 0.18, DECK + 0.13), WALNUT),
        Part(
            name,
            "small crate",
            box(0.24, 0.24, 0.18, bevel=0.01)
            .turned("z", degrees=20)
            .moved(-0.62, 0.18, DECK + 0.345),
            WALNUT,
        ),
        Part(name, "crate strap", box(0.33, 0.05, 0.25).moved(-0.64, 0.18, DECK + 0.13), STEEL),
        Part(name, "rope", rope.moved(-0.66, -0.24, DECK + 0.01), HEMP),
        Part(
            name, "can", cylinder(0.09, 0.24, bevel=0.02).moved(-0.98, 0.26, DECK + 0.13), RED_GLASS
        ),
        Part(name, "can cap", cylinder(0.035, 0.05).moved(-0.98, 0.26, DECK + 0.275), CHROME),
        Part(
            name,
            "sack",
            sphere(0.15).stretched(1.1, 0.9, 0.7).moved(-0.98, -0.16, DECK + 0.1),
            HEMP,
        ),
    ]


def _ladder() -> list[Part]:
    name, z = "ladder", 0.72
    rungs = [
        Part(
            name,
            f"rung {k + 1}",
            tube([(-1.04 + 0.2 * k, -0.29, z), (-1.04 + 0.2 * k, 0.05, z)], 0.022),
            CREAM,
        )
        for k in range(7)
    ]
    rail = box(1.46, 0.05, 0.075, bevel=0.012)
    return [
        Part(name, "left rail", rail.moved(-0.44, 0.06, z), CREAM),
        Part(name, "right rail", rail.moved(-0.44, -0.30, z), CREAM),
        *rungs,
    ]
