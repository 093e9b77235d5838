"""The built-in scene `drums`: a five-piece drum kit with three cymbals, without a floor.

The drummer sits at -y and looks along +y. Groups of the ground truth are the instruments; objects
are what a drum technician would take apart. Chrome, black and red recur on neighbouring parts, so
that colour alone does not separate them.
"""

from splat_uff.scenes.drums_hardware import (
    FLOOR,
    cymbal_on_stand,
    hi_hat,
    pedal,
    throne,
    tripod,
)
from splat_uff.scenes.materials import (
    BLACK_PLASTIC,
    BRASS,
    CHROME,
    DARK_LACQUER,
    MAPLE,
    RED_LACQUER,
    RUBBER,
    WHITE_FILM,
)
from splat_uff.scenes.parts import Material, Mesh, Part, colour, join
from splat_uff.scenes.shapes import (
    Point,
    box,
    cylinder,
    lathe,
    ring,
    sphere,
    torus,
    tube,
)

EMBLEM = Material(colour("#c9a44a"), specular=0.3)
CLEAR_FILM = Material(colour("#b9b6ac"), specular=0.2, gloss=25)


def build_drums() -> list[Part]:
    """Build all parts of the kit; a world unit is about 80 cm."""
    parts = [
        *_bass_drum(),
        *_tom_mount(),
        *_rack_tom("left tom", radius=0.205, depth=0.25, x=-0.25, lean=-8),
        *_rack_tom("right tom", radius=0.23, depth=0.28, x=0.27, lean=8),
        *_floor_tom(),
        *_snare(),
        *hi_hat(),
        *cymbal_on_stand("crash", x=-0.68, y=0.32, z=0.66, radius=0.37, tilt=16, heading=25),
        *cymbal_on_stand("ride", x=0.73, y=0.26, z=0.53, radius=0.43, tilt=18, heading=-35),
        *throne(),
        *pedal(),
    ]
    return [part.moved(y=0.16, z=0.09) for part in parts]


def _drum(
    collection: str, radius: float, depth: float, shell: Material, *, lugs: int
) -> list[Part]:
    """Upright drum, centred on the origin: heads at z = -depth/2 and depth/2."""
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
    """Casing on the shell with tension rods to both hoops, at +x."""
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
    return [*parts, *arms, *tripod(name, x, y, top=z - 0.27, spread=0.30, heading=75)]
