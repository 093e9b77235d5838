"""Captures in the layouts of NeRF-synthetic and Blender-HS (METHOD.md section 8)."""

import itertools
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from splat_uff.cameras import camera_from_opengl
from splat_uff.capture.images import (
    area_resize,
    read_ids,
    read_image,
    read_image_size,
    reduced_size,
)
from splat_uff.capture.names import image_path, natural_key
from splat_uff.capture.records import CAMERA_DISTANCE, Capture, GroundTruth, View
from splat_uff.errors import InputError
from splat_uff.memory import Memory
from splat_uff.progress import track


@dataclass(frozen=True)
class Frame:
    """One entry of a `transforms_*.json`, checked."""

    name: str
    image_path: Path
    world_from_gl: Float[np.ndarray, "4 4"]
    """Pose with OpenGL axes, lengths as in the file."""
    angle_x: float
    """Horizontal field of view in radians."""


def read_blender(folder: Path, *, size: int = 200, memory: Memory | None = None) -> Capture:
    """Read a NeRF-synthetic or Blender-HS folder.

    The training views are those of `transforms_train.json`. Held out are those of
    `transforms_val.json` where `gt_seg/val` exists or there is no `transforms_test.json`, and
    those of `transforms_test.json` otherwise: NeRF-synthetic is scored on its test views,
    Blender-HS on its validation views. With neither file nothing is held out. Views are in numeric
    order of their names. One uniform scale puts the median training camera 1.5 from the origin.

    Args:
        folder: Holds `transforms_train.json`.
        size: Pixels of the longer image side after area averaging; smaller photos stay as is.
        memory: Budget that the photos count towards.

    Raises:
        InputError: If a file is missing, damaged or contradicts another.
    """
    train_frames = read_frames(folder, "train")
    held_out = _held_out_split(folder)
    val_frames = read_frames(folder, held_out) if held_out else []
    scale = _normalising_scale(folder, train_frames)
    source_size = read_image_size(train_frames[0].image_path)

    budget = memory or Memory()
    see_through: set[str] = set()

    def read_view(split_and_frame: tuple[str, Frame]) -> View:
        split, frame = split_and_frame
        view = _read_view(folder, split, frame, scale=scale, size=size, source_size=source_size)
        if split == "train" and (view.image[..., 3] < 1).any():
            see_through.add(view.name)
        return replace(view, photo=budget.keep(view.image))

    jobs = [("train", frame) for frame in train_frames]
    jobs += [(held_out, frame) for frame in val_frames]
    # Pillow lets go of the interpreter while it decodes, so threads are enough.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        views = tuple(track(pool.map(read_view, jobs), "photos", len(jobs)))
    train, val = views[: len(train_frames)], views[len(train_frames) :]
    return Capture(
        name=folder.resolve().name,
        folder=folder,
        train=train,
        val=val,
        has_alpha=bool(see_through),
        source_from_world=np.diag([1 / scale, 1 / scale, 1 / scale, 1.0]),
        masks=mask_source(folder),
        held_out=held_out or "val",
    )


def read_frames(folder: Path, split: str) -> list[Frame]:
    """Read the frames of `transforms_<split>.json` in numeric order of their names.

    Args:
        folder: Of the capture.
        split: For example `train`, `val` or `val_rotate_45`; the photos need not exist.

    Raises:
        InputError: If the file is missing, no JSON, has no frames, a bad angle, a pose that is not
            rigid, a path that leaves the folder, or two frames of one name.
    """
    path = folder / f"transforms_{split}.json"
    record = read_json(path)
    angle_x = record.get("camera_angle_x")
    if not isinstance(angle_x, int | float) or not 0 < angle_x < np.pi:
        raise InputError(
            f"{path} has camera_angle_x {angle_x!r}; expected the horizontal field of view in "
            "radians, between 0 and pi."
        )
    entries = record.get("frames")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path} has no frames; expected a list of at least one, so export again.")
    frames = [_read_frame(path, entry, index, angle_x) for index, entry in enumerate(entries)]
    frames.sort(key=lambda frame: natural_key(frame.name))
    for previous, frame in itertools.pairwise(frames):
        if previous.name == frame.name:
            raise InputError(f"{path} lists {frame.name} twice; expected one frame of each name.")
    return frames


