"""Borders of a view's surface: steps in depth, and creases between faces.

A splat blurs a step in depth over a few pixels, so every cue compares pixels a few steps apart.
Depth is compared as disparity (1 / z), which is linear across the image of a plane: a slanted plane
has no steps.
"""

import numpy as np
from jaxtyping import Bool, Float

from splat_uff.geometry.cameras import Camera, pixel_centres
from splat_uff.system.records import array_record

STEP = 0.04
"""Relative step in depth at which a border has 1 - 1/e of a step's full strength."""
SMOOTHINGS = 2
ALIKE_DEPTH, ALIKE_TURN = 0.01, 0.3
"""Relative difference in depth, and 1 - cosine of the angle, up to which normals are averaged."""


@array_record
class Surface:
    """Surface that a camera sees, pixel by pixel."""

    camera: Camera
    depth: Float[np.ndarray, "H W"]
    """Depth (z) in world units; 0 or NaN where nothing is seen."""
    normals: Float[np.ndarray, "H W 3"]
    """Normals by another source than depth, in camera axes; 0 or NaN where unknown."""


@array_record
class Steps:
    """Cues between each pixel and the next one along an axis, in [0, 2]; 0 where unknown."""

    step: Float[np.ndarray, "H W"]
    """Step in depth: 0 on a plane, towards 1 where one thing hides another."""
    concave: Float[np.ndarray, "H W"]
    """Turn (1 - cosine) into a valley, as between a thing and the floor that it stands on."""
    convex: Float[np.ndarray, "H W"]
    """Turn (1 - cosine) over a ridge, as between two faces of one thing."""


class Relief:
    """Points, disparities and normals of a surface, computed once for both axes."""

    def __init__(self, surface: Surface) -> None:
        depth = np.nan_to_num(surface.depth.astype(np.float64), posinf=0.0, neginf=0.0)
        self.known: Bool[np.ndarray, "H W"] = depth > 0
        depth = np.where(self.known, depth, 0.0)
        self.disparity = np.divide(1.0, depth, out=np.zeros_like(depth), where=self.known)
        camera = surface.camera
        rays = (pixel_centres(camera) - camera.K[:2, 2]) / camera.K[[0, 1], [0, 1]]
        rays = rays.reshape(*depth.shape, 2)
        self.points = np.concatenate([rays * depth[..., None], depth[..., None]], axis=2)
        by_depth = _smoothed(_normals_of(self.points, self.known), depth, self.known)
        given = _unit(np.nan_to_num(surface.normals.astype(np.float64)))
        self.normals = _unit(by_depth + given * self.known[..., None])

    def steps(self, axis: int) -> Steps:
        """Cues between each pixel and the next along an axis; those of the last line are unused.

        Concave and convex creases as in Stein, Schoeler, Papon, Woergoetter, "Object partitioning
        using local convexity", CVPR 2014.
        """
        known = self.known & _known_at(self.known, 1, axis)
        known &= _known_at(self.known, -1, axis) & _known_at(self.known, 2, axis)
        step = np.where(known, 1 - np.exp(-self._excess(axis) / STEP), 0.0)
        turn, convex = self._turn(axis)
        turn = np.where(known, turn, 0.0)
        return Steps(step, np.where(convex, 0.0, turn), np.where(convex, turn, 0.0))

    def _excess(self, axis: int) -> Float[np.ndarray, "H W"]:
        """Relative rise of disparity over three pixels that the slopes beside them do not explain.

        Between two faces that meet, the rise lies between the two slopes, so there is no excess.
        Of the three pixel sides, the one with the largest change counts in full, others as little
        as half.
        """
        near, far = shifted(self.disparity, -1, axis), shifted(self.disparity, 2, axis)
        rise = far - near
        before = 1.5 * (near - shifted(self.disparity, -3, axis))  # Rise over three pixels.
        after = 1.5 * (shifted(self.disparity, 4, axis) - far)
        has_before, has_after = (_known_at(self.known, by, axis) for by in (-3, 4))
        before, after = (
            np.where(has_before, before, np.where(has_after, after, rise)),
            np.where(has_after, after, np.where(has_before, before, rise)),
        )
        excess = np.maximum(rise - np.maximum(before, after), np.minimum(before, after) - rise)
        change = np.abs(shifted(self.disparity, 1, axis) - self.disparity)
        largest = np.maximum(
            change, np.maximum(shifted(change, -1, axis), shifted(change, 1, axis))
        )
        share = 0.5 + 0.5 * change / np.maximum(largest, 1e-12)
        return share * np.maximum(excess, 0) / np.maximum(np.minimum(near, far), 1e-9)

    def _turn(self, axis: int) -> tuple[Float[np.ndarray, "H W"], Bool[np.ndarray, "H W"]]:
        """1 - cosine between the normals to both sides, and whether the surface is convex there."""
        one, two = (shifted(self.normals, by, axis) for by in (-1, 2))
        apart = shifted(self.points, -1, axis) - shifted(self.points, 2, axis)
        known = one.any(axis=2) & two.any(axis=2)
        turn = np.where(known, 1 - np.clip((one * two).sum(axis=2), -1, 1), 0.0)
        return turn, (apart * (one - two)).sum(axis=2) > 0


