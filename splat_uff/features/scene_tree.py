"""A merge tree over the whole scene, and the ultrametric similarity of pixels in it.

The leaves are superpoints, groups of neighbouring Gaussians with a feature of their own. A pixel is
represented by the superpoint of the Gaussian with the largest weight in it. The similarity of two
pixels is that of the mean features of the two branches in which their superpoints separate. For
unit vectors the dot product of two means is the mean cosine over all pairs of members, so the
gradient of one pair reaches every superpoint of both branches.
"""

from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from torch import Tensor

from splat_uff.features.cosines import pair_cosines
from splat_uff.features.linkage import Merges, average_linkage, join, lay_out
from splat_uff.features.ultrametric import meeting_merges
from splat_uff.system import kernels
from splat_uff.system.records import array_record

SHORT = 1e-2
"""Length below which a feature counts as shorter than a unit vector, and its direction for less."""

_options = {"cache": True, "error_model": "numpy", "boundscheck": False}


@array_record
class SceneTree:
    """A merge tree over G superpoints of N Gaussians."""

    group: Int[np.ndarray, "N"]
    """Superpoint of each Gaussian, from 0."""
    merges: Merges
    """Merges of the superpoints."""


def regrow(tree: SceneTree, features: Float[np.ndarray, "N D"]) -> SceneTree:
    """Rebuild the tree of the same superpoints by average linkage of their features' directions."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    means, sizes = group_means(features / np.maximum(lengths, 1e-12), tree.group)
    return SceneTree(tree.group, average_linkage(means, sizes))


def group_means(
    rows: Float[np.ndarray, "N D"], group: Int[np.ndarray, "N"]
) -> tuple[Float[np.ndarray, "G D"], Float[np.ndarray, "G"]]:
    """Mean of the rows of each group, none of which is empty, and the groups' sizes."""
    sizes = np.bincount(group).astype(np.float64)
    sums = np.stack([np.bincount(group, column) for column in rows.T], axis=1)
    return sums / sizes[:, None], sizes


class SceneSimilarity:
    """Similarities of pixels in one tree, which stays fixed while the features change."""

    def __init__(self, tree: SceneTree) -> None:
        """Lay the tree out once.

        Args:
            tree: Merge tree of at least one superpoint, none of them empty.
        """
        self.tree, self.group = tree, tree.group
        self.below = join(tree.merges)
        self.order, self.spans = lay_out(tree.merges)
        self._position = np.argsort(self.order)
        sizes = np.bincount(tree.group, minlength=len(self.order)).astype(np.float32)
        self.sizes = sizes[:, None]
        self.counts = _add_up(self.below, self.sizes)

    def __call__(
        self,
        superpoints: Float[Tensor, "G D"],
        unit: Float[Tensor, "S D"],
        heaviest: Int[np.ndarray, "S"],
        pairs: Int[np.ndarray, "P 2"],
    ) -> Float[Tensor, "P"]:
        """Mean cosine between the branches in which the superpoints of each pair separate.

        Superpoints count as often as they have Gaussians. If a pixel shows no Gaussian, the two
        pixels are compared directly.

        Args:
            superpoints: Feature of each superpoint, of which the direction is used.
            unit: Unit features of the pixels.
            heaviest: Gaussian with the largest weight in each pixel, -1 for none.
            pairs: Indices of pixels.
        """
        seen, ends = _superpoints(heaviest, pairs, self.group)
        merges = meeting_merges(self.spans, self._position, ends)
        nodes = _branches(ends, merges, self.below)
        directions = torch.nn.functional.normalize(superpoints, dim=1, eps=SHORT)
        means = pair_cosines(branch_means(directions, self), nodes)
        if seen.all():
            return means
        similarity = unit.new_empty(len(pairs))
        similarity[torch.from_numpy(seen)] = means
        similarity[torch.from_numpy(~seen)] = pair_cosines(unit, pairs[~seen])
        return similarity


def branch_means(directions: Float[Tensor, "G D"], tree: SceneSimilarity) -> Float[Tensor, "T D"]:
    """Mean direction of the Gaussians below each node, given that of each superpoint."""
    if kernels.numba_computes(directions.device):
        return _BranchMeans.apply(directions, tree)
    return branch_means_by_torch(directions, tree)


