"""Photos and exact ground truth of a built-in scene, by ray casting on the CPU.

Results do not depend on the number of threads: rays are independent and nothing is random. The
light from the sky is computed once per vertex, so it is the same in every view.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from splat_uff.capture.images import to_bytes
from splat_uff.geometry.cameras import Camera, pixel_centres
from splat_uff.scenes.casting import Caster, Triangles
from splat_uff.scenes.lighting import OPEN_SKY, Lighting, Points, shade, sky_light
from splat_uff.scenes.parts import Part
from splat_uff.scenes.surfaces import Surface, build_surface
from splat_uff.system.records import array_record

CREASE_DEGREES = 42.0
MAX_EDGE = 0.07
"""Maximum length of an edge, in world units; a pixel of a 400-pixel photo covers 0.007."""
SUPERSAMPLES = 2
"""Number of rays along each side of a pixel that contains an edge."""
EDGE_CONTRAST = 0.06
"""Difference in displayed colour above which there is an edge between neighbouring pixels."""


@array_record
class TracedScene:
    """Scene that is ready for ray casting."""

    caster: Caster
    surface: Surface
    normals: Float[np.ndarray, "N 3"]
    """Normals of the surface, float32."""
    sky: Float[np.ndarray, "N"]
    """Light from all sides at each vertex, 1 in the open."""
    lighting: Lighting
    materials: dict[str, np.ndarray]
    """Fields of `Material`, as arrays over parts."""
    object_of_part: Int[np.ndarray, "Q"]
    collection_of_part: Int[np.ndarray, "Q"]
    objects: tuple[str, ...]
    """Paths of the objects, starting with id 1; 0 is background."""
    collections: tuple[str, ...]


@array_record
class Hits:
    """Intersections of rays with the scene; background rays have part -1 and depth 0."""

    depth: Float[np.ndarray, "R"]
    """Depth, z along the optical axis, in world units."""
    part: Int[np.ndarray, "R"]
    triangle: Int[np.ndarray, "R"]
    barycentric: Float[np.ndarray, "R 2"]


def build_scene(parts: list[Part], lighting: Lighting = OPEN_SKY) -> TracedScene:
    """Prepare parts for ray casting under a light; takes a second or two for a large scene."""
    surface = build_surface(parts, crease_degrees=CREASE_DEGREES, max_edge=MAX_EDGE)
    caster = Triangles(surface.vertices, surface.triangles)
    objects = tuple(dict.fromkeys(part.path for part in parts))
    collections = tuple(dict.fromkeys(part.collection for part in parts))
    object_ids = {path: 1 + index for index, path in enumerate(objects)}
    collection_ids = {name: 1 + index for index, name in enumerate(collections)}
    materials = [part.material for part in parts]
    fields = ("albedo", "specular", "gloss", "metallic", "grain", "grain_axis", "glow")
    return TracedScene(
        caster,
        surface,
        surface.normals.astype(np.float32),
        sky_light(surface, caster.blocked, lighting),
        lighting,
        {name: np.array([getattr(m, name) for m in materials], np.float32) for name in fields},
        np.array([object_ids[part.path] for part in parts]),
        np.array([collection_ids[part.collection] for part in parts]),
        objects,
        collections,
    )


def cast(scene: TracedScene, camera: Camera, pixels: Float[np.ndarray, "R 2"]) -> Hits:
    """Cast rays through `pixels`."""
    directions = _ahead(camera, pixels)
    found = scene.caster.meet(np.broadcast_to(camera.centre, directions.shape), directions)
    hit = found.triangle >= 0
    triangle = np.where(hit, found.triangle, 0)
    return Hits(
        np.where(hit, found.distance, np.float32(0)),
        np.where(hit, scene.surface.part_of_triangle[triangle], -1),
        triangle,
        found.barycentric,
    )


def render_ids(scene: TracedScene, hits: Hits) -> tuple[np.ndarray, np.ndarray]:
    """Object and collection id of each ray, int32; 0 is background."""
    seen = hits.part >= 0
    objects = np.where(seen, scene.object_of_part[hits.part], 0)
    collections = np.where(seen, scene.collection_of_part[hits.part], 0)
    return objects.astype(np.int32), collections.astype(np.int32)


def render_photo(scene: TracedScene, camera: Camera) -> tuple[UInt8[np.ndarray, "H W 4"], Hits]:
    """Render a photo.

    One ray is cast through each pixel centre; pixels on an edge of shape, shadow or colour get a
    box-filtered grid of rays instead. Alpha is straight: the share of rays that hit.

    Returns:
        Photo, sRGB with alpha, and the hits of the rays through the pixel centres.
    """
    centres = pixel_centres(camera)
    hits = cast(scene, camera, centres)
    photo = _colours(scene, camera, centres, hits)  # Multiplied by alpha from here.
    shape = (camera.height, camera.width)
    edges = np.flatnonzero(_edges(photo.reshape(*shape, 4), hits.part.reshape(shape)))
    steps = (np.arange(SUPERSAMPLES) + 0.5) / SUPERSAMPLES - 0.5
    offsets = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    if len(edges):
        finer = (centres[edges][:, None] + offsets).reshape(-1, 2)
        colours = _colours(scene, camera, finer, cast(scene, camera, finer))
        photo[edges] = colours.reshape(len(edges), -1, 4).mean(axis=1)
    alpha = photo[:, 3:]
    straight = photo[:, :3] / np.maximum(alpha, 1e-6)
    return to_bytes(np.concatenate([straight, alpha], axis=1)).reshape(*shape, 4), hits


def _colours(
    scene: TracedScene, camera: Camera, pixels: Float[np.ndarray, "R 2"], hits: Hits
) -> Float[np.ndarray, "R 4"]:
    """Displayed colour of each ray, and as alpha, whether it hit anything."""
    image = np.zeros((len(pixels), 4), np.float32)
    seen = np.flatnonzero(hits.part >= 0)
    corners = scene.surface.triangles[hits.triangle[seen]]
    u, v = hits.barycentric[seen].T
    weights = np.stack([1 - u - v, u, v], axis=1)
    normals = np.einsum("rk,rkc->rc", weights, scene.normals[corners])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    ahead = _ahead(camera, pixels[seen])
    positions = ahead * hits.depth[seen, None] + camera.centre.astype(np.float32)
    to_eye = -ahead / np.linalg.norm(ahead, axis=1, keepdims=True)
    sky = np.einsum("rk,rk->r", weights, scene.sky[corners])
    points = Points(positions, normals, to_eye, sky)
    material = {name: values[hits.part[seen]] for name, values in scene.materials.items()}
    image[seen, :3] = shade(points, material, scene.caster.blocked, scene.lighting)
    image[seen, 3] = 1
    return image


def _ahead(camera: Camera, pixels: Float[np.ndarray, "R 2"]) -> Float[np.ndarray, "R 3"]:
    """World directions of the rays through `pixels`, of length 1 along the optical axis.

    With this length, the ray parameter of a hit is its depth.
    """
    world_from_pixel = camera.world_from_cam[:3, :3] @ np.linalg.inv(camera.K)
    matrix = world_from_pixel.astype(np.float32)
    return pixels.astype(np.float32) @ matrix[:, :2].T + matrix[:, 2]


def _edges(
    photo: Float[np.ndarray, "H W 4"], part: Int[np.ndarray, "H W"]
) -> Bool[np.ndarray, "H W"]:
    """Pixels that differ from a neighbour, together with those neighbours."""
    edges = np.zeros(part.shape, bool)
    for axis in (0, 1):
        near = [slice(None)] * 2
        far = [slice(None)] * 2
        near[axis], far[axis] = slice(None, -1), slice(1, None)
        here, there = tuple(near), tuple(far)
        contrast = np.abs(photo[here] - photo[there]) > EDGE_CONTRAST
        differs = (part[here] != part[there]) | np.logical_or.reduce(
            [contrast[..., channel] for channel in range(3)]
        )
        edges[here] |= differs
        edges[there] |= differs
    return edges
