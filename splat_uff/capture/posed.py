"""Converting posed photos of any layout to a capture in our normalised world."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, Float

from splat_uff.capture.images import (
    area_resize,
    find_white,
    has_alpha_channel,
    read_image,
    read_turn,
    reduced_size,
)
from splat_uff.capture.lenses import Lens, undistortion_of
from splat_uff.capture.mask_images import as_photo, read_mask, turned_back
from splat_uff.capture.names import natural_key, without_ending
from splat_uff.capture.records import CAMERA_DISTANCE, Capture, SparsePoints, View
from splat_uff.geometry.axes import point_of_axes
from splat_uff.geometry.cameras import Camera
from splat_uff.system.errors import InputError, argument
from splat_uff.system.memory import Memory
from splat_uff.system.progress import notice, track
from splat_uff.system.records import array_record

HOLD_OUT_EVERY = 8
"""Interval of held-out photos, starting with the first; of fewer photos, none is held out."""
FOLDERS = r"images(_[0-9]+)?|train|val|test"
"""Pattern of folders of photos that the names of masks may leave out."""
FINER = 2
"""Factor by which photos are larger, when they are undistorted, than when they are used."""
LEAST_IN_FRONT = 0.9
"""Least share of cameras that must have the shared point of their axes in front of them."""


@array_record
class Photo:
    """One photo, as found by a reader."""

    name: str
    path: Path
    world_from_cam: Float[np.ndarray, "4 4"]
    """Rigid pose with OpenCV axes and lengths as in the files."""
    lens: Lens
    mask_path: Path | None = None
    """Binary image that cuts the scene out."""
    keys: tuple[str, ...] = ()
    """Other possible names of the masks; see `View.keys`."""


@dataclass(frozen=True)
class PosedPhotos:
    """Contents of a capture's folder, as found by a reader; lengths are as in the files."""

    folder: Path
    photos: Sequence[Photo]
    """Photos, in any order."""
    masks: str
    """Origin of the 2D masks."""
    points: SparsePoints | None = None
    """Sparse points of the scene."""
    depth: float | None = None
    """Typical distance of the scene from the cameras."""
    held_out: Sequence[str] | None = None
    """Names of the photos to hold out; every eighth if None."""


@dataclass(frozen=True)
class ViewsRead:
    """Views read from photos."""

    views: list[View]
    numbers: list[int]
    """Index of each view's photo; some photos may have been left out."""
    see_through: bool
    """Whether alpha cuts the scene out of its background."""


def assemble(found: PosedPhotos, *, size: int, memory: Memory | None = None) -> Capture:
    """Read photos, undo their lenses, and put the scene in the middle of our world.

    The origin becomes the point nearest to all optical axes. If there is none in front of the
    cameras, as in forward-facing captures, it becomes the middle of the sparse points, or else the
    point at `depth` in front of the mean camera. The median camera distance becomes 1.5. Nothing is
    rotated, so spherical harmonics keep their meaning; `source_from_world` is the inverse.

    Args:
        found: At least one photo, and what is known about the scene.
        size: Longer image side, in pixels; larger photos are averaged down to it.
        memory: Memory budget that the photos count towards.

    Raises:
        InputError: If there is no photo, two have the same name, or a file is damaged or does not
            fit its camera.
    """
    folder, photos = found.folder, _in_order(found)
    world_from_source = normalisation_of(photos, found.points, found.depth)
    read = read_views(photos, world_from_source, size=size, memory=memory)
    views = read.views
    say_sizes(views, masked=sum(photo.mask_path is not None for photo in photos))
    held_out = _choose_held_out(views) if found.held_out is None else set(found.held_out)
    train = tuple(view for view in views if view.name not in held_out)
    if not train:
        raise InputError(f"{folder} holds out all of its photos; expected some to train on.")
    points = found.points
    return Capture(
        name=folder.resolve().name,
        folder=folder,
        train=train,
        val=tuple(view for view in views if view.name in held_out),
        has_alpha=read.see_through,
        source_from_world=np.linalg.inv(world_from_source),
        masks=found.masks,
        points=None if points is None else points.moved(world_from_source),
    )


def _in_order(found: PosedPhotos) -> list[Photo]:
    """Sort the photos by name, comparing digits as numbers.

    Raises:
        InputError: If there is no photo, or two have the same name.
    """
    if not found.photos:
        raise InputError(
            f"{found.folder} has no photo with a pose; check that its images are there."
        )
    photos = sorted(found.photos, key=lambda photo: natural_key(photo.name))
    for before, photo in pairwise(photos):
        if before.name == photo.name:
            raise InputError(
                f"{found.folder} has two photos called {photo.name}; expected one of each name."
            )
    return photos


