"""Rendering on the CPU: numba kernels wrapped for autograd, and blend weights as a matrix."""

# pyright: reportCallIssue=false
# Tuples of arrays are unpacked into the parameters of kernels, and pyright cannot count them.

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numba import config as numba_config
from numba import set_num_threads
from torch import Tensor
from torch.autograd.function import once_differentiable

from splat_uff.geometry.cameras import Camera
from splat_uff.render import blending, harmonics, listing, projection
from splat_uff.render.records import Gaussians
from splat_uff.render.tiles import bin_into_tiles, drop_unfinite
from splat_uff.system.records import array_record

NEAR, FAR, EPS2D, TILE = 0.01, 1e10, 0.3, 16
"""gsplat's defaults: nearest and farthest drawn depth, blur in pixels squared, and side of a tile
in pixels."""


@dataclass(frozen=True)
class Frame:
    """Settings shared by all images of one call: their size and the way Gaussians are drawn."""

    width: int
    height: int
    eps2d: float = EPS2D
    near: float = NEAR
    far: float = FAR
    radius_clip: float = 0.0
    antialiased: bool = False


def rasterize_on_cpu(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    frame: Frame,
    *,
    sh_degree: int | None,
    packed: bool,
    tile_size: int,
    backgrounds: Tensor | None,
    render_mode: str,
    absgrad: bool,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Run `rasterization` on CPU tensors whose shapes have been checked; see its docstring."""
    threads = follow_torch_threads()
    batch, count, cameras = means.shape[:-2], means.shape[-2], viewmats.shape[-3]
    sets, images = math.prod(batch), math.prod(batch) * cameras
    means, quats, scales = (t.reshape(-1, t.shape[-1]) for t in (means, quats, scales))
    poses, intrinsics = viewmats.reshape(images, 4, 4), Ks.reshape(images, 3, 3)
    shape = None if packed else (*batch, cameras, count)
    means2d, conics, depths, dimmed, extents, instances, seen = _Project.apply(
        means, quats, scales, opacities.reshape(-1), poses, intrinsics, sets, frame, shape
    )
    ids = _ids(instances, sets, cameras, count) if packed else (None, None, None)
    meta = dict(zip(("batch_ids", "camera_ids", "gaussian_ids"), ids, strict=True)) | {
        "radii": extents.clamp(max=2.0**30).ceil().int(),
        "means2d": means2d,
        "depths": depths,
        "conics": conics,
        "opacities": dimmed,
    }

    values, rows = _values(means, colors, poses, sh_degree, sets, count, instances, seen)
    if render_mode != "RGB":
        shades = values[rows] if render_mode.startswith("RGB") else values.new_zeros(len(rows), 0)
        values, rows = torch.cat([shades, depths.reshape(-1, 1)], dim=1), torch.arange(len(rows))

    starts = np.searchsorted(instances.numpy(), count * np.arange(images + 1)).tolist()
    boxes = drop_unfinite(float_array(extents).reshape(-1, 2), float_array(values), rows.numpy())
    centres, far = float_array(means2d).reshape(-1, 2), float_array(depths).reshape(-1)
    size = frame.width, frame.height, tile_size, threads
    binned = [
        bin_into_tiles(centres[start:end], boxes[start:end], far[start:end], *size)
        for start, end in pairwise(starts)
    ]
    plan = _Plan(frame, tile_size, starts, boxes, rows.numpy(), binned, absgrad, threads)
    image, alphas = _Blend.apply(means2d, conics, dimmed, values, plan)
    image = image.reshape(*batch, cameras, frame.height, frame.width, -1)
    alphas = alphas.reshape(*batch, cameras, frame.height, frame.width, 1)
    image = _finished(image, alphas, backgrounds, render_mode)
    grid = _grid_meta(frame, tile_size, sets, cameras)
    tiles = _tile_meta(binned, starts, shape)
    shape = (*batch, cameras, grid["tile_height"], grid["tile_width"])
    tiles["isect_offsets"] = tiles["isect_offsets"].reshape(shape)
    return image, alphas, meta | tiles | grid


def _values(
    means: Tensor,
    colors: Tensor,
    poses: Tensor,
    sh_degree: int | None,
    sets: int,
    count: int,
    instances: Tensor,
    seen: Tensor,
) -> tuple[Tensor, Tensor]:
    """What is blended, [R, D], and the row of each instance in it, [I]."""
    if sh_degree is not None:
        centres = torch.linalg.inv(poses)[:, :3, 3]
        coefficients = colors.reshape(-1, colors.shape[-2], 3)
        values = _Harmonics.apply(means, coefficients, centres, sh_degree, sets, instances, seen)
        return values, torch.arange(len(instances))
    values = colors.reshape(-1, colors.shape[-1])
    if len(values) > len(means) or len(poses) == 1:
        return values, instances  # Values of each camera, or of the only one.
    return values, _set_rows(instances, len(poses) // sets, count)


def _finished(
    image: Tensor, alphas: Tensor, backgrounds: Tensor | None, render_mode: str
) -> Tensor:
    """The blended image over its background, with accumulated depth divided by opacity for ED."""
    if backgrounds is not None and render_mode.startswith("RGB"):
        colour = backgrounds[..., None, None, :]
        if render_mode != "RGB":
            colour = torch.cat([colour, torch.zeros_like(colour[..., :1])], dim=-1)
        image = image + (1 - alphas) * colour
    if render_mode.endswith("ED"):
        mean_depth = image[..., -1:] / alphas.clamp(min=1e-10)
        image = torch.cat([image[..., :-1], mean_depth], dim=-1)
    return image


def _grid_meta(frame: Frame, tile_size: int, sets: int, cameras: int) -> dict[str, int]:
    return {
        "tile_width": -(-frame.width // tile_size),
        "tile_height": -(-frame.height // tile_size),
        "width": frame.width,
        "height": frame.height,
        "tile_size": tile_size,
        "n_batches": sets,
        "n_cameras": cameras,
    }


def pixel_weights(
    gaussians: Gaussians, camera: Camera, *, eps2d: float = EPS2D
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Blend weights of a camera as compressed sparse rows.

    Args:
        gaussians: Gaussians on the CPU.
        camera: Camera of the view.
        eps2d: Blur, in pixels squared.

    Returns:
        Row starts, int64 [H * W + 1]; Gaussians, int32, front to back per row; weights, float32.
    """
    threads = follow_torch_threads()
    width, height = camera.width, camera.height
    means2d, conics, depths, opacities, extents = projection.project_forward(
        *(float_array(t) for t in (gaussians.means, gaussians.quats, gaussians.scales)),
        float_array(gaussians.opacities), camera.cam_from_world[None], camera.K[None], 1,
        width, height, eps2d, NEAR, FAR, 0.0, gaussians.antialiased,
    )  # fmt: skip
    tile_starts, entries, _, _ = bin_into_tiles(
        means2d, extents, depths, width, height, TILE, threads
    )
    starts = np.zeros(height * width + 1, np.int64)
    indices, weights = np.empty(0, np.int32), np.empty(0, np.float32)
    room = listing.room_for_bits(tile_starts, TILE)
    counts = listing.list_weights(
        means2d, conics, opacities, extents, tile_starts, entries, TILE, width, height,
        *room, starts, indices, weights, threads,
    )  # fmt: skip
    np.cumsum(counts, out=starts[1:])
    indices, weights = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
    listing.list_weights(
        means2d, conics, opacities, extents, tile_starts, entries, TILE, width, height,
        *room, starts, indices, weights, threads,
    )  # fmt: skip
    return starts, indices, weights


class _Project(torch.autograd.Function):
    """Instances of all Gaussians in all images, in `shape`; only visible ones if it is None.

    Returns the results of `project_forward`, then the indices of these instances, and the row of
    each instance among them, -1 if it is not visible.
    """

    @staticmethod
    def forward(ctx, means, quats, scales, opacities, viewmats, Ks, sets, frame, shape):
        ctx.save_for_backward(means, quats, scales, opacities, viewmats, Ks)
        arrays = projection.project_forward(
            *map(float_array, (means, quats, scales, opacities)),
            *map(_doubles, (viewmats, Ks)), sets, frame.width, frame.height,
            frame.eps2d, frame.near, frame.far, frame.radius_clip, frame.antialiased,
        )  # fmt: skip
        seen = arrays[-1][:, 0] > 0
        instances = np.flatnonzero(seen)
        rows = np.full(len(seen), -1, np.int32)
        if shape is None:
            rows[instances] = np.arange(len(instances), dtype=np.int32)
            arrays = tuple(array[instances] for array in arrays)
        else:
            rows[instances] = instances
            instances = np.arange(len(seen))
            arrays = tuple(array.reshape(*shape, *array.shape[1:]) for array in arrays)
        ctx.sets, ctx.frame, ctx.rows = sets, frame, rows
        outputs = tuple(torch.from_numpy(array) for array in (*arrays, instances, rows))
        ctx.mark_non_differentiable(*outputs[4:])
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx, *v):  # pyright: ignore[reportIncompatibleMethodOverride]
        *solids, viewmats, Ks = ctx.saved_tensors
        frame: Frame = ctx.frame
        v_means2d, v_conics, v_depths, v_dimmed = (float_array(each) for each in v[:4])
        *v_solids, v_viewmats = projection.project_backward(
            *map(float_array, solids), *map(_doubles, (viewmats, Ks)), ctx.sets,
            frame.width, frame.height, frame.eps2d, frame.antialiased, ctx.rows,
            v_means2d.reshape(-1, 2), v_conics.reshape(-1, 3),
            v_depths.reshape(-1), v_dimmed.reshape(-1), ctx.needs_input_grad[4],
        )  # fmt: skip
        poses = None
        if ctx.needs_input_grad[4]:
            poses = torch.from_numpy(v_viewmats.sum(axis=0)).to(viewmats.dtype)
        return (*map(torch.from_numpy, v_solids), poses, *[None] * 4)


