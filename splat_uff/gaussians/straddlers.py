"""Straddlers: Gaussians across the border of two segments, and splitting them along it.

A Gaussian's votes are its blend weights in the pixels of each segment, over many photos. Where two
segments have many, the plane between their votes cuts the Gaussian in two, and each piece is
replaced by the Gaussian of the same mass, mean and covariance. "COB-GS: Clear Object Boundaries in
3DGS Segmentation Based on Boundary-Adaptive Gaussian Splitting" (CVPR 2025) splits Gaussians at the
border of an object, too; the plane and the moments are our own.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit
from scipy.spatial.transform import Rotation
from scipy.stats import norm

from splat_uff.geometry.cameras import Camera
from splat_uff.geometry.neighbours import find_nearest
from splat_uff.render import Gaussians
from splat_uff.render.cpu import EPS2D
from splat_uff.render.frozen import FrozenViews
from splat_uff.system.records import array_record

SLOTS = 8
"""Number of segments whose votes are counted for a Gaussian, those that come first."""
NEIGHBOURS = 16
"""Nearest neighbours whose segments a Gaussian, or a piece of it, may take."""
LEAST_SHARE = 0.1
"""Share of the second segment, in the votes of the first two, from which a Gaussian is split."""
LEAST_VOTES = 1.0
"""Votes of the second segment, in pixels over all photos, from which a Gaussian is split."""
LEAST_APART = 0.3
"""Distance of the two segments' mean votes, in standard deviations, from which one is split."""
MOST_LOPSIDED = 0.1
"""Least share of a piece in the mass of its Gaussian."""
MOST_OPAQUE = 0.995
_options = {"cache": True, "error_model": "numpy", "boundscheck": False}


@array_record
class Votes:
    """Votes of segments for N Gaussians, each for at most `SLOTS` segments."""

    labels: Int[np.ndarray, "N S"]
    """Segment of each slot; -1 for a free one."""
    weights: Float[np.ndarray, "N S"]
    """Sum of the blend weights in pixels of that segment."""

    @property
    def straddling(self) -> float:
        """Share of all votes that are not for a Gaussian's first segment."""
        total = float(self.weights.sum())
        return 1 - float(self.weights.max(axis=1).sum()) / total if total else 0.0

    def ranked(self) -> tuple[Int[np.ndarray, "N S"], Float[np.ndarray, "N S"]]:
        """Segments and their votes, most votes first; ties by the order of the slots."""
        order = np.argsort(-self.weights, axis=1, kind="stable")
        weights = np.take_along_axis(self.weights, order, axis=1)
        return np.take_along_axis(self.labels, order, axis=1), weights

    def among_neighbours(
        self, means: Float[np.ndarray, "N 3"], labels: Int[np.ndarray, "N"]
    ) -> "Votes":
        """The votes for segments that a Gaussian's neighbours have, and for the background.

        What hardly shows has its few votes where it shines through something else, far behind or in
        front of it; such a segment is none of its own.

        Args:
            means: Centres of the Gaussians.
            labels: Segment of each.
        """
        count = min(NEIGHBOURS + 1, len(means))  # One of these is the Gaussian itself.
        _, nearest = find_nearest(means, means, k=count)
        around = labels[nearest]
        kept = self.labels == 0
        for column in around.T:
            kept |= self.labels == column[:, None]
        return Votes(self.labels, np.where(kept, self.weights, np.float32(0)))


def count_votes(views: FrozenViews, maps: Sequence[Int[np.ndarray, "H W"]]) -> Votes:
    """Count the votes of the segments of each view.

    Args:
        views: Blend weights of V views.
        maps: Segment of each pixel of these views, at least 0.
    """
    labels = np.full((views.num_gaussians, SLOTS), -1, np.int32)
    weights = np.zeros(labels.shape, np.float32)
    for view, shown in enumerate(maps):
        matrix = views.matrix(view)
        _count(matrix.indptr, matrix.indices, matrix.data, shown.ravel(), labels, weights)
    return Votes(labels, weights)


