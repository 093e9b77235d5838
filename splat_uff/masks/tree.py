"""Which masks of an image lie inside which (docs/method.md, "Masks")."""

import numpy as np
from jaxtyping import Bool, Int
from scipy import sparse

from splat_uff.masks.records import MaskSet, MaskTree, Regions


def build_tree(masks: MaskSet, *, p_in: float = 0.95, p_iou: float = 0.85) -> MaskTree:
    """Find which masks lie inside which, and which are the same.

    A is inside B when |A∩B| / |A| > `p_in` and IoU(A, B) < `p_iou`; from `p_iou` on the two are the
    same mask. The smaller of two can lie inside the larger only, so `inside` has no cycles whatever
    the thresholds. An empty mask is inside nothing and the same as itself alone.

    Args:
        masks: Masks of one image.
        p_in: Share of the child that its parent must contain.
        p_iou: Intersection over union from which two masks count as one.
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
    """Keep of each mask's parents those with no other parent on the way: a transitive reduction.

    Containment up to a tolerance is not transitive, so a parent is dropped when any chain of
    masks leads to it, also where the masks of the chain are not all inside it.

    Args:
        inside: Row is inside column, without cycles, as in `MaskTree`.
    """
    reachable = inside
    while True:
        # Each round doubles the chains that are followed.
        further = reachable | _compose(reachable, reachable)
        if (further == reachable).all():
            return inside & ~_compose(inside, reachable)
        reachable = further


def _compose(
    first: Bool[np.ndarray, "M M"], second: Bool[np.ndarray, "M M"]
) -> Bool[np.ndarray, "M M"]:
    return first.astype(np.float32) @ second.astype(np.float32) > 0


def _intersections(masks: MaskSet) -> Int[np.ndarray, "M M"]:
    """Pixels shared by every two masks.

    A sparse product, as a region lies in few of the masks. A dense one would hand each view to the
    threads of BLAS, which stall each other when several views are at work.
    """
    regions = Regions.of(masks)
    members = sparse.csr_matrix(regions.members, dtype=np.int64)
    return (members.multiply(regions.sizes[None]).tocsr() @ members.T).toarray()
