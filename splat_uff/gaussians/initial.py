"""Initial Gaussians: on the visual hull of the alpha masks, or anywhere in the scene."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import binary_erosion

from splat_uff.capture import Capture, View
from splat_uff.geometry.cameras import project
from splat_uff.geometry.neighbours import find_nearest
from splat_uff.render.harmonics import C0
from splat_uff.render.records import Gaussians
from splat_uff.system.errors import InputError

GRID = 128
"""Cells along each side of the box in which the hull is carved."""
START_OPACITY = 0.1
FEWEST_POINTS = 500
"""Fewest sparse points that are enough to start from."""
LEAST_FRAMED = 0.5
"""Share of the photos that must have a point in frame; fewer could not carve it away."""
LEAST_LOOKING = 0.9
"""Share of the photos that must show the origin, or the scene is around the cameras."""
ROOM = 2.0
"""Half the side of the box for a scene around the cameras, in their median distances from the
origin: walls stand behind the cameras. With a box half as large, walls stayed blurred."""


def initial_gaussians(
    capture: Capture, count: int, sh_degree: int, *, rng: np.random.Generator
) -> Gaussians:
    """Place `count` round Gaussians with the colours that the photos show there.

    If the photos have alpha, the Gaussians start on the surface of the visual hull (Laurentini
    1994); otherwise at the capture's sparse points or, if there are none or few, evenly in the box
    that the cameras look at. Cameras that look in all directions, as in a room, stand in that box.

    Args:
        capture: Photos and cameras.
        count: Number of Gaussians.
        sh_degree: Degree of the spherical harmonics; coefficients above degree 0 start at 0.
        rng: Generator that draws the positions.

    Raises:
        InputError: If the alpha masks have no common hull.
    """
    half = _scene_half_size(capture)
    if capture.has_alpha:
        points = _hull_surface(capture.train, half, count, rng)
    elif capture.points is not None:
        points = _around_points(capture.points.positions, half, count, rng)
    else:
        if _stand_inside(capture.train):
            half = ROOM * float(np.median([np.linalg.norm(v.camera.centre) for v in capture.train]))
        points = rng.uniform(-half, half, (count, 3))
    colours = _mean_colours(capture.train, points)
    distances, _ = find_nearest(points, points, k=min(4, len(points)))
    # The nearest is the point itself, at distance 0.
    spacing = np.clip(distances.sum(axis=1) / max(1, distances.shape[1] - 1), 1e-4, 0.1 * half)
    return Gaussians(
        means=_tensor(points),
        quats=_tensor(np.tile([1.0, 0.0, 0.0, 0.0], (len(points), 1))),
        log_scales=_tensor(np.log(0.7 * spacing)[:, None].repeat(3, axis=1)),
        opacity_logits=torch.full(
            (len(points),), float(np.log(START_OPACITY / (1 - START_OPACITY)))
        ),
        sh0=_tensor((colours - 0.5) / C0)[:, None],
        shN=torch.zeros(len(points), (sh_degree + 1) ** 2 - 1, 3),
    )


def _scene_half_size(capture: Capture) -> float:
    """Half the side of a box around the origin that fills the cameras' field of view."""
    distances = [np.linalg.norm(view.camera.centre) for view in capture.train]
    camera = capture.train[0].camera
    slope = max(camera.width / camera.K[0, 0], camera.height / camera.K[1, 1]) / 2
    return float(1.25 * np.median(distances) * slope)


def _stand_inside(views: tuple[View, ...]) -> bool:
    """Whether the scene is around the cameras: many of them do not look at its middle."""
    looking = [bool(_pixels(view, np.zeros((1, 3)))[2][0]) for view in views]
    return float(np.mean(looking)) < LEAST_LOOKING


def _around_points(
    known: Float[np.ndarray, "S 3"], half: float, count: int, rng: np.random.Generator
) -> Float[np.ndarray, "P 3"]:
    """Take at most `count` sparse points; if there are few, add random points in the box.

    Random points end up in front of the cameras: with them, held-out views of a real capture lost
    2 dB.
    """
    if len(known) > count:
        return known[np.sort(rng.choice(len(known), count, replace=False))]
    missing = max(0, min(count, FEWEST_POINTS) - len(known))
    return np.concatenate([known, rng.uniform(-half, half, (missing, 3))])


def _hull_surface(
    views: tuple[View, ...], half: float, count: int, rng: np.random.Generator
) -> Float[np.ndarray, "P 3"]:
    """Draw random points in the outermost cells of the visual hull."""
    cell = 2 * half / GRID
    axis = (np.arange(GRID) + 0.5) * cell - half
    cells = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    kept = np.arange(len(cells))
    times_framed = np.zeros(len(cells), np.int64)
    for view in views:  # Each view carves the cells that earlier views left.
        framed, empty = _judge(view, cells[kept])
        times_framed[kept] += framed
        kept = kept[~empty]
    kept = kept[times_framed[kept] >= LEAST_FRAMED * len(views)]
    if len(kept) == 0:
        raise InputError(
            "no point of space lies inside the alpha of all training photos; check the poses and "
            "that the alpha channel cuts out the object."
        )
    hull = np.zeros(GRID**3, dtype=bool)
    hull[kept] = True
    hull = hull.reshape(GRID, GRID, GRID)
    surface = np.flatnonzero(np.logical_xor(hull, binary_erosion(hull)))
    chosen = rng.choice(surface, count, replace=count > len(surface))
    return cells[chosen] + rng.uniform(-0.5, 0.5, (count, 3)) * cell


def _judge(
    view: View, points: Float[np.ndarray, "P 3"]
) -> tuple[Bool[np.ndarray, "P"], Bool[np.ndarray, "P"]]:
    """Whether each point is in the view's frame, and whether the view sees it as empty."""
    rows, columns, framed = _pixels(view, points)
    return framed, framed & (view.image[rows, columns, 3] < 0.1)


def _mean_colours(
    views: tuple[View, ...], points: Float[np.ndarray, "P 3"]
) -> Float[np.ndarray, "P 3"]:
    """Mean colour of the pixels on which each point falls, weighted by alpha; grey if unseen."""
    total, weight = np.full((len(points), 3), 0.5e-3), np.full((len(points), 1), 1e-3)
    for view in views[:: max(1, len(views) // 30)]:
        rows, columns, framed = _pixels(view, points)
        seen = view.image[rows, columns] * framed[:, None]
        total += seen[:, :3]
        weight += seen[:, 3:]
    return total / weight


def _pixels(
    view: View, points: Float[np.ndarray, "P 3"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clipped row and column of the pixel on which each point falls, and whether it is in frame."""
    pixels, depth = project(view.camera, points)
    pixels = np.where(depth[:, None] > 0, pixels, -1.0)
    height, width = view.camera.height, view.camera.width
    cells = np.floor(pixels).astype(np.int64)
    columns, rows = cells[:, 0], cells[:, 1]
    framed = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    return np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1), framed


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
