"""True objects of a built-in scene, each rendered without the others.

Like `builtin`, this file does not determine what a scene looks like (`GENERATOR_FILES`).
"""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import binary_erosion, distance_transform_edt

from splat_uff.capture.images import area_resize
from splat_uff.capture.records import Capture, View
from splat_uff.evaluate.parts import AloneView, PartTruth
from splat_uff.geometry.cameras import Camera, pixel_centres, project, unproject
from splat_uff.scenes.casting import Caster
from splat_uff.scenes.catalogue import RECIPES
from splat_uff.scenes.covisible import TOLERANCE
from splat_uff.scenes.raytrace import TracedScene, build_scene, cast, render_ids, render_photo
from splat_uff.system.errors import InputError, reason_of
from splat_uff.system.progress import track
from splat_uff.system.records import array_record

OPAQUE = 0.5
"""Alpha of a photo from which a pixel belongs to the silhouette."""
SAME_SCENE = 0.99
"""Least share of pixels whose id must be that of the capture for the scene to be the same."""
NEAR = 0.05
"""Depth, in units of the scene, up to which a window cannot be found by projection."""
FINEST = 400
"""Longer side, in pixels, of the views by which it is decided what training sees, if not more."""
MARGIN = 2
"""Pixels around the projected vertices of an object that belong to its window."""


@array_record
class _Shown:
    """Full scene in one view."""

    camera: Camera
    """Camera in the world of the scene, at the size of the view."""
    photo_camera: Camera
    """The same at the size at which the photo was rendered."""
    objects: Int[np.ndarray, "H W"]
    """Object id of each pixel centre; 0 is background."""
    depth: Float[np.ndarray, "H W"]
    """Depth (z) of each pixel centre, in units of the scene; 0 for background."""


@array_record
class _Alone:
    """One object, ready for ray casting without the others."""

    number: int
    """Id of the object."""
    one: TracedScene
    """Object lit as if alone."""
    in_scene: TracedScene
    """The same surface in the light of the full scene."""


class _LitBy:
    """Ray caster that shows one object, on which all objects throw their shadows."""

    def __init__(self, alone: Caster, everything: Caster) -> None:
        self.meet, self.blocked = alone.meet, everything.blocked


@array_record
class _Surface:
    """Surface points of one object in the pixels of one view."""

    pixels: Int[np.ndarray, "P"]
    """Row-major pixels whose centres show the object."""
    points: Float[np.ndarray, "P 3"]
    normals: Float[np.ndarray, "P 3"]
    """Normals, towards the camera; of any length."""


def render_parts(capture: Capture) -> PartTruth:
    """Render each true object of a built-in scene alone, as seen by the held-out views.

    Light and anti-aliasing are those of the scene's photos, but nothing covers an object. Colours
    are those of the object lit as if alone, without shadows of others, and those of the object lit
    as in its scene. A pixel of its silhouette is *seen*
    if any training view shows the same object at its surface point, whose depth must agree to
    `TOLERANCE` with that of the pixel where it falls, or of one of the eight around that one, at
    `FINEST` pixels a side or more; and from the side that the held-out view sees.

    Args:
        capture: Capture of a built-in scene, at any size.

    Raises:
        InputError: If the capture is no built-in scene, or one of another version.
    """
    name = _scene_name(capture)
    recipe = RECIPES[name]
    parts = recipe.build()
    scene = build_scene(parts, recipe.lighting)
    held_out = [_show(scene, view, capture) for view in capture.val]
    _require_same(capture, held_out)
    trained = [
        _show(scene, replace(view, camera=_finer(view.camera)), capture)
        for view in track(capture.train, "full scene", len(capture.train))
    ]
    alone = []
    for number, path in enumerate(track(scene.objects, "true parts", len(scene.objects)), 1):
        one = build_scene([part for part in parts if part.path == path], recipe.lighting)
        lit = replace(one, caster=_LitBy(one.caster, scene.caster), sky=_sky_of(scene, number))
        alone.append(_alone_views(_Alone(number, one, lit), held_out, trained))
    return PartTruth(scene.objects, capture.val, tuple(alone))


def _sky_of(scene: TracedScene, number: int) -> Float[np.ndarray, "_"]:
    """Light of the sky at the vertices of an object, which are in the order of its own surface."""
    surface = scene.surface
    objects = np.empty(len(surface.vertices), np.int64)
    objects[surface.triangles] = scene.object_of_part[surface.part_of_triangle][:, None]
    return scene.sky[objects == number]


