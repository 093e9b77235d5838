"""Captures in the layouts of NeRF-synthetic and Blender-HS (docs/input.md)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from splat_uff.capture.images import read_ids
from splat_uff.capture.names import natural_key, view_names
from splat_uff.capture.photos import Finder
from splat_uff.capture.posed import (
    Photo,
    ViewsRead,
    mask_keys,
    normalisation_of,
    read_views,
    say_sizes,
)
from splat_uff.capture.records import CAMERA_DISTANCE, Capture, GroundTruth, View
from splat_uff.capture.transforms import Frame, find_lens, find_mask, read_frames, read_json
from splat_uff.geometry.cameras import OPENCV_FROM_OPENGL, Camera
from splat_uff.system.errors import InputError
from splat_uff.system.memory import Memory
from splat_uff.system.progress import notice

FAR_AWAY = 100.0
"""Distance of the origin, in spreads of the cameras, beyond which it is not in the scene."""


@dataclass(frozen=True)
class _Split:
    """Frames of one file, in numeric order of their names, and the photos that exist."""

    name: str
    frames: list[tuple[str, Frame]]
    photos: list[Photo]


def read_blender(folder: Path, *, size: int = 400, memory: Memory | None = None) -> Capture:
    """Read a NeRF-synthetic or Blender-HS folder.

    The training views are those of `transforms_train.json`. The held-out views are those of
    `transforms_val.json` if `gt_seg/val` exists or there is no `transforms_test.json`, and those of
    `transforms_test.json` otherwise: NeRF-synthetic is scored on its test views, Blender-HS on its
    validation views. If all photos of a split are missing, the other split is held out; if both
    splits have none, nothing is held out. Missing photos are skipped and counted. Views are in
    numeric order of their names. One uniform scale puts the median training camera 1.5 from the
    origin. The origin stays where it is unless it is far from all cameras, as with georeferenced
    coordinates. Intrinsics are `camera_angle_x`, or any that `read_nerfstudio` accepts.

    Args:
        folder: Folder with `transforms_train.json`.
        size: Longer image side after area averaging, in pixels; smaller photos keep their size.
        memory: Memory budget that the photos count towards.

    Raises:
        InputError: If a file is damaged or contradicts another, or there is no training photo.
    """
    finder = Finder(folder)
    train = _read_split(folder, "train", finder, size)
    if not train.photos:
        raise InputError(
            f"none of the {len(train.frames)} frames of {folder / 'transforms_train.json'} has its "
            f"photo, the first {train.frames[0][1].path}; put the photos where file_path says."
        )
    held_out = _read_held_out(folder, finder, size)
    finder.say_renamed()
    world_from_source = _normalisation(folder, train)
    photos = [*train.photos, *held_out.photos]

    def finish(number: int, view: View) -> View:
        split = train.name if number < len(train.photos) else held_out.name
        assert view.source_size is not None
        truth = _read_truth(folder / "gt_seg" / split, view.name, view.source_size)
        return replace(view, truth=truth)

    read = read_views(photos, world_from_source, size=size, memory=memory, finish=finish)
    masked = sum(photo.mask_path is not None for photo in photos)
    if masked or any(view.lens is not None for view in read.views):
        say_sizes(read.views, masked=masked)
    _require_one_size(photos, read)
    count = sum(number < len(train.photos) for number in read.numbers)
    if count == 0:
        raise InputError(
            f"no training photo of {folder} is cut out of its background, and held-out ones are; "
            "expected all or none to be, so cut them out or remove the alpha."
        )
    return Capture(
        name=folder.resolve().name,
        folder=folder,
        train=tuple(read.views[:count]),
        val=tuple(read.views[count:]),
        has_alpha=read.see_through,
        source_from_world=np.linalg.inv(world_from_source),
        masks=mask_source(folder),
        held_out=held_out.name,
    )


def camera_of(frame: Frame, width: int, height: int) -> Camera:
    """Camera of a frame for pictures of the given size, in the world of the file.

    Raises:
        InputError: If its intrinsics are missing or not plausible for a camera.
    """
    lens = frame.lens((height, width)).resized(width, height)
    return Camera(frame.world_from_gl @ OPENCV_FROM_OPENGL, lens.K, width, height)


def read_named_frames(folder: Path, split: str) -> list[tuple[str, Frame]]:
    """Read the names and frames of `transforms_<split>.json`, in numeric order of the names.

    Args:
        folder: Folder of the capture.
        split: Split to read, as `train`, `val` or `val_rotate_45`; its photos need not exist.

    Raises:
        InputError: If the file is missing or damaged, or two frames share a name.
    """
    path = folder / f"transforms_{split}.json"
    _, frames = read_frames(path)
    names = view_names([frame.path for frame in frames])
    named = sorted(zip(names, frames, strict=True), key=lambda each: natural_key(each[0]))
    for (previous, _), (name, _) in itertools.pairwise(named):
        if previous == name:
            raise InputError(f"{path} lists {name} twice; expected one frame of each name.")
    return named


def mask_source(folder: Path) -> str:
    """Origin of the 2D masks in a capture's folder: `simulated`, `imported` or `none`."""
    if not (folder / "train_seg").is_dir():
        return "none"
    described = folder / "scene.json"
    if described.exists() and read_json(described).get("masks") == "simulated":
        return "simulated"
    return "imported"


