"""COLMAP models, binary or text, read by pycolmap."""

import struct
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from splat_uff.capture.blender import mask_source
from splat_uff.capture.colmap_text import count_images, plain_copy
from splat_uff.capture.lenses import import_pycolmap, make_lens
from splat_uff.capture.mask_images import has_two_values
from splat_uff.capture.names import stated_path, view_names, without_ending
from splat_uff.capture.photos import PHOTOS, Finder
from splat_uff.capture.posed import Photo, PosedPhotos, assemble, mask_keys, names_of
from splat_uff.capture.records import Capture, SparsePoints
from splat_uff.system.errors import InputError, argument, reason_of
from splat_uff.system.files import folded, visible_entries
from splat_uff.system.memory import Memory
from splat_uff.system.progress import notice
from splat_uff.system.records import array_record

PLACES = ("sparse", "colmap/sparse")
"""Folders that may hold a model, directly or in subfolders 0, 1 ..., by preference."""
MASKS = "masks"
"""Folder of cut-outs; COLMAP keeps that of `images/a.jpg` in `masks/a.jpg.png`."""
MOST_POINTS = 20_000_000
_LEAST = {"cameras": 24, "images": 73, "points3D": 51, "rigs": 8, "frames": 64}
"""Minimum size of an entry of each binary file, in bytes."""
_NEWER = ("rigs", "frames")
"""Files that COLMAP 3.12 added to models."""


def find_model(folder: Path) -> Path | None:
    """Folder of a capture's first COLMAP model, if it has one."""
    models = _find_models(folder)
    return models[0] if models else None


def read_colmap(folder: Path, *, size: int = 400, memory: Memory | None = None) -> Capture:
    """Read photos and their COLMAP model.

    If there are several models, `sparse/0`, `sparse/1` ..., the one with the most images is read,
    and a notice says so. Photos are in `images/`, or beside it in `images_2/`, `images_4/` ...;
    for each photo, the smallest version that is no smaller than `size` is read. Every camera model
    of COLMAP is undistorted to a pinhole. Photos that are not in the model, and missing photos that
    are in it, are skipped and counted. Every eighth photo, by name, is held out.

    Args:
        folder: Folder with `sparse/0` and `images`.
        size: Longer image side, in pixels; larger photos are averaged down to it.
        memory: Memory budget that the photos count towards.

    Raises:
        InputError: If the model is damaged or empty, or none of its photos exists.
    """
    model = _largest_model(folder)
    images, cameras, points = _read_model(model)
    if not images:
        raise InputError(f"{model} has no image with a pose; run COLMAP's mapper again.")
    finder = Finder(folder)
    files = _find_photos(finder, images, model, size)
    found = [(image, *each) for image, each in zip(images, files, strict=True)]
    there = [(image, path, photo) for image, path, photo in found if photo is not None]
    finder.say_renamed()
    if not there:
        raise InputError(
            f"none of the {len(images)} images of {model} is in {folder / PHOTOS}, the first "
            f"{images[0].name}; put the photos there."
        )
    paths = [path for _, path, _ in there]
    photos = []
    rows = zip(there, view_names(paths), _find_cut_outs(finder, paths), strict=True)
    for (image, path, photo), short, mask in rows:
        camera = cameras[image.camera_id]
        where = f"{model}: camera {image.camera_id}"
        params = tuple(float(value) for value in camera.params)
        lens = make_lens(camera.model.name, int(camera.width), int(camera.height), params, where)
        name = without_ending(path.as_posix())
        keys = mask_keys(PurePosixPath(PHOTOS) / path, short)
        photos.append(Photo(name, photo, image.world_from_cam, lens, mask, keys))
    unused = _find_unused(folder, paths)
    missing = [path for _, path, photo in found if photo is None]
    if missing or unused:
        notice(
            f"{len(missing)} images of the model are not there, {len(unused)} photos have no pose: "
            "skipped."
        )
    posed = PosedPhotos(folder, photos, masks=mask_source(folder), points=points)
    capture = assemble(posed, size=size, memory=memory)
    others = {PurePosixPath(PHOTOS) / path for path in (*missing, *unused)}
    return replace(capture, left_out=names_of(others))


