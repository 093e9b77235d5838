"""Floaters: Gaussians that belong to nothing, in the free space in front of what photos show.

A floater is told by two things that have to come together.

* It stands alone. Gaussians are joined to those of their nearest neighbours that they touch, where
  both are as large as they are in the direction of the other. What falls apart into a small piece
  is a candidate; all else is the scene.
* Cameras see past it. In every pixel in which a candidate has blend weight, the surface of the
  scene is the median of the depths of all that is no candidate, each with the weight that it would
  have without the candidates. Pieces that have most of their weight well in front of that surface
  are floaters. Where there is no surface, a pixel says nothing: what has nothing behind it may be
  the background.

Lengths are counted in the Gaussians' own, so that the rule knows no unit and no scene.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numba import njit
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from splat_uff.geometry.cameras import Camera, project
from splat_uff.geometry.neighbours import find_nearest
from splat_uff.render import Gaussians
from splat_uff.render.cpu import EPS2D, pixel_weights
from splat_uff.system.progress import track
from splat_uff.system.records import array_record

NEIGHBOURS = 16
"""Number of nearest neighbours that a Gaussian may touch."""
TOUCH = 2.0
"""Distance up to which two Gaussians touch, in the sum of their standard deviations along it."""
FAINT = 0.1
"""Opacity below which Gaussians are neither floaters nor join others."""
MOST_IN_PIECE = 20
"""Most Gaussians in a piece that may be a floater, if that is less than a hundredth of all."""
CLEAR = 2.0
"""Distance in front of the surface, in a Gaussian's longest standard deviation, from which it is
well in front. Along the line of sight Gaussians on surfaces have hardly any extent."""
MAJORITY = 0.5
"""Share of a piece's weight that has to be well in front; and share of a pixel that the scene has
to cover, so that there is a surface."""
MOST_VIEWS = 100
MOST_SIDE = 200
"""Longer side of the views, in pixels; larger ones are made smaller."""


@array_record
class Standing:
    """Blend weight of each Gaussian, in pixels of all views, by where it stands."""

    front: Float[np.ndarray, "N"]
    """Weight well in front of the scene's surface."""
    other: Float[np.ndarray, "N"]
    """Weight on the surface, or behind it."""
    alone: Float[np.ndarray, "N"]
    """Weight in pixels without a surface."""
    views: Int[np.ndarray, "N"]
    """Number of views in which it has weight in front."""


def find_floaters(
    gaussians: Gaussians,
    cameras: Sequence[Camera],
    *,
    rendering: AbstractContextManager[Any] | None = None,
) -> Bool[np.ndarray, "N"]:
    """Find Gaussians in small pieces by themselves, in front of what the cameras see.

    The time is that of the blend weights of at most 100 views of 200 pixels; one view is held at a
    time. The result depends neither on the unit of length nor on the number of threads.

    Args:
        gaussians: The N Gaussians.
        cameras: Cameras of the photos; without any, there are no floaters.
        rendering: Lock to hold while a view is rendered, if others may render, too.

    Returns:
        Whether each Gaussian is a floater; never those of an opacity below 0.1.
    """
    piece = small_pieces(gaussians)
    inside = piece >= 0
    if not inside.any():
        return inside
    standing = find_standing(gaussians, cameras, inside, rendering=rendering)
    front, other = (
        np.bincount(piece[inside], weights=each[inside])
        for each in (standing.front, standing.other)
    )
    found = inside.copy()
    found[inside] = ((front > 0) & (front >= MAJORITY * (front + other)))[piece[inside]]
    return found


