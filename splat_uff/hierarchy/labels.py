"""Segments in a camera's view: every pixel takes the label with the most votes.

Both methods of docs/method.md ("Labels in a view") are votes. *Blended*: each Gaussian votes with
its blend weight, which gives the argmax of blended one-hot labels. *Nearest*: the five labelled
Gaussians nearest to the pixel's surface point have one vote each.
"""

from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit, prange

from splat_uff.geometry.cameras import Camera, pixel_centres, project, unproject
from splat_uff.geometry.neighbours import find_nearest
from splat_uff.hierarchy.labels_torch import count_votes_by_torch
from splat_uff.hierarchy.votes import Votes
from splat_uff.render import Gaussians, blend_weights
from splat_uff.system import kernels
from splat_uff.system.errors import InputError
from splat_uff.system.records import array_record

OPAQUE = 0.5
"""Accumulated opacity below which a pixel belongs to no segment."""
MIXER = np.uint64(0x9E3779B97F4A7C15)
"""Odd number by which labels are mixed into one key."""
STRETCH = 256
"""Number of pixels whose votes one thread counts at a time."""
CLEAR = np.float32(0.501)
"""Share of all votes from which on rounding does not decide whether they are more than half."""
NEAREST_VOTERS = 5
"""Number of nearest voters, the paper's k_query (docs/method.md, "Labels in a view")."""
NEAREST_REACH = 5e-3
"""Squared distance to the last voter, in the normalised scene, beyond which there is no segment."""


def blended_votes(gaussians: Gaussians, camera: Camera) -> Votes:
    """Votes of every Gaussian with its blend weight."""
    weights = blend_weights(gaussians, camera)
    alpha = np.asarray(weights.sum(axis=1)).reshape(camera.height, camera.width)
    rows = weights.indptr, weights.indices, weights.data
    return Votes(*rows, alpha >= OPAQUE, device=str(gaussians.means.device))


def expected_depth(
    gaussians: Gaussians, camera: Camera
) -> tuple[Float[np.ndarray, "H W"], Float[np.ndarray, "H W"]]:
    """Blended mean depth (z) of each pixel, in world units, and its accumulated opacity."""
    weights = blend_weights(gaussians, camera)
    alpha = np.asarray(weights.sum(axis=1)).ravel()
    _, depths = project(camera, gaussians.means.detach().cpu().numpy().astype(np.float64))
    depth = weights @ depths / np.maximum(alpha, 1e-9)
    return depth.reshape(camera.height, -1), alpha.reshape(camera.height, -1)


def surface_points(
    gaussians: Gaussians, camera: Camera
) -> tuple[Float[np.ndarray, "P 3"], Float[np.ndarray, "P"]]:
    """Point of each pixel at its blended mean depth, and the pixel's accumulated opacity."""
    depth, alpha = (each.ravel() for each in expected_depth(gaussians, camera))
    return unproject(camera, pixel_centres(camera), depth), alpha


def nearest_votes(gaussians: Gaussians, camera: Camera, labelled: Bool[np.ndarray, "N"]) -> Votes:
    """Votes of the five `labelled` centres nearest to each pixel's surface point, one each."""
    points, alpha = surface_points(gaussians, camera)
    means = gaussians.means.detach().cpu().numpy().astype(np.float64)
    voters = np.flatnonzero(labelled)
    count = min(NEAREST_VOTERS, len(voters))
    distances, nearest = find_nearest(means[voters], points, k=count)
    covered = (alpha >= OPAQUE) & (distances[:, -1] ** 2 <= NEAREST_REACH)
    return Votes(
        np.arange(len(points) + 1) * count,
        voters[nearest.ravel()],
        np.ones(nearest.size, np.float32),
        covered.reshape(camera.height, camera.width),
        device=str(gaussians.means.device),
    )