def _choose_held_out(views: Sequence[View]) -> set[str]:
    """Names of every eighth view; empty if there are fewer than eight."""
    enough = len(views) >= HOLD_OUT_EVERY
    return {view.name for view in views[::HOLD_OUT_EVERY]} if enough else set()


def read_views(
    photos: Sequence[Photo],
    world_from_source: Float[np.ndarray, "4 4"],
    *,
    size: int,
    memory: Memory | None = None,
    finish: Callable[[int, View], View] | None = None,
) -> ViewsRead:
    """Read photos, undo their lenses and put their cameras into our world.

    If some photos are cut out of their background and others show it, no scene fits both: those
    that show it are left out, and a notice says so.

    Args:
        photos: Photos to read, in the order of the views that are returned.
        world_from_source: Similarity without rotation, from the world of the files to ours.
        size: Longer image side, in pixels; larger photos are averaged down to it.
        memory: Memory budget that the photos count towards.
        finish: Called with the index of each photo and its view; returns the completed view.

    Raises:
        InputError: If a file is damaged or does not fit its camera, or so many photos lack alpha
            that the others probably have it by mistake.
    """
    budget = memory or Memory()
    white = find_white(photo.path for photo in photos)
    if white not in (None, 2**16 - 1):
        notice(f"photos of more than 8 bits: {white:g} is taken for white, as none is brighter.")
    cut_out = np.zeros(len(photos), bool)

    def read(number: int) -> View:
        view = _read_view(photos[number], world_from_source, size, white)
        view = view if finish is None else finish(number, view)
        cut_out[number] = (view.image[..., 3] < 1).any()
        return replace(view, photo=budget.keep(view.image))

    # Pillow releases the interpreter lock while it decodes, so threads are enough.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        views = list(track(pool.map(read, range(len(photos))), "photos", len(photos)))
    _say_turns(views)
    if not cut_out.any():
        return ViewsRead(views, list(range(len(views))), False)
    kept = _without_background(photos, cut_out)
    return ViewsRead([views[number] for number in kept], kept, True)


def _without_background(photos: Sequence[Photo], cut_out: Bool[np.ndarray, "V"]) -> list[int]:
    """Indices of the photos that do not show the background; print a notice on the others.

    Raises:
        InputError: If they are a minority cut out by alpha, which they may have by mistake.
    """
    # A photo that is fully opaque although it has alpha or a mask is filled by the scene.
    shows_background = [
        not cut and photo.mask_path is None and not has_alpha_channel(photo.path)
        for cut, photo in zip(cut_out, photos, strict=True)
    ]
    count, left_out = len(photos), sum(shows_background)
    by_masks = any(photo.mask_path is not None for photo in photos)
    if left_out > count / 2 and not by_masks:
        raise InputError(
            f"{count - left_out} of {count} photos have transparent pixels, as "
            f"{photos[shows_background.index(False)].name}, and {left_out} have no alpha; expected "
            "all or none to be cut out, so remove the alpha or cut out the others."
        )
    if left_out:
        first = photos[shows_background.index(True)].name
        what = "a mask that cuts them out" if by_masks else "alpha"
        notice(
            f"{count - left_out} of {count} photos have {what}; the other {left_out} show the "
            f"background, and are left out ({first}{', ...' if left_out > 1 else ''})."
        )
    return [number for number, shows in enumerate(shows_background) if not shows]


def mask_keys(path: PurePosixPath, *short: str) -> tuple[str, ...]:
    """Possible names of a photo's masks, besides the name of its view.

    Args:
        path: Path of the photo, relative to the capture.
        short: Names that only this photo has, without ending.
    """
    whole = path.as_posix()
    paths = [whole]
    if len(path.parts) > 1 and re.fullmatch(FOLDERS, path.parts[0], re.IGNORECASE):
        paths.append(path.relative_to(path.parts[0]).as_posix())
    ending = whole[len(without_ending(whole)) :]
    own = [each for name in short for each in (name, name + ending)]
    return tuple(dict.fromkeys([*own, *map(without_ending, paths), *paths]))


def names_of(paths: Iterable[PurePosixPath]) -> frozenset[str]:
    """All possible names of the masks of photos."""
    return frozenset(name for path in paths for name in mask_keys(path, without_ending(path.name)))


