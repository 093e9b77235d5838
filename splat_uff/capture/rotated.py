"""Held-out views of a Blender-HS capture, rotated, and their true depth (docs/input.md)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from splat_uff.capture.blender import camera_of, read_named_frames
from splat_uff.capture.images import read_image
from splat_uff.capture.mask_images import read_mask
from splat_uff.capture.records import CAMERA_DISTANCE, Capture, View
from splat_uff.geometry.cameras import Camera
from splat_uff.system.errors import InputError, reason_of
from splat_uff.system.files import map_array
from splat_uff.system.records import array_record

ANGLES = (10, 45, 90, 135)
"""Rotations that are scored, in degrees."""
DEPTH_RANGE = 8.0
"""Range that the 256 levels of a depth image span, in scene units."""
PUBLISHED_SCALE = 4.0311289 / CAMERA_DISTANCE
"""Scene units per unit of our world in NeRF-synthetic; the published scripts use it for all."""


@array_record
class TrueDepth:
    """Depth (z) of a held-out view in our world; 0 is background."""

    published: Float[np.ndarray, "H W"]
    """Depth read from the 8-bit image, at the scale of the published scripts."""
    exact: Float[np.ndarray, "H W"] | None
    """Depth read from an array of floats, if the capture has one."""


@array_record
class RotatedView:
    """Rotated twin of a held-out view."""

    camera: Camera
    """Camera at the size of the co-visibility images."""
    seen: Bool[np.ndarray, "H W"]
    """Pixels of the held-out view whose surface is visible in the rotated one."""
    seen_there: Bool[np.ndarray, "H W"]
    """Pixels of the rotated view whose surface is visible in the held-out one."""


def read_depths(capture: Capture) -> list[TrueDepth] | None:
    """Read the true depth of every held-out view; None if any lacks it, or test views are held out.

    Raises:
        InputError: If a file is damaged or does not have the size of the ground truth.
    """
    folder = capture.folder / "val_depth"
    paths = [folder / f"{view.name}_depth.png" for view in capture.val]
    if capture.held_out != "val" or not paths or not all(path.is_file() for path in paths):
        return None
    scale = float(capture.source_from_world[0, 0])
    depths = []
    for view, path in zip(capture.val, paths, strict=True):
        levels = np.rint(255 * read_image(path)[..., 0])
        metres = np.where(levels > 0, DEPTH_RANGE * (1 - levels / 256), 0)
        exact = _read_z(path.with_name(f"{view.name}_z.npy"), levels.shape)
        _check_size(path, levels.shape, view)
        depths.append(TrueDepth(metres / PUBLISHED_SCALE, None if exact is None else exact / scale))
    return depths


def read_rotated(capture: Capture, degrees: int) -> list[RotatedView] | None:
    """Read the rotated twin of every held-out view; None if the capture has none at that angle.

    Args:
        capture: Capture in Blender-HS layout.
        degrees: Angle of the rotation, one of `ANGLES`.

    Raises:
        InputError: If a file is damaged, or the views do not match the held-out ones.
    """
    split = f"val_rotate_{degrees}"
    if degrees == 10 and not (capture.folder / f"transforms_{split}.json").is_file():
        split = "val_rotate"
    poses = capture.folder / f"transforms_{split}.json"
    if capture.held_out != "val" or not capture.val or not poses.is_file():
        return None
    ending = "" if degrees == 10 else f"_{degrees}"
    folder = capture.folder / "val_visible"
    frames = dict(read_named_frames(capture.folder, split))
    names = [view.name for view in capture.val]
    if not frames.keys() >= set(names):
        raise InputError(
            f"{poses} has {len(frames)} views, the first "
            f"{next(iter(frames))}; expected one for each of the {len(names)} held-out views, by "
            "name."
        )
    pairs = [[folder / f"{n}{word}{ending}.png" for word in ("", "_rotate")] for n in names]
    if not all(path.is_file() for pair in pairs for path in pair):
        return None
    source = capture.source_from_world
    views = []
    for view, pair in zip(capture.val, pairs, strict=True):
        seen, seen_there = (read_mask(path) for path in pair)
        for path, mask in zip(pair, (seen, seen_there), strict=True):
            _check_size(path, mask.shape, view)
        camera = camera_of(frames[view.name], seen.shape[1], seen.shape[0])
        pose = camera.world_from_cam.copy()
        pose[:3, 3] = (pose[:3, 3] - source[:3, 3]) / source[0, 0]
        camera = replace(camera, world_from_cam=pose)
        views.append(RotatedView(camera, seen, seen_there))
    return views


def _check_size(path: Path, shape: tuple[int, ...], view: View) -> None:
    if view.truth is not None and shape != view.truth.objects.shape:
        height, width = view.truth.objects.shape
        raise InputError(
            f"{path} is {shape[1]}x{shape[0]}, the ground truth of {view.name} {width}x{height}; "
            "expected one size, so render again."
        )


def _read_z(path: Path, shape: tuple[int, ...]) -> Float[np.ndarray, "H W"] | None:
    """Read the exact depth in scene units, if the file exists; its header is checked first."""
    if not path.is_file():
        return None
    try:
        mapped = map_array(path)
        if mapped.shape != shape or mapped.dtype.kind != "f":
            raise ValueError(f"{mapped.dtype} of shape {mapped.shape}")
        depth = np.array(mapped, dtype=np.float64)
    except ValueError as error:
        raise InputError(
            f"{path} is no depth of {shape[1]}x{shape[0]} pixels ({reason_of(error)}); "
            "write it again."
        ) from None
    if not (np.isfinite(depth).all() and (depth >= 0).all()):
        raise InputError(f"{path} holds NaN or negative depth; expected z, 0 for background.")
    return depth
