"""Lighting of a built-in scene: light from all sides, lights with shadows, and highlights."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from splat_uff.scenes.surfaces import Surface
from splat_uff.system.records import array_record

Triple = tuple[float, float, float]

SKY_DIRECTIONS = 64
OFFSET = 4e-3
"""Offset of shadow rays above the surface, in world units, so facets do not shade themselves."""
NEAR = 0.25
"""Squared distance from a lamp, in square world units, within which its light hardly grows."""


@runtime_checkable
class Blocked(Protocol):
    """Function that returns whether rays hit the scene."""

    def __call__(
        self,
        origins: Float[np.ndarray, "R 3"],
        directions: Float[np.ndarray, "R 3"],
        reach: float = np.inf,
    ) -> Bool[np.ndarray, "R"]:
        """Cast rays that end at `reach`, in lengths of their directions."""
        ...


@dataclass(frozen=True)
class Light:
    """Source of light that casts sharp shadows."""

    place: Triple
    """Direction to the light (not normalised) or, for a lamp, its position in the world."""
    colour: Triple
    """Linear colour; for a lamp, the light at a distance of about one world unit."""
    is_lamp: bool = False
    """Whether the light is a point in the scene, which grows weaker with distance."""


@dataclass(frozen=True)
class Lighting:
    """Light of a scene; the defaults are those of an open sky."""

    lights: tuple[Light, ...]
    sky_colour: Triple = (0.50, 0.53, 0.58)
    """Linear colour of the light from all sides, where it is 1 at the zenith."""
    zenith: float = 1.0
    """Brightness of the light from straight above; it falls to `horizon` and then to `nadir`."""
    horizon: float = 0.5
    nadir: float = 0.33
    reach: float = np.inf
    """Distance beyond which nothing takes that light away, in world units: in a room, whose walls
    would take all of it, a light that is dimmer only in corners and under furniture."""


OPEN_SKY = Lighting(
    (
        Light((-0.45, 0.55, 0.95), (1.05, 0.98, 0.88)),
        Light((0.85, -0.45, 0.75), (0.34, 0.38, 0.46)),
    )
)
"""Lighting of a scene in the open: a warm key light and a cool fill light under a grey sky."""


@array_record
class Points:
    """Surface points to shade; float32, world axes."""

    positions: Float[np.ndarray, "R 3"]
    normals: Float[np.ndarray, "R 3"]
    to_eye: Float[np.ndarray, "R 3"]
    sky: Float[np.ndarray, "R"]


def sky_light(surface: Surface, blocked: Blocked, lighting: Lighting) -> Float[np.ndarray, "N"]:
    """Light from all sides at each vertex, in [0, 1]: ambient occlusion.

    Directions are cosine-weighted, on a fixed spiral around the normal. An open sky is twice as
    bright at the zenith as at the horizon, and the ground is a third as bright.
    """
    count = SKY_DIRECTIONS
    height = np.sqrt(1 - (np.arange(count) + 0.5) / count)
    angle = np.arange(count) * (np.pi * (3 - np.sqrt(5)))
    radius = np.sqrt(1 - height**2)
    spiral = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], axis=1)

    normals = surface.normals
    helper = np.where(np.abs(normals[:, :1]) < 0.8, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    tangents = np.cross(normals, helper)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    frames = np.stack([tangents, np.cross(normals, tangents), normals], axis=1)
    origins = (surface.vertices + OFFSET * normals).astype(np.float32)
    light = np.empty(len(normals), np.float32)
    for start in range(0, len(normals), 8192):
        block = slice(start, start + 8192)
        ways = np.einsum("dk,nkc->ndc", spiral, frames[block]).astype(np.float32)
        starts = np.repeat(origins[block], count, axis=0)
        open_ways = ~blocked(starts, ways.reshape(-1, 3), lighting.reach).reshape(-1, count)
        up = ways[..., 2]
        above = lighting.horizon + (lighting.zenith - lighting.horizon) * up
        below = lighting.nadir + (lighting.horizon - lighting.nadir) * (1 + up)
        brightness = np.where(up > 0, above, below)
        light[block] = np.mean(open_ways * brightness, axis=1)
    return light


def shade(
    points: Points, material: dict[str, np.ndarray], blocked: Blocked, lighting: Lighting
) -> Float[np.ndarray, "R 3"]:
    """Displayed (sRGB) colour of surface points as seen from the eye.

    Args:
        points: Surface points and the directions to the eye.
        material: Fields of `Material`, one row per point.
        blocked: Function that casts the shadow rays.
        lighting: Light of the scene.
    """
    normals = points.normals
    facing = _dot(normals, points.to_eye)[:, None]
    normals = np.where(facing < 0, -normals, normals)
    albedo = material["albedo"] * _grain(points.positions, material)
    metallic, shine = material["metallic"][:, None], material["specular"][:, None]
    tint = 1 + metallic * (albedo - 1)  # Highlights on metal have the colour of the metal.

    diffuse = points.sky[:, None] * np.array(lighting.sky_colour, np.float32)
    highlights = np.zeros_like(diffuse)
    for light in lighting.lights:
        lit, towards, cosine, colour = _arriving(light, points.positions, normals, blocked)
        diffuse[lit] += cosine[:, None] * colour
        half = points.to_eye[lit] + towards
        cosine_half = _dot(half, normals[lit]) / np.sqrt(_dot(half, half))
        sharp = np.maximum(cosine_half, 0) ** material["gloss"][lit]
        highlights[lit] += sharp[:, None] * colour

    mirrored = 2 * np.abs(facing) * normals - points.to_eye
    mirror = _surroundings(mirrored) * np.minimum(1.35 * points.sky[:, None] + 0.1, 1)
    fresnel = 0.04 + 0.5 * (1 - np.abs(facing)) ** 5
    colour = (1 - metallic) * (albedo * diffuse + shine * fresnel * mirror)
    colour += metallic * albedo * (0.72 * mirror + 0.28 * diffuse)
    colour += shine * tint * highlights * (0.6 + 0.6 * metallic)
    colour += material["glow"][:, None] * albedo
    return _displayed(colour)


def _arriving(
    light: Light,
    positions: Float[np.ndarray, "R 3"],
    normals: Float[np.ndarray, "R 3"],
    blocked: Blocked,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Light that reaches points past all that casts a shadow.

    Returns:
        Indices of the L lit points; unit vectors to the light and cosines of its incidence there;
        and the colour that arrives, one or L of them.
    """
    if not light.is_lamp:
        towards = (np.array(light.place) / np.linalg.norm(light.place)).astype(np.float32)
        cosine = normals @ towards
        lit = np.flatnonzero(cosine > 0)
        starts = positions[lit] + OFFSET * normals[lit]
        dark = blocked(starts, np.broadcast_to(towards, starts.shape))
        return lit[~dark], towards, cosine[lit][~dark], np.array(light.colour, np.float32)
    ways = np.array(light.place, np.float32) - positions
    distance = np.sqrt(_dot(ways, ways))
    cosine = _dot(normals, ways) / np.maximum(distance, OFFSET)
    lit = np.flatnonzero(cosine > 0)
    starts = positions[lit] + OFFSET * normals[lit]
    dark = blocked(starts, ways[lit] - OFFSET * normals[lit], 1.0)
    lit = lit[~dark]
    near = distance[lit, None]
    colour = np.array(light.colour, np.float32) / (NEAR + near**2)
    return lit, ways[lit] / np.maximum(near, OFFSET), cosine[lit], colour


