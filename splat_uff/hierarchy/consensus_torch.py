"""The consensus of all photos' masks in torch's operations, on any device.

`splat_uff.hierarchy.consensus` defines what is computed and has numba's kernels of the same three
operations: shares of Gaussians in masks, sums along edges, and sums between superpoints. Sums are
in 64 bits; on CUDA, where their order is not fixed, they vary from run to run in the last of these.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix
from torch import Tensor

from splat_uff.masks.records import Regions

AT_ONCE = 2**23
"""Most numbers, of 8 bytes, in a table of shares, and most entries compared at once."""


def shares_in_masks(
    matrix: csr_matrix,
    regions: Regions,
    least: tuple[float, float],
    device: str,
) -> tuple[
    Int[np.ndarray, "S"],
    Float[np.ndarray, "S"],
    Int[np.ndarray, "Q"],
    Int[np.ndarray, "E"],
    Float[np.ndarray, "E"],
]:
    """Shares of the blend weight of Gaussians that lie in each mask.

    The weights of a Gaussian in each region, times the masks of each region, are a sparse
    product; it is made for some of the Gaussians at a time.

    Args:
        matrix: Blend weights [pixels, N] of the photo.
        regions: Regions of the photo's masks.
        least: Blend weight from which a Gaussian is seen, and share up to which it is 0.
        device: Device that computes.

    Returns:
        Gaussians that are seen, their blend weight, the start of each one's shares, and the mask
        and size of each share.
    """
    assert matrix.shape is not None
    gaussians, places, weights = _entries(matrix, regions.of_pixel, device)
    members = regions.members
    total = torch.zeros(int(matrix.shape[1]), dtype=torch.float64, device=device)
    total.index_add_(0, gaussians, weights)
    seen = torch.nonzero(total >= least[0])[:, 0]
    row = torch.full_like(total, -1, dtype=torch.int64)
    row[seen] = torch.arange(len(seen), device=device)
    kept = row[gaussians] >= 0
    size = len(seen), members.shape[1]
    where = torch.stack([row[gaussians[kept]], places[kept]])
    table = torch.sparse_coo_tensor(where, weights[kept], size, check_invariants=False).coalesce()
    (rows, columns), values = table.indices(), table.values()
    by_region = torch.from_numpy(members.T.astype(np.float64)).to(device)
    counts, masks, shares = [], [], []
    for first in range(0, len(seen), step := max(1, AT_ONCE // max(1, len(members)))):
        last = min(first + step, len(seen))
        begin, end = torch.searchsorted(rows, rows.new_tensor([first, last])).tolist()
        part = torch.sparse_coo_tensor(
            torch.stack([rows[begin:end] - first, columns[begin:end]]), values[begin:end],
            (last - first, size[1]), check_invariants=False, is_coalesced=True,
        )  # fmt: skip
        share = (torch.sparse.mm(part, by_region) / total[seen[first:last], None]).float()
        inside = share > least[1]
        counts.append(inside.sum(1))
        masks.append(torch.nonzero(inside)[:, 1])
        shares.append(share[inside])
    found = seen, total[seen], _starts(_joined(counts)), _joined(masks), _joined(shares)
    gaussians, weight, starts, inside, share = (each.cpu().numpy() for each in found)
    return gaussians, weight, starts, inside, share.astype(np.float32)


def edge_sums(
    opinion: tuple[np.ndarray, ...],
    sources: Int[Tensor, "E"],
    targets: Int[Tensor, "E"],
    limits: tuple[float, float],
) -> tuple[Float[Tensor, "E"], Float[Tensor, "E"]]:
    """Trust times soft Jaccard index of the points of each edge in one photo, and the trust.

    Shares are sorted by point and mask, so that the share of the other point in the same mask is
    found by bisection.

    Args:
        opinion: Row of each point, -1 if it is not seen, and arrays of an `Opinion`: seen, starts,
            masks, shares, counts.
        sources: First point of each edge.
        targets: Second point of each edge.
        limits: Sum of shares below which there is no opinion, and weight that counts in full.
    """
    row, seen, starts, masks, shares, counts = _moved(opinion, sources.device)
    owner = torch.repeat_interleave(torch.arange(len(seen), device=row.device), starts.diff())
    sums = torch.zeros_like(seen).index_add_(0, owner, counts[masks] * shares)
    total, weight = (torch.zeros_like(sources, dtype=torch.float64) for _ in range(2))
    keys = owner * len(counts) + masks
    places = torch.nonzero((row[sources] >= 0) & (row[targets] >= 0))[:, 0]
    ends = (row[each[places]] for each in (sources, targets))
    places = places[torch.maximum(*(sums[each] for each in ends)) >= limits[0]]
    lengths = starts.diff()[row[sources[places]]]
    for part in _portions(places, lengths):
        a, b = row[sources[part]], row[targets[part]]
        edge, entry = _spread(starts[a], starts[a + 1])
        wanted = b[edge] * len(counts) + masks[entry]
        at = torch.searchsorted(keys, wanted).clamp(max=max(len(keys) - 1, 0))
        both = torch.minimum(shares[entry], shares[at]) * (keys[at] == wanted)
        overlap = torch.zeros_like(sums[a]).index_add_(0, edge, counts[masks[entry]] * both)
        trust = seen[a].clamp(max=limits[1]) * seen[b].clamp(max=limits[1])
        total[part] = trust * overlap / (sums[a] + sums[b] - overlap)
        weight[part] = trust
    return total, weight


def group_sums(
    opinion: tuple[np.ndarray, ...], count: int, device: str
) -> tuple[Float[Tensor, "G M"], Float[Tensor, "G"]]:
    """Sums of the shares of each superpoint's points, weighted by their blend weight, and of these.

    Args:
        opinion: Superpoint of each row, and arrays of an `Opinion`: seen, starts, masks, shares,
            counts.
        count: Number of superpoints.
        device: Device that computes.
    """
    of_row, seen, starts, masks, shares, counts = _moved(opinion, torch.device(device))
    total = seen.new_zeros(count).index_add_(0, of_row, seen)
    owner = torch.repeat_interleave(torch.arange(len(seen), device=device), starts.diff())
    sums = seen.new_zeros(count * len(counts))
    sums.index_add_(0, of_row[owner] * len(counts) + masks, shares * seen[owner])
    return sums.reshape(count, len(counts)), total


def add_groups(
    shares: Float[Tensor, "S M"],
    counted: Float[Tensor, "S M"],
    trust: Float[Tensor, "S"],
    which: Int[Tensor, "S"],
    total: Float[Tensor, "G G"],
    weight: Float[Tensor, "G G"],
) -> None:
    """Add one photo's sums between superpoints to `total` and `weight`; the overlap is a product.

    Args:
        shares: Mean shares of the superpoints in the masks.
        counted: These times the masks' weights.
        trust: Trust in each superpoint.
        which: The superpoints.
        total: Receives trust times soft Jaccard index.
        weight: Receives the trust.
    """
    overlap = shares @ counted.T
    sums = counted.sum(dim=1)
    either = (sums[:, None] + sums[None] - overlap).clamp_min(1e-6)
    level = trust[:, None] * trust[None]
    at = which[:, None], which[None]
    total[at] += level * (overlap / either)
    weight[at] += level


def _entries(
    matrix: csr_matrix, region_of: np.ndarray, device: str
) -> tuple[Int[Tensor, "E"], Int[Tensor, "E"], Float[Tensor, "E"]]:
    """Gaussian, region and weight of each blend weight."""
    pixels = len(matrix.indptr) - 1
    starts = torch.from_numpy(matrix.indptr.astype(np.int64)).to(device)
    region = torch.from_numpy(region_of.astype(np.int64)).to(device)
    regions = torch.repeat_interleave(region[:pixels], starts.diff())
    gaussians = torch.from_numpy(matrix.indices).to(device).long()
    return gaussians, regions, torch.from_numpy(matrix.data).to(device).double()


def _moved(opinion: tuple[np.ndarray, ...], device: torch.device) -> list[Tensor]:
    """The arrays on a device, in 64 bits; torch has no arithmetic of unsigned integers."""
    wide = (each.astype(np.float64 if each.dtype.kind == "f" else np.int64) for each in opinion)
    return [torch.from_numpy(each).to(device) for each in wide]


def _spread(
    starts: Int[Tensor, "E"], ends: Int[Tensor, "E"]
) -> tuple[Int[Tensor, "_"], Int[Tensor, "_"]]:
    """Concatenate the ranges from each start to its end: number of the range, and entry."""
    lengths = ends - starts
    number = torch.repeat_interleave(torch.arange(len(starts), device=starts.device), lengths)
    before = lengths.cumsum(0) - lengths
    entry = torch.arange(len(number), device=starts.device) + (starts - before)[number]
    return number, entry


def _portions(places: Int[Tensor, "E"], lengths: Int[Tensor, "E"]) -> list[Tensor]:
    """Split the places so that the lengths of each part sum to about `AT_ONCE` at most."""
    part = lengths.cumsum(0) // AT_ONCE
    _, counts = torch.unique_consecutive(part, return_counts=True)
    return list(places.split(counts.tolist())) if len(places) else []


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)


def _starts(counts: Int[Tensor, "P"]) -> Int[Tensor, "Q"]:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
