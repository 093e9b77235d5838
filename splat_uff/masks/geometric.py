"""Masks without any weights that know colour and geometry: nested regions of a photo.

Once Gaussians stand, depth and normals are at hand. Steps in depth and valleys between faces are
better borders of things than colour. The photo is cut into superpixels along all of these borders,
superpixels are merged (`merge_patches`), and the regions at several numbers of them are the masks.
"""

import higra as hg
import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.masks.classical import LEAST_PIXELS, MOST_SHARE, OPAQUE, segment_colours
from splat_uff.masks.merging import Patches, merge_patches
from splat_uff.masks.records import MaskSet
from splat_uff.masks.surface import Relief, Surface, shifted

REGIONS = (4, 8, 16, 32, 64, 128)
"""Number of regions at each granularity, coarse to fine."""
SUPERPIXELS = 900
LIGHTNESS, CHROMA = 0.7, 1.5
"""Weights of lightness, which shading changes most, and of the two opponent colours."""
DEPTH_STEP, CONCAVE, CONVEX = 0.5, 0.2, 0.0
"""Strength that a full step in depth, and a turn of 90 degrees, add to that of the colours."""
CONTRAST = 2.0
"""Weight of the squared colour difference between regions, against the strength of the border."""
SILHOUETTE = 10.0
"""Strength of the border to transparent pixels: above that of any other."""


def segment_surfaces(image: Float[np.ndarray, "H W 4"], surface: Surface) -> MaskSet:
    """Masks of one photo at several granularities, nested by construction.

    Args:
        image: RGBA in [0, 1], colour multiplied by alpha; transparent pixels are in no mask.
        surface: Surface that the photo's camera sees, of the photo's size. Where it is unknown,
            colour alone tells; if it is unknown everywhere, the masks are `segment_colours`'.
    """
    relief = Relief(surface)
    solid = image[..., 3] >= OPAQUE
    if not (relief.known & solid).any():
        return segment_colours(image)
    colours = _weighted(image[..., :3])
    pairs, strengths = _sides(solid, _borders(colours, relief))
    count = int(solid.sum())
    patch = _superpixels(pairs, strengths, count, closed=bool(solid.all()))
    inner = (pairs < count).all(axis=0)
    patches = _patches(patch, colours[solid], pairs[:, inner], strengths[inner])
    merges = merge_patches(patches, contrast=CONTRAST)
    members = _members(len(patches.sizes), merges)
    chosen = members[_in_cuts(len(patches.sizes), merges)]
    masks = np.zeros((len(chosen), *solid.shape), bool)
    masks[:, solid] = chosen[:, patch]
    areas = masks.sum(axis=(1, 2))
    return MaskSet.of(masks[(areas >= LEAST_PIXELS) & (areas <= MOST_SHARE * solid.size)])


def _weighted(colours: Float[np.ndarray, "H W 3"]) -> Float[np.ndarray, "H W 3"]:
    """Lightness and two opponent colours."""
    red, green, blue = np.moveaxis(colours.astype(np.float64), 2, 0)
    light = LIGHTNESS * (red + green + blue) / 3
    return np.stack([light, CHROMA * (red - green), CHROMA * ((red + green) / 2 - blue)], axis=2)


def _borders(colours: Float[np.ndarray, "H W 3"], relief: Relief) -> Float[np.ndarray, "2 H W"]:
    """Strength of the border between each pixel and the next, in its row and in its column."""
    borders = []
    for axis in (1, 0):
        steps = relief.steps(axis)
        change = np.linalg.norm(shifted(colours, 1, axis) - colours, axis=2)
        geometry = DEPTH_STEP * steps.step + CONCAVE * steps.concave + CONVEX * steps.convex
        borders.append(change + geometry)
    return np.stack(borders)


def _sides(
    solid: Bool[np.ndarray, "H W"], borders: Float[np.ndarray, "2 H W"]
) -> tuple[Int[np.ndarray, "2 E"], Float[np.ndarray, "E"]]:
    """Sides between pixels and their strengths; all transparent pixels are one, the last."""
    count = int(solid.sum())
    vertex = np.full(solid.shape, count)
    vertex[solid] = np.arange(count)
    beside = np.stack([vertex[:, :-1].ravel(), vertex[:, 1:].ravel()])
    below = np.stack([vertex[:-1].ravel(), vertex[1:].ravel()])
    pairs = np.concatenate([beside, below], axis=1)
    strengths = np.concatenate([borders[0, :, :-1].ravel(), borders[1, :-1].ravel()])
    strengths = np.where((pairs == count).any(axis=0), SILHOUETTE, strengths)
    apart = pairs[0] != pairs[1]
    return pairs[:, apart], strengths[apart]


def _superpixels(
    pairs: Int[np.ndarray, "2 E"], strengths: Float[np.ndarray, "E"], count: int, *, closed: bool
) -> Int[np.ndarray, "P"]:
    """Superpixel of each solid pixel, numbered from 0: a watershed that floods by area.

    Source: Cousty, Najman, "Incremental algorithm for hierarchical minimum spanning forests and
    saliency of watershed cuts", ISMM 2011; built by Higra.
    """
    if count == 1:
        return np.zeros(1, np.int64)
    graph = hg.UndirectedGraph(count + (not closed))  # pyright: ignore[reportAttributeAccessIssue]
    graph.add_edges(pairs[0], pairs[1])
    tree, altitudes = hg.watershed_hierarchy_by_area(graph, strengths)
    labels = hg.labelisation_horizontal_cut_from_num_regions(tree, altitudes, SUPERPIXELS)
    return np.unique(np.asarray(labels)[:count], return_inverse=True)[1]


def _patches(
    patch: Int[np.ndarray, "P"],
    colours: Float[np.ndarray, "P C"],
    pairs: Int[np.ndarray, "2 E"],
    strengths: Float[np.ndarray, "E"],
) -> Patches:
    """Superpixels with their sizes, mean colours and borders."""
    sizes = np.bincount(patch).astype(np.float64)
    count = len(sizes)
    sums = [np.bincount(patch, channel, count) for channel in colours.T]
    one, two = patch[pairs]
    apart = one != two
    places = (one * count + two)[apart]
    total = np.bincount(places, strengths[apart], count**2).astype(np.float64)
    total = total.reshape(count, count)
    length = np.bincount(places, minlength=count**2).reshape(count, count).astype(np.float64)
    return Patches(
        sizes, np.stack(sums, axis=1) / sizes[:, None], total + total.T, length + length.T
    )


def _members(count: int, merges: Int[np.ndarray, "K 2"]) -> Bool[np.ndarray, "T R"]:
    """Whether each node of the merging, `count` regions first, contains each region."""
    members = np.zeros((count + len(merges), count), bool)
    members[:count] = np.eye(count, dtype=bool)
    for rank, (one, two) in enumerate(merges.tolist()):
        members[count + rank] = members[one] | members[two]
    return members


def _in_cuts(count: int, merges: Int[np.ndarray, "K 2"]) -> Bool[np.ndarray, "T"]:
    """Whether each node is a region at one of the granularities of `REGIONS`."""
    born = np.concatenate([np.zeros(count, np.int64), np.arange(1, len(merges) + 1)])
    gone = np.full(len(born), len(merges) + 1)
    gone[merges.ravel()] = np.repeat(np.arange(1, len(merges) + 1), 2)
    times = np.clip(count - np.array(REGIONS), 0, len(merges))
    alive = (born[:, None] <= times) & (times < gone[:, None])
    return np.asarray(alive.any(axis=1))
