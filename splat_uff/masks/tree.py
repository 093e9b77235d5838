"""Inclusion tree of the masks of an image (docs/method.md, "Masks")."""

import numpy as np
from jaxtyping import Bool, Int
from scipy import sparse

from splat_uff.masks.records import MaskSet, MaskTree, Regions


def build_tree(masks: MaskSet, *, p_in: float = 0.95, p_iou: float = 0.85) -> MaskTree:
    """Find which masks lie inside which, and which are the same.

    A is inside B when |A∩B| / |A| > `p_in` and IoU(A, B) < `p_iou`; from `p_iou` on, the two are
    the same mask. Only a smaller mask can lie inside a larger one, so `inside` has no cycles,
    whatever the thresholds. An empty mask is inside no other, and the same only as itself.

    Args:
        masks: Masks of one image.
        p_in: Share of the child that its parent must contain.
        p_iou: Intersection over union at or above which two masks count as one.
    """
    overlap = _intersections(masks)
    area = overlap.diagonal()
    union = area[:, None] + area[None, :] - overlap
    # Both ratios are compared as products, so that empty masks need no division by zero.
    same = (overlap >= p_iou * union) & (union > 0)
    np.fill_diagonal(same, True)
    contained = overlap > p_in * area[:, None]
    smaller = area[:, None] < area[None, :]
    return MaskTree(inside=contained & smaller & ~same, same=same)


def minimal_parents(inside: Bool[np.ndarray, "M M"]) -> Bool[np.ndarray, "M M"]:
    """Keep only the parents of each mask with no other parent in between: a transitive reduction.

    Containment up to a tolerance is not transitive, so a parent is dropped when any chain of masks
    leads to it, even if not all masks of the chain are inside it.

    Args:
        inside: Whether row is inside column, without cycles, as in `MaskTree`.
    """
    reachable = inside
    while True:
        # Each round doubles the length of the chains that are followed.
        further = reachable | _compose(reachable, reachable)
        if (further == reachable).all():
            return inside & ~_compose(inside, reachable)
        reachable = further


def _compose(
    first: Bool[np.ndarray, "M M"], second: Bool[np.ndarray, "M M"]
) -> Bool[np.ndarray, "M M"]:
    return first.astype(np.float32) @ second.astype(np.float32) > 0


def _intersections(masks: MaskSet) -> Int[np.ndarray, "M M"]:
    """Number of pixels shared by every two masks.

    The product is sparse, as a region lies in few of the masks. A dense one would run on the
    threads of BLAS, which stall each other when several views are processed at once.
    """
    regions = Regions.of(masks)
    members = sparse.csr_matrix(regions.members, dtype=np.int64)
    return (members.multiply(regions.sizes[None]).tocsr() @ members.T).toarray()
