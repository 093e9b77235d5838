"""Blend weights on CUDA: gsplat lists what each pixel blends, and torch computes the weights.

`gsplat.rasterize_to_indices_in_range` gives the pairs of pixels and Gaussians, front to back, under
the conditions of its rasterizer. The weight of a pair is its alpha times the transmittance of those
in front of it, a running product within each pixel.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from splat_uff.geometry.cameras import Camera
from splat_uff.render.cpu import EPS2D, FAR, NEAR, TILE
from splat_uff.render.listing import ALPHA_MAX
from splat_uff.render.records import Gaussians

STRIP = 2**18
"""Most pixels listed at once, to bound memory; a pixel blends some ten to a hundred Gaussians."""


@torch.no_grad()
def pixel_weights_on_cuda(
    gaussians: Gaussians, camera: Camera, *, eps2d: float = EPS2D
) -> tuple[Int[Tensor, "R"], Int[Tensor, "E"], Float[Tensor, "E"]]:
    """Blend weights of a camera as compressed sparse rows, like `pixel_weights`.

    The Gaussians are projected once. Then the image is listed in strips of whole rows of tiles, so
    that memory does not grow with its size.

    Args:
        gaussians: Gaussians on a CUDA device.
        camera: Camera of the view.
        eps2d: Blur, in pixels squared.

    Returns:
        Row starts, int64 [H * W + 1]; Gaussians, int32, front to back per row; weights, float32.
    """
    from gsplat import fully_fused_projection

    width, height = camera.width, camera.height
    opacities = gaussians.opacities
    like = {"dtype": torch.float32, "device": opacities.device}
    radii, means2d, depths, conics, dimming = fully_fused_projection(
        gaussians.means, None, gaussians.quats, gaussians.scales,
        torch.as_tensor(camera.cam_from_world, **like)[None],
        torch.as_tensor(camera.K, **like)[None],
        width, height, eps2d=eps2d, near_plane=NEAR, far_plane=FAR,
        calc_compensations=gaussians.antialiased, opacities=opacities,
    )  # fmt: skip
    opacities = opacities[None] if dimming is None else opacities[None] * dimming
    rows = max(1, STRIP // (width * TILE)) * TILE
    counts, indices, weights = [], [], []
    for top in range(0, height, rows):
        shifted = means2d - means2d.new_tensor([0, top])
        size = width, min(rows, height - top)
        ids, pixels = _pairs(shifted, radii, depths, conics, opacities, *size)
        counts.append(torch.bincount(pixels, minlength=size[0] * size[1]))
        starts = _starts(counts[-1])
        drawn = shifted[0], conics[0], opacities[0]
        weights.append(weights_of_pairs(*drawn, ids, pixels, starts, width))
        indices.append(ids.int())
    return _starts(torch.cat(counts)), torch.cat(indices), torch.cat(weights)


def weights_of_pairs(
    means2d: Float[Tensor, "N 2"],
    conics: Float[Tensor, "N 3"],
    opacities: Float[Tensor, "N"],
    ids: Int[Tensor, "E"],
    pixels: Int[Tensor, "E"],
    starts: Int[Tensor, "R"],
    width: int,
) -> Float[Tensor, "E"]:
    """Blend weights of pairs of a pixel and a Gaussian that are blended; on any device.

    Args:
        means2d: Centres in the image, in pixels.
        conics: Inverse covariances in the image: xx, xy and yy.
        opacities: Opacities, dimmed if the Gaussians are antialiased.
        ids: Gaussian of each pair, front to back within each pixel.
        pixels: Pixel of each pair, row-major, in rising order.
        starts: Index of each pixel's first pair, then the number of pairs.
        width: Width of the image, in pixels.
    """
    centres = torch.stack([pixels % width, pixels // width], dim=1) + 0.5
    x, y = (means2d[ids] - centres).unbind(1)
    xx, xy, yy = conics[ids].unbind(1)
    sigmas = 0.5 * (xx * x * x + yy * y * y) + xy * x * y
    alphas = (opacities[ids] * torch.exp(-sigmas)).clamp_max(float(ALPHA_MAX))
    # Logarithms of what passes, summed over all pairs in front: in 64 bits, since pixels share it.
    passing = torch.log1p(-alphas.double())
    before = passing.cumsum(0) - passing
    return (alphas * torch.exp(before - before[starts[pixels]])).float()


def _pairs(
    means2d: Float[Tensor, "1 N 2"],
    radii: Int[Tensor, "1 N 2"],
    depths: Float[Tensor, "1 N"],
    conics: Float[Tensor, "1 N 3"],
    opacities: Float[Tensor, "1 N"],
    width: int,
    height: int,
) -> tuple[Int[Tensor, "E"], Int[Tensor, "E"]]:
    """Gaussian and pixel of everything that is blended, pixel by pixel, front to back."""
    from gsplat import isect_offset_encode, isect_tiles, rasterize_to_indices_in_range

    grid = -(-width // TILE), -(-height // TILE)
    _, tiles, entries = isect_tiles(means2d, radii, depths, TILE, *grid)
    if len(entries) == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device=means2d.device)
        return nothing, nothing
    offsets = isect_offset_encode(tiles, 1, *grid).reshape(1, grid[1], grid[0])
    ends = torch.cat([offsets.flatten()[1:], offsets.new_tensor([len(entries)])])
    longest = int((ends - offsets.flatten()).max())
    batches = -(-longest // TILE**2)  # gsplat walks a tile in batches of as many as it has pixels.
    light = torch.ones(1, height, width, device=means2d.device)
    ids, pixels, _ = rasterize_to_indices_in_range(
        0, batches, light, means2d, conics, opacities, width, height, TILE, offsets, entries
    )
    return ids, pixels


def _starts(counts: Int[Tensor, "P"]) -> Int[Tensor, "R"]:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
