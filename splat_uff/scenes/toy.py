"""The built-in scene `toy`, for tests: ten parts in three groups, quick to make and distinct."""

from splat_uff.scenes import materials
from splat_uff.scenes.parts import Material, Part, colour
from splat_uff.scenes.shapes import box, cylinder, sphere, torus

BLUE = Material(colour("#2f62b8"))
GREEN = Material(colour("#3f8f4a"))


def build_toy() -> list[Part]:
    """Build a table with four legs and, on it, a tower of three blocks and a ball in a ring."""
    legs = [
        Part("table", f"leg {1 + 2 * (x > 0) + (y > 0)}", leg.moved(x, y, -0.45), materials.OAK)
        for x in (-0.65, 0.65)
        for y in (-0.5, 0.5)
        for leg in [cylinder(0.1, 0.6)]
    ]
    return [
        Part("table", "top", box(1.7, 1.4, 0.16, bevel=0.02).moved(z=-0.08), materials.OAK),
        *legs,
        Part("tower", "base", box(0.6, 0.6, 0.3, bevel=0.02).moved(-0.35, 0.1, 0.15), BLUE),
        Part("tower", "drum", cylinder(0.24, 0.3).moved(-0.35, 0.1, 0.45), BLUE),
        Part("tower", "cap", sphere(0.22).moved(-0.35, 0.1, 0.78), materials.RED_LACQUER),
        Part("ball", "ring", torus(0.2, 0.1).moved(0.42, -0.1, 0.1), materials.BRASS),
        Part("ball", "sphere", sphere(0.25).moved(0.42, -0.1, 0.32), GREEN),
    ]
