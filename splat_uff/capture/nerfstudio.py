"""`transforms.json`, as nerfstudio and instant-ngp write it."""

from pathlib import Path
from typing import Any

import numpy as np

from splat_uff.cameras import OPENCV_FROM_OPENGL
from splat_uff.capture.blender import checked_pose, mask_source, read_json
from splat_uff.capture.colmap import photos_folder
from splat_uff.capture.images import read_image_size
from splat_uff.capture.lenses import Lens, make_lens
from splat_uff.capture.names import image_path
from splat_uff.capture.posed import Photo, assemble
from splat_uff.capture.records import Capture, SparsePoints
from splat_uff.errors import InputError
from splat_uff.memory import Memory
from splat_uff.progress import notice

MOST_POINTS = 20_000_000
PERSPECTIVES = (
    *("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE"),
    *("SIMPLE_RADIAL", "RADIAL"),
)
"""Values of `camera_model` that OpenCV's distortion covers."""
DISTORTIONS = ("k1", "k2", "p1", "p2", "k3", "k4")


def read_nerfstudio(folder: Path, *, size: int = 200, memory: Memory | None = None) -> Capture:
    """Read the frames of `transforms.json`.

    Intrinsics stand at the top or in each frame, as `fl_x fl_y cx cy w h` or as `camera_angle_x`;
    OpenCV's distortion `k1 k2 p1 p2 k3 k4`, or its fisheye's, is undone. Paths are relative to the
    folder, with or without an ending; frames whose photo is not there are skipped and counted.
    `mask_path` says what belongs to the scene; `ply_file_path` has its sparse points. Where
    `images_2`, `images_4` or `images_8` stand beside `images`, the smallest that is no smaller than
    `size` is read. Held out are `val_filenames` and `test_filenames`, or every eighth by name.

    Args:
        folder: Holds `transforms.json`.
        size: Pixels of the longer image side; photos are averaged down to it.
        memory: Budget that the photos count towards.

    Raises:
        InputError: If the file is damaged, a path leaves the folder, or no photo is there.
    """
    path = folder / "transforms.json"
    record = read_json(path)
    entries = record.get("frames")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path} has no frames; expected a list of at least one, so export again.")
    photos, missing, first = [], 0, ""
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("file_path"), str):
            raise InputError(
                f"{path}: frame {index} has no file_path; expected the path of its photo."
            )
        written = image_path(folder, entry["file_path"], path)
        pose = checked_pose(entry.get("transform_matrix"), f"{path}: frame {written.name}")
        if not written.is_file() and not _reduced(folder, written):
            missing, first = missing + 1, first or entry["file_path"]
            continue
        merged = record | entry
        lens = _lens(merged, written, f"{path}: frame {written.name}")
        place = _place(folder, written, (lens.height, lens.width), size)
        name = str(written.relative_to(folder).with_suffix(""))
        photos.append(
            Photo(name, place, pose @ OPENCV_FROM_OPENGL, lens, _mask(folder, entry, place, path))
        )
    if not photos:
        raise InputError(
            f"none of the {len(entries)} frames of {path} has its photo, the first {first}; put "
            "the photos where file_path says."
        )
    if missing:
        notice(f"{missing} of {len(entries)} frames have no photo ({first}, ...): skipped.")
    photos = _short_names(photos)
    return assemble(
        folder,
        photos,
        size=size,
        memory=memory,
        points=_points(folder, record, path),
        held_out=_held_out(record, photos),
        masks=mask_source(folder),
    )


def _lens(record: dict[str, Any], photo: Path, where: str) -> Lens:
    """Intrinsics of one frame, its own before the shared ones."""
    width, height = record.get("w"), record.get("h")
    if not (_is_count(width) and _is_count(height)):
        height, width = read_image_size(photo)
    width, height = int(width), int(height)  # pyright: ignore[reportArgumentType]
    focal = _number(record, "fl_x", where)
    if focal is None:
        angle = _number(record, "camera_angle_x", where)
        if angle is None or not 0 < angle < np.pi:
            raise InputError(
                f"{where} has neither fl_x nor a camera_angle_x between 0 and pi; export its "
                "intrinsics."
            )
        focal = 0.5 * width / np.tan(0.5 * angle)
    focal_y = _number(record, "fl_y", where)
    centre = [_number(record, name, where) for name in ("cx", "cy")]
    known = (
        focal,
        focal if focal_y is None else focal_y,
        width / 2 if centre[0] is None else centre[0],
        height / 2 if centre[1] is None else centre[1],
    )
    bent = {name: _number(record, name, where) or 0.0 for name in DISTORTIONS}
    kind = record.get("camera_model", "OPENCV")
    if record.get("is_fisheye") is True or kind in ("OPENCV_FISHEYE", "FISHEYE"):
        fisheye = tuple(bent[name] for name in ("k1", "k2", "k3", "k4"))
        return make_lens("OPENCV_FISHEYE", width, height, known + fisheye, where)
    if kind not in (
        "OPENCV",
        "PINHOLE",
        "SIMPLE_PINHOLE",
        "PERSPECTIVE",
        "SIMPLE_RADIAL",
        "RADIAL",
    ):
        raise InputError(
            f"{where} has camera_model {kind!r}; expected OPENCV, OPENCV_FISHEYE or PINHOLE."
        )
    if not any(bent.values()):
        return make_lens("PINHOLE", width, height, known, where)
    # OpenCV's full model divides by a second polynomial, in which k4 is the first coefficient;
    # nerfstudio's k4 is a fourth coefficient of the first, which OpenCV does not have.
    if bent["k4"]:
        raise InputError(
            f"{where} has k4 = {bent['k4']} without a fisheye; expected k1 k2 p1 p2 k3 only."
        )
    first = tuple(bent[name] for name in DISTORTIONS[:5])
    return make_lens("FULL_OPENCV", width, height, (*known, *first, 0.0, 0.0, 0.0), where)


