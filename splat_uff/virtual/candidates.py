"""Cameras from which a splat could be looked at, and what each of them sees.

Everything here is in the splat's local frame: its centre is the origin and its radius 1.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from splat_uff.geometry.axes import any_across, pose_along, right_of
from splat_uff.geometry.cameras import Camera
from splat_uff.geometry.neighbours import find_nearest
from splat_uff.render.cpu import pixel_weights
from splat_uff.render.records import Gaussians
from splat_uff.system.progress import track
from splat_uff.system.records import array_record

Kind = Literal["around", "inside"]

SIDE = 100
"""Sides, in pixels, of the renderings that tell what a camera sees."""
FIELD_AROUND, FIELD_INSIDE = 50.0, 75.0
"""Field of view of cameras, in degrees."""
FAR, CLOSE = 2.6, 2.0
"""Distances of the rings around a thing, in radii; from afar, all of it is in the image."""
SEEN = 0.1
"""Blend weight, summed over the pixels of a photo, from which a Gaussian counts as seen."""
COVERED = 0.5
"""Accumulated opacity from which a pixel shows matter."""
LEAST_COVERED = {"around": 0.0, "inside": 0.6}
"""Share of an image that matter covers at least; around a thing, however thin, any does."""
NEAR = 0.06
"""Distance, in radii, of matter that blocks a view or surrounds a camera."""
MOST_BLOCKED = 0.15
"""Largest share of an image taken up by matter that near."""
SURROUNDED = 0.65
"""Share of all directions with matter, as seen from within, from which a splat is a place."""
PROBES = 12
"""Free positions from which it is decided whether a splat is a thing or a place."""
STANDS = 40
"""Largest number of positions inside a place."""
MOST_DENSE = 0.7
"""Share of the matter, weighted by how densely it lies, within the radius of the core."""
CORE_DISTANCES = (1.3, 2.2, 3.5)
"""Distances of the rings around the core of a place, in its radii."""
WITHIN_PLACE = 0.8
"""Distance from the middle of a place, in its radii, beyond which a camera may be outside of it."""
LEVEL_ENOUGH = 0.99
"""Cosine of the angle to up beyond which a view has no side that is up."""
BEFORE_CORE = 1.3
"""Radii before the middle of the core up to which matter may hide it from a ring's camera."""


@array_record
class Candidate:
    """A camera that could be used, and what it sees."""

    camera: Camera
    """Camera of `SIDE` pixels in the local frame."""
    seen: Int[np.ndarray, "S"]
    """Gaussians that it sees, in rising order."""


def is_place(gaussians: Gaussians, stands: Float[np.ndarray, "P 3"]) -> tuple[bool, float]:
    """Whether a splat surrounds those who stand in it, and the share of directions with matter.

    Args:
        gaussians: Gaussians in the local frame.
        stands: Free positions, most central first; the first few are looked from.
    """
    if not len(stands):
        return False, 0.0
    chosen = stands[:PROBES]
    shares = [
        _covered_around(gaussians, stand) for stand in track(chosen, "looking around", len(chosen))
    ]
    share = float(np.median(shares))
    return share >= SURROUNDED, share