def _read_frame(path: Path, entry: Any, index: int, angle_x: float) -> Frame:
    if not isinstance(entry, dict) or not isinstance(entry.get("file_path"), str):
        raise InputError(
            f"{path}: frame {index} has no file_path; expected the path of its photo in the folder."
        )
    photo = image_path(path.parent, entry["file_path"], path)
    name = photo.name.removesuffix(photo.suffix)
    pose = checked_pose(entry.get("transform_matrix"), f"{path}: frame {name}")
    return Frame(name, photo, pose, float(angle_x))


def checked_pose(matrix: Any, where: str) -> Float[np.ndarray, "4 4"]:
    """A rigid pose, from what stands in a JSON file.

    Raises:
        InputError: If it is none.
    """
    try:
        pose = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        pose = np.empty(0)
    if pose.shape != (4, 4):
        raise InputError(
            f"{where} has no 4x4 transform_matrix of numbers; export the cameras again."
        )
    if not np.isfinite(pose).all():
        raise InputError(
            f"{where} has NaN or infinity in transform_matrix; remove the frame or export again."
        )
    rotation = pose[:3, :3]
    # Entries of a rotation are at most 1, and squaring larger ones could overflow.
    small = bool((np.abs(rotation) < 2).all() and (np.abs(pose[:3, 3]) < 1e9).all())
    rigid = small and np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-3)
    if not rigid or np.linalg.det(rotation) < 0 or not np.allclose(pose[3], [0, 0, 0, 1]):
        raise InputError(
            f"{where} has a transform_matrix that is no rotation and translation (singular, scaled "
            "or mirrored); expected a rigid camera-to-world pose, so export again without scale."
        )
    return pose


def _held_out_split(folder: Path) -> str | None:
    has_val = (folder / "transforms_val.json").exists()
    has_test = (folder / "transforms_test.json").exists()
    if has_val and ((folder / "gt_seg" / "val").is_dir() or not has_test):
        return "val"
    return "test" if has_test else None


def _normalising_scale(folder: Path, frames: Sequence[Frame]) -> float:
    distance = float(np.median([np.linalg.norm(frame.world_from_gl[:3, 3]) for frame in frames]))
    if distance < 1e-9:
        raise InputError(
            f"the cameras of {folder / 'transforms_train.json'} stand at the origin; expected them "
            "around the scene, so export their positions."
        )
    return CAMERA_DISTANCE / distance


def _read_view(
    folder: Path,
    split: str,
    frame: Frame,
    *,
    scale: float,
    size: int,
    source_size: tuple[int, int],
) -> View:
    image = read_image(frame.image_path)
    height, width = image.shape[:2]
    if (height, width) != source_size:
        raise InputError(
            f"{frame.image_path} is {width}x{height}, the first photo is "
            f"{source_size[1]}x{source_size[0]}; expected one size, so resize or remove it."
        )
    pose = frame.world_from_gl.copy()
    pose[:3, 3] *= scale
    camera = camera_from_opengl(pose, angle_x=frame.angle_x, width=width, height=height)
    rows, columns = reduced_size(height, width, size)
    return View(
        name=frame.name,
        camera=camera.resized(columns, rows),
        photo=area_resize(image, rows, columns),
        truth=_read_truth(folder / "gt_seg" / split, frame.name, source_size),
        source_size=source_size,
    )


def _read_truth(folder: Path, name: str, photo: tuple[int, int]) -> GroundTruth | None:
    """Ids of one view, or None where there are none; `photo` is its height and width."""
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


def mask_source(folder: Path) -> str:
    """Where the 2D masks in a capture's folder come from: `simulated`, `imported` or `none`."""
    if not (folder / "train_seg").is_dir():
        return "none"
    described = folder / "scene.json"
    if described.exists() and read_json(described).get("masks") == "simulated":
        return "simulated"
    return "imported"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of cameras.

    Raises:
        InputError: If the file is missing or no JSON.
    """
    if not path.is_file():
        raise InputError(
            f"no {path.name} in {path.parent}; expected the cameras of a capture, so pass "
            "the folder that holds it."
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path} is not readable JSON ({reason}); export it again.") from None
    if not isinstance(record, dict):
        raise InputError(f"{path} holds no JSON object; expected {{...}}, so export it again.")
    return record