def _read_split(folder: Path, split: str, finder: Finder, size: int) -> _Split:
    named = read_named_frames(folder, split)
    photos = []
    files = finder.photos([frame.path for _, frame in named], size)
    for (name, frame), path in zip(named, files, strict=True):
        if path is not None:
            pose = frame.world_from_gl @ OPENCV_FROM_OPENGL
            lens, mask = find_lens(finder, frame, path), find_mask(finder, frame)
            photos.append(Photo(name, path, pose, lens, mask, mask_keys(frame.path, name)))
    if 0 < len(photos) < len(named):
        found = {photo.name for photo in photos}
        first = next(frame.path for name, frame in named if name not in found)
        notice(
            f"{len(named) - len(photos)} of {len(named)} photos of transforms_{split}.json are not "
            f"there ({first}, ...): skipped."
        )
    return _Split(split, named, photos)


def _read_held_out(folder: Path, finder: Finder, size: int) -> _Split:
    """Read the held-out split; if there is none, return one without photos."""
    has_truth = (folder / "gt_seg" / "val").is_dir()
    order = ("val", "test") if has_truth else ("test", "val")
    empty = []
    for split in (each for each in order if (folder / f"transforms_{each}.json").exists()):
        found = _read_split(folder, split, finder, size)
        if found.photos:
            return found
        empty.append(found)
        notice(
            f"none of the {len(found.frames)} photos of transforms_{split}.json is there "
            f"({found.frames[0][1].path}, ...): skipped."
        )
    return empty[0] if empty else _Split("val", [], [])


def _normalisation(folder: Path, split: _Split) -> Float[np.ndarray, "4 4"]:
    """Similarity that normalises the scene: a scale, and a translation if the origin is far off."""
    centres = np.stack([photo.world_from_cam[:3, 3] for photo in split.photos])
    distance = float(np.median(np.linalg.norm(centres, axis=1)))
    if distance < 1e-9:
        raise InputError(
            f"the cameras of {folder / 'transforms_train.json'} stand at the origin; expected them "
            "around the scene, so export their positions."
        )
    spread = float(np.linalg.norm(centres - centres.mean(axis=0), axis=1).max())
    if len(centres) > 1 and distance > FAR_AWAY * spread > 0:
        notice(
            f"the cameras stand {distance:.4g} from the origin and within {spread:.4g} of each "
            "other, so the middle of what they look at is taken for the origin."
        )
        return normalisation_of(split.photos, None, None)
    scale = CAMERA_DISTANCE / distance
    return np.diag([scale, scale, scale, 1.0])


def _require_one_size(photos: Sequence[Photo], read: ViewsRead) -> None:
    """Check that all photos have the size of the first."""
    first = read.views[0].source_size or (0, 0)
    for view, number in zip(read.views, read.numbers, strict=True):
        if view.source_size != first:
            height, width = view.source_size or (0, 0)
            raise InputError(
                f"{photos[number].path} is {width}x{height}, the first photo is "
                f"{first[1]}x{first[0]}; expected one size, so resize or remove it."
            )


def _read_truth(folder: Path, name: str, photo: tuple[int, int]) -> GroundTruth | None:
    """Read the ids of a view, if it has any; `photo` is its photo's height and width."""
    objects = folder / f"{name}_seg_objects.tif"
    collections = folder / f"{name}_seg_collections.tif"
    if not objects.exists() and not collections.exists():
        return None
    ids = read_ids(objects), read_ids(collections)
    (rows, columns), other = ids[0].shape, ids[1].shape
    if (rows, columns) != other or rows * photo[1] != columns * photo[0]:
        raise InputError(
            f"{objects} is {columns}x{rows}, {collections.name} {other[1]}x{other[0]}, their photo "
            f"{photo[1]}x{photo[0]}; expected one size of the photo's proportions, so render again."
        )
    return GroundTruth(*ids)
