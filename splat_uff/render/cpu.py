"""The CPU side of the seam: numba kernels wrapped for autograd, and blend weights as a matrix."""

import numpy as np
import torch
from jaxtyping import Float
from numba import config as numba_config
from numba import set_num_threads
from torch import Tensor

from splat_uff.cameras import Camera
from splat_uff.render import blending, projection
from splat_uff.render.records import Gaussians, Render
from splat_uff.render.tiles import bin_into_tiles

NEAR, FAR = 0.01, 1e10
"""Depths between which Gaussians are drawn, gsplat's defaults."""


def rasterize_numba(gaussians: Gaussians, camera: Camera, values: Float[Tensor, "N C"]) -> Render:
    """`rasterize` for tensors on the CPU."""
    _follow_torch_threads()
    opacities = gaussians.opacities
    means2d, conics, depths, extents = _Project.apply(
        gaussians.means, gaussians.quats, gaussians.scales, opacities.detach(), camera
    )
    image, alpha = _Blend.apply(means2d, conics, opacities, values, depths, extents, camera)
    return Render(image, alpha, means2d, extents.ceil().int()[None])


def pixel_weights(
    gaussians: Gaussians, camera: Camera
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blend weights of a camera as compressed sparse rows.

    Returns:
        Row starts, int64 [H * W + 1]; Gaussians, int32, front to back in a row; weights, float32.
    """
    _follow_torch_threads()
    opacities = _array(gaussians.opacities)
    means2d, conics, depths, extents = _project(
        _array(gaussians.means),
        _array(gaussians.quats),
        _array(gaussians.scales),
        opacities,
        camera,
    )
    width, height = camera.width, camera.height
    tile_starts, entries, _, _ = bin_into_tiles(means2d, extents, depths, width, height)
    starts = np.zeros(height * width + 1, np.int64)
    indices, weights = np.empty(0, np.int32), np.empty(0, np.float32)
    counts = blending.list_weights(
        means2d, conics, opacities, extents, tile_starts, entries, width, height,
        starts, indices, weights,
    )  # fmt: skip
    np.cumsum(counts, out=starts[1:])
    indices, weights = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
    blending.list_weights(
        means2d, conics, opacities, extents, tile_starts, entries, width, height,
        starts, indices, weights,
    )  # fmt: skip
    return starts, indices, weights


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx, means, quats, scales, opacities, camera):
        shapes = _array(means), _array(quats), _array(scales)
        means2d, conics, depths, extents = _project(*shapes, _array(opacities), camera)
        ctx.shapes, ctx.camera, ctx.conics, ctx.extents = shapes, camera, conics, extents
        outputs = [torch.from_numpy(array) for array in (means2d[None], conics, depths, extents)]
        ctx.mark_non_differentiable(*outputs[2:])
        return tuple(outputs)

    @staticmethod
    def backward(ctx, v_means2d, v_conics, _depths, _extents):  # pyright: ignore
        camera: Camera = ctx.camera
        means, quats, scales = ctx.shapes
        gradients = projection.project_backward(
            means, quats, scales, camera.cam_from_world, camera.K, camera.width, camera.height,
            ctx.extents, ctx.conics, _array(v_means2d[0]), _array(v_conics),
        )  # fmt: skip
        return (*(torch.from_numpy(gradient) for gradient in gradients), None, None)


class _Blend(torch.autograd.Function):
    @staticmethod
    def forward(ctx, means2d, conics, opacities, values, depths, extents, camera):
        centres, shapes, faint = _array(means2d[0]), _array(conics), _array(opacities)
        boxes, shades = _array(extents), _array(values)
        width, height = camera.width, camera.height
        tiles = bin_into_tiles(centres, boxes, _array(depths), width, height)
        image, transmittance = blending.blend_forward(
            centres, shapes, faint, boxes, shades, tiles[0], tiles[1], width, height
        )
        ctx.save_for_backward(means2d)
        ctx.blended, ctx.tiles = (centres, shapes, faint, boxes, shades), tiles
        return torch.from_numpy(image), torch.from_numpy(1 - transmittance)

    @staticmethod
    def backward(ctx, v_image, v_alpha):  # pyright: ignore[reportIncompatibleMethodOverride]
        centres, shapes, faint, boxes, shades = ctx.blended
        tile_starts, entries, slots, slot_starts = ctx.tiles
        v_means2d, v_conics, v_opacities, v_values, absolute = blending.blend_backward(
            centres, shapes, faint, boxes, shades,
            tile_starts, entries, slots, slot_starts,
            _array(v_image), _array(v_alpha),
        )  # fmt: skip
        (means2d,) = ctx.saved_tensors
        means2d.absgrad = torch.from_numpy(absolute[None])  # Where gsplat's density schedule looks.
        gradients = v_means2d[None], v_conics, v_opacities, v_values
        return (*(torch.from_numpy(gradient) for gradient in gradients), None, None, None)


def _project(
    means: np.ndarray, quats: np.ndarray, scales: np.ndarray, opacities: np.ndarray, camera: Camera
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return projection.project_forward(
        means, quats, scales, opacities,
        camera.cam_from_world, camera.K, camera.width, camera.height, NEAR, FAR,
    )  # fmt: skip


def _array(tensor: Tensor) -> np.ndarray:
    """The tensor's memory as a C-ordered float32 array."""
    return tensor.detach().to(torch.float32).contiguous().numpy()


def _follow_torch_threads() -> None:
    most = numba_config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
    set_num_threads(min(torch.get_num_threads(), most))
