"""COLMAP models, binary or text, read by pycolmap."""

import struct
from pathlib import Path

import numpy as np

from splat_uff.capture.blender import mask_source
from splat_uff.capture.lenses import import_pycolmap, make_lens
from splat_uff.capture.names import image_path
from splat_uff.capture.posed import Photo, assemble
from splat_uff.capture.records import Capture, SparsePoints
from splat_uff.errors import InputError
from splat_uff.memory import Memory
from splat_uff.progress import notice

PLACES = ("sparse/0", "sparse", "colmap/sparse/0")
"""Where a model may lie, by preference."""
MOST_POINTS = 20_000_000
_LEAST = {"cameras": 24, "images": 73, "points3D": 51, "rigs": 8, "frames": 64}
"""Bytes that an entry of each binary file has at least."""
_NEWER = ("rigs", "frames")
"""Files that models have from COLMAP 3.12 on."""


def find_model(folder: Path) -> Path | None:
    """Folder of the COLMAP model of a capture, if it has one."""
    for place in PLACES:
        for ending in ("bin", "txt"):
            if (folder / place / f"images.{ending}").is_file():
                return folder / place
    return None


def read_colmap(folder: Path, *, size: int = 200, memory: Memory | None = None) -> Capture:
    """Read photos and their COLMAP model.

    Photos are in `images/`, or beside it in `images_2/`, `images_4/` or `images_8/`, of which the
    smallest that is no smaller than `size` is read. Every camera model of COLMAP is undistorted to
    a pinhole. Photos that the model does not have, and those of the model that are not there, are
    skipped and counted. Every eighth photo, by name, is held out.

    Args:
        folder: Holds `sparse/0` and `images`.
        size: Pixels of the longer image side; photos are averaged down to it.
        memory: Budget that the photos count towards.

    Raises:
        InputError: If the model is damaged or empty, or no photo of it is there.
    """
    model = find_model(folder)
    if model is None:
        raise InputError(f"no COLMAP model in {folder}; expected sparse/0/images.bin or .txt.")
    reconstruction = _read_model(model)
    places = {}
    photos, missing = [], 0
    images = [image for image in reconstruction.images.values() if image.has_pose]
    if not images:
        raise InputError(f"{model} has no image with a pose; run COLMAP's mapper again.")
    for image in images:
        camera = reconstruction.cameras[image.camera_id]
        shape = (int(camera.height), int(camera.width))
        if shape not in places:
            places[shape] = photos_folder(folder, shape, size)
        path = image_path(places[shape], image.name, model)
        if not path.is_file():
            missing += 1
            continue
        where = f"{model}: camera {image.camera_id}"
        params = tuple(float(value) for value in camera.params)
        lens = make_lens(camera.model.name, shape[1], shape[0], params, where)
        rigid = np.eye(4)
        rigid[:3] = image.cam_from_world().inverse().matrix()
        if not np.isfinite(rigid).all() or np.abs(rigid[:3, 3]).max() > 1e9:
            raise InputError(f"{model}: image {image.name} has no finite pose; run COLMAP again.")
        name = image.name.removesuffix(path.suffix).replace("\\", "/")
        photos.append(Photo(name, path, rigid, lens, _mask(folder, image.name)))
    if not photos:
        raise InputError(
            f"none of the {len(images)} images of {model} is in {folder / 'images'}, the first "
            f"{images[0].name}; put the photos there."
        )
    known = {photo.path.name for photo in photos}
    unused = sum(
        path.is_file() and path.name not in known for path in photos[0].path.parent.iterdir()
    )
    if missing or unused:
        notice(
            f"{missing} images of the model are not there, {unused} photos have no pose: skipped."
        )
    return assemble(
        folder, photos, size=size, points=_points(reconstruction, model), masks=mask_source(folder)
    )


def photos_folder(folder: Path, shape: tuple[int, int], size: int) -> Path:
    """The folder of photos that are just large enough, of `images` and its reduced twins.

    Args:
        folder: Of the capture.
        shape: Height and width of the photos in `images`.
        size: Pixels that the longer side should have at least.
    """
    for factor in (8, 4, 2):
        place = folder / f"images_{factor}"
        if place.is_dir() and (max(shape) >= size * factor or not (folder / "images").is_dir()):
            return place
    return folder / "images"


def _read_model(model: Path):
    pycolmap = import_pycolmap()
    try:
        _check_counts(model)
        with _quiet(pycolmap):
            return pycolmap.Reconstruction(str(model))
    except (ValueError, IndexError, KeyError, RuntimeError, OSError, MemoryError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{model} is no whole COLMAP model ({reason}); expected cameras, images and points3D, "
            "all .bin or all .txt, so copy or export it again."
        ) from None


def _quiet(pycolmap):
    """What COLMAP logs while it reads is said by our own messages."""
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
    """See that binary files can hold what they announce, before memory is taken for it."""
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
    """See that every list inside of a file ends before the file does."""
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
        raise ValueError("images.bin has a pose that is not finite")  # Else taken for none at all.
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


def _mask(folder: Path, name: str) -> Path | None:
    """COLMAP keeps the mask of `images/a.jpg` in `masks/a.jpg.png`."""
    path = image_path(folder / "masks", f"{name}.png", folder) if ".." not in name else None
    return path if path is not None and path.is_file() else None