class _Harmonics(torch.autograd.Function):
    """Colours of instances from spherical harmonics."""

    @staticmethod
    def forward(ctx, means, coefficients, centres, degree, sets, instances, seen):
        ctx.save_for_backward(means, coefficients, centres)
        ctx.degree, ctx.sets, ctx.rows = degree, sets, seen.numpy()
        both = float_array(coefficients)
        ctx.colours = harmonics.harmonics_forward(
            float_array(means), both, both, 1, _doubles(centres), degree, sets,
            instances.numpy(), ctx.rows,
        )  # fmt: skip
        return torch.from_numpy(ctx.colours)

    @staticmethod
    @once_differentiable
    def backward(ctx, v_colours):  # pyright: ignore[reportIncompatibleMethodOverride]
        means, coefficients, centres = ctx.saved_tensors
        both = float_array(coefficients)
        v_means, v_both = np.zeros_like(float_array(means)), np.zeros_like(both)
        v_centres = harmonics.harmonics_backward(
            float_array(means), both, 1, _doubles(centres), ctx.degree, ctx.sets,
            ctx.rows, ctx.colours, float_array(v_colours), v_means, v_both, v_both,
        )  # fmt: skip
        v_centres = torch.from_numpy(v_centres.sum(axis=0)).to(centres.dtype)
        return (*map(torch.from_numpy, (v_means, v_both)), v_centres, *[None] * 4)