def free_positions(
    points: Float[np.ndarray, "P 3"], *, count: int, roomy: bool = False
) -> Float[np.ndarray, "F 3"]:
    """Positions among the matter that are free, spread evenly, beginning with the most central.

    Args:
        points: Centres of the matter, in the local frame.
        count: Largest number of positions.
        roomy: Whether positions need space around them even if there are few with it. Otherwise,
            narrower ones make up for those that are missing.
    """
    low, high = np.quantile(points, 0.05, axis=0), np.quantile(points, 0.95, axis=0)
    steps = [np.linspace(a, b, 13) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    distances = KDTree(points).query(grid)[0]
    free = grid[distances >= 2 * NEAR]
    if (
        len(free) < count and not roomy
    ):  # Haze may leave little room; what surrounds a camera shows only later.
        free = grid[np.argsort(-distances, kind="stable")[:count]]
        free = free[KDTree(points).query(free)[0] >= NEAR]
    if not len(free):
        return free
    middle = (low + high) / 2
    chosen = [int(np.linalg.norm(free - middle, axis=1).argmin())]
    nearest = np.full(len(free), np.inf)
    while len(chosen) < min(count, len(free)):
        nearest = np.minimum(nearest, np.linalg.norm(free - free[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    found = free[chosen]
    return found[np.argsort(np.linalg.norm(found - middle, axis=1), kind="stable")]


def find_core(points: Float[np.ndarray, "P 3"]) -> tuple[Float[np.ndarray, "3"], float]:
    """Middle and radius of the densest part: what the photos of a splat were most likely taken of.

    Fits put most Gaussians where photos show most detail. A thing on a table in a room is small
    beside the room, but holds many of its Gaussians.

    Args:
        points: Centres of the matter, at least one.
    """
    count = min(9, len(points))
    spacing = find_nearest(points, points, k=count)[0][:, -1]
    weights = 1 / np.maximum(spacing, max(float(np.quantile(spacing, 0.05)), 1e-12))
    middle = np.array([_weighted_quantile(points[:, axis], weights, 0.5) for axis in range(3)])
    distances = np.linalg.norm(points - middle, axis=1)
    return middle, max(_weighted_quantile(distances, weights, MOST_DENSE), 1e-6)


def cameras_around_core(
    up: Float[np.ndarray, "3"], middle: Float[np.ndarray, "3"], radius: float
) -> list[Camera]:
    """Rings of cameras around the core of a place, which look at it from three distances."""
    cameras = []
    for elevation in np.radians([-10.0, 12.0, 35.0, 60.0]):
        for distance in CORE_DISTANCES:
            for away in _ring(up, elevation, max(4, round(12 * np.cos(elevation)))):
                position = middle + distance * radius * away
                if np.linalg.norm(position) <= WITHIN_PLACE:
                    cameras.append(_looking(position, -away, up, FIELD_INSIDE))
    return cameras


def cameras_around(up: Float[np.ndarray, "3"], *, below: bool) -> list[Camera]:
    """Rings of cameras at two distances, which look at the centre.

    Args:
        up: Direction that points up.
        below: Whether to look from below the horizon, too.
    """
    elevations = [3.0, 20.0, 38.0, 58.0, 80.0, *((-25.0, -60.0) if below else ())]
    cameras = []
    for ring, elevation in enumerate(np.radians(elevations)):
        count = max(4, round(18 * np.cos(elevation)))
        for distance in (FAR, CLOSE):
            cameras += [
                _looking(distance * away, -away, up, FIELD_AROUND)
                for away in _ring(up, elevation, count, start=0.5 * (ring % 2))
            ]
    return cameras


def cameras_inside(
    up: Float[np.ndarray, "3"],
    stands: Float[np.ndarray, "P 3"],
    middle: Float[np.ndarray, "3"] | None = None,
) -> list[Camera]:
    """Cameras that look all around from each position, in turn level, downwards and upwards.

    Args:
        up: Direction that points up.
        stands: Positions of the cameras.
        middle: Point that one more camera at each position looks at.
    """
    right = any_across(up)
    forward = np.cross(up, right)
    pitches = np.radians([0.0, -28.0, 0.0, -28.0, 0.0, 22.0])
    cameras = []
    for number, stand in enumerate(stands):
        turns = 2 * np.pi * (np.arange(len(pitches)) + number / 3) / len(pitches)
        for turn, pitch in zip(turns, np.roll(pitches, number), strict=True):
            flat = np.cos(turn) * right + np.sin(turn) * forward
            ahead = np.cos(pitch) * flat + np.sin(pitch) * up
            cameras.append(_looking(stand, ahead, up, FIELD_INSIDE))
        if middle is not None:
            ahead = (middle - stand) / max(float(np.linalg.norm(middle - stand)), 1e-9)
            if abs(ahead @ up) < LEVEL_ENOUGH:
                cameras.append(_looking(stand, ahead, up, FIELD_INSIDE))
    return cameras


def look_from(
    gaussians: Gaussians,
    cameras: list[Camera],
    kind: Kind,
    *,
    size: int,
    core: tuple[Float[np.ndarray, "3"], float] | None = None,
) -> Iterator[Candidate]:
    """What each camera sees; cameras within matter, or that see mostly holes, are left out.

    Args:
        gaussians: Gaussians in the local frame.
        cameras: Cameras to look from.
        kind: Whether they stand around a thing or inside a place.
        size: Sides of the photos that will be taken, in pixels.
        core: Middle and radius of what the cameras look at; those that do not see it, such as from
            outside of a room, are left out. None if they look anywhere.
    """
    for camera in track(cameras, "cameras", len(cameras)):
        starts, indices, weights = pixel_weights(gaussians, camera)
        alpha, distance = _alpha_and_distance(gaussians, camera, starts, indices, weights)
        covered = alpha >= COVERED
        blocked = covered & (distance < NEAR)
        if not covered.any() or covered.mean() < LEAST_COVERED[kind]:
            continue
        if blocked.mean() > MOST_BLOCKED or (core and _is_hidden(distance, camera, *core)):
            continue
        sums = np.bincount(indices, weights, minlength=len(gaussians))
        seen = np.flatnonzero(sums * (size / SIDE) ** 2 >= SEEN)
        yield Candidate(camera, seen.astype(np.int32))


def _is_hidden(
    distance: Float[np.ndarray, "P"],
    camera: Camera,
    middle: Float[np.ndarray, "3"],
    radius: float,
) -> bool:
    """Whether what most pixels in the middle of an image show is nearer than the core."""
    image = distance.reshape(camera.height, camera.width)
    window = image[2 * SIDE // 5 : 3 * SIDE // 5, 2 * SIDE // 5 : 3 * SIDE // 5]
    aim = float(np.linalg.norm(camera.centre - middle))
    return float(np.median(window)) < aim - BEFORE_CORE * radius


def _ring(
    up: Float[np.ndarray, "3"], elevation: float, count: int, *, start: float = 0.0
) -> list[Float[np.ndarray, "3"]]:
    """Unit vectors at an elevation, in radians, all around; the first at `start` of a step."""
    right = any_across(up)
    forward = np.cross(up, right)
    turns = 2 * np.pi * (np.arange(count) + start) / count
    flat = np.cos(turns)[:, None] * right + np.sin(turns)[:, None] * forward
    return list(np.cos(elevation) * flat + np.sin(elevation) * up)


def _weighted_quantile(
    values: Float[np.ndarray, "P"], weights: Float[np.ndarray, "P"], share: float
) -> float:
    order = np.argsort(values, kind="stable")
    sums = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(sums, share * sums[-1])]])


def _covered_around(gaussians: Gaussians, stand: Float[np.ndarray, "3"]) -> float:
    """Share of directions with matter; 0 from within matter."""
    covered, near = [], []
    for axis in np.concatenate([np.eye(3), -np.eye(3)]):
        camera = _looking(stand, axis, any_across(axis), 90.0, side=16)
        starts, indices, weights = pixel_weights(gaussians, camera)
        alpha, distance = _alpha_and_distance(gaussians, camera, starts, indices, weights)
        covered.append((alpha >= COVERED).mean())
        near.append(((alpha >= COVERED) & (distance < NEAR)).mean())
    return 0.0 if np.mean(near) > MOST_BLOCKED else float(np.mean(covered))


def _alpha_and_distance(
    gaussians: Gaussians,
    camera: Camera,
    starts: Int[np.ndarray, "P1"],
    indices: Int[np.ndarray, "E"],
    weights: Float[np.ndarray, "E"],
) -> tuple[Float[np.ndarray, "P"], Float[np.ndarray, "P"]]:
    """Accumulated opacity and mean distance of each pixel; infinite where there is nothing."""
    distances = np.linalg.norm(gaussians.means.numpy() - camera.centre, axis=1)
    pixels = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    count = len(starts) - 1
    # An empty sum has integers.
    alpha = np.bincount(pixels, weights, minlength=count).astype(np.float64)
    total = np.bincount(pixels, weights * distances[indices], minlength=count)
    with np.errstate(divide="ignore", invalid="ignore"):
        return alpha, np.where(alpha > 0, total / alpha, np.inf)


def _looking(
    position: Float[np.ndarray, "3"],
    forward: Float[np.ndarray, "3"],
    up: Float[np.ndarray, "3"],
    degrees: float,
    *,
    side: int = SIDE,
) -> Camera:
    focal = side / (2 * np.tan(np.radians(degrees) / 2))
    K = np.array([[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1]])
    return Camera(pose_along(position, forward, right_of(forward, up)), K, side, side)