def branch_means_by_torch(
    directions: Float[Tensor, "G D"], tree: SceneSimilarity
) -> Float[Tensor, "T D"]:
    """`branch_means` in torch's operations, on any device.

    A node's leaves are a run in the order of the tree's layout, and its sum is a difference of
    running sums, in 64 bits.
    """
    device = directions.device
    order = torch.as_tensor(tree.order, device=device)
    sizes, counts = (torch.as_tensor(each, device=device) for each in (tree.sizes, tree.counts))
    sums = (directions * sizes)[order].double().cumsum(0)
    running = torch.cat([sums.new_zeros(1, sums.shape[1]), sums])
    position = np.argsort(tree.order)
    starts = torch.as_tensor(np.concatenate([position, tree.spans[:, 0]]), device=device)
    ends = torch.as_tensor(np.concatenate([position + 1, tree.spans[:, 2]]), device=device)
    return ((running[ends] - running[starts]) / counts).float()


class _BranchMeans(torch.autograd.Function):
    """`branch_means` by one pass up the tree; the gradient by one down."""

    @staticmethod
    def forward(ctx, directions, tree):
        ctx.tree = tree
        sums = directions.detach().cpu().numpy() * tree.sizes
        return torch.from_numpy(_add_up(tree.below, sums) / tree.counts).to(directions.device)

    @staticmethod
    def backward(ctx, v_means):  # pyright: ignore[reportIncompatibleMethodOverride]
        tree = ctx.tree
        down = _hand_down(tree.below, v_means.cpu().numpy() / tree.counts)
        gradient = down[: len(tree.sizes)] * tree.sizes
        return torch.from_numpy(gradient).to(v_means.device), None


@njit(**_options)
@no_type_check
def _add_up(below, leaves):
    """Sums over the leaves below each node."""
    count = len(leaves)
    sums = np.zeros((2 * count - 1, leaves.shape[1]), np.float32)
    sums[:count] = leaves
    for merge in range(count - 1):
        for c in range(leaves.shape[1]):
            sums[count + merge, c] = sums[below[merge, 0], c] + sums[below[merge, 1], c]
    return sums


@njit(**_options)
@no_type_check
def _hand_down(below, nodes):
    """Sums over each node and all nodes above it."""
    count = len(below) + 1
    down = nodes.copy()
    for merge in range(count - 2, -1, -1):
        for side in range(2):
            for c in range(down.shape[1]):
                down[below[merge, side], c] += down[count + merge, c]
    return down


@njit(**_options)
@no_type_check
def _superpoints(heaviest, pairs, group):
    """Whether both pixels of each pair show a Gaussian, and the superpoints of those that do."""
    seen = np.empty(len(pairs), np.bool_)
    ends = np.empty((len(pairs), 2), np.int64)
    count = 0
    for p in range(len(pairs)):
        a, b = heaviest[pairs[p, 0]], heaviest[pairs[p, 1]]
        seen[p] = a >= 0 and b >= 0
        if seen[p]:
            ends[count, 0], ends[count, 1] = group[a], group[b]
            count += 1
    return seen, ends[:count].copy()


@njit(**_options)
@no_type_check
def _branches(ends, merges, below):
    """The two nodes below the merge of each pair; for a merge of -1, the pair's own ends."""
    nodes = ends.copy()
    for p in range(len(ends)):
        if merges[p] >= 0:
            nodes[p, 0], nodes[p, 1] = below[merges[p], 0], below[merges[p], 1]
    return nodes


@njit(**_options)
@no_type_check
def find_heaviest(starts, indices, weights, rows):
    """Gaussian with the largest weight in each row, -1 for an empty row."""
    heaviest = np.full(len(rows), -1)
    for s in range(len(rows)):
        most = 0.0
        for e in range(starts[rows[s]], starts[rows[s] + 1]):
            if weights[e] > most:
                most, heaviest[s] = weights[e], indices[e]
    return heaviest
