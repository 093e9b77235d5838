"""From photos with poses, of whatever layout, to a capture in our normalised world."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float

from splat_uff.cameras import Camera
from splat_uff.capture.images import area_resize, read_binary, read_image, reduced_size
from splat_uff.capture.lenses import Lens, undistortion_of
from splat_uff.capture.names import natural_key
from splat_uff.capture.records import CAMERA_DISTANCE, Capture, SparsePoints, View
from splat_uff.errors import InputError
from splat_uff.memory import Memory
from splat_uff.progress import notice, track

HOLD_OUT_EVERY = 8
"""Every eighth photo, the first among them, is held out; of fewer than eight, none."""
FINER = 2
"""Photos are undistorted at so many times the size at which they are used."""
LEAST_SPREAD = 0.05
"""Optical axes that differ less in direction (smallest eigenvalue) have no point in common."""
LEAST_IN_FRONT = 0.9
"""Share of the cameras that must have the point which their axes share in front of them."""


@dataclass(frozen=True)
class Photo:
    """One photo as a reader finds it."""

    name: str
    path: Path
    world_from_cam: Float[np.ndarray, "4 4"]
    """Rigid, OpenCV axes, lengths as in the files."""
    lens: Lens
    mask_path: Path | None = None
    """Binary image of what belongs to the scene."""


def assemble(
    folder: Path,
    photos: Sequence[Photo],
    *,
    size: int,
    memory: Memory | None = None,
    points: SparsePoints | None = None,
    depth: float | None = None,
    held_out: Sequence[str] | None = None,
    masks: str,
) -> Capture:
    """Read photos, undo their lenses, and put the scene in the middle of our world.

    The origin becomes the point that all optical axes come nearest to; where there is none in front
    of the cameras, as in forward-facing captures, the middle of the sparse points, or the
    point at `depth` before the mean camera. The median camera distance becomes 1.5. Nothing is
    rotated, so that spherical harmonics keep their meaning; `source_from_world` leads back.

    Args:
        folder: Of the capture.
        photos: At least one; any order.
        size: Pixels of the longer image side; photos are averaged down to it.
        memory: Budget that the photos count towards.
        points: Sparse points, lengths as in the files.
        depth: Typical distance of the scene from the cameras, lengths as in the files.
        held_out: Names of the photos to hold out; every eighth unless given.
        masks: Where the 2D masks come from.

    Raises:
        InputError: If there is no photo, a name is there twice, or a file is damaged or does not
            fit its camera.
    """
    if not photos:
        raise InputError(f"{folder} has no photo with a pose; check that its images are there.")
    photos = sorted(photos, key=lambda photo: natural_key(photo.name))
    for before, photo in pairwise(photos):
        if before.name == photo.name:
            raise InputError(
                f"{folder} has two photos called {photo.name}; expected one of each name."
            )
    world_from_source = _normalise(photos, points, depth)
    scale = float(np.linalg.norm(world_from_source[0, :3]))

    budget = memory or Memory()
    see_through: set[str] = set()

    def read(photo: Photo) -> View:
        view = _read_view(photo, world_from_source, scale, size)
        if (view.image[..., 3] < 1).any():
            see_through.add(view.name)
        return replace(view, photo=budget.keep(view.image))

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        views = list(track(pool.map(read, photos), "photos", len(photos)))
    if held_out is None:
        enough = len(views) >= HOLD_OUT_EVERY
        held_out = [view.name for view in views[::HOLD_OUT_EVERY]] if enough else []
    chosen = set(held_out)
    train = tuple(view for view in views if view.name not in chosen)
    if not train:
        raise InputError(f"{folder} holds out all of its photos; expected some to train on.")
    _say_sizes(photos, views)
    return Capture(
        name=folder.resolve().name,
        folder=folder,
        train=train,
        val=tuple(view for view in views if view.name in chosen),
        has_alpha=any(view.name in see_through for view in train),
        source_from_world=np.linalg.inv(world_from_source),
        masks=masks,
        points=None if points is None else points.moved(world_from_source),
    )


def _read_view(
    photo: Photo, world_from_source: Float[np.ndarray, "4 4"], scale: float, size: int
) -> View:
    lens = photo.lens
    image = read_image(photo.path, upright=(lens.height, lens.width))
    if image.shape[0] * lens.width != image.shape[1] * lens.height and not _fits(
        image.shape[:2], lens
    ):
        raise InputError(
            f"{photo.path} is {image.shape[1]}x{image.shape[0]}, its camera "
            f"{lens.width}x{lens.height}; expected the same proportions, so export again."
        )
    if photo.mask_path is not None:
        image = _masked(image, photo.mask_path)
    source_size = image.shape[0], image.shape[1]
    lens = lens.resized(image.shape[1], image.shape[0])
    rows, columns = reduced_size(*source_size, size)
    bent = undistortion_of(lens, FINER * rows, FINER * columns)
    if bent is not None:
        # Looking up every pixel of a large photo takes longer than averaging it first.
        image = bent.apply(area_resize(image, bent.height, bent.width))
    K = lens.K if bent is None else bent.K
    height, width = image.shape[:2]
    pose = world_from_source @ photo.world_from_cam
    pose[:3, :3] /= scale  # A similarity takes a rigid pose to one with scaled axes.
    camera = Camera(pose, K, width, height)
    return View(
        name=photo.name,
        camera=camera.resized(columns, rows),
        photo=area_resize(image, rows, columns),
        source_size=source_size,
        lens=None if bent is None else lens,
    )


def _fits(shape: tuple[int, ...], lens: Lens) -> bool:
    """Whether a photo was reduced from the lens's size, its sides rounded to whole pixels."""
    factor = lens.width / shape[1]
    return abs(lens.height / factor - shape[0]) <= 1


