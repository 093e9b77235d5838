"""Depth continuity: inside a leaf mask, distance should change smoothly (UFF, supplement)."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from splat_uff.geometry.cameras import Camera, pixel_centres
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.system.records import array_record

LENGTH = 4
"""Number of neighbouring pixels in a run: enough for one third difference."""
RUNS_PER_MASK = 16
OPAQUE = 0.9
"""Accumulated opacity that every pixel of a run must exceed."""
TOLERANCE = 0.1
"""Third difference, as a share of the cubed distance, up to which there is no loss."""


@array_record
class Runs:
    """Runs of one view, mask after mask."""

    first: Int[np.ndarray, "R"]
    """Flat index of each run's first pixel."""
    stride: Int[np.ndarray, "R"]
    """Step between the pixels of a run: 1 along a row, the image's width along a column."""
    starts: Int[np.ndarray, "M"]
    """Index of each mask's first run, then the number of runs."""


def find_runs(masks: MaskSet, tree: MaskTree) -> Runs:
    """List the runs of pixels, along rows and columns, that lie inside a single leaf mask."""
    leaves = masks.unpack()[~tree.inside.any(axis=0)]
    firsts, strides, counts = [], [], []
    for mask in leaves:
        along_rows = np.flatnonzero(_whole_runs(mask))
        along_columns = np.flatnonzero(_whole_runs(mask.T).T)
        firsts += [along_rows, along_columns]
        strides += [np.full(len(along_rows), 1), np.full(len(along_columns), masks.width)]
        counts.append(len(along_rows) + len(along_columns))
    if not counts:
        nothing = np.zeros(0, np.int64)
        return Runs(nothing, nothing, np.zeros(1, np.int64))
    starts = np.concatenate([[0], np.cumsum(counts)])
    return Runs(np.concatenate(firsts), np.concatenate(strides), starts)


def depth_continuity_loss(
    depth: Float[Tensor, "H W"],
    alpha: Float[Tensor, "H W"],
    camera: Camera,
    runs: Runs,
    *,
    rng: np.random.Generator,
) -> Float[Tensor, ""]:
    """Mean excess of third differences of distance over a cubic tolerance, on random runs.

    Args:
        depth: Blended depth (z), not divided by `alpha`.
        alpha: Accumulated opacity.
        camera: Camera of the view.
        runs: Runs in the view's leaf masks, of which 16 per mask are drawn.
        rng: Generator that draws the runs.
    """
    counts = np.diff(runs.starts)
    filled = np.flatnonzero(counts)
    draws = (rng.random((len(filled), RUNS_PER_MASK)) * counts[filled, None]).astype(np.int64)
    chosen = (runs.starts[filled, None] + draws).ravel()
    pixels = runs.first[chosen, None] + runs.stride[chosen, None] * np.arange(LENGTH)
    index = torch.as_tensor(pixels, device=depth.device)
    opacity = alpha.flatten()[index]
    slopes = torch.as_tensor(_distance_per_depth(camera), dtype=depth.dtype, device=depth.device)
    distance = depth.flatten()[index] / opacity.clamp_min(1e-6) * slopes[index]
    third = distance[:, 0] - 3 * distance[:, 1] + 3 * distance[:, 2] - distance[:, 3]
    scale = (distance.detach().amax(dim=1) + 0.01) ** 3
    excess = (third.abs() / scale - TOLERANCE).clamp_min(0)
    solid = (opacity > OPAQUE).all(dim=1)
    return (excess * solid).sum() / solid.sum().clamp_min(1)


def _whole_runs(mask: Bool[np.ndarray, "A B"]) -> Bool[np.ndarray, "A B"]:
    """Whether a run along the last axis that starts here lies entirely inside the mask."""
    whole = np.zeros_like(mask)
    span = mask.shape[1] - LENGTH + 1
    if span > 0:
        parts = [mask[:, offset : offset + span] for offset in range(LENGTH)]
        whole[:, :span] = np.logical_and.reduce(parts)
    return whole


def _distance_per_depth(camera: Camera) -> Float[np.ndarray, "P"]:
    """Length of each pixel's ray per unit of depth."""
    centred = (pixel_centres(camera) - camera.K[:2, 2]) / camera.K[[0, 1], [0, 1]]
    return np.sqrt(1 + (centred**2).sum(axis=1))
