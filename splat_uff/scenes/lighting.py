"""Lighting of a built-in scene: an open sky, a key and a fill light with shadows, highlights."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from splat_uff.scenes.surfaces import Surface
from splat_uff.system.records import array_record

Blocked = Callable[[Float[np.ndarray, "R 3"], Float[np.ndarray, "R 3"]], Bool[np.ndarray, "R"]]
"""Function that returns whether rays, given by origins and directions, hit the scene."""

LIGHTS = (
    ((-0.45, 0.55, 0.95), (1.05, 0.98, 0.88)),
    ((0.85, -0.45, 0.75), (0.34, 0.38, 0.46)),
)
"""Direction to each light (not normalised) and its colour: a warm key and a cool fill light."""
SKY_COLOUR = (0.50, 0.53, 0.58)
SKY_DIRECTIONS = 64
OFFSET = 4e-3
"""Offset of shadow rays above the surface, in world units, so facets do not shade themselves."""


@array_record
class Points:
    """Surface points to shade; float32, world axes."""

    positions: Float[np.ndarray, "R 3"]
    normals: Float[np.ndarray, "R 3"]
    to_eye: Float[np.ndarray, "R 3"]
    sky: Float[np.ndarray, "R"]


def sky_light(surface: Surface, blocked: Blocked) -> Float[np.ndarray, "N"]:
    """Light from the whole sky at each vertex, in [0, 1]: ambient occlusion.

    Directions are cosine-weighted, on a fixed spiral around the normal. The sky is twice as bright
    at the zenith as at the horizon, and the ground is a third as bright.
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
        open_ways = ~blocked(starts, ways.reshape(-1, 3)).reshape(-1, count)
        up = ways[..., 2]
        brightness = np.where(up > 0, 0.5 + 0.5 * up, 0.33 + 0.17 * (1 + up))
        light[block] = np.mean(open_ways * brightness, axis=1)
    return light


def shade(
    points: Points, material: dict[str, np.ndarray], blocked: Blocked
) -> Float[np.ndarray, "R 3"]:
    """Displayed (sRGB) colour of surface points as seen from the eye.

    Args:
        points: Surface points and the directions to the eye.
        material: Fields of `Material`, one row per point.
        blocked: Function that casts the shadow rays.
    """
    normals = points.normals
    facing = _dot(normals, points.to_eye)[:, None]
    normals = np.where(facing < 0, -normals, normals)
    albedo = material["albedo"] * _grain(points.positions, material)
    metallic, shine = material["metallic"][:, None], material["specular"][:, None]
    tint = 1 + metallic * (albedo - 1)  # Highlights on metal have the colour of the metal.

    diffuse = points.sky[:, None] * np.array(SKY_COLOUR, np.float32)
    highlights = np.zeros_like(diffuse)
    for direction, colour in LIGHTS:
        towards = (np.array(direction) / np.linalg.norm(direction)).astype(np.float32)
        cosine = normals @ towards
        lit = np.flatnonzero(cosine > 0)
        starts = points.positions[lit] + OFFSET * normals[lit]
        dark = blocked(starts, np.broadcast_to(towards, starts.shape))
        lit, cosine = lit[~dark], cosine[lit][~dark]
        diffuse[lit] += cosine[:, None] * np.array(colour, np.float32)
        half = points.to_eye[lit] + towards
        cosine_half = _dot(half, normals[lit]) / np.sqrt(_dot(half, half))
        sharp = np.maximum(cosine_half, 0) ** material["gloss"][lit]
        highlights[lit] += sharp[:, None] * np.array(colour, np.float32)

    mirrored = 2 * np.abs(facing) * normals - points.to_eye
    mirror = _surroundings(mirrored) * np.minimum(1.35 * points.sky[:, None] + 0.1, 1)
    fresnel = 0.04 + 0.5 * (1 - np.abs(facing)) ** 5
    colour = (1 - metallic) * (albedo * diffuse + shine * fresnel * mirror)
    colour += metallic * albedo * (0.72 * mirror + 0.28 * diffuse)
    colour += shine * tint * highlights * (0.6 + 0.6 * metallic)
    return _displayed(colour)


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
