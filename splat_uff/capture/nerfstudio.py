"""Captures with a `transforms.json`, as written by nerfstudio and instant-ngp."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from splat_uff.capture.blender import mask_source
from splat_uff.capture.names import stated_path, view_names, without_ending
from splat_uff.capture.photos import Finder
from splat_uff.capture.posed import Photo, PosedPhotos, assemble, mask_keys, names_of
from splat_uff.capture.records import Capture, SparsePoints
from splat_uff.capture.transforms import Frame, find_lens, find_mask, read_frames
from splat_uff.formats.ply import read_elements, read_header
from splat_uff.geometry.cameras import OPENCV_FROM_OPENGL
from splat_uff.system.errors import InputError, reason_of
from splat_uff.system.files import folded
from splat_uff.system.memory import Memory
from splat_uff.system.progress import notice

MOST_POINTS = 20_000_000
SPLITS = ("train", "val", "test")
VIRTUAL = "virtual_views"
"""Entry of `transforms.json` that says that its photos were rendered from splats, and how."""


def read_nerfstudio(folder: Path, *, size: int = 400, memory: Memory | None = None) -> Capture:
    """Read the frames of `transforms.json`.

    Intrinsics are given at the top level or in each frame, as `fl_x fl_y cx cy w h` or as
    `camera_angle_x`; OpenCV's distortion `k1 k2 p1 p2 k3 k4`, or its fisheye's, is undone. Paths
    are relative to the folder, with or without an ending; frames without a photo are skipped and
    counted. `mask_path` cuts the scene out; `ply_file_path` holds its sparse points. If `images_2`,
    `images_4` ... exist beside `images`, the smallest photo that is no smaller than `size` is read.

    The photos in `val_filenames` and `test_filenames` are held out. If there are `train_filenames`,
    only these are trained on, and frames in no list are left out; without any list, every eighth
    photo by name is held out.

    Args:
        folder: Folder with `transforms.json`.
        size: Longer image side, in pixels; larger photos are averaged down to it.
        memory: Memory budget that the photos count towards.

    Raises:
        InputError: If the file is damaged, a path leaves the folder, or no photo exists.
    """
    path = folder / "transforms.json"
    record, stated = read_frames(path)
    lists = _read_lists(record, folder, path, stated)
    frames = _keep_listed(lists, stated)
    finder = Finder(folder)
    there = _find_photos(finder, frames, path, size)
    names = view_names([frame.path for frame, _ in there])
    photos = [
        Photo(
            name,
            photo,
            frame.world_from_gl @ OPENCV_FROM_OPENGL,
            find_lens(finder, frame, photo),
            find_mask(finder, frame),
            keys=mask_keys(frame.path, name),
        )
        for name, (frame, photo) in zip(names, there, strict=True)
    ]
    kept_back = lists.get("val", set()) | lists.get("test", set())
    held_out = [
        name for name, (frame, _) in zip(names, there, strict=True) if _key(frame.path) in kept_back
    ]
    posed = PosedPhotos(
        folder,
        photos,
        masks=mask_source(folder),
        points=_points(folder, record, path),
        held_out=held_out if lists else None,
    )
    capture = assemble(posed, size=size, memory=memory)
    used = {frame.path for frame, _ in there}
    others = {frame.path for frame in stated if frame.path not in used}
    virtual = isinstance(record.get(VIRTUAL), dict)
    return replace(capture, left_out=names_of(others), virtual=virtual)


def read_virtual(folder: Path) -> dict[str, Any] | None:
    """Record of the virtual views of a capture; None if its photos were not rendered from splats.

    A folder without `transforms.json`, or with a damaged one, has none.
    """
    try:
        record = json.loads((folder / "transforms.json").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
    known = record.get(VIRTUAL) if isinstance(record, dict) else None
    return known if isinstance(known, dict) else None


def _find_photos(
    finder: Finder, frames: Sequence[Frame], source: Path, size: int
) -> list[tuple[Frame, Path]]:
    """Find the frames with a photo, each with its file, and print a notice on missing ones.

    Raises:
        InputError: If no photo exists.
    """
    files = finder.photos([frame.path for frame in frames], size)
    found = list(zip(frames, files, strict=True))
    there = [(frame, photo) for frame, photo in found if photo is not None]
    finder.say_renamed()
    if not there:
        raise InputError(
            f"none of the {len(frames)} frames of {source} has its photo, the first "
            f"{frames[0].path}; put the photos where file_path says."
        )
    missing = [frame for frame, photo in found if photo is None]
    if missing:
        notice(
            f"{len(missing)} of {len(frames)} frames have no photo ({missing[0].path}, ...): "
            "skipped."
        )
    return there


def _read_lists(
    record: Mapping[str, Any], folder: Path, source: Path, frames: Sequence[Frame]
) -> dict[str, set[str]]:
    """Read the keys of the frames in each list of file names; empty if all lists are.

    Raises:
        InputError: If a list does not consist of names, or none of its names belongs to a frame.
    """
    known = {_key(frame.path) for frame in frames}
    alone = Counter(_key(PurePosixPath(frame.path.name)) for frame in frames)
    by_name = {
        _key(PurePosixPath(frame.path.name)): _key(frame.path)
        for frame in frames
        if alone[_key(PurePosixPath(frame.path.name))] == 1
    }
    lists: dict[str, set[str]] = {}
    for split in SPLITS:
        written = record.get(f"{split}_filenames")
        if written is None:
            continue
        if not isinstance(written, list) or not all(isinstance(name, str) for name in written):
            raise InputError(f"{source} has {split}_filenames that are no list of paths.")
        keys = {
            name: _key(stated_path(folder, name, source, f"{split}_filenames")) for name in written
        }
        # A bare file name is enough if it belongs to just one frame.
        keys = {name: key if key in known else by_name.get(key, key) for name, key in keys.items()}
        strange = [name for name, key in keys.items() if key not in known]
        if strange and len(strange) == len(keys):
            raise InputError(
                f"{source} has {len(strange)} {split}_filenames, the first {strange[0]}, none of "
                "which is the file_path of a frame; expected the same paths in both."
            )
        if strange:
            notice(
                f"{len(strange)} of {len(keys)} {split}_filenames are no frame's ({strange[0]}, "
                "...): skipped."
            )
        lists[split] = set(keys.values()) & known
    if not any(lists.values()):
        return {}
    both = lists.get("train", set()) & (lists.get("val", set()) | lists.get("test", set()))
    if both:
        notice(f"{len(both)} photos are in train_filenames and held out as well: not trained on.")
    return lists


def _keep_listed(lists: Mapping[str, set[str]], frames: Sequence[Frame]) -> list[Frame]:
    """Keep the frames that are in a list, or all frames if there are no `train_filenames`."""
    if "train" not in lists:
        return list(frames)
    listed = set().union(*lists.values())
    kept = [frame for frame in frames if _key(frame.path) in listed]
    if len(kept) < len(frames):
        first = next(frame.path for frame in frames if _key(frame.path) not in listed)
        notice(
            f"{len(frames) - len(kept)} of {len(frames)} frames are in none of the lists of files "
            f"({first}, ...): left out."
        )
    return kept


def _key(path: PurePosixPath) -> str:
    """Key of a photo's path that does not depend on case or ending."""
    return folded(without_ending(path.as_posix()))


