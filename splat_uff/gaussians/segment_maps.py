"""Segments in photos, with the borders that masks and photos show.

The label map of Gaussians has the borders of the Gaussians: one that lies across the border of an
object carries its label over it. Here every pixel chooses among the segments around it by three
things: how near they are, how alike the photo's colours are, and whether the photo's masks that
contain the pixel are those that contain the segment. A mask's border is off by itself, but not in
the same way in all photos.
"""

import math
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit, prange
from scipy.sparse import csr_matrix

from splat_uff.masks.records import MaskSet, Regions

REACH = 3
"""Distance in pixels, along each axis, of the pixels whose segments a pixel chooses among."""
NEAR = 1.2
"""Distance in pixels at which a pixel's voice has fallen to exp(-1/2)."""
ALIKE = 0.1
"""Difference of colours, RGBA in [0, 1], at which a pixel's voice has fallen to exp(-1/2)."""
TRUST = 3.0
"""Weight of what the masks say, beside that of pixels around."""
LEAST_SHARE = 0.1
"""Share of a segment inside of a mask, or outside of it, that is always thought possible."""
OPAQUE = 0.5
"""Accumulated opacity from which a pixel shows Gaussians rather than the background."""
BACKGROUND = 0
"""Label of what no Gaussian shows."""
_options = {"cache": True, "error_model": "numpy", "boundscheck": False}


def segment_map(
    weights: csr_matrix,
    masks: MaskSet,
    labels: Int[np.ndarray, "N"],
    photo: Float[np.ndarray, "H W C"],
) -> Int[np.ndarray, "H W"]:
    """Segment of each pixel of a photo, 0 for the background.

    Args:
        weights: Blend weights [H * W, N] of the photo's camera.
        masks: Masks of the photo, at its size; may be empty.
        labels: Segment of each Gaussian, from 1.
        photo: Colours, and alpha if there is one, in [0, 1].
    """
    height, width = photo.shape[:2]
    kind = np.int32
    shown = np.zeros(height * width, kind)
    regions = Regions.of(masks)
    sums = np.zeros((regions.members.shape[1], int(labels.max(initial=0)) + 1))
    _show(
        weights.indptr, weights.indices, weights.data, labels.astype(kind), regions.of_pixel,
        sums, shown,
    )  # fmt: skip
    evidence = TRUST * _evidence(regions, sums)
    return _choose(
        shown.reshape(height, width), regions.of_pixel.reshape(height, width),
        evidence.astype(np.float32), np.ascontiguousarray(photo, np.float32),
    )  # fmt: skip


def _evidence(regions: Regions, sums: Float[np.ndarray, "R K"]) -> Float[np.ndarray, "R K"]:
    """Log-likelihood of a region's masks if it showed a segment, for each of K segments."""
    members = regions.members.astype(np.float64)
    total = np.maximum(sums.sum(axis=0), 1e-9)
    inside = np.clip(members @ sums / total, LEAST_SHARE, 1 - LEAST_SHARE)
    return members.T @ np.log(inside) + (1 - members.T) @ np.log(1 - inside)


@njit(**_options)
@no_type_check
def _show(starts, gaussians, weights, labels, regions, sums, shown):
    """Fill in the heaviest label of each pixel, and the weights of all labels in each region."""
    votes = np.zeros(sums.shape[1])
    for p in range(len(shown)):
        alpha = 0.0
        for e in range(starts[p], starts[p + 1]):
            votes[labels[gaussians[e]]] += weights[e]
            alpha += weights[e]
        best = 0.0
        for e in range(starts[p], starts[p + 1]):
            label = labels[gaussians[e]]
            sums[regions[p], label] += votes[label]  # Once, since the vote is then taken back.
            if alpha >= OPAQUE and votes[label] > best:
                best, shown[p] = votes[label], label
            votes[label] = 0.0
        sums[regions[p], BACKGROUND] += max(0.0, 1.0 - alpha)


@njit(parallel=True, **_options)
@no_type_check
def _choose(shown, regions, evidence, photo):
    """Segment of each pixel among those of the pixels around it."""
    height, width = shown.shape
    chosen = shown.copy()
    for y in prange(height):
        known = np.empty((2 * REACH + 1) ** 2, np.int32)
        voices = np.empty(len(known))
        top, bottom = max(0, y - REACH), min(height, y + REACH + 1)
        for x in range(width):
            left, right = max(0, x - REACH), min(width, x + REACH + 1)
            same = True
            for v in range(top, bottom):
                for u in range(left, right):
                    same &= shown[v, u] == shown[y, x]
            if same:
                continue
            count = 0
            for v in range(top, bottom):
                for u in range(left, right):
                    far = ((v - y) ** 2 + (u - x) ** 2) / NEAR**2
                    for c in range(photo.shape[2]):
                        far += (photo[v, u, c] - photo[y, x, c]) ** 2 / ALIKE**2
                    k = 0
                    while k < count and known[k] != shown[v, u]:
                        k += 1
                    if k == count:
                        known[k], voices[k], count = shown[v, u], 0.0, count + 1
                    voices[k] += math.exp(-0.5 * far)
            best = -np.inf
            for k in range(count):
                score = math.log(voices[k] + 1e-9) + evidence[regions[y, x], known[k]]
                if score > best:
                    best, chosen[y, x] = score, known[k]
    return chosen