@array_record
class _Image:
    """One image of a model, with its pose."""

    name: str
    camera_id: int
    world_from_cam: np.ndarray
    """Pose, float64 [4, 4], with OpenCV axes."""


def _find_models(folder: Path) -> list[Path]:
    """Folders of models, ordered by `PLACES` and then by name."""
    for place in PLACES:
        top = folder / place
        if not top.is_dir():
            continue
        options = [top, *(entry for entry in visible_entries(top) if entry.is_dir())]
        found = [option for option in options if _images_file(option) is not None]
        if found:
            return found
    return []


def _images_file(model: Path) -> Path | None:
    options = (model / f"images.{ending}" for ending in ("bin", "txt"))
    return next((option for option in options if option.is_file()), None)


def _largest_model(folder: Path) -> Path:
    """Find the model with the most images, and print a notice if there are several.

    Raises:
        InputError: If there is no model.
    """
    models = _find_models(folder)
    if not models:
        raise InputError(f"no COLMAP model in {folder}; expected sparse/0/images.bin or .txt.")
    if len(models) == 1:
        return models[0]
    counts = [_count(model) for model in models]
    best = int(np.argmax(counts))
    sizes = ", ".join(
        f"{model.relative_to(folder).as_posix()} {count}"
        for model, count in zip(models, counts, strict=True)
    )
    notice(
        f"{len(models)} models (images: {sizes}): {models[best].relative_to(folder).as_posix()} is "
        "read, and photos of the others are left out."
    )
    return models[best]


def _count(model: Path) -> int:
    """Number of images that a model declares; 0 if it is damaged."""
    path = _images_file(model)
    assert path is not None
    try:
        if path.suffix == ".txt":
            return count_images(path)
        with path.open("rb") as file:
            return struct.unpack("<Q", file.read(8))[0]
    except (ValueError, OSError, struct.error):
        return 0


def _find_photos(
    finder: Finder, images: Sequence[_Image], model: Path, size: int
) -> list[tuple[PurePosixPath, Path | None]]:
    """Path of each image in the folder of photos, and its file, or None if it is missing."""
    paths = [stated_path(finder.folder / PHOTOS, image.name, model, "an image") for image in images]
    files = finder.photos([PurePosixPath(PHOTOS) / path for path in paths], size)
    if not any(files):  # Some programs write paths relative to the capture's folder.
        files = finder.photos(paths, size)
        paths = [
            path.relative_to(PHOTOS) if len(path.parts) > 1 and path.parts[0] == PHOTOS else path
            for path in paths
        ]
    return list(zip(paths, files, strict=True))


