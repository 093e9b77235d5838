"""`rasterization` with gsplat's signature: its kernels on CUDA, our numba kernels on the CPU."""

import math
from typing import Any

from torch import Tensor

from splat_uff.render.cpu import Frame, rasterize_on_cpu
from splat_uff.render.harmonics import MAX_DEGREE

RENDER_MODES = ("RGB", "D", "ED", "RGB+D", "RGB+ED")
RASTERIZE_MODES = ("classic", "antialiased")
BLOCK = 4


def rasterization(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    sh_degree: int | None = None,
    packed: bool = True,
    tile_size: int = 16,
    backgrounds: Tensor | None = None,
    render_mode: str = "RGB",
    sparse_grad: bool = False,
    absgrad: bool = False,
    rasterize_mode: str = "classic",
    channel_chunk: int = 32,
    **others: Any,
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Rasterize N Gaussians into the images of C cameras, on the device of the tensors.

    Signature, semantics and results are those of `gsplat.rasterization` 1.5, which is called on
    CUDA. Differentiable in everything but `Ks`. Leading `...` axes, the same in all tensors, are
    batches: sets of Gaussians with cameras of their own.

    Args:
        means: Centres, in world units. [..., N, 3]
        quats: Rotations, wxyz, of any length. [..., N, 4]
        scales: Standard deviations along the rotated axes, in world units. [..., N, 3]
        opacities: Opacity at the centre, 0 to 1. [..., N]
        colors: Values in any number D of channels, [..., N, D], or per camera, [..., C, N, D]. With
            `sh_degree`, spherical harmonics: [..., N, K, 3] or [..., C, N, K, 3].
        viewmats: Camera from world, OpenCV axes (+x right, +y down, +z forward). [..., C, 4, 4]
        Ks: Intrinsics in pixels, with pixel centres at half-integers. [..., C, 3, 3]
        width: Width of the images, in pixels.
        height: Height of the images, in pixels.
        near_plane: Depth below which Gaussians are not drawn.
        far_plane: Depth beyond which Gaussians are not drawn.
        radius_clip: Half size in pixels up to which Gaussians are not drawn.
        eps2d: Blur added to the variances in the image, in pixels squared.
        sh_degree: Degree of the spherical harmonics to evaluate, at most 3 on the CPU.
        packed: Whether `meta` lists only the Gaussians that each camera sees.
        tile_size: Side of a tile in pixels; on the CPU a multiple of 4.
        backgrounds: Colours behind everything. [..., C, D]
        render_mode: "RGB" renders `colors`; "D" renders accumulated depth and "ED" expected depth
            (z), alone or as the last channel after the colours.
        sparse_grad: Whether gradients are sparse; on CUDA only.
        absgrad: Whether the backward pass leaves sums of absolute gradients in
            `meta["means2d"].absgrad` (AbsGS, Ye et al. 2024).
        rasterize_mode: "classic", or "antialiased" to dim Gaussians by as much as `eps2d` widens
            them (Yu et al. 2024, Mip-Splatting).
        channel_chunk: Channels that CUDA kernels process at once; the CPU's take any number.
        **others: Further gsplat parameters; on the CPU each must have gsplat's default.

    Returns:
        Images [..., C, height, width, X], accumulated opacities [..., C, height, width, 1], and
        `meta`, a dictionary with gsplat's keys except `isect_ids`: `means2d` (keeps its gradient
        after `retain_grad()`), `radii`, `depths`, `conics`, `opacities`, each [..., C, N, ...], or
        [nnz, ...] if packed; `batch_ids`, `camera_ids` and `gaussian_ids` [nnz] if packed, else
        None; `tiles_per_gauss`, `flatten_ids`, `isect_offsets`, `tile_width`, `tile_height`,
        `tile_size`, `width`, `height`, `n_batches`, `n_cameras`.

    Raises:
        ValueError: If shapes or values do not fit.
        NotImplementedError: If a parameter needs something that the CPU kernels cannot do; the
            message names it and the alternative.

    Example:
        >>> import torch
        >>> means = torch.tensor([[0.0, 0.0, 2.0]])
        >>> quats, scales = torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.full((1, 3), 0.3)
        >>> K = torch.tensor([[40.0, 0.0, 16.0], [0.0, 40.0, 12.0], [0.0, 0.0, 1.0]])
        >>> image, alphas, meta = rasterization(
        ...     means, quats, scales, torch.ones(1), torch.ones(1, 5), torch.eye(4)[None], K[None],
        ...     width=32, height=24,
        ... )
        >>> image.shape, alphas.shape, meta["radii"].tolist()
        (torch.Size([1, 24, 32, 5]), torch.Size([1, 24, 32, 1]), [[21, 21]])
    """
    settings = {
        "near_plane": near_plane, "far_plane": far_plane, "radius_clip": radius_clip,
        "eps2d": eps2d, "sh_degree": sh_degree, "packed": packed, "tile_size": tile_size,
        "backgrounds": backgrounds, "render_mode": render_mode, "sparse_grad": sparse_grad,
        "absgrad": absgrad, "rasterize_mode": rasterize_mode, "channel_chunk": channel_chunk,
    }  # fmt: skip
    tensors = means, quats, scales, opacities, colors, viewmats, Ks
    if means.is_cuda:
        from gsplat import rasterization as rasterize_on_cuda

        return rasterize_on_cuda(*tensors, width=width, height=height, **settings, **others)
    _check_supported(others, sparse_grad, tile_size, sh_degree)
    _check_shapes(*tensors, backgrounds, sh_degree)
    _check_choice("render_mode", render_mode, RENDER_MODES)
    _check_choice("rasterize_mode", rasterize_mode, RASTERIZE_MODES)
    if not (width >= 1 and height >= 1):
        raise ValueError(f"width is {width} and height {height}; both are at least 1.")
    frame = Frame(
        int(width), int(height), float(eps2d), float(near_plane), float(far_plane),
        float(radius_clip), rasterize_mode == "antialiased",
    )  # fmt: skip
    return rasterize_on_cpu(
        *tensors, frame, sh_degree=sh_degree, packed=packed, tile_size=tile_size,
        backgrounds=backgrounds, render_mode=render_mode, absgrad=absgrad,
    )  # fmt: skip


_OTHERS: dict[str, tuple[Any, str]] = {
    "distributed": (False, "render on one machine"),
    "camera_model": ("pinhole", "undistort the images to pinhole cameras"),
    "segmented": (False, "leave it out; only the order of work on a GPU depends on it"),
    "covars": (None, "pass quats and scales"),
    "with_ut": (False, "undistort the images to pinhole cameras"),
    "with_eval3d": (False, "leave it out"),
    "radial_coeffs": (None, "undistort the images"),
    "tangential_coeffs": (None, "undistort the images"),
    "thin_prism_coeffs": (None, "undistort the images"),
    "ftheta_coeffs": (None, "undistort the images to pinhole cameras"),
    "rolling_shutter": (None, "render with one pose per image"),
    "viewmats_rs": (None, "render with one pose per image"),
}
"""Default of each further gsplat parameter, and what to do on a CPU instead of changing it."""


def _check_supported(
    others: dict[str, Any], sparse_grad: bool, tile_size: int, sh_degree: int | None
) -> None:
    for name, value in others.items():
        if name not in _OTHERS:
            raise TypeError(f"rasterization() got an unexpected keyword argument '{name}'")
        default, instead = _OTHERS[name]
        is_global = name == "rolling_shutter" and getattr(value, "name", None) == "GLOBAL"
        if value is not None and value != default and not is_global:
            raise NotImplementedError(
                f"{name} is {_short(value)}, which the CPU rasterizer cannot do; {instead}, or "
                "move the tensors to CUDA."
            )
    if sparse_grad:
        raise NotImplementedError(
            "sparse_grad is True; gradients are dense on the CPU: pass sparse_grad=False, and for "
            "an optimizer of sparse gradients call .to_sparse() on them."
        )
    if tile_size < BLOCK or tile_size % BLOCK:
        raise NotImplementedError(
            f"tile_size is {tile_size}; the CPU rasterizer needs a multiple of {BLOCK}: "
            "leave it 16."
        )
    if sh_degree is not None and sh_degree > MAX_DEGREE:
        raise NotImplementedError(
            f"sh_degree is {sh_degree}; the CPU rasterizer evaluates up to {MAX_DEGREE}: pass "
            "that, or evaluated colours of each camera and sh_degree=None."
        )


def _short(value: Any) -> str:
    return "given" if isinstance(value, Tensor) else repr(value)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(choices)}.")


def _check_shapes(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    backgrounds: Tensor | None,
    sh_degree: int | None,
) -> None:
    if means.dim() < 2 or viewmats.dim() < 3:
        raise ValueError(
            f"means is {_shape(means)} and viewmats {_shape(viewmats)}; expected [..., N, 3] and "
            "[..., C, 4, 4]."
        )
    batch, count, cameras = means.shape[:-2], means.shape[-2], viewmats.shape[-3]
    expected = {
        "means": (means, (*batch, count, 3)),
        "quats": (quats, (*batch, count, 4)),
        "scales": (scales, (*batch, count, 3)),
        "opacities": (opacities, (*batch, count)),
        "viewmats": (viewmats, (*batch, cameras, 4, 4)),
        "Ks": (Ks, (*batch, cameras, 3, 3)),
    }
    if cameras == 0 or math.prod(batch) == 0:
        raise ValueError(f"viewmats is {_shape(viewmats)}; expected at least one camera.")
    channels = colors.shape[-1] if colors.dim() else 0
    tail = (channels,) if sh_degree is None else (*colors.shape[-2:-1], 3)
    own = (*batch, cameras, count, *tail)
    shared = (*batch, count, *tail)
    expected["colors"] = (colors, own if colors.dim() == len(own) else shared)
    if backgrounds is not None:
        expected["backgrounds"] = (backgrounds, (*batch, cameras, channels))
    if means.device.type != "cpu":
        raise ValueError(f"means is on {means.device}; move the tensors to the CPU or to CUDA.")
    for name, (tensor, shape) in expected.items():
        if tensor.device != means.device:
            raise ValueError(
                f"{name} is on {tensor.device}, means on {means.device}; move it there."
            )
        if not tensor.is_floating_point():
            raise ValueError(f"{name} has dtype {tensor.dtype}; expected float32.")
        if tuple(tensor.shape) != tuple(shape):
            raise ValueError(f"{name} is {_shape(tensor)}; expected {list(shape)}.")
    if channels == 0:
        raise ValueError(f"colors is {_shape(colors)}; expected at least one channel.")
    if sh_degree is not None and not 0 <= (sh_degree + 1) ** 2 <= colors.shape[-2]:
        raise ValueError(
            f"colors is {_shape(colors)}, which holds {colors.shape[-2]} harmonics; sh_degree "
            f"{sh_degree} needs {(sh_degree + 1) ** 2}."
        )


def _shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape)
