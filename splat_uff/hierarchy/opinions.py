"""The opinion of a photo: how much of each Gaussian lies in each of its masks.

The opinion is on all Gaussians that the photo sees, so that it can be asked for as soon as the
photo's blend weights are known. `splat_uff.hierarchy.consensus` says what comes of it. Nothing
depends on the number of threads. Numba's kernels are here; `consensus_torch` has the same for other
devices than the CPU.
"""

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from scipy.sparse import csr_matrix

from splat_uff.hierarchy.consensus_torch import shares_in_masks
from splat_uff.masks.records import MaskSet, MaskTree, Regions
from splat_uff.render.tiles import counts_to_starts
from splat_uff.system import kernels
from splat_uff.system.memory import Kept, Memory

LEAST_SEEN = 0.1
"""Blend weight, in pixels, below which a Gaussian is ignored in a photo."""
LEAST_SHARE = 1e-3
"""Share up to which a mask is taken not to contain a Gaussian."""
PHOTO_AREA = 200**2
"""Area in pixels to which every photo is scaled when areas of masks are compared."""
MOST_PARTS = 8
"""Most threads that sort a photo's blend weights, since each has a counter for every Gaussian."""
BANDS = 16
"""Number of bands of rows into which a photo is cut when its blend weights are summed."""
STRIP = 16
"""Width in pixels of the strips in which a band is walked."""
PART = 256
"""Number of points that one thread processes at a time."""

_options = {"cache": True, "error_model": "numpy", "boundscheck": False}


@dataclass(frozen=True)
class Opinion:
    """The opinion of one photo: shares of the Gaussians that it sees, as compressed sparse rows."""

    gaussians: Kept
    """int32 [S], Gaussians that the photo sees, in rising order."""
    seen: Kept
    """float32 [S], blend weight of these Gaussians, in pixels."""
    starts: Kept
    """int64 [S + 1], index of each Gaussian's first share, then the number of shares."""
    masks: Kept
    """uint16 [E], mask of each share; uint32 if uint16 cannot number all masks."""
    shares: Kept
    """float32 [E], share of each Gaussian in a mask, sorted by mask within each Gaussian."""
    counts: Kept
    """float32 [M], weight of each mask in the sums over masks."""

    @staticmethod
    def of(
        matrix: csr_matrix,
        bag: tuple[MaskSet, MaskTree],
        *,
        memory: Memory | None = None,
        device: str = "cpu",
    ) -> "Opinion":
        """Ask one photo about all Gaussians that it sees.

        Args:
            matrix: Blend weights [pixels, N] of the photo's view, at the size of its masks.
            bag: Masks of the photo, at least one, and their tree.
            memory: Budget towards which the opinion counts.
            device: Device that computes: `cpu` or `cuda`.
        """
        masks, tree = bag
        regions = Regions.of(masks)
        kind = np.uint16 if len(masks) <= np.iinfo(np.uint16).max else np.uint32
        if kernels.numba_computes(device):
            gaussians, seen, *rows = _shares(matrix, masks.width, regions, kind)
        else:
            least = LEAST_SEEN, LEAST_SHARE
            gaussians, seen, *rows = shares_in_masks(matrix, regions, least, device)
        starts, inside, shares = rows
        areas = regions.members @ regions.sizes / len(regions.of_pixel)
        counts = _counts(tree, areas).astype(np.float32)
        parts = gaussians.astype(np.int32), seen.astype(np.float32), starts, inside.astype(kind)
        budget = memory or Memory()
        return Opinion(*(budget.keep(part) for part in (*parts, shares, counts)))


def _shares(
    matrix: csr_matrix, width: int, regions: Regions, kind: type[np.unsignedinteger]
) -> tuple[np.ndarray, ...]:
    """`consensus_torch.shares_in_masks` by numba's kernels; masks are numbered by `kind`."""
    members = regions.members
    inside_of, lists = np.nonzero(members.T)
    list_starts = np.searchsorted(inside_of, np.arange(members.shape[1] + 1))
    starts, found, weights = _by_column(
        matrix.indptr, matrix.indices, matrix.data, regions.of_pixel, members.shape[1],
        _columns(matrix), width, min(torch.get_num_threads(), MOST_PARTS),
    )  # fmt: skip
    seen = _seen(starts, weights)
    gaussians = np.flatnonzero(seen >= LEAST_SEEN)
    given = gaussians, starts, found, weights, seen[gaussians], list_starts, lists, len(members)
    rows = np.zeros(len(gaussians) + 1, np.int64)
    np.cumsum(_share(*given, rows, np.empty(0, kind), np.empty(0, np.float32)), out=rows[1:])
    inside, shares = np.empty(rows[-1], kind), np.empty(rows[-1], np.float32)
    _share(*given, rows, inside, shares)
    return gaussians, seen[gaussians], rows, inside, shares