def _scene_name(capture: Capture) -> str:
    """Name of the built-in scene that a capture is."""
    path = capture.folder / "scene.json"
    reason = "it has no scene.json"
    if path.is_file():
        try:
            name = json.loads(path.read_text(encoding="utf-8-sig"))["name"]
            if name in RECIPES and capture.val and capture.train:
                return name
            reason = f"its scene.json names {name}"
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = f"its scene.json cannot be read ({reason_of(error)})"
    raise InputError(
        f"{capture.folder} is no built-in scene ({reason}); only built-in scenes can be rendered "
        f"without their other objects: {', '.join(RECIPES)}."
    )


def _require_same(capture: Capture, shown: Sequence[_Shown]) -> None:
    """Check that the scene is the one that the capture shows, by the ids of a held-out view."""
    for view, full in zip(capture.val, shown, strict=True):
        if view.truth is None:
            continue
        height, width = full.objects.shape
        rows, columns = view.truth.objects.shape
        ys = (np.arange(height) + 0.5) * rows / height
        xs = (np.arange(width) + 0.5) * columns / width
        known = view.truth.objects[ys.astype(int)[:, None], xs.astype(int)]
        same = known == full.objects
        # Where sizes differ, so may pixels on a border.
        interior = _inner(known) & _inner(full.objects) if rows != height else np.ones_like(same)
        if same[interior].mean() < SAME_SCENE:
            raise InputError(
                f"{capture.folder} was made by another version of its built-in scene, whose "
                "objects cannot be rendered any more; train again on the scene of this version."
            )
        return


def _inner(ids: Int[np.ndarray, "H W"]) -> Bool[np.ndarray, "H W"]:
    """Pixels whose four neighbours have the same id."""
    same = np.ones(ids.shape, bool)
    down, across = ids[1:] != ids[:-1], ids[:, 1:] != ids[:, :-1]
    same[1:][down] = same[:-1][down] = False
    same[:, 1:][across] = same[:, :-1][across] = False
    return same


def _show(scene: TracedScene, view: View, capture: Capture) -> _Shown:
    """Ids and depth of the full scene in a view."""
    pose = view.camera.world_from_cam.copy()
    source = capture.source_from_world
    pose[:3, 3] = source[:3, :3] @ pose[:3, 3] + source[:3, 3]  # It scales and moves, no more.
    camera = replace(view.camera, world_from_cam=pose)
    hits = cast(scene, camera, pixel_centres(camera))
    shape = camera.height, camera.width
    height, width = view.shapes[0]
    return _Shown(
        camera,
        camera.resized(width, height),
        render_ids(scene, hits)[0].reshape(shape),
        hits.depth.reshape(shape),
    )


def _finer(camera: Camera) -> Camera:
    """The camera, or a finer one where its pixels are too large to tell what it sees."""
    scale = max(1.0, FINEST / max(camera.width, camera.height))
    return camera.resized(round(scale * camera.width), round(scale * camera.height))


def _alone_views(
    alone: _Alone, held_out: Sequence[_Shown], trained: Sequence[_Shown]
) -> tuple[AloneView, ...]:
    """Pictures of one object in the held-out views where its silhouette is not empty."""
    found: list[AloneView] = []
    surfaces: list[_Surface] = []
    for index, full in enumerate(held_out):
        photo, in_scene = (_photo_alone(each, full) for each in (alone.one, alone.in_scene))
        inside = photo[..., 3] >= OPAQUE
        if not inside.any():
            continue
        surfaces.append(_surface(alone.one, full.camera, inside))
        whole = binary_erosion(full.objects == alone.number, np.ones((3, 3), bool))
        shows = np.asarray(whole, bool) & inside
        rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        colours, lit = (each[..., :3] + (1 - each[..., 3:]) for each in (photo, in_scene))
        found.append(
            AloneView(
                index,
                int(rows[0]),
                int(columns[0]),
                colours[window].astype(np.float16),  # Exact enough for 70 dB.
                lit[window].astype(np.float16),
                inside[window],
                shows[window],
                inside[window],  # Replaced below, when all views are looked at together.
            )
        )
    seen = _seen_points(surfaces, alone.number, trained)
    return tuple(
        replace(each, seen=_seen_pixels(each, surface, points, held_out[each.view].camera))
        for each, surface, points in zip(found, surfaces, seen, strict=True)
    )