def _masked(image: Float[np.ndarray, "H W 4"], path: Path) -> Float[np.ndarray, "H W 4"]:
    """Make what a mask leaves out transparent."""
    mask = read_binary(path)
    if mask.shape != image.shape[:2]:
        raise InputError(
            f"{path} is {mask.shape[1]}x{mask.shape[0]}, its photo "
            f"{image.shape[1]}x{image.shape[0]}; expected one size."
        )
    return image * mask[..., None]


def _normalise(
    photos: Sequence[Photo], points: SparsePoints | None, depth: float | None
) -> Float[np.ndarray, "4 4"]:
    """Similarity from the world of the files to ours."""
    poses = np.stack([photo.world_from_cam for photo in photos])
    centres, forward = poses[:, :3, 3], poses[:, :3, 2]
    middle = _shared_point(centres, forward)
    if middle is None and points is not None:
        middle = np.median(points.positions, axis=0)
    if middle is None:
        mean = forward.mean(axis=0)
        spread = float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max())
        middle = centres.mean(axis=0) + mean * (depth or max(5 * spread, 1e-3))
    distance = float(np.median(np.linalg.norm(centres - middle, axis=1)))
    scale = CAMERA_DISTANCE / max(distance, 1e-9)
    similarity = np.eye(4)
    similarity[:3] = scale * np.concatenate([np.eye(3), -middle[:, None]], axis=1)
    return similarity


def _shared_point(
    centres: Float[np.ndarray, "V 3"], forward: Float[np.ndarray, "V 3"]
) -> Float[np.ndarray, "3"] | None:
    """The point nearest to all optical axes, if they have one in front of the cameras."""
    across = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    total = across.mean(axis=0)
    if np.linalg.eigvalsh(total)[0] < LEAST_SPREAD:
        return None
    middle = np.linalg.solve(total, (across @ centres[:, :, None]).mean(axis=0)[:, 0])
    ahead = ((middle - centres) * forward).sum(axis=1) > 0
    return middle if ahead.mean() >= LEAST_IN_FRONT else None


def _say_sizes(photos: Sequence[Photo], views: Sequence[View]) -> None:
    rows, columns = views[0].camera.height, views[0].camera.width
    height, width = views[0].source_size or (rows, columns)
    bent = sum(view.lens is not None for view in views)
    said = [f"{len(photos)} photos"]
    if (rows, columns) != (height, width):
        said.append(f"{width}x{height} averaged down to {columns}x{rows} (--size)")
    if bent:
        said.append(f"{bent} undistorted to a pinhole")
    notice(f"{', '.join(said)}.")