def _points(folder: Path, record: Mapping[str, Any], source: Path) -> SparsePoints | None:
    written = record.get("ply_file_path")
    if not isinstance(written, str):
        return None
    path = folder / stated_path(folder, written, source, "ply_file_path")
    if not path.is_file():
        notice(f"{path} is not there: the Gaussians start without sparse points.")
        return None
    return read_points(path)


def read_points(path: Path) -> SparsePoints:
    """Read a point cloud from a `.ply`, with its colours if it has any.

    Raises:
        InputError: If the file is not a point cloud, or holds no finite point.
    """
    try:
        count = read_header(path).element("vertex").count
        if not 0 < count <= MOST_POINTS:
            raise ValueError(f"{count} points")
        table = read_elements(path, ["vertex"])["vertex"]
        positions = np.stack([np.asarray(table[axis], np.float64) for axis in "xyz"], axis=1)
        names = set(table.dtype.names or ())
        colours = np.full((len(positions), 3), 0.5)
        if {"red", "green", "blue"} <= names:
            channels = [np.asarray(table[name]) for name in ("red", "green", "blue")]
            colours = np.stack(channels, axis=1).astype(np.float64)
            colours /= 255 if channels[0].dtype.kind == "u" else 1
    except (ValueError, OSError, MemoryError) as error:
        raise InputError(
            f"{path} is no point cloud ({reason_of(error)}); export it again."
        ) from None
    finite = np.isfinite(positions).all(axis=1) & (np.abs(positions) < 1e9).all(axis=1)
    if not finite.any():
        raise InputError(f"{path} has no finite point; export it again.")
    return SparsePoints(positions[finite], np.clip(np.nan_to_num(colours[finite]), 0, 1))