@array_record
class Straddlers:
    """S Gaussians across a border, and the half space of the first of their two segments."""

    indices: Int[np.ndarray, "S"]
    first: Int[np.ndarray, "S"]
    """Segment with the most votes."""
    second: Int[np.ndarray, "S"]
    normals: Float[np.ndarray, "S 3"]
    """Unit normal of the border, towards the first segment, in the Gaussian's axes, in standard
    deviations."""
    shares: Float[np.ndarray, "S"]
    """Share of the first segment in the mass."""


def find_straddlers(
    gaussians: Gaussians,
    views: FrozenViews,
    maps: Sequence[Int[np.ndarray, "H W"]],
    votes: Votes,
    *,
    most: int,
) -> Straddlers:
    """Find the Gaussians that two segments share, and the plane between their votes.

    Args:
        gaussians: The N Gaussians.
        views: Blend weights of V views of them.
        maps: Segment of each pixel of these views.
        votes: Votes of the segments, from `count_votes`.
        most: Most Gaussians to find, those with the most votes for their second segment.
    """
    labels, weights = votes.ranked()
    first, second = weights[:, 0], weights[:, 1]
    across = (second >= LEAST_VOTES) & (second >= LEAST_SHARE * (first + second))
    indices = np.flatnonzero(across)
    indices = np.sort(indices[np.argsort(-second[indices], kind="stable")[:most]])
    place = np.full(len(gaussians), -1)
    place[indices] = np.arange(len(indices))
    means, turns, scales = _ellipsoids(gaussians.subset(torch.from_numpy(indices)))
    sides = labels[indices, :2].astype(np.int32)
    sums = np.zeros((len(indices), 2, 5))
    for view, (camera, shown) in enumerate(zip(views.cameras, maps, strict=True)):
        matrix = views.matrix(view)
        _add_votes(
            matrix.indptr, matrix.indices, matrix.data, shown.ravel(), place, sides,
            *_rays(camera), (means, turns, scales), sums,
        )  # fmt: skip
    masses = sums[..., 3]
    mean = sums[..., :3] / np.maximum(masses, 1e-9)[..., None]
    apart = mean[:, 0] - mean[:, 1]
    blur = sums[..., 4].sum(axis=1) / np.maximum(masses.sum(axis=1), 1e-9)
    normals = apart * scales / np.sqrt(scales**2 + blur[:, None])  # In the Gaussian's own units.
    length = np.linalg.norm(normals, axis=1)
    clear = (np.linalg.norm(apart, axis=1) >= LEAST_APART) & (length > 0)
    shares = masses[clear, 0] / np.maximum(masses[clear].sum(axis=1), 1e-9)
    return Straddlers(
        indices[clear], sides[clear, 0], sides[clear, 1], normals[clear] / length[clear, None],
        np.clip(shares, MOST_LOPSIDED, 1 - MOST_LOPSIDED),
    )  # fmt: skip


def split_straddlers(gaussians: Gaussians, straddlers: Straddlers) -> Gaussians:
    """Replace each straddler by its piece in the first segment, and append those in the second.

    A half space n.u > t of a standard normal distribution has the mass q = 1 - F(t), the mean
    m = f(t) / q along n, and the variance 1 + t m - m^2.

    Args:
        gaussians: The N Gaussians.
        straddlers: The S Gaussians to split.

    Returns:
        N + S Gaussians.
    """
    chosen = torch.from_numpy(straddlers.indices)
    means, turns, scales = _ellipsoids(gaussians.subset(chosen))
    axes = turns * scales[:, None]
    opacities = gaussians.opacities[chosen].double().numpy()
    tensors = {name: each.clone() for name, each in gaussians.tensors().items()}
    for sign, mass in ((1.0, straddlers.shares), (-1.0, 1 - straddlers.shares)):
        normals, start = sign * straddlers.normals, norm.ppf(1 - mass)
        shift = norm.pdf(start) / mass
        spread = np.sqrt(np.maximum(1 + start * shift - shift**2, 1e-4))
        outer = normals[:, :, None] * normals[:, None]
        squeeze = np.eye(3) - (1 - spread)[:, None, None] * outer
        turned, lengths, _ = np.linalg.svd(axes @ squeeze)
        turned[np.linalg.det(turned) < 0, :, 2] *= -1
        opacity = np.clip(opacities * mass / spread, 1e-3, MOST_OPAQUE)
        piece = {
            "means": means + np.einsum("sij,sj->si", axes, normals * shift[:, None]),
            "quats": Rotation.from_matrix(turned).as_quat()[:, [3, 0, 1, 2]],
            "log_scales": np.log(np.maximum(lengths, 1e-12)),
            "opacity_logits": np.log(opacity / (1 - opacity)),
        }
        for name, values in tensors.items():
            new = values[chosen]
            if name in piece:
                new = torch.from_numpy(piece[name]).to(values.dtype)
            if sign > 0:
                values[chosen] = new
            else:
                tensors[name] = torch.cat([values, new])
    return replace(gaussians, **tensors)


