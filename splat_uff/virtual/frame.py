"""Middle, size and upright axis of a splat."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from splat_uff.geometry.neighbours import find_nearest
from splat_uff.render.records import Gaussians
from splat_uff.system.records import array_record

SOLID = 0.1
"""Opacity above which a Gaussian counts as matter."""
LONE = 8.0
"""Distance of the eighth neighbour, in medians, beyond which a Gaussian is a floater."""
WITHIN = 0.98
"""Share of the matter that lies within the radius."""
LEVEL = np.cos(np.radians(12))
"""Cosine of the angle to an axis up to which the normals of a surface are along it."""
SURE = 4.0
"""Share of normals along an axis, as a multiple of that of even ones, that tells of levels."""
SLAB = 0.08
"""Thickness of the ends of the splat that are looked at for a floor, as a share of its height."""
FLOOR_SHARE = 0.35
"""Share of the footprint that a floor covers at least."""
WHOLE_FLOOR, NO_FLOOR = 0.6, 0.2
"""Shares of the footprint at the upper and the lower end from which on a splat is upside down."""
LEANING = np.cos(np.radians(40))
"""Cosine of the angle to the file's y or z up to which an axis is likely to be upright."""
UNLIKELY = 0.5
"""Factor on how much an axis is trusted to be upright if it leans further."""


@array_record
class SplatFrame:
    """A splat's middle, size and upright axis, in the frame of its file."""

    centre: Float[np.ndarray, "3"]
    radius: float
    """Distance from the centre within which nearly all matter lies."""
    up: Float[np.ndarray, "3"]
    """Unit vector."""
    has_floor: bool
    """Whether matter stands on a level surface, which hides it from below."""
    solid: Bool[np.ndarray, "N"]
    """Gaussians that are matter, from `solid_matter`."""

    @property
    def local_from_source(self) -> Float[np.ndarray, "4 4"]:
        """Similarity that puts the centre at the origin and scales the radius to 1."""
        similarity = np.eye(4)
        similarity[:3, :3] /= self.radius
        similarity[:3, 3] = -self.centre / self.radius
        return similarity


def find_frame(gaussians: Gaussians, up: str = "auto") -> SplatFrame:
    """Find the middle, the size and the upright axis of a splat; floaters do not count.

    Args:
        gaussians: At least one Gaussian, in the frame of its file; float64 means stay precise.
        up: Axis that points up: `x`, `-x`, ..., or `auto` to find it: the axis along which most
            surfaces are level. It points to `-y` or `z`, as COLMAP and Blender have it, unless only
            the end on that side is a floor.
    """
    means = gaussians.means.numpy().astype(np.float64)
    solid = solid_matter(gaussians)
    points = means[solid]
    centre = np.median(points, axis=0)
    radius = float(np.quantile(np.linalg.norm(points - centre, axis=1), WITHIN))
    # All Gaussians may lie in one point, such as a single one.
    radius = max(radius, 3 * float(np.median(gaussians.scales.numpy()[solid].max(axis=1))), 1e-12)
    surfaces = _Surfaces.of(gaussians, (means - centre) / radius, solid)
    direction = surfaces.up() if up == "auto" else axis_of(up)
    return SplatFrame(centre, radius, direction, surfaces.floor(direction) >= FLOOR_SHARE, solid)


def axis_of(name: str) -> Float[np.ndarray, "3"]:
    """Unit vector of an axis, for example of `-y`."""
    return np.eye(3)["xyz".index(name[-1])] * (-1 if name.startswith("-") else 1)


def solid_matter(gaussians: Gaussians) -> Bool[np.ndarray, "N"]:
    """Gaussians that are opaque enough and have others near them; all if none are."""
    opaque = gaussians.opacities.numpy() >= SOLID
    if not opaque.any():
        opaque[:] = True
    chosen = np.flatnonzero(opaque)
    count = min(9, len(chosen))
    points = gaussians.means.numpy().astype(np.float64)[chosen]
    distances = find_nearest(points, points, k=count)[0][:, -1]
    lone = distances > LONE * np.median(distances)
    solid = np.zeros(len(gaussians), bool)
    solid[chosen[~lone]] = True
    return solid