def _dot(a: Float[np.ndarray, "R 3"], b: Float[np.ndarray, "R 3"]) -> Float[np.ndarray, "R"]:
    return np.einsum("rc,rc->r", a, b)


def _surroundings(directions: Float[np.ndarray, "R 3"]) -> Float[np.ndarray, "R 3"]:
    """Surroundings seen in mirrors: a dim floor, a grey horizon and a bright soft ceiling."""
    up = directions[:, 2:]
    ceiling = 0.55 + 0.75 / (1 + np.exp(-7 * (up - 0.35)))
    floor = 0.55 - 0.42 / (1 + np.exp(7 * (up + 0.25)))
    tone = np.where(up > 0, ceiling, floor).astype(np.float32)
    return tone * np.array((1.0, 1.0, 1.03), np.float32)


def _grain(
    positions: Float[np.ndarray, "R 3"], material: dict[str, np.ndarray]
) -> Float[np.ndarray, "R 1"]:
    """Factor on the albedo that draws the grain of wood."""
    if not material["grain"].any():
        return np.ones((len(positions), 1), np.float32)
    axis = material["grain_axis"]
    axis = axis / np.linalg.norm(axis, axis=1, keepdims=True)
    along = np.sum(positions * axis, axis=1)
    across = positions - along[:, None] * axis
    x, y, z = across.T
    wobble = 0.6 * np.sin(5 * along) + 0.3 * np.sin(13 * along + 2)
    rings = np.sin(38 * (x + 0.7 * y + 1.2 * z) + wobble) + 0.5 * np.sin(
        91 * (0.8 * x - y + 0.6 * z) + 2 * wobble
    )
    return (1 + material["grain"] * 0.4 * rings)[:, None].astype(np.float32)


def _displayed(linear: Float[np.ndarray, "R 3"]) -> Float[np.ndarray, "R 3"]:
    """Convert linear colours to sRGB in [0, 1], rolling off the brightest light softly."""
    rolled = np.where(linear > 0.7, 0.7 + 0.3 * np.tanh((linear - 0.7) / 0.6), linear)
    rolled = np.clip(rolled, 0, 1)
    curve = 1.055 * np.maximum(rolled, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(rolled <= 0.0031308, 12.92 * rolled, curve).astype(np.float32)