def label_map(
    gaussians: Gaussians, camera: Camera, labels: Int[np.ndarray, "N"]
) -> Int[np.ndarray, "H W"]:
    """Label map of what a camera sees, from the segment of each Gaussian.

    A pixel takes the label whose Gaussians have the largest sum of blend weights in it. Any
    labelling of the Gaussians works, for example a `cut`.

    Args:
        gaussians: Gaussians that the camera sees.
        camera: Camera of the view; the map has its size.
        labels: Segment of each Gaussian, above 0.

    Returns:
        Segment of each pixel; 0 if the Gaussians' accumulated opacity there is below one half.

    Raises:
        InputError: If there is not one label per Gaussian.

    Example:
        >>> import torch
        >>> gaussians = Gaussians(  # Two, side by side, a unit in front of the camera.
        ...     means=torch.tensor([[-0.25, 0, 1], [0.25, 0, 1]]),
        ...     quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(2, 1),
        ...     log_scales=torch.full((2, 3), -2.0),
        ...     opacity_logits=torch.full((2,), 3.0),
        ...     sh0=torch.zeros(2, 1, 3),
        ...     shN=torch.zeros(2, 0, 3),
        ... )
        >>> K = np.array([[4.0, 0, 2], [0, 4, 1], [0, 0, 1]])
        >>> label_map(gaussians, Camera(np.eye(4), K, 4, 2), np.array([1, 2])).tolist()
        [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    if len(labels) != len(gaussians):
        raise InputError(
            f"there are {len(labels)} labels and {len(gaussians)} Gaussians; pass one per Gaussian."
        )
    return label_maps(blended_votes(gaussians, camera), labels[None])[0]


@array_record
class Parties:
    """Gaussians with equal labels in each of K labellings, which vote as one.

    Nested cuts of a tree have a few hundred parties.
    """

    labels: Int[np.ndarray, "K A"]
    """Labels of each party, int32."""
    of_gaussian: Int[np.ndarray, "N"]
    """Party of each Gaussian, int32."""

    @staticmethod
    def of(labels: Int[np.ndarray, "K N"]) -> "Parties":
        """Find the parties; worth doing once for many views of the same labellings."""
        labels = labels.astype(np.int32)
        keys = np.zeros(labels.shape[1], np.uint64)
        for row in labels:
            keys = keys * MIXER + row.astype(np.uint64)
        _, first, party = np.unique(keys, return_index=True, return_inverse=True)
        if any((row != row[first][party]).any() for row in labels):  # Unequal labels share a key.
            _, first, party = np.unique(labels, axis=1, return_index=True, return_inverse=True)
        return Parties(labels[:, first], party.reshape(-1).astype(np.int32))


def label_maps(votes: Votes, labels: Int[np.ndarray, "K N"] | Parties) -> Int[np.ndarray, "K H W"]:
    """Label maps for K labellings of the Gaussians at once; 0 is no segment.

    Among labels with equal votes, the first one wins: the nearest, or the one in front.
    """
    found = labels if isinstance(labels, Parties) else Parties.of(labels)
    if kernels.numba_computes(votes.device):
        covered = votes.covered.ravel()
        rows = votes.starts, votes.voters, votes.weights
        maps = np.zeros((len(found.labels), len(covered)), np.int32)
        _count_votes(*rows, covered, found.of_gaussian, found.labels, maps)
    else:
        maps = count_votes_by_torch(votes, found.of_gaussian, found.labels)
    return maps.reshape(-1, *votes.covered.shape)


@njit(parallel=True, cache=True, error_model="numpy", boundscheck=False)
@no_type_check
def _count_votes(starts, voters, weights, covered, party, parties, maps):
    """Write the label with the most votes of each covered pixel into each row of `maps`."""
    count, pixels = len(parties), len(covered)
    for stretch in prange((pixels + STRETCH - 1) // STRETCH):
        begin, stop = stretch * STRETCH, min(pixels, (stretch + 1) * STRETCH)
        most = 0
        for p in range(begin, stop):
            most = max(most, starts[p + 1] - starts[p])
        voting, votes = np.empty(most, np.int32), np.empty(most, np.float32)
        candidates, tally = np.empty(most, np.int32), np.empty(most, np.float32)
        alone = np.full(STRETCH, -1, np.int32)
        for p in range(begin, stop):
            number = 0
            if covered[p]:
                for e in range(starts[p], starts[p + 1]):
                    one, at = party[voters[e]], 0
                    while at < number and voting[at] != one:
                        at += 1
                    if at == number:
                        voting[number], votes[number] = one, np.float32(0)
                        number += 1
                    votes[at] += weights[e]
            winner = _with_most_of_all(votes, number)
            if winner >= 0:
                alone[p - begin] = voting[winner]
            elif number:
                for k in range(count):
                    maps[k, p] = _elect(parties[k], voting, votes, number, candidates, tally)
        for k in range(count):
            for p in range(begin, stop):
                if alone[p - begin] >= 0:
                    maps[k, p] = parties[k, alone[p - begin]]


@njit(cache=True, error_model="numpy", boundscheck=False)
@no_type_check
def _with_most_of_all(votes, number):
    """Party with more votes than all others have together, whose label wins in any labelling.

    Of two parties, that is the one with more votes, or the first. -1 if there is none.
    """
    best, total = 0, np.float32(0)
    for v in range(number):
        total += votes[v]
        if votes[v] > votes[best]:
            best = v
    if number == 1 or number == 2 or (number and votes[best] > CLEAR * total):
        return best
    return -1


@njit(cache=True, error_model="numpy", boundscheck=False)
@no_type_check
def _elect(labels, voting, votes, number, candidates, tally):
    """Label with the most votes of the first `number` parties; among equals, the first."""
    found = 0
    for v in range(number):
        label, at = labels[voting[v]], 0
        while at < found and candidates[at] != label:
            at += 1
        if at == found:
            candidates[found], tally[found] = label, np.float32(0)
            found += 1
        tally[at] += votes[v]
    best = 0
    for at in range(1, found):
        if tally[at] > tally[best]:
            best = at
    return candidates[best]
