"""The built-in scene `plant`: a rubber tree in a pot; many similar leaves, grouped by branch."""

import numpy as np

from splat_uff.scenes.materials import WALNUT
from splat_uff.scenes.parts import Material, Mesh, Part, colour, join
from splat_uff.scenes.shapes import curve, lathe, sheet, sphere, torus, tube

CLAY = Material(colour("#b8603a"), specular=0.1, gloss=12)
SOIL = Material(colour("#3a2a1e"), specular=0.0)
PEBBLE = Material(colour("#9a948a"), specular=0.1)
BARK = Material(colour("#6b5237"), specular=0.05, gloss=8)
YOUNG_WOOD = Material(colour("#5d7a35"), specular=0.15)
LEAF = Material(colour("#2f7d32"), specular=0.3, gloss=22)
LIGHT_LEAF = Material(colour("#5ea043"), specular=0.3, gloss=22)
DARK_LEAF = Material(colour("#1e5b2c"), specular=0.35, gloss=26)

FLOOR = -0.95
CROWN = -0.18
"""Height above which branches begin."""
NUM_BRANCHES = 8
LEAVES_PER_BRANCH = 7


def build_plant() -> list[Part]:
    """Build pot, trunk and leafy branches; nothing is random, angles follow the golden ratio."""
    parts = [*_pot(), *_soil()]
    trunk = [(0.0, 0.0, -0.55), (0.03, 0.02, -0.25), (-0.02, 0.03, 0.15), (0.01, 0.0, 0.55)]
    parts.append(Part("trunk", "stem", tube(curve(trunk), np.linspace(0.065, 0.035, 25)), BARK))
    for index in range(NUM_BRANCHES):
        parts += _branch(index)
    return parts


def _pot() -> list[Part]:
    body = lathe(
        [
            (0, FLOOR + 0.05),
            (0.27, FLOOR + 0.05),
            (0.37, -0.52),
            (0.34, -0.52),
            (0.3, -0.6),
            (0, -0.62),
        ]
    )
    rim = lathe([(0.34, -0.60), (0.40, -0.60), (0.42, -0.48), (0.36, -0.48), (0.34, -0.60)])
    saucer = lathe(
        [
            (0, FLOOR),
            (0.36, FLOOR),
            (0.42, FLOOR + 0.07),
            (0.39, FLOOR + 0.07),
            (0.34, FLOOR + 0.03),
            (0, FLOOR + 0.03),
        ]
    )
    band = torus(0.335, 0.022).moved(z=-0.72)
    return [
        Part("pot", "body", body, CLAY),
        Part("pot", "rim", rim, CLAY),
        Part("pot", "band", band, CLAY),
        Part("pot", "saucer", saucer, CLAY),
    ]


def _soil() -> list[Part]:
    parts = [
        Part("soil", "earth", lathe([(0, -0.6), (0.35, -0.6), (0.34, -0.53), (0, -0.5)]), SOIL)
    ]
    stick = tube([(0.2, -0.1, -0.52), (0.23, -0.12, -0.2)], 0.02)
    label = sheet(_grid(0.2, 0.13), thickness=0.02).moved(0.23, -0.14, -0.2)
    parts.append(Part("soil", "label", join([stick, label]), WALNUT))
    for index, (angle, radius) in enumerate(
        ((20, 0.25), (95, 0.23), (150, 0.26), (215, 0.24), (290, 0.26))
    ):
        pebble = sphere(0.06, segments=14).stretched(1.2, 0.9, 0.7).moved(x=radius, z=-0.5)
        parts.append(Part("soil", f"pebble {index + 1}", pebble.turned("z", degrees=angle), PEBBLE))
    return parts


def _branch(index: int) -> list[Part]:
    """Branch with its leaves, at the golden angle from the branch below."""
    name = f"branch {index + 1}"
    share = index / (NUM_BRANCHES - 1)
    azimuth = 137.5 * index
    start = CROWN + 0.62 * share
    reach, rise = 0.80 - 0.36 * share, 0.24 + 0.22 * share
    spine = [
        (0.0, 0.0, start),
        (0.4 * reach, 0.04, start + 0.55 * rise),
        (0.8 * reach, 0.0, start + 0.95 * rise),
        (reach, -0.03, start + rise),
    ]
    path = curve(spine, steps=6)
    stem = tube(path, np.linspace(0.032, 0.016, len(path)))
    parts = [Part(name, "stem", stem, YOUNG_WOOD)]
    shade = (LEAF, LIGHT_LEAF, DARK_LEAF)[index % 3]
    for leaf in range(LEAVES_PER_BRANCH):
        along = 0.30 + 0.70 * leaf / (LEAVES_PER_BRANCH - 1)
        x, y, z = path[min(len(path) - 1, round(along * (len(path) - 1)))]
        last = leaf == LEAVES_PER_BRANCH - 1
        side = 0 if last else (62 if leaf % 2 else -62)
        size = 0.40 - 0.06 * along + 0.03 * ((leaf * 5 + index * 3) % 4) / 3
        mesh = _leaf(size, droop=0.35 + 0.1 * (leaf % 3))
        mesh = mesh.turned("y", degrees=-28 + 9 * (leaf % 3)).turned("z", degrees=side + 7 * leaf)
        parts.append(Part(name, f"leaf {leaf + 1}", mesh.moved(x, y, z), shade))
    return [part.turned("z", degrees=azimuth) for part in parts]


def _leaf(length: float, *, droop: float) -> Mesh:
    """Pointed leaf from the origin along +x, slightly folded along its midrib."""
    along = np.linspace(0, 1, 12)[:, None]
    across = np.linspace(-1, 1, 7)[None, :]
    width = 0.30 * length * np.sin(np.pi * along**0.75) ** 0.8 + 0.012
    surface = np.stack(
        [
            length * (0.12 + along) + 0 * across,
            width * across,
            length * (0.3 * along - droop * along**2) + 0.25 * width * np.abs(across),
        ],
        axis=-1,
    )
    stalk = tube([(0, 0, 0), (0.16 * length, 0, 0.01)], 0.012, sides=8)
    return join([sheet(surface, thickness=0.014), stalk])


def _grid(width: float, height: float) -> np.ndarray:
    """Small upright grid of points that faces -y."""
    x, z = np.meshgrid([-width / 2, 0, width / 2], [-height / 2, 0, height / 2], indexing="ij")
    return np.stack([x, 0 * x, z], axis=-1)