def _ellipsoids(
    gaussians: Gaussians,
) -> tuple[Float[np.ndarray, "S 3"], Float[np.ndarray, "S 3 3"], Float[np.ndarray, "S 3"]]:
    """Centres, rotations (axes in columns) and standard deviations, in double precision."""
    quats = gaussians.quats.double().numpy()
    turns = Rotation.from_quat(quats[:, [1, 2, 3, 0]]).as_matrix().reshape(-1, 3, 3)
    return gaussians.means.double().numpy(), turns, gaussians.scales.double().numpy()


def _rays(
    camera: Camera,
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3 3"], int, float]:
    """Centre, matrix from homogeneous pixels to directions, width, and blur per unit of depth."""
    directions = camera.world_from_cam[:3, :3] @ np.linalg.inv(camera.K)
    return camera.centre, directions, camera.width, EPS2D**0.5 / camera.focal


@njit(**_options)
@no_type_check
def _count(starts, gaussians, weights, shown, labels, sums):
    """Add the votes of one view."""
    for p in range(len(shown)):
        for e in range(starts[p], starts[p + 1]):
            n = gaussians[e]
            for slot in range(labels.shape[1]):
                if labels[n, slot] < 0:
                    labels[n, slot] = shown[p]
                if labels[n, slot] == shown[p]:
                    sums[n, slot] += weights[e]
                    break


@njit(**_options)
@no_type_check
def _add_votes(
    starts, gaussians, weights, shown, place, sides, centre, directions, width, blur, shapes, sums
):
    """Add the votes of one view: weighted sums of places, weights and blurs of either side.

    A pixel votes at the point of its ray where the Gaussian is densest, in the Gaussian's axes and
    standard deviations, which are widened by the blur of the photo.
    """
    means, turns, scales = shapes
    local, along = np.empty(3), np.empty(3)
    for p in range(len(shown)):
        x, y = p % width + 0.5, p // width + 0.5
        for e in range(starts[p], starts[p + 1]):
            s = place[gaussians[e]]
            if s < 0:
                continue
            side = 0 if shown[p] == sides[s, 0] else 1
            if shown[p] != sides[s, side]:
                continue
            depth = 0.0
            for i in range(3):
                depth += (means[s, i] - centre[i]) ** 2
            wide = blur * blur * depth
            ahead = square = 0.0
            for j in range(3):
                o = d = 0.0
                for i in range(3):
                    o += turns[s, i, j] * (centre[i] - means[s, i])
                    d += turns[s, i, j] * (
                        directions[i, 0] * x + directions[i, 1] * y + directions[i, 2]
                    )
                size = math.sqrt(scales[s, j] ** 2 + wide)
                local[j], along[j] = o / size, d / size
                ahead += local[j] * along[j]
                square += along[j] ** 2
            for j in range(3):
                sums[s, side, j] += weights[e] * (local[j] - along[j] * ahead / square)
            sums[s, side, 3] += weights[e]
            sums[s, side, 4] += weights[e] * wide