@dataclass(frozen=True, eq=False)
class _Surfaces:
    """Flat pieces of matter: centres in radii, unit normals, and areas."""

    points: Float[np.ndarray, "P 3"]
    normals: Float[np.ndarray, "P 3"]
    areas: Float[np.ndarray, "P"]
    """Areas, less the share by which a piece is not flat: round Gaussians have no normal."""
    total: float
    """Area of all pieces, flat or not."""

    @staticmethod
    def of(
        gaussians: Gaussians, local: Float[np.ndarray, "N 3"], solid: Bool[np.ndarray, "N"]
    ) -> "_Surfaces":
        scales = gaussians.scales.numpy().astype(np.float64)[solid]
        quats = torch.nn.functional.normalize(gaussians.quats.double(), dim=1).numpy()[solid]
        order = np.argsort(scales, axis=1)
        across, along, longest = np.take_along_axis(scales, order, axis=1).T
        normals = _columns(quats, order[:, 0])
        areas = along * longest * gaussians.opacities.numpy()[solid]
        areas = np.minimum(areas, np.quantile(areas, 0.99))  # One huge Gaussian is no floor.
        flatness = 1 - across / np.maximum(along, 1e-300)
        return _Surfaces(local[solid], normals, areas * flatness, float(areas.sum()))

    def up(self) -> Float[np.ndarray, "3"]:
        """Direction that is most likely up."""
        lines = np.concatenate([np.eye(3), self._peaks()])
        shares = np.array([self._level(line) for line in lines])
        upright = np.abs(lines[:, 1:]).max(axis=1) >= LEANING
        trusted = shares * np.where(upright, 1, UNLIKELY)
        if trusted.max() < SURE * (1 - LEVEL):
            return axis_of("z") if shares[2] >= shares[1] else axis_of("-y")
        line = lines[trusted.argmax()]
        nearest = int(np.abs(line).argmax())
        if abs(line[nearest]) >= LEVEL:  # Scenes are often aligned with the axes of their file.
            line = np.eye(3)[nearest]
        line = line * (1 if line[2] - line[1] >= 0 else -1)
        stands_upside_down = self.floor(-line) >= WHOLE_FLOOR and self.floor(line) < NO_FLOOR
        return -line if stands_upside_down else line

    def floor(self, up: Float[np.ndarray, "3"]) -> float:
        """Area of level surfaces at the lower end, as a share of the footprint."""
        heights = self.points @ up
        lowest, highest = np.quantile(heights, (0.005, 0.995))
        slab = heights <= lowest + SLAB * (highest - lowest)
        level = slab & (np.abs(self.normals @ up) >= LEVEL)
        if not level.any():
            return 0.0
        flat = self.points - heights[:, None] * up
        across = np.linalg.svd(flat[:: max(1, len(flat) // 5000)], full_matrices=False)[2][:2]
        return _covered_cells(flat[level] @ across.T, flat @ across.T)

    def _level(self, line: Float[np.ndarray, "3"]) -> float:
        along = np.abs(self.normals @ line) >= LEVEL
        return float(self.areas[along].sum() / max(self.total, 1e-300))

    def _peaks(self) -> Float[np.ndarray, "L 3"]:
        """Lines along which normals gather: the best of many, each moved to the mean nearby."""
        lines = _even_directions(400)
        lines = lines[lines[:, 2] >= 0]
        stride = max(1, len(self.normals) // 20_000)
        normals, areas = self.normals[::stride], self.areas[::stride]
        shares = (np.abs(normals @ lines.T) >= LEVEL).T @ areas
        peaks = lines[np.argsort(-shares, kind="stable")[:6]]
        for _ in range(5):
            cosines = normals @ peaks.T
            weights = np.where(np.abs(cosines) >= LEVEL, np.sign(cosines), 0) * areas[:, None]
            moved = weights.T @ normals
            lengths = np.linalg.norm(moved, axis=1, keepdims=True)
            peaks = np.where(lengths > 0, moved / np.maximum(lengths, 1e-300), peaks)
        return peaks


def _columns(quats: Float[np.ndarray, "P 4"], axes: np.ndarray) -> Float[np.ndarray, "P 3"]:
    """Column `axes` of each rotation matrix."""
    w, x, y, z = quats.T
    matrix = np.stack(
        [
            *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        ],
        axis=1,
    ).reshape(-1, 3, 3)
    return np.take_along_axis(matrix, axes[:, None, None], axis=2)[..., 0]


def _covered_cells(some: Float[np.ndarray, "M 2"], every: Float[np.ndarray, "P 2"]) -> float:
    """Share of the cells of a 12 x 12 grid with any points that hold some of the chosen ones."""
    low, high = np.quantile(every, 0.01, axis=0), np.quantile(every, 0.99, axis=0)
    size = np.maximum(high - low, 1e-12) / 12
    cells = [np.floor((points - low) / size).astype(int) for points in (some, every)]
    inside = [each[((each >= 0) & (each < 12)).all(axis=1)] for each in cells]
    kept, known = (len(np.unique(each, axis=0)) for each in inside)
    return kept / max(known, 1)


def _even_directions(count: int) -> Float[np.ndarray, "D 3"]:
    """Unit vectors spread evenly over the sphere, by a Fibonacci spiral."""
    heights = 1 - 2 * (np.arange(count) + 0.5) / count
    angles = np.pi * (3 - np.sqrt(5)) * np.arange(count)
    flat = np.sqrt(1 - heights**2)
    return np.stack([flat * np.cos(angles), flat * np.sin(angles), heights], axis=1)
