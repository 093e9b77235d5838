"""The built-in scene `room`: a living room, seen from inside.

All that is seen is part of the scene, the view from the window included, so photos are opaque.
"""

import numpy as np

from splat_uff.scenes.lighting import Light, Lighting
from splat_uff.scenes.materials import BRASS, WALNUT
from splat_uff.scenes.parts import Material, Mesh, Part, colour, join
from splat_uff.scenes.room_things import (
    block,
    build_dining,
    build_lamps,
    build_low_table,
    build_pictures,
    build_plant,
    build_shelf,
    build_sofa,
    niche,
    panel,
)
from splat_uff.scenes.shapes import cylinder, sheet, sphere, tube

HALF_X, HALF_Y, HALF_Z = 2.5, 2.1, 1.25
"""Half the length, width and height of the room; a world unit is a metre."""
WALL = 0.1
"""Thickness of the walls."""
WINDOW = (-0.5, 1.1, -0.35, 0.75)
"""Opening of the window in the wall at +y: least and greatest x, least and greatest z."""

PLASTER = Material(colour("#d8d2c4"), specular=0.0, grain=0.05, grain_axis=(1.0, 0.3, 0.0))
WALLPAPER = Material(colour("#b9c7b4"), specular=0.0, grain=0.10, grain_axis=(0.0, 0.0, 1.0))
SAND_PAPER = Material(colour("#d6c3a0"), specular=0.0, grain=0.08, grain_axis=(0.0, 0.0, 1.0))
BOARDS = Material(colour("#a9743f"), specular=0.12, gloss=18, grain=0.45)
PAINT = Material(colour("#efece4"), specular=0.1, gloss=20)
DOOR = Material(colour("#7d93a8"), specular=0.1, gloss=20)
CURTAIN = Material(colour("#b4523a"), specular=0.0)
SKY = Material(colour("#9cc4ea"), specular=0.0, glow=0.75)
CLOUD = Material(colour("#f4f6f8"), specular=0.0, glow=0.7)
HILL = Material(colour("#5f9148"), specular=0.0, glow=0.5)
FOREST = Material(colour("#2f5d38"), specular=0.0, glow=0.5)

INDOORS = Lighting(
    (
        *(
            Light((x, y, 1.02), (0.66, 0.60, 0.51), is_lamp=True)
            for x, y in ((-0.4, -0.3), (0.4, 0.3))
        ),
        Light((-0.1, 1.85, 0.3), (0.42, 0.47, 0.56), is_lamp=True),
        Light((0.7, 1.85, 0.3), (0.42, 0.47, 0.56), is_lamp=True),
    ),
    sky_colour=(0.58, 0.57, 0.56),
    zenith=0.85,
    horizon=0.8,
    nadir=0.75,
    reach=0.9,
)
"""Lighting of the room: two warm lamps under the ceiling, cool light from the window, and light
from all sides that only corners lack."""


def build_room() -> list[Part]:
    """Build the room and all that is in it; the origin is its middle, the window is at +y."""
    return [
        *_shell(),
        *_door(),
        *_window(),
        *(
            part.moved(z=-HALF_Z)
            for part in [
                *build_sofa(),
                *build_low_table(),
                *build_dining(),
                *build_shelf(),
                *build_lamps(2 * HALF_Z),
                *build_plant(),
                *build_pictures(),
            ]
        ),
    ]


def _shell() -> list[Part]:
    """Floor, ceiling, walls and skirting: one-sided, as they are never seen from behind."""
    name = "shell"
    x, y, z = HALF_X, HALF_Y, HALF_Z
    left, right, low, high = WINDOW
    wide, deep, tall = (2 * x, 0, 0), (0, 2 * y, 0), (0, 0, 2 * z)
    # The window's wall is four panels around its opening, and the opening's four sides.
    window_wall = [
        panel((-x, y, -z), (left + x, 0, 0), tall),
        panel((right, y, -z), (x - right, 0, 0), tall),
        panel((left, y, -z), (right - left, 0, 0), (0, 0, low + z)),
        panel((left, y, high), (right - left, 0, 0), (0, 0, z - high)),
        *niche(WINDOW, y, y + WALL),
    ]
    thin, rise = 0.02, 0.09
    skirting = []
    for corner, along, inwards in (
        ((-x, y, -z), wide, (0, -thin, 0)),
        ((-x, -y, -z), wide, (0, thin, 0)),
        ((-x, -y, -z), deep, (thin, 0, 0)),
        ((x, -y, -z), deep, (-thin, 0, 0)),
    ):
        front = panel(corner, along, (0, 0, rise)).moved(*inwards)
        skirting += [front, panel(corner, along, inwards).moved(z=rise)]
    return [
        Part(name, "floor", panel((-x, -y, -z), wide, deep), BOARDS),
        Part(name, "ceiling", panel((-x, -y, z), deep, wide), PLASTER),
        Part(name, "window wall", join(window_wall), SAND_PAPER),
        Part(name, "door wall", panel((-x, -y, -z), tall, wide), SAND_PAPER),
        Part(name, "sofa wall", panel((-x, -y, -z), deep, tall), WALLPAPER),
        Part(name, "table wall", panel((x, -y, -z), tall, deep), WALLPAPER),
        Part(name, "skirting", join(skirting), PAINT),
    ]