def _photo_alone(one: TracedScene, full: _Shown) -> Float[np.ndarray, "H W 4"]:
    """Photo of an object at the size of the view, colour multiplied by alpha.

    Only the window that holds the object is rendered: its pixels are those of the whole photo.
    """
    camera = full.photo_camera
    top, left, bottom, right = _window(one, camera)
    photo = np.zeros((camera.height, camera.width, 4), np.float32)
    if bottom > top and right > left:
        shifted = camera.K.copy()
        shifted[:2, 2] -= [left, top]
        part = Camera(camera.world_from_cam, shifted, right - left, bottom - top)
        drawn = render_photo(one, part)[0].astype(np.float32) / 255
        drawn[..., :3] *= drawn[..., 3:]
        photo[top:bottom, left:right] = drawn
    return area_resize(photo, full.camera.height, full.camera.width)


def _window(one: TracedScene, camera: Camera) -> tuple[int, int, int, int]:
    """First row and column that may show an object, and those behind the last."""
    pixels, depth = project(camera, one.surface.vertices.astype(np.float64))
    if depth.max() <= 0:
        return 0, 0, 0, 0
    if depth.min() < NEAR:
        return 0, 0, camera.height, camera.width
    size = [camera.width, camera.height]
    left, top = np.clip(np.floor(pixels.min(axis=0)) - MARGIN, 0, size).astype(int).tolist()
    right, bottom = np.clip(np.ceil(pixels.max(axis=0)) + MARGIN, 0, size).astype(int).tolist()
    return top, left, bottom, right


def _surface(one: TracedScene, camera: Camera, inside: Bool[np.ndarray, "H W"]) -> _Surface:
    """Surface points behind the pixel centres of a silhouette."""
    pixels = np.flatnonzero(inside)
    centres = pixel_centres(camera)[pixels]
    hits = cast(one, camera, centres)
    hit = np.flatnonzero(hits.part >= 0)
    points = unproject(camera, centres[hit], hits.depth[hit].astype(np.float64))
    corners = one.surface.vertices[one.surface.triangles[hits.triangle[hit]]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    away = np.einsum("pc,pc->p", normals, camera.centre - points) < 0
    normals[away] *= -1
    return _Surface(pixels[hit], points, normals)


def _seen_points(
    surfaces: Sequence[_Surface], number: int, trained: Sequence[_Shown]
) -> list[Bool[np.ndarray, "_"]]:
    """Whether any training view shows each point of an object, for each surface."""
    if not surfaces:
        return []
    points = np.concatenate([each.points for each in surfaces])
    normals = np.concatenate([each.normals for each in surfaces])
    seen = np.zeros(len(points), bool)
    for full in trained:
        left = np.flatnonzero(~seen)  # Most points are found in the first views.
        towards = full.camera.centre - points[left]
        left = left[np.einsum("pc,pc->p", normals[left], towards) > 0]
        seen[left] = _is_shown(full, points[left], number)
    ends = np.cumsum([len(each.points) for each in surfaces])
    return np.split(seen, ends[:-1])


def _is_shown(full: _Shown, points: Float[np.ndarray, "P 3"], number: int) -> Bool[np.ndarray, "P"]:
    """Whether a view shows an object at each point, in its pixel or one of the eight around it."""
    pixels, depth = project(full.camera, points)
    height, width = full.objects.shape
    ahead = depth > 0
    x, y = np.floor(np.where(ahead[:, None], pixels, -1)).clip(-1, 2**30).astype(int).T
    usable = ahead & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = np.where(usable, x, 0), np.where(usable, y, 0)
    own = np.pad(np.where(full.objects == number, full.depth, np.inf), 1, constant_values=np.inf)
    shown = np.zeros(len(points), bool)
    for row in range(3):
        for column in range(3):
            shown |= np.abs(own[y + row, x + column] - depth) < TOLERANCE
    return shown & usable


def _seen_pixels(
    alone: AloneView, surface: _Surface, seen: Bool[np.ndarray, "P"], camera: Camera
) -> Bool[np.ndarray, "h w"]:
    """Seen pixels of a window; where a centre misses the object, those of the nearest that hits."""
    if not len(surface.pixels):
        return alone.inside  # A sliver between pixel centres, with nothing to decide by.
    known = np.zeros((camera.height, camera.width), bool)
    known.flat[surface.pixels] = True
    marked = np.zeros_like(known)
    marked.flat[surface.pixels] = seen
    rows, columns = alone.inside.shape
    window = np.s_[alone.top : alone.top + rows, alone.left : alone.left + columns]
    y, x = distance_transform_edt(~known[window], return_distances=False, return_indices=True)  # pyright: ignore[reportGeneralTypeIssues]
    return marked[window][y, x] & alone.inside