def shifted(array: np.ndarray, by: int, axis: int) -> np.ndarray:
    """Value `by` pixels further along an axis; the value at the image's edge beyond it."""
    length = array.shape[axis]
    places = np.clip(np.arange(length) + by, 0, length - 1)
    return np.take(array, places, axis)


def _known_at(known: Bool[np.ndarray, "H W"], by: int, axis: int) -> Bool[np.ndarray, "H W"]:
    """Whether the pixel `by` further along an axis lies in the image and is known."""
    found = shifted(known, by, axis)
    beyond = slice(-by, None) if by > 0 else slice(None, -by)
    found[(slice(None),) * axis + (beyond,)] = False
    return found


def _normals_of(
    points: Float[np.ndarray, "H W 3"], known: Bool[np.ndarray, "H W"]
) -> Float[np.ndarray, "H W 3"]:
    """Unit normals towards the camera; 0 where a pixel has no neighbour in a row or column."""
    normals = np.cross(_slope(points, known, 0), _slope(points, known, 1))
    normals = _unit(np.where(known[..., None], normals, 0.0))
    away = (normals * points).sum(axis=2) > 0
    normals[away] *= -1
    return normals


def _slope(
    points: Float[np.ndarray, "H W 3"], known: Bool[np.ndarray, "H W"], axis: int
) -> Float[np.ndarray, "H W 3"]:
    """Step of the points along an axis, on the side where depth changes less; 0 if unknown."""
    ahead = shifted(points, 1, axis) - points
    behind = points - shifted(points, -1, axis)
    has_ahead, has_behind = _known_at(known, 1, axis), _known_at(known, -1, axis)
    rise = np.where(has_ahead, np.abs(ahead[..., 2]), np.inf)
    fall = np.where(has_behind, np.abs(behind[..., 2]), np.inf)
    even = has_ahead & has_behind
    even &= np.maximum(rise, fall) < 3 * np.minimum(rise, fall) + 1e-3 * points[..., 2]
    slope = np.where((rise < fall)[..., None], ahead, behind)
    slope = np.where(even[..., None], (ahead + behind) / 2, slope)
    return np.where((has_ahead | has_behind)[..., None], slope, 0.0)


def _smoothed(
    normals: Float[np.ndarray, "H W 3"],
    depth: Float[np.ndarray, "H W"],
    known: Bool[np.ndarray, "H W"],
) -> Float[np.ndarray, "H W 3"]:
    """Bilateral mean over 3x3 pixels, repeated: like normals at like depths are averaged."""
    scale = ALIKE_DEPTH * depth + 1e-9
    for _ in range(SMOOTHINGS):
        total = normals.copy()
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                if down or right:
                    other = shifted(shifted(normals, down, 0), right, 1)
                    apart = (shifted(shifted(depth, down, 0), right, 1) - depth) / scale
                    turn = (1 - (other * normals).sum(axis=2)) / ALIKE_TURN
                    total += np.exp(-(apart**2) - turn)[..., None] * other
        normals = _unit(np.where(known[..., None], total, 0.0))
    return normals


def _unit(vectors: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W 3"]:
    """Vectors of length 1; those without a direction are 0."""
    length = np.linalg.norm(vectors, axis=2, keepdims=True)
    return np.where(length > 1e-12, vectors / np.maximum(length, 1e-12), 0.0)