def _read_view(
    photo: Photo, world_from_source: Float[np.ndarray, "4 4"], size: int, white: float | None
) -> View:
    lens = photo.lens
    upright = lens.height, lens.width
    image = read_image(photo.path, upright=upright, white=white)
    orientation, followed = read_turn(photo.path, upright)
    other_turn = orientation if followed else turned_back(orientation)
    if image.shape[0] * lens.width != image.shape[1] * lens.height and not _fits(
        image.shape[:2], lens
    ):
        raise InputError(
            f"{photo.path} is {image.shape[1]}x{image.shape[0]}, its camera "
            f"{lens.width}x{lens.height}; expected the same proportions, so export again."
        )
    if photo.mask_path is not None:
        image = _cut_out(image, photo.mask_path, upright, other_turn)
    opaque = bool((image[..., 3] == 1).all())
    source_size = image.shape[0], image.shape[1]
    lens = lens.resized(image.shape[1], image.shape[0])
    rows, columns = reduced_size(*source_size, size)
    bent = undistortion_of(lens, FINER * rows, FINER * columns)
    if bent is not None:
        # Looking up every pixel of a large photo takes longer than averaging it first.
        image = bent.apply(area_resize(image, bent.height, bent.width))
    K = lens.K if bent is None else bent.K
    height, width = image.shape[:2]
    # Do not multiply the matrices: the similarity would also scale the axes of the pose.
    pose = photo.world_from_cam.copy()
    pose[:3, 3] = world_from_source[0, 0] * pose[:3, 3] + world_from_source[:3, 3]
    camera = Camera(pose, K, width, height)
    reduced = area_resize(image, rows, columns)
    if opaque:
        reduced[..., 3] = 1  # Fractional weights round, and nearly opaque is not opaque.
    return View(
        name=photo.name,
        camera=camera.resized(columns, rows),
        photo=reduced,
        source_size=source_size,
        lens=None if bent is None else lens,
        whole_size=upright,
        other_turn=other_turn,
        stated_turn=orientation,
        follows_turn=followed,
        keys=photo.keys,
    )


def _fits(shape: tuple[int, ...], lens: Lens) -> bool:
    """Whether a photo has the lens's size reduced by one factor, with sides rounded."""
    factor = lens.width / shape[1]
    return abs(lens.height / factor - shape[0]) <= 1


def _cut_out(
    image: Float[np.ndarray, "H W 4"], path: Path, whole: tuple[int, int], other_turn: int
) -> Float[np.ndarray, "H W 4"]:
    """Make pixels outside a mask transparent; the mask may have been made at another size."""
    height, width = image.shape[:2]
    shapes = (height, width), whole
    mask = as_photo(read_mask(path), path, shapes=shapes, other_turn=other_turn)
    return image * area_resize(mask.astype(np.float32), height, width)[..., None]


def normalisation_of(
    photos: Sequence[Photo], points: SparsePoints | None, depth: float | None
) -> Float[np.ndarray, "4 4"]:
    """Similarity from the world of the files to ours, as described in `assemble`, in float64."""
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
    """Point nearest to all optical axes; None if it is not in front of the cameras."""
    middle, is_fixed = point_of_axes(centres, forward, centres.mean(axis=0))
    if not is_fixed:
        return None
    ahead = ((middle - centres) * forward).sum(axis=1) > 0
    return middle if ahead.mean() >= LEAST_IN_FRONT else None


def _say_turns(views: Sequence[View]) -> None:
    """Print a notice on photos with an EXIF orientation that their cameras do not have."""
    stored = [view.name for view in views if view.stated_turn != 1 and not view.follows_turn]
    if stored:
        notice(
            f"{len(stored)} of {len(views)} photos state an EXIF orientation that their cameras do "
            f"not have: they are read as stored ({stored[0]}{', ...' if len(stored) > 1 else ''})."
        )


def say_sizes(views: Sequence[View], *, masked: int = 0) -> None:
    """Print a notice on the photos: their number, sizes, lenses and how many are `masked`."""
    rows, columns = views[0].camera.height, views[0].camera.width
    height, width = views[0].source_size or (rows, columns)
    bent = sum(view.lens is not None for view in views)
    said = [f"{len(views)} photos"]
    if (rows, columns) != (height, width):
        said.append(f"{width}x{height} averaged down to {columns}x{rows} ({argument('size')})")
    if bent:
        said.append(f"{bent} undistorted to a pinhole")
    if masked:
        said.append(f"{masked} cut out by their masks")
    notice(f"{', '.join(said)}.")