def _find_unused(folder: Path, paths: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    """Photos without a pose, in the folders of photos with one."""
    known = {folded(without_ending(path.as_posix())) for path in paths}
    return [
        place / entry.name
        for place in sorted({path.parent for path in paths})
        if (folder / PHOTOS / place).is_dir()
        for entry in visible_entries(folder / PHOTOS / place)
        if entry.is_file() and folded(without_ending((place / entry.name).as_posix())) not in known
    ]


def _read_model(model: Path) -> tuple[list[_Image], Any, SparsePoints | None]:
    """Read the images with a pose, the cameras by id, and the points.

    Raises:
        InputError: If the model is damaged.
    """
    pycolmap = import_pycolmap()
    try:
        with tempfile.TemporaryDirectory() as scratch, _quiet(pycolmap):
            if (model / "images.bin").is_file():
                _check_counts(model)
                names = None
                read = pycolmap.Reconstruction(str(model))
            else:
                names = plain_copy(model, Path(scratch))
                read = pycolmap.Reconstruction(scratch)
    except (ValueError, IndexError, KeyError, RuntimeError, OSError, MemoryError) as error:
        raise InputError(
            f"{model} is no whole COLMAP model ({reason_of(error)}); expected cameras, images "
            "and points3D, all .bin or all .txt, so copy or export it again."
        ) from None
    images = []
    for number, image in read.images.items():
        if not image.has_pose:
            continue
        name = _name_of(image, number, names, model)
        rigid = np.eye(4)
        rigid[:3] = image.cam_from_world().inverse().matrix()
        if not np.isfinite(rigid).all() or np.abs(rigid[:3, 3]).max() > 1e9:
            raise InputError(f"{model}: image {name} has no finite pose; run COLMAP again.")
        images.append(_Image(name, image.camera_id, rigid))
    images.sort(key=lambda image: image.name)  # pycolmap keeps them in no particular order.
    return images, read.cameras, _points(read, model)


def _name_of(image: Any, number: int, names: dict[int, str] | None, model: Path) -> str:
    try:
        return image.name if names is None else names[number]
    except UnicodeDecodeError:
        raise InputError(
            f"{model}: the name of image {number} is no text in UTF-8; rename the photo and run "
            "COLMAP again, or export the model as text."
        ) from None


def _quiet(pycolmap):
    """Silence COLMAP's log while it reads; our own messages report the same problems."""
    from contextlib import contextmanager

    @contextmanager
    def quiet():
        level = pycolmap.logging.minloglevel
        pycolmap.logging.minloglevel = 4
        try:
            yield
        finally:
            pycolmap.logging.minloglevel = level

    return quiet()


def _check_counts(model: Path) -> None:
    """Check that binary files can hold the entries they declare, before allocating memory."""
    if not (model / "images.bin").is_file():
        return
    for name, least in _LEAST.items():
        path = model / f"{name}.bin"
        if name in _NEWER and not path.is_file():
            continue
        length = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
        count = struct.unpack("<Q", start)[0] if len(start) == 8 else None
        if count is None or count * least > length or count > MOST_POINTS:
            raise ValueError(f"{path.name} announces {count} entries in {length} bytes")
    _check_lists(model / "images.bin", _skip_image, 24)
    _check_lists(model / "points3D.bin", lambda _, at: at + 43, 8)


def _check_lists(path: Path, skip, least: int) -> None:
    """Check that every list in a file ends before the file does."""
    content = path.read_bytes()
    at = 8
    for _ in range(struct.unpack_from("<Q", content)[0]):
        at = skip(content, at)
        count = struct.unpack_from("<Q", content, at)[0] if at + 8 <= len(content) else 0
        if at + 8 + count * least > len(content):
            raise ValueError(f"{path.name} ends within its lists")
        at += 8 + count * least


def _skip_image(content: bytes, at: int) -> int:
    end = content.find(b"\0", at + 64)
    if end < 0:
        raise ValueError("images.bin ends within a name")
    if not np.isfinite(struct.unpack_from("<7d", content, at + 4)).all():
        raise ValueError("images.bin has a pose that is not finite")  # Otherwise read as no pose.
    return end + 1


def _points(reconstruction, model: Path) -> SparsePoints | None:
    points = list(reconstruction.points3D.values())
    if not points:
        return None
    positions = np.array([point.xyz for point in points], dtype=np.float64)
    colours = np.array([point.color for point in points], dtype=np.float64) / 255
    finite = np.isfinite(positions).all(axis=1) & (np.abs(positions) < 1e9).all(axis=1)
    if not finite.any():
        raise InputError(f"{model} has {len(points)} points, none finite; run COLMAP again.")
    return SparsePoints(positions[finite], colours[finite])


def _find_cut_outs(finder: Finder, paths: Sequence[PurePosixPath]) -> list[Path | None]:
    """Find the masks that cut photos out: for `a.jpg`, COLMAP's `masks/a.jpg.png`.

    Masks called `a.png` are accepted, too. If any is a label map, which other tools put into such
    a folder, none is used.
    """
    if not (finder.folder / MASKS).is_dir():
        return [None] * len(paths)
    found: list[Path | None] = []
    for path in paths:
        place = PurePosixPath(MASKS) / path.parent
        mask = finder.find(place / f"{path.name}.png")
        if mask is None or folded(without_ending(mask.name)) != folded(path.name):
            mask = finder.find(place / path.name)
        found.append(mask)
    if not all(has_two_values(mask) for mask in found if mask is not None):
        notice(
            f"{finder.folder / MASKS} holds label maps: they cut nothing out; see "
            f"{argument('masks')}."
        )
        return [None] * len(paths)
    return found