def _door() -> list[Part]:
    """Door in the wall at -y, whose leaf and frame stand in front of it."""
    left, right, top = 1.15, 1.97, 2.0 - HALF_Z
    wall, floor = -HALF_Y, -HALF_Z
    frame = [
        block((left - 0.08, wall, floor), (left, wall + 0.05, top + 0.08)),
        block((right, wall, floor), (right + 0.08, wall + 0.05, top + 0.08)),
        block((left, wall, top), (right, wall + 0.05, top + 0.08)),
    ]
    leaf = block((left, wall, floor), (right, wall + 0.025, top))
    panels = [
        block((left + 0.12, wall, floor + a), (right - 0.12, wall + 0.04, floor + b))
        for a, b in ((0.2, 0.85), (1.1, 1.85))
    ]
    knob = sphere(0.035, segments=16).moved(right - 0.07, wall + 0.075, floor + 1.0)
    neck = cylinder(0.014, 0.06).turned("x", degrees=90).moved(right - 0.07, wall + 0.045, -0.25)
    return [
        Part("shell", "door frame", join(frame), PAINT),
        Part("shell", "door", join([leaf, *panels]), DOOR),
        Part("shell", "door", join([knob, neck]), BRASS),
    ]


def _window() -> list[Part]:
    name = "window"
    left, right, low, high = WINDOW
    y, half = HALF_Y, 0.03
    bars = [
        block((left, y + 0.02, low), (left + 0.06, y + 0.08, high)),
        block((right - 0.06, y + 0.02, low), (right, y + 0.08, high)),
        block((left + 0.06, y + 0.02, low), (right - 0.06, y + 0.08, low + 0.06)),
        block((left + 0.06, y + 0.02, high - 0.06), (right - 0.06, y + 0.08, high)),
        block((0.3 - half, y + 0.025, low + 0.06), (0.3 + half, y + 0.075, high - 0.06)),
    ]
    sill = block((left - 0.1, y - 0.16, low - 0.04), (right + 0.1, y, low))
    rod = tube([(-0.98, y - 0.1, high + 0.14), (1.58, y - 0.1, high + 0.14)], 0.014)
    knobs = [sphere(0.03, segments=12).moved(x, y - 0.1, high + 0.14) for x in (-0.98, 1.58)]
    return [
        Part(name, "frame", join(bars), PAINT),
        Part(name, "sill", sill, PAINT),
        Part(name, "rod", join([rod, *knobs]), WALNUT),
        Part(name, "left curtain", _curtain(-0.9, left + 0.02), CURTAIN),
        Part(name, "right curtain", _curtain(right - 0.02, 1.5), CURTAIN),
        *_outside(),
    ]


def _curtain(left: float, right: float) -> Mesh:
    """Curtain in folds, from the rod nearly to the floor."""
    x = np.linspace(left, right, 41)[:, None]
    z = np.linspace(WINDOW[3] + 0.13, 0.08 - HALF_Z, 9)[None, :]
    folds = 0.03 * np.sin(2 * np.pi * 4 * (x - left) / (right - left))
    depth = HALF_Y - 0.1 + folds * np.linspace(0.7, 1.1, 9)
    return sheet(np.stack(np.broadcast_arrays(x, depth, z), axis=-1), thickness=0.012)


def _outside() -> list[Part]:
    """Model of a landscape in a box behind the window, so that no ray misses the scene."""
    left, right, low, high = WINDOW
    far = HALF_Y + 0.5
    back = panel((left, far, low), (right - left, 0, 0), (0, 0, high - low))
    clouds = [
        sphere(0.1, segments=16).stretched(width, 0.1, 0.6).moved(x, far - 0.01, z)
        for x, z, width in ((-0.15, 0.45, 2.0), (0.02, 0.50, 1.2), (0.75, 0.35, 2.2))
    ]
    ridges = (
        ("hills", HILL, far - 0.06, 0.42, 0.09, 3.1),
        ("forest", FOREST, far - 0.16, 0.20, 0.05, 23.0),
    )
    parts = [
        Part("window", "sky", join([back, *niche(WINDOW, HALF_Y + WALL, far)]), SKY),
        Part("window", "sky", join(clouds), CLOUD),
    ]
    for word, material, depth, rise, swing, pace in ridges:
        x = np.linspace(left, right, 49)[:, None]
        ridge = (
            low + rise + swing * np.sin(pace * (x - left)) + 0.4 * swing * np.sin(2.3 * pace * x)
        )
        z = low + (ridge - low) * np.linspace(0, 1, 5)[None, :]
        grid = np.stack(np.broadcast_arrays(x, np.array(depth), z), axis=-1)
        parts.append(Part("window", word, sheet(grid, thickness=0.02), material))
    return parts
