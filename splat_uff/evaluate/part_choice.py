"""Choice of the Gaussians that are an object: the node, or the mask, that fits it best.

A tree has no names. What a person would click is found on training views, where these have ground
truth: each Gaussian votes for the true objects with its blend weights, and the selection is taken
whose votes have the greatest IoU with those of all Gaussians for the object.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix

from splat_uff.capture.records import View
from splat_uff.hierarchy.dendrogram import Dendrogram
from splat_uff.hierarchy.walk import Walk
from splat_uff.render import Gaussians, blend_weights
from splat_uff.system.errors import InputError
from splat_uff.system.progress import track


def object_votes(
    gaussians: Gaussians, views: Sequence[View], num_objects: int
) -> Float[np.ndarray, "N C"]:
    """Blend weight of each Gaussian in the pixels of each true object, summed over views.

    Args:
        gaussians: Fitted Gaussians.
        views: Views, of which those with ground truth vote.
        num_objects: Number K of objects, whose ids are 1 to K.

    Returns:
        Votes, C = K + 1; the first column is background.

    Raises:
        InputError: If no view has ground truth, or an id is above K.
    """
    known = [view for view in views if view.truth is not None]
    if not known:
        raise InputError("no training view has ground truth; objects cannot be looked for.")
    votes = csr_matrix((len(gaussians), num_objects + 1), dtype=np.float64)
    for view in track(known, "objects", len(known)):
        assert view.truth is not None
        ids = view.truth.objects
        if ids.max() > num_objects:
            raise InputError(
                f"{view.name} shows object {ids.max()}, but there are {num_objects} objects; make "
                "the scene again."
            )
        height, width = ids.shape
        weights = blend_weights(gaussians, view.camera.resized(width, height))
        ones = np.ones(ids.size), (np.arange(ids.size), ids.ravel())
        shown = csr_matrix(ones, shape=(ids.size, num_objects + 1))
        votes = votes + (weights.T.tocsr().astype(np.float64) @ shown)
    return np.asarray(votes.todense())


def true_members(votes: Float[np.ndarray, "N C"]) -> Bool[np.ndarray, "K N"]:
    """Gaussians of each object if each carried its true label: that with the most votes.

    Gaussians without votes belong to no object. These selections are the ceiling.
    """
    labels = np.where(votes.any(axis=1), votes.argmax(axis=1), 0)
    return labels == np.arange(1, votes.shape[1])[:, None]


def best_nodes(
    tree: Dendrogram, votes: Float[np.ndarray, "N C"]
) -> tuple[Int[np.ndarray, "K"], Float[np.ndarray, "K"]]:
    """Node of a tree that fits each object best.

    Nodes are those that can be segments, from the groups that hold leaves up to the root. All sums
    of votes are made in one pass, children before parents.

    Args:
        tree: Merge tree over the Gaussians.
        votes: Votes from `object_votes`.

    Returns:
        Node and IoU of the votes of each object; the finest of equally good nodes, and -1 if nobody
        votes for the object.
    """
    leaves, inner = tree.num_leaves, len(tree.parents) - tree.num_leaves
    ones = np.ones(leaves), (tree.parents[:leaves] - leaves, np.arange(leaves))
    sums = csr_matrix(ones, shape=(inner, leaves)) @ votes
    for node, parent in enumerate((tree.parents[leaves:-1] - leaves).tolist()):
        sums[parent] += sums[node]
    ious = _ious(sums, votes)
    walk = Walk(tree)
    ious[[not walk.holds(node) for node in range(leaves, leaves + inner)]] = 0
    best = ious.argmax(axis=0)
    found = ious[best, np.arange(len(best))]
    return np.where(found > 0, best + leaves, -1), found


def node_members(tree: Dendrogram, nodes: Int[np.ndarray, "K"]) -> Bool[np.ndarray, "K N"]:
    """Gaussians below each node; none for -1."""
    walk = Walk(tree)
    members = np.zeros((len(nodes), tree.num_leaves), bool)
    for row, node in zip(members, nodes, strict=True):
        if node >= 0:
            row[walk.leaves(node)] = True
    return members


def best_masks(
    occupied: Bool[np.ndarray, "M N"], votes: Float[np.ndarray, "N C"]
) -> tuple[Int[np.ndarray, "K"], Float[np.ndarray, "K"]]:
    """Set of Gaussians that fits each object best, such as a lifted mask or a label.

    Args:
        occupied: Sets of Gaussians; they may overlap.
        votes: Votes from `object_votes`.

    Returns:
        Set and IoU of the votes of each object; the first of equally good sets, and -1 if none has
        a vote for the object.
    """
    if not len(occupied):
        return np.full(votes.shape[1] - 1, -1), np.zeros(votes.shape[1] - 1)
    ious = _ious(csr_matrix(occupied, dtype=np.float64) @ votes, votes)
    best = ious.argmax(axis=0)
    found = ious[best, np.arange(len(best))]
    return np.where(found > 0, best, -1), found


def _ious(sums: Float[np.ndarray, "S C"], votes: Float[np.ndarray, "N C"]) -> np.ndarray:
    """IoU of the votes of each set with those for each object, [S, K]."""
    joint = sums[:, 1:]
    union = sums.sum(axis=1, keepdims=True) + votes[:, 1:].sum(axis=0) - joint
    return np.where(union > 0, joint / np.where(union > 0, union, 1), 0)