def _columns(matrix: csr_matrix) -> int:
    """Number of columns, which scipy's annotations do not guarantee."""
    assert matrix.shape is not None
    return matrix.shape[1]


def _counts(tree: MaskTree, shares: Float[np.ndarray, "M"]) -> Float[np.ndarray, "M"]:
    """Weight of each mask; masks that are the same share one weight, and the mean weight is 1.

    Args:
        tree: Tree of the photo's masks.
        shares: Share of the photo's pixels that lie in each mask.
    """
    once = 1 / tree.same.sum(axis=1)
    counts = once / np.log2(2 + PHOTO_AREA * shares)
    return counts * (once.sum() / counts.sum())


@njit(parallel=True, **_options)
@no_type_check
def _by_column(starts, columns, weights, region_of, regions, count, width, parts):
    """Start, regions and summed weights of each of `count` columns, band after band.

    A band's weights in one region that a column meets one after the other are summed: of a Gaussian
    that covers forty pixels, two numbers are left. A band is walked in upright strips, in which the
    same few Gaussians come again and again. Each of `parts` stretches of bands is counted and then
    written by a thread of its own; sums end where bands do, wherever stretches end.
    """
    height = (len(starts) - 1) // width
    bands = (np.arange(BANDS + 1) * height) // BANDS
    ends = (np.arange(parts + 1) * BANDS) // parts
    cursors = np.zeros((parts, count), np.int64)
    for part in prange(parts):
        own, latest = cursors[part], np.zeros(count, np.uint32)
        for band in range(ends[part], ends[part + 1]):
            for left in range(0, width, STRIP):
                for y in range(bands[band], bands[band + 1]):
                    for pixel in range(y * width + left, y * width + min(left + STRIP, width)):
                        place = np.uint32(band * regions + region_of[pixel] + 1)
                        for e in range(starts[pixel], starts[pixel + 1]):
                            column = np.uint32(columns[e])
                            own[column] += latest[column] != place
                            latest[column] = place
    column_starts = counts_to_starts(cursors)
    found = np.empty(column_starts[-1], np.int32)
    sums = np.empty(column_starts[-1], np.float64)
    for part in prange(parts):
        own, latest = cursors[part], np.zeros(count, np.uint32)
        for band in range(ends[part], ends[part + 1]):
            for left in range(0, width, STRIP):
                for y in range(bands[band], bands[band + 1]):
                    for pixel in range(y * width + left, y * width + min(left + STRIP, width)):
                        place = np.uint32(band * regions + region_of[pixel] + 1)
                        for e in range(starts[pixel], starts[pixel + 1]):
                            column = np.uint32(columns[e])
                            at = own[column]
                            if latest[column] == place:
                                sums[at - 1] += weights[e]
                            else:
                                found[at], sums[at] = region_of[pixel], weights[e]
                                own[column], latest[column] = at + 1, place
    return column_starts, found, sums


@njit(parallel=True, **_options)
@no_type_check
def _seen(starts, weights):
    """Sum of the weights of each column."""
    seen = np.zeros(len(starts) - 1, np.float64)
    for column in prange(len(seen)):
        for e in range(starts[column], starts[column + 1]):
            seen[column] += weights[e]
    return seen


@njit(parallel=True, **_options)
@no_type_check
def _share(
    columns, starts, regions, weights, seen, list_starts, lists, num_masks, rows, inside, shares
):
    """Count the shares of every point and, if there is room, write them from `rows` on."""
    counts = np.zeros(len(columns), np.int64)
    writing = len(inside) > 0
    parts = (len(columns) + PART - 1) // PART
    for part in prange(parts):
        within = np.zeros(num_masks, np.float64)
        for row in range(part * PART, min(len(columns), (part + 1) * PART)):
            for e in range(starts[columns[row]], starts[columns[row] + 1]):
                for i in range(list_starts[regions[e]], list_starts[regions[e] + 1]):
                    within[lists[i]] += weights[e]
            found = 0
            for mask in range(num_masks):
                if within[mask] == 0.0:
                    continue
                share = np.float32(within[mask] / seen[row])
                within[mask] = 0.0
                if share > LEAST_SHARE:
                    if writing:
                        inside[rows[row] + found] = mask
                        shares[rows[row] + found] = share
                    found += 1
            counts[row] = found
    return counts