def small_pieces(
    gaussians: Gaussians,
    *,
    touch: float = TOUCH,
    most: int = MOST_IN_PIECE,
    faint: float = FAINT,
) -> Int[np.ndarray, "N"]:
    """Number of the small piece that each Gaussian lies in, from 0; -1 for the scene.

    Args:
        gaussians: The N Gaussians.
        touch: Distance up to which two Gaussians touch, in the sum of their standard deviations.
        most: Most Gaussians in a small piece; it has at most a hundredth of all in any case.
        faint: Opacity below which Gaussians join no others and are in no piece.
    """
    solid = np.flatnonzero(gaussians.opacities.detach().cpu().numpy() >= faint)
    number = np.full(len(gaussians), -1)
    most = min(most, len(solid) // 100)
    if most == 0:
        return number
    means = gaussians.means.detach().cpu().numpy().astype(np.float64)[solid]
    axes = _scaled_axes(gaussians)[solid]
    _, nearest = find_nearest(means, means, k=min(NEIGHBOURS + 1, len(means)))
    sources = np.repeat(np.arange(len(means)), nearest.shape[1])
    targets = nearest.ravel()
    between = means[targets] - means[sources]
    # Lengths times distance, since centres may coincide.
    reach = _extents(axes[sources], between) + _extents(axes[targets], between)
    touching = (between**2).sum(axis=1) <= touch * reach
    edges = sources[touching], targets[touching]
    graph = coo_array((np.ones(len(edges[0]), bool), edges), shape=(len(means),) * 2)
    _, piece = connected_components(graph, directed=False)
    small = np.bincount(piece)[piece] <= most
    number[solid[small]] = np.unique(piece[small], return_inverse=True)[1]
    return number


def find_standing(
    gaussians: Gaussians,
    cameras: Sequence[Camera],
    chosen: Bool[np.ndarray, "N"],
    *,
    clear: float = CLEAR,
    rendering: AbstractContextManager[Any] | None = None,
) -> Standing:
    """Sum up how much of the chosen Gaussians stands in front of the surface of the others.

    Args:
        gaussians: The N Gaussians.
        cameras: Cameras of the views, of which at most 100, evenly chosen, are looked through.
        chosen: Gaussians that are judged; the others are the scene.
        clear: Distance in front of the surface, in longest standard deviations, that is well in
            front of it.
        rendering: Lock to hold while a view is rendered.
    """
    if len(cameras) > MOST_VIEWS:
        picked = np.linspace(0, len(cameras) - 1, MOST_VIEWS).round().astype(int)
        cameras = [cameras[index] for index in picked]
    on_cpu = _on_cpu(gaussians)
    means = on_cpu.means.numpy().astype(np.float64)
    sizes = on_cpu.scales.numpy().max(axis=1, initial=0.0).astype(np.float64)
    sums = np.zeros((3, len(means)))
    views = np.zeros(len(means), np.int64)
    for camera in track(cameras, "floaters", len(cameras)):
        seen = _reduced(camera)
        blur = EPS2D * (seen.focal / (gaussians.fitted_focal or camera.focal)) ** 2
        with torch.no_grad(), rendering or nullcontext():
            rows = pixel_weights(on_cpu, seen, eps2d=blur)
        _, depths = project(seen, means)
        sights = means - seen.centre
        lengths = np.maximum(np.linalg.norm(sights, axis=1), 1e-12)
        behind = depths + clear * sizes * depths / lengths
        of_view = np.zeros_like(sums)
        _add_standing(rows, depths, behind, chosen, of_view)
        sums += of_view
        views += of_view[0] > 0
    return Standing(sums[0], sums[1], sums[2], views)


def _on_cpu(gaussians: Gaussians) -> Gaussians:
    tensors = {name: each.detach().cpu() for name, each in gaussians.tensors().items()}
    return replace(gaussians, **tensors)


def _reduced(camera: Camera) -> Camera:
    """The same view with at most `MOST_SIDE` pixels on its longer side."""
    factor = min(1.0, MOST_SIDE / max(camera.width, camera.height))
    width, height = (max(1, round(factor * side)) for side in (camera.width, camera.height))
    return camera.resized(width, height)


def _scaled_axes(gaussians: Gaussians) -> Float[np.ndarray, "N 3 3"]:
    """Axes of each Gaussian, in columns as long as its standard deviations."""
    quats = gaussians.quats.detach().cpu().numpy().astype(np.float64)
    quats = quats / np.maximum(np.linalg.norm(quats, axis=1, keepdims=True), 1e-12)
    w, x, y, z = quats.T
    rows = (
        np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], axis=1),
        np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], axis=1),
        np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], axis=1),
    )
    scales = np.exp(gaussians.log_scales.detach().cpu().numpy().astype(np.float64))
    return np.stack(rows, axis=1) * scales[:, None, :]


def _extents(
    axes: Float[np.ndarray, "M 3 3"], directions: Float[np.ndarray, "M 3"]
) -> Float[np.ndarray, "M"]:
    """Standard deviation of each Gaussian along a direction, times the direction's length."""
    return np.linalg.norm(np.einsum("mij,mi->mj", axes, directions), axis=1)


@njit(cache=True, error_model="numpy", boundscheck=False)
@no_type_check
def _add_standing(rows, depths, behind, chosen, sums):  # pragma: no cover
    """Add the blend weights of one view to `sums`: in front, on or behind the surface, alone.

    Args:
        rows: Starts [P + 1] of the pixels' rows, Gaussians front to back, and their weights.
        depths: Depth of each Gaussian [N].
        behind: Depth from which a surface is well behind each Gaussian [N].
        chosen: Gaussians that are judged [N].
        sums: Array [3, N] that is added to.
    """
    starts, indices, weights = rows
    for pixel in range(len(starts) - 1):
        first, last = starts[pixel], starts[pixel + 1]
        judged = False
        for at in range(first, last):
            judged = judged or chosen[indices[at]]
        if not judged:
            continue
        surface, covered = -1.0, 0.0
        for turn in range(2):  # The first turn covers, the second one goes half as deep.
            left, without = 1.0, 1.0
            for at in range(first, last):
                alpha = min(weights[at] / max(left, 1e-9), 1.0)
                left -= weights[at]
                if chosen[indices[at]]:
                    continue
                without *= 1.0 - alpha
                if turn == 1 and 1.0 - without >= 0.5 * covered:
                    surface = depths[indices[at]]
                    break
            if turn == 0:
                covered = 1.0 - without
                if covered < MAJORITY:
                    break
        for at in range(first, last):
            index = indices[at]
            if chosen[index]:
                if surface < 0:
                    sums[2, index] += weights[at]
                elif surface > behind[index]:
                    sums[0, index] += weights[at]
                else:
                    sums[1, index] += weights[at]
