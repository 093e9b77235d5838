"""Frames, poses and intrinsics of `transforms*.json` files.

NeRF-synthetic, Blender-HS, nerfstudio and instant-ngp write dialects of one format.
"""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float

from splat_uff.capture.images import read_image_size
from splat_uff.capture.lenses import Lens, make_lens
from splat_uff.capture.names import stated_path
from splat_uff.capture.photos import Finder
from splat_uff.system.errors import InputError, reason_of
from splat_uff.system.records import array_record

PERSPECTIVES = (
    *("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE"),
    *("SIMPLE_RADIAL", "RADIAL"),
)
"""Values of `camera_model` that are special cases of OpenCV's distortion."""
FISHEYES = ("OPENCV_FISHEYE", "FISHEYE")
FOCALS = {"fl_x", "fl_y", "camera_angle_x", "camera_angle_y"}
DISTORTIONS = ("k1", "k2", "p1", "p2", "k3", "k4")


@array_record
class Frame:
    """One entry of `frames`, checked except for its intrinsics."""

    path: PurePosixPath
    """Path of its photo, relative to the folder of the file; the photo need not exist."""
    world_from_gl: Float[np.ndarray, "4 4"]
    """Pose with OpenGL axes, lengths as in the file."""
    record: Mapping[str, Any]
    """Values of the frame, and those at the top level of the file that it does not override."""
    source: Path
    """File of the frame, for error messages."""

    @property
    def where(self) -> str:
        """File and name of the frame, for error messages."""
        return f"{self.source}: frame {self.path.name}"

    def lens(self, size: tuple[int, int]) -> Lens:
        """Intrinsics; `size` is the height and width to use if the record has no `w` and `h`.

        Raises:
            InputError: If they are missing, not numbers, or not plausible for a camera.
        """
        return _read_lens(self.record, size, self.where)


def read_frames(path: Path) -> tuple[dict[str, Any], list[Frame]]:
    """Read the whole record of a `transforms*.json`, and its frames in the order of the file.

    Raises:
        InputError: If the file is missing or not JSON, or has no frames, a pose that is not rigid,
            or a path that leaves the folder.
    """
    record = read_json(path)
    entries = record.get("frames")
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path} has no frames; expected a list of at least one, so export again.")
    shared = {name: value for name, value in record.items() if name != "frames"}
    return record, [_read_frame(path, shared, *each) for each in enumerate(entries)]


def find_lens(finder: Finder, frame: Frame, file: Path) -> Lens:
    """Intrinsics of a frame; if it does not state their image size, they are for its photo's.

    Args:
        finder: Finder of the capture's files.
        frame: Frame to read.
        file: Photo of the frame, or a reduced twin of it.

    Raises:
        InputError: If they are not plausible for a camera, or no size is stated and only a reduced
            twin exists.
    """
    if states_size(frame.record):
        return frame.lens((0, 0))
    own = finder.find(frame.path)
    if own is None and ({"fl_x", "fl_y", "cx", "cy"} & frame.record.keys()):
        raise InputError(
            f"{frame.where} has no w and h, and only {file} is there, which is reduced; expected "
            "the size of the photo that its focal length is for, so add w and h."
        )
    return frame.lens(read_image_size(own or file))


def find_mask(finder: Finder, frame: Frame) -> Path | None:
    """Find the mask that cuts out the photo of a frame, at its `mask_path`; None if it has none.

    Raises:
        InputError: If the file does not exist, or the path leaves the folder.
    """
    written = frame.record.get("mask_path")
    if not isinstance(written, str):
        return None
    mask = finder.find(stated_path(finder.folder, written, frame.source, "mask_path"))
    if mask is None:
        raise InputError(
            f"{frame.source}: no mask {finder.folder / written}; expected a file there, or no "
            "mask_path."
        )
    return mask


def states_size(record: Mapping[str, Any]) -> bool:
    """Whether `w` or `h` state the image size that the intrinsics are for."""
    return record.get("w") is not None or record.get("h") is not None


def read_json(path: Path) -> dict[str, Any]:
    """Read the object in a JSON file of cameras, skipping the byte order mark Windows may write.

    Raises:
        InputError: If the file is missing or not a JSON object.
    """
    if not path.is_file():
        raise InputError(
            f"no {path.name} in {path.parent}; expected the cameras of a capture, so pass "
            "the folder that holds it."
        )
    try:
        content = path.read_bytes()
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputError(
                f"{path} is not readable JSON (text in UTF-16, as Windows PowerShell writes it); "
                "save it as UTF-8."
            )
        record = json.loads(content.decode("utf-8-sig"))
    except InputError:
        raise
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(
            f"{path} is not readable JSON ({reason_of(error)}); export it again."
        ) from None
    if not isinstance(record, dict):
        raise InputError(f"{path} holds no JSON object; expected {{...}}, so export it again.")
    return record