@array_record
class _Plan:
    """Data of a call without gradients, above all the Gaussians in each tile."""

    frame: Frame
    tile_size: int
    starts: list[int]
    """Index of each image's first instance, then the number of instances."""
    boxes: np.ndarray
    rows: np.ndarray
    """Row of `values` for each instance."""
    binned: list[tuple[np.ndarray, ...]]
    """Result of `bin_into_tiles` for each image."""
    absgrad: bool
    threads: int
    hits: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    """Bits of each image that say which Gaussians each block of pixels blends, set by the blending
    and read by its gradient."""


class _Blend(torch.autograd.Function):
    """Images [I, H, W, C] and accumulated opacities [I, H, W] of instances."""

    @staticmethod
    def forward(ctx, means2d, conics, opacities, values, plan: _Plan):
        frame, images = plan.frame, len(plan.binned)
        flat, shades = _flat(means2d, conics, opacities, plan), float_array(values)
        image = np.empty((images, frame.height, frame.width, shades.shape[1]), np.float32)
        alphas = np.empty((images, frame.height, frame.width), np.float32)
        for index, (tile_starts, entries, _, _) in enumerate(plan.binned):
            own = slice(plan.starts[index], plan.starts[index + 1])
            room = listing.room_for_bits(tile_starts, plan.tile_size)
            blending.blend_forward(
                *(array[own] for array in flat), shades, plan.rows[own],
                tile_starts, entries, *room, plan.tile_size, image[index], alphas[index],
                plan.threads,
            )  # fmt: skip
            plan.hits.append(room)
        ctx.save_for_backward(means2d, conics, opacities, values)
        ctx.plan = plan
        return torch.from_numpy(image), torch.from_numpy(alphas)

    @staticmethod
    @once_differentiable
    def backward(ctx, v_image, v_alphas):  # pyright: ignore[reportIncompatibleMethodOverride]
        means2d, conics, opacities, values = ctx.saved_tensors
        plan: _Plan = ctx.plan
        flat, shades = _flat(means2d, conics, opacities, plan), float_array(values)
        v_image, v_alphas = float_array(v_image), float_array(v_alphas)
        v_values = np.zeros_like(shades)
        gradients = []
        for index, tiles in enumerate(plan.binned):
            own = slice(plan.starts[index], plan.starts[index + 1])
            parts = blending.blend_backward(
                *(array[own] for array in flat), shades, plan.rows[own],
                *tiles, *plan.hits[index], plan.tile_size, v_image[index], v_alphas[index],
                plan.absgrad, v_values, plan.threads,
            )  # fmt: skip
            gradients.append(parts)
        joined = [
            torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts))
            for parts in zip(*gradients, strict=True)
        ]
        v_means2d, v_conics, v_opacities, absolute = joined
        shape = means2d.shape
        if plan.absgrad:
            means2d.absgrad = absolute.reshape(shape)  # gsplat's density schedule reads it here.
        return (
            v_means2d.reshape(shape),
            v_conics.reshape(*shape[:-1], 3),
            v_opacities.reshape(shape[:-1]),
            torch.from_numpy(v_values),
            None,
        )