def _number(record: dict[str, Any], name: str, where: str) -> float | None:
    value = record.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        raise InputError(f"{where} has {name} = {value!r}; expected a number, so export again.")
    return float(value)


def _is_count(value: object) -> bool:
    whole = isinstance(value, int | float) and not isinstance(value, bool)
    return whole and 0 < value < 1e6 and value == int(value)  # pyright: ignore


def _reduced(folder: Path, written: Path) -> bool:
    """Whether a photo is there in a smaller size only."""
    return any(
        (folder / f"images_{factor}" / written.name).is_file()
        for factor in (2, 4, 8)
        if written.parent == folder / "images"
    )


def _place(folder: Path, written: Path, shape: tuple[int, int], size: int) -> Path:
    """The photo as written, or its twin of a size just large enough."""
    if written.parent != folder / "images":
        return written
    twin = photos_folder(folder, shape, size) / written.name
    return twin if twin.is_file() else written


def _mask(folder: Path, entry: dict[str, Any], photo: Path, source: Path) -> Path | None:
    written = entry.get("mask_path")
    if not isinstance(written, str):
        return None
    mask = image_path(folder, written, source)
    if not mask.is_file():
        raise InputError(f"{source}: no mask {mask}; expected a file there, or no mask_path.")
    twin = folder / photo.parent.name.replace("images", "masks") / mask.name
    return twin if photo.parent.name != "images" and twin.is_file() else mask


def _short_names(photos: list[Photo]) -> list[Photo]:
    """File names alone, where these differ."""
    short = [photo.name.rpartition("/")[2] for photo in photos]
    if len(set(short)) < len(short):
        return photos
    return [
        Photo(name, photo.path, photo.world_from_cam, photo.lens, photo.mask_path)
        for name, photo in zip(short, photos, strict=True)
    ]


def _held_out(record: dict[str, Any], photos: list[Photo]) -> list[str] | None:
    """What the file itself keeps from training; None where it says nothing."""
    written = [*(record.get("val_filenames") or []), *(record.get("test_filenames") or [])]
    if not written:
        return None
    stems = {Path(name).stem for name in written if isinstance(name, str)}
    return [photo.name for photo in photos if Path(photo.name).name in stems]


def _points(folder: Path, record: dict[str, Any], source: Path) -> SparsePoints | None:
    written = record.get("ply_file_path")
    if not isinstance(written, str):
        return None
    path = folder / written
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{source} has ply_file_path {written!r}, which leads out of {folder}.")
    if not path.is_file():
        notice(f"{path} is not there: the Gaussians start without sparse points.")
        return None
    return read_points(path)


def read_points(path: Path) -> SparsePoints:
    """Read a point cloud from a `.ply`, with colours where it has some.

    Raises:
        InputError: If it is none, or holds no finite point.
    """
    from plyfile import PlyData, PlyParseError

    try:
        table = PlyData.read(str(path), mmap="c")["vertex"]
        if not 0 < table.count <= MOST_POINTS:
            raise ValueError(f"{table.count} points")
        positions = np.stack([np.asarray(table[axis], np.float64) for axis in "xyz"], axis=1)
        names = {prop.name for prop in table.properties}
        colours = np.full((len(positions), 3), 0.5)
        if {"red", "green", "blue"} <= names:
            channels = [np.asarray(table[name]) for name in ("red", "green", "blue")]
            colours = np.stack(channels, axis=1).astype(np.float64)
            colours /= 255 if channels[0].dtype.kind == "u" else 1
    except (PlyParseError, KeyError, ValueError, OSError, MemoryError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path} is no point cloud ({reason}); export it again.") from None
    finite = np.isfinite(positions).all(axis=1) & (np.abs(positions) < 1e9).all(axis=1)
    if not finite.any():
        raise InputError(f"{path} has no finite point; export it again.")
    return SparsePoints(positions[finite], np.clip(np.nan_to_num(colours[finite]), 0, 1))