def _read_frame(path: Path, shared: dict[str, Any], index: int, entry: Any) -> Frame:
    if not isinstance(entry, dict) or not isinstance(entry.get("file_path"), str):
        raise InputError(
            f"{path}: frame {index} has no file_path; expected the path of its photo in the folder."
        )
    photo = stated_path(path.parent, entry["file_path"], path)
    where = f"{path}: frame {photo.name}"
    # A frame's own focal length replaces the shared one, in whichever form either has.
    if FOCALS & entry.keys():
        shared = {name: value for name, value in shared.items() if name not in FOCALS}
    return Frame(photo, _read_pose(entry.get("transform_matrix"), where), shared | entry, path)


def _read_pose(matrix: Any, where: str) -> Float[np.ndarray, "4 4"]:
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
    # Entries of a rotation are at most 1, and squaring huge ones could overflow.
    small = bool((np.abs(rotation) < 2).all() and (np.abs(pose[:3, 3]) < 1e9).all())
    rigid = small and np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-3)
    if not rigid or np.linalg.det(rotation) < 0 or not np.allclose(pose[3], [0, 0, 0, 1]):
        raise InputError(
            f"{where} has a transform_matrix that is no rotation and translation (singular, scaled "
            "or mirrored); expected a rigid camera-to-world pose, so export again without scale."
        )
    return pose


def _read_lens(record: Mapping[str, Any], size: tuple[int, int], where: str) -> Lens:
    if states_size(record):
        if not (_is_count(record.get("w")) and _is_count(record.get("h"))):
            raise InputError(
                f"{where} has w = {record.get('w')!r} and h = {record.get('h')!r}; expected the "
                "pixels that its focal length is for, whole numbers, or neither."
            )
        size = int(record["h"]), int(record["w"])
    height, width = size
    focal = _read_focal(record, height, width, where)
    middle = (width / 2, height / 2)
    centre = tuple(
        half if (stated := _number(record, name, where)) is None else stated
        for name, half in zip(("cx", "cy"), middle, strict=True)
    )
    bent = {name: _number(record, name, where) or 0.0 for name in DISTORTIONS}
    kind = record.get("camera_model", "OPENCV")
    if record.get("is_fisheye") is True or kind in FISHEYES:
        fisheye = tuple(bent[name] for name in ("k1", "k2", "k3", "k4"))
        return make_lens("OPENCV_FISHEYE", width, height, (*focal, *centre, *fisheye), where)
    if kind not in PERSPECTIVES:
        raise InputError(
            f"{where} has camera_model {kind!r}; expected OPENCV, OPENCV_FISHEYE or PINHOLE."
        )
    if not any(bent.values()):
        return make_lens("PINHOLE", width, height, (*focal, *centre), where)
    # OpenCV's full model divides by a second polynomial, in which k4 is the first coefficient;
    # nerfstudio's k4 is a fourth coefficient of the first, which OpenCV does not have.
    if bent["k4"]:
        raise InputError(
            f"{where} has k4 = {bent['k4']} without a fisheye; expected k1 k2 p1 p2 k3 only."
        )
    first = tuple(bent[name] for name in DISTORTIONS[:5])
    params = (*focal, *centre, *first, 0.0, 0.0, 0.0)
    return make_lens("FULL_OPENCV", width, height, params, where)


def _read_focal(
    record: Mapping[str, Any], height: int, width: int, where: str
) -> tuple[float, float]:
    """Focal lengths in pixels; a missing one is derived from its angle, or from the other axis."""
    found = []
    for axis, side in (("x", width), ("y", height)):
        focal = _number(record, f"fl_{axis}", where)
        angle = record.get(f"camera_angle_{axis}")
        if focal is None and angle is not None:
            if not _is_number(angle) or not 0 < angle < np.pi:
                raise InputError(
                    f"{where} has camera_angle_{axis} {angle!r}; expected the field of view in "
                    "radians, between 0 and pi."
                )
            focal = float(0.5 * side / np.tan(0.5 * angle))
        found.append(focal)
    along_x, along_y = found
    first = along_x if along_x is not None else along_y
    if first is None:
        raise InputError(
            f"{where} has neither fl_x nor camera_angle_x; expected focal lengths in pixels or a "
            "field of view in radians, so export its intrinsics."
        )
    return first, first if along_y is None else along_y


def _number(record: Mapping[str, Any], name: str, where: str) -> float | None:
    value = record.get(name)
    if value is None:
        return None
    if not _is_number(value) or not abs(value) < 1e9:
        raise InputError(f"{where} has {name} = {value!r}; expected a number, so export again.")
    return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return _is_number(value) and 0 < value < 1e6 and value == int(value)  # pyright: ignore