def _flat(means2d: Tensor, conics: Tensor, opacities: Tensor, plan: _Plan) -> tuple:
    """Inputs of `splat_uff.render.blending`, one row per instance."""
    rows = (
        float_array(means2d).reshape(-1, 2),
        float_array(conics).reshape(-1, 3),
        float_array(opacities),
    )
    return (*rows[:2], rows[2].reshape(-1), plan.boxes)


def _ids(instances: Tensor, sets: int, cameras: int, count: int) -> tuple[Tensor, ...]:
    """Batch, camera and Gaussian of each instance."""
    if sets * cameras == 1:
        zeros = torch.zeros_like(instances)
        return zeros, zeros.clone(), instances
    images = instances // count
    return images // cameras, images % cameras, instances % count


def _set_rows(instances: Tensor, cameras: int, count: int) -> Tensor:
    """Index of each instance's Gaussian among those of all sets."""
    return instances // (cameras * count) * count + instances % count


def _tile_meta(
    binned: list[tuple[np.ndarray, ...]], starts: list[int], shape: tuple[int, ...] | None
) -> dict[str, Tensor]:
    """The tiles in gsplat's form: number per Gaussian, and each tile's Gaussians by depth."""
    per_gaussian = np.concatenate([np.diff(tiles[3]) for tiles in binned])
    entries = [tiles[1] + start for tiles, start in zip(binned, starts, strict=False)]
    before = np.cumsum([0] + [len(tiles[1]) for tiles in binned])
    offsets = [tiles[0][:-1] + first for tiles, first in zip(binned, before, strict=False)]
    counts = torch.from_numpy(per_gaussian.astype(np.int32))
    return {
        "tiles_per_gauss": counts if shape is None else counts.reshape(shape),
        "flatten_ids": torch.from_numpy(np.concatenate(entries).astype(np.int32)),
        "isect_offsets": torch.from_numpy(np.concatenate(offsets).astype(np.int32)),
    }


def float_array(tensor: Tensor) -> np.ndarray:
    """View the tensor's memory as a C-ordered float32 array."""
    return tensor.detach().to(torch.float32).contiguous().numpy()


def _doubles(tensor: Tensor) -> np.ndarray:
    """Convert the tensor to a C-ordered float64 array."""
    return tensor.detach().double().contiguous().numpy()


def follow_torch_threads() -> int:
    most = numba_config.NUMBA_NUM_THREADS  # pyright: ignore[reportAttributeAccessIssue]
    threads = min(torch.get_num_threads(), most)
    set_num_threads(threads)
    return threads
