"""PartNet renderings in the layout of the paper's repository (docs/input.md)."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float, Int

from splat_uff.capture.blender import mask_source
from splat_uff.capture.images import area_resize
from splat_uff.capture.lenses import make_lens
from splat_uff.capture.mask_images import read_mask
from splat_uff.capture.names import IMAGE_ENDINGS, natural_key
from splat_uff.capture.photos import Finder
from splat_uff.capture.posed import Photo, PosedPhotos, assemble
from splat_uff.capture.records import Capture, GroundTruth, View
from splat_uff.geometry.axes import pose_along, right_of
from splat_uff.system.errors import InputError, reason_of
from splat_uff.system.files import visible_entries
from splat_uff.system.memory import Memory
from splat_uff.system.progress import notice

FIELD_OF_VIEW = np.deg2rad(50)
IMAGE = "shape-rgb.png"
VIEW = "view-"
MASKS = "seg"
"""Folder of the 2D masks; those of `view-03` are in its subfolder `03`."""


def find_views(folder: Path) -> list[Path]:
    """List the folders of views, `view-00` and so on, in order of their numbers."""
    views = [path for path in visible_entries(folder) if path.name.startswith(VIEW)]
    views = [path for path in views if (path / "meta.txt").is_file()]
    return sorted(views, key=lambda path: natural_key(path.name))


def read_partnet(folder: Path, *, size: int = 400, memory: Memory | None = None) -> Capture:
    """Read renderings of PartNet, which have a folder `view-NN` for each view.

    It holds the pose (`meta.txt`), the photo (`shape-rgb.png`, H x W RGB) and a mask of each part
    (`part-NNN.png`, H x W). `meta.txt` has rotations about z, y and x in degrees and a radius; the
    camera stands at twice that radius and looks at the origin, +x up, with a field of view of 50
    degrees. Pixels that no part covers are the background, which is black; parts are the true
    objects and together form one collection. Every eighth view is held out.

    Args:
        folder: Folder with the views.
        size: Longer image side, in pixels; larger pictures are averaged down to it.
        memory: Memory budget that the photos count towards.

    Raises:
        InputError: If a file is missing or damaged.
    """
    photos, truths, missing = [], {}, []
    finder = Finder(folder)
    for place in find_views(folder):
        path = finder.find(PurePosixPath(place.name) / IMAGE)
        if path is None:
            missing.append(place.name)
            continue
        truths[place.name] = _read_parts(place)
        height, width = truths[place.name].shape
        focal = 0.5 * width / np.tan(FIELD_OF_VIEW / 2)
        params = (float(focal), float(focal), width / 2, height / 2)
        lens = make_lens("PINHOLE", width, height, params, str(place))
        pose = _read_pose(place / "meta.txt")
        keys = (place.name.removeprefix(VIEW),)
        photos.append(Photo(place.name, path, pose, lens, keys=keys))
    if missing:
        notice(
            f"{len(missing)} of {len(missing) + len(photos)} views have no {IMAGE} ({missing[0]}, "
            "...): skipped."
        )
    capture = assemble(PosedPhotos(folder, photos, masks=_mask_source(folder)), size=size)
    budget = memory or Memory()

    def with_parts(view: View) -> View:
        parts = truths[view.name]
        solid = (parts > 0).astype(np.float32)
        alpha = area_resize(solid, view.camera.height, view.camera.width)[..., None]
        image = np.concatenate([view.image[..., :3], alpha], axis=2).astype(np.float32)
        truth = GroundTruth(parts, (parts > 0).astype(np.int32))
        return replace(view, photo=budget.keep(image), truth=truth)

    train, val = (tuple(map(with_parts, views)) for views in (capture.train, capture.val))
    return replace(capture, train=train, val=val, has_alpha=True)


def _mask_source(folder: Path) -> str:
    """Origin of the 2D masks: this layout's, or those that `splat-uff masks` made."""
    return "imported" if (folder / MASKS).is_dir() else mask_source(folder)


def _read_parts(place: Path) -> Int[np.ndarray, "H W"]:
    """Read the number of the part at each pixel, from 1; later parts cover earlier ones."""
    entries = [path for path in visible_entries(place) if path.name.startswith("part-")]
    entries = [path for path in entries if path.suffix.lower() in IMAGE_ENDINGS]
    paths = sorted(entries, key=lambda path: natural_key(path.name))
    if not paths:
        raise InputError(f"{place} has no part-000.png; expected one picture for each part.")
    parts = None
    for number, path in enumerate(paths, start=1):
        mask = read_mask(path)
        parts = np.zeros(mask.shape, np.int32) if parts is None else parts
        if mask.shape != parts.shape:
            raise InputError(f"{path} is of another size than {paths[0].name}; render it again.")
        parts[mask] = number
    assert parts is not None
    return parts


def _read_pose(path: Path) -> Float[np.ndarray, "4 4"]:
    try:
        words = path.read_text(encoding="utf-8-sig").replace(",", " ").split()
        z, y, _, radius = (float(word) for word in words[:4])
        if not np.isfinite([z, y, radius]).all() or not 1e-6 < radius < 1e6:
            raise ValueError("numbers out of range")
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is no meta.txt ({reason_of(error)}); expected rotations about z, y and "
            "x and a radius."
        ) from None
    z, y = np.deg2rad([z, y])
    centre = 2 * radius * np.array([np.sin(y), np.cos(y) * np.sin(z), np.cos(y) * np.cos(z)])
    forward = -centre / np.linalg.norm(centre)
    up = np.array([1.0, 0, 0])
    is_vertical = np.linalg.norm(np.cross(forward, up)) < 1e-9
    right = np.array([0, 0, 1.0]) if is_vertical else right_of(forward, up)
    return pose_along(centre, forward, right)
