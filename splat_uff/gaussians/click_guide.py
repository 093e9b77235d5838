"""Guide to clicks by Gaussians: where the scene is, and things that masks of other photos show."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt
from scipy.sparse import csr_matrix, vstack

from splat_uff.geometry.cameras import Camera
from splat_uff.masks.records import MaskSet
from splat_uff.render import Gaussians, blend_weights

MAJORITY = 0.5
"""Share of a Gaussian's weight in a mask that counts it to the mask, and share of a pixel's weight
that counts it to the region that a mask is carried to."""
NEIGHBOURS = 4
"""Photos whose masks are carried over: those that see most of the same Gaussians."""
SMALLEST = 12
"""Pixels below which a carried region is not clicked."""
ANSWERS = 3
"""Nested masks that a click is answered by."""


@dataclass(eq=False)
class ClickGuide:
    """Masks of photos so far, as sets of Gaussians, and the clicks that they ask for elsewhere."""

    gaussians: Gaussians
    fingerprint: str
    """Text that differs for other Gaussians."""
    _seen: list[Float[np.ndarray, "N"]] = field(default_factory=list)
    _sets: list[csr_matrix] = field(default_factory=list)

    def where(self, camera: Camera) -> Bool[np.ndarray, "H W"]:
        """Pixels that show the scene: those that are at least half opaque."""
        alpha = np.asarray(blend_weights(self.gaussians, camera).sum(axis=1))
        return (alpha >= MAJORITY).reshape(camera.height, camera.width)

    def add(self, camera: Camera, masks: MaskSet) -> None:
        """Learn the masks of a photo.

        Args:
            camera: Camera of the photo.
            masks: Masks at the camera's size.
        """
        weights = blend_weights(self.gaussians, camera)
        seen = np.asarray(weights.sum(axis=0)).ravel()
        inside = csr_matrix(masks.flat(), dtype=np.float32) @ weights
        inside = csr_matrix(inside)
        inside.data = (inside.data > MAJORITY * seen[inside.indices]).astype(np.float32)
        inside.eliminate_zeros()
        self._seen.append(np.minimum(seen, 1.0))
        self._sets.append(inside)

    def seeds(self, camera: Camera) -> Float[np.ndarray, "P 2"]:
        """Clicks (x, y), in pixels, on the things that other photos show: deep inside of each.

        A click is answered by several nested masks, so that a region around enough of them needs
        none of its own.
        """
        if not self._sets:
            return np.empty((0, 2))
        weights = blend_weights(self.gaussians, camera)
        sets = self.known(np.minimum(np.asarray(weights.sum(axis=0)).ravel(), 1.0))
        shares = (weights @ sets.T).toarray().T  # [masks, pixels]
        alpha = np.asarray(weights.sum(axis=1)).ravel()
        regions = (shares > MAJORITY * alpha) & (alpha >= MAJORITY)
        sizes = regions.sum(axis=1)
        clicks: list[tuple[int, int]] = []
        left: list[int] = []
        for index in np.argsort(sizes, kind="stable"):
            if sizes[index] < SMALLEST:
                continue
            region = regions[index].reshape(camera.height, camera.width)
            if _is_answered(region, clicks, left):
                continue
            depth = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]  # pyright: ignore[reportCallIssue, reportArgumentType, reportIndexIssue, reportOptionalSubscript]
            row, column = np.unravel_index(int(np.argmax(depth)), region.shape)
            clicks.append((int(row), int(column)))
            left.append(ANSWERS - 1)
        return np.array([(column + 0.5, row + 0.5) for row, column in clicks]).reshape(-1, 2)

    def known(self, seen: Float[np.ndarray, "N"]) -> csr_matrix:
        """Sets of Gaussians [sets, N] to look for in a photo: masks of those that see most of it.

        Args:
            seen: Blend weight of each Gaussian in the photo, at most 1.
        """
        lengths = [np.linalg.norm(each) for each in self._seen]
        alike = [
            float(seen @ each) / max(length, 1e-12)
            for each, length in zip(self._seen, lengths, strict=True)
        ]
        near = np.argsort(-np.array(alike), kind="stable")[:NEIGHBOURS]
        return csr_matrix(vstack([self._sets[index] for index in near]))


def _is_answered(
    region: Bool[np.ndarray, "H W"], clicks: list[tuple[int, int]], left: list[int]
) -> bool:
    """Whether a click inside of a region has an answer left for it, which is then taken."""
    for index, place in enumerate(clicks):
        if left[index] and region[place]:
            left[index] -= 1
            return True
    return False
