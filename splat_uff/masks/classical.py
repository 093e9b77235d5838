"""Masks without any weights: nested colour segments, for trying things out.

A binary partition tree over the pixels, by the Mumford-Shah energy of their colours, is cut at
several numbers of regions. It finds edges, but knows nothing about objects.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.masks.records import MaskSet

REGIONS = (4, 8, 16, 32, 64)
"""Number of regions at each granularity, coarse to fine."""
LEAST_PIXELS = 20
"""Minimum size of a mask, in pixels; smaller regions are dropped."""
MOST_SHARE = 0.95
"""Maximum share of the image in a mask; larger regions are dropped, as they separate nothing."""
OPAQUE = 0.5


def segment_colours(image: Float[np.ndarray, "H W 4"]) -> MaskSet:
    """Masks of one photo at several granularities, nested by construction.

    Source: Guigues, Cocquerez, Le Men, "Scale-sets image analysis", IJCV 2006; built by Higra.

    Args:
        image: RGBA in [0, 1], colour multiplied by alpha; transparent pixels are in no mask.
    """
    import higra as hg

    height, width = image.shape[:2]
    solid = image[..., 3] >= OPAQUE
    if not solid.any():
        return MaskSet.of(np.zeros((0, height, width), bool))
    values = np.concatenate([_opponent(image[..., :3]), 4 * solid[..., None]], axis=2)
    flat = values[solid].astype(np.float64)
    vertex = np.full((height, width), len(flat))
    vertex[solid] = np.arange(len(flat))
    sources, targets, lengths = _neighbours(vertex)
    if not solid.all():
        # All transparent pixels share one vertex with its own colour, so that the outline is an
        # edge. As separate vertices they would take ten times as long as the rest.
        flat = np.concatenate([flat, np.zeros((1, flat.shape[1]))])
    graph = hg.UndirectedGraph(len(flat))  # pyright: ignore[reportAttributeAccessIssue]
    graph.add_edges(sources, targets)
    tree, scales = hg.binary_partition_tree_MumfordShah_energy(graph, flat, edge_length=lengths)
    altitudes = _never_falling(np.asarray(tree.parents()), np.asarray(scales))
    masks: list[Bool[np.ndarray, "H W"]] = []
    seen: set[bytes] = set()
    most = MOST_SHARE * height * width
    for regions in REGIONS:
        labels = hg.labelisation_horizontal_cut_from_num_regions(tree, altitudes, regions)
        labels = np.asarray(labels)[vertex]
        for label in np.unique(labels):
            mask = (labels == label) & solid
            key = np.packbits(mask).tobytes()
            if LEAST_PIXELS <= mask.sum() <= most and key not in seen:
                seen.add(key)
                masks.append(mask)
    return MaskSet.of(np.stack(masks) if masks else np.zeros((0, height, width), bool))


def _neighbours(
    vertex: Int[np.ndarray, "H W"],
) -> tuple[Int[np.ndarray, "E"], Int[np.ndarray, "E"], Float[np.ndarray, "E"]]:
    """Pairs of adjacent vertices, and the number of pixel sides that each pair shares."""
    beside = np.stack([vertex[:, :-1].ravel(), vertex[:, 1:].ravel()])
    below = np.stack([vertex[:-1].ravel(), vertex[1:].ravel()])
    pairs = np.sort(np.concatenate([beside, below], axis=1), axis=0)
    pairs, sides = np.unique(pairs[:, pairs[0] != pairs[1]], axis=1, return_counts=True)
    return pairs[0], pairs[1], sides.astype(np.float64)


def _never_falling(
    parents: Int[np.ndarray, "T"], altitudes: Float[np.ndarray, "T"]
) -> Float[np.ndarray, "T"]:
    """Raise each node to its highest descendant, as energy scales can fall towards the root."""
    raised = altitudes.tolist()
    for node, parent in enumerate(parents[:-1].tolist()):  # Children precede parents.
        raised[parent] = max(raised[parent], raised[node])
    return np.array(raised)


def _opponent(colours: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W 3"]:
    """Lightness and two opponent colours, which are weighted double."""
    red, green, blue = np.moveaxis(colours.astype(np.float64), 2, 0)
    return np.stack([(red + green + blue) / 3, 2 * (red - green), (red + green) - 2 * blue], axis=2)
