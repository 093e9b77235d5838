"""Captures in LLFF's layout: `poses_bounds.npy` beside folders of photos."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float

from splat_uff.capture.blender import mask_source
from splat_uff.capture.images import read_image_size
from splat_uff.capture.lenses import make_lens
from splat_uff.capture.names import IMAGE_ENDINGS, view_names
from splat_uff.capture.photos import PHOTOS, Finder
from splat_uff.capture.posed import HOLD_OUT_EVERY, Photo, PosedPhotos, assemble, mask_keys
from splat_uff.capture.records import Capture
from splat_uff.capture.unreadable import UNREADABLE_ENDINGS
from splat_uff.system.errors import InputError, reason_of
from splat_uff.system.files import map_array, visible_entries
from splat_uff.system.memory import Memory

COLUMNS = 17
"""Numbers in a row: a 3x5 matrix (rotation, position, height width focal), two depth bounds."""
MOST_PHOTOS = 100_000
MOST_ROUNDING = 1e-4
"""Largest invisible rounding of positions, as a share of the extent of the cameras."""


def read_llff(folder: Path, *, size: int = 400, memory: Memory | None = None) -> Capture:
    """Read photos and `poses_bounds.npy`.

    Rows belong to the photos in plain order of their names, as LLFF lists them: `r_10` comes before
    `r_2`. Photos are in `images/`, or in `images_2/`, `images_4/` ...; the smallest version that is
    no smaller than `size` is read. A folder with fewer photos than rows is used only if their
    names identify them. If there are eight photos or more, every eighth in that order is held out.

    Axes are down, right, back. Source: Mildenhall et al., "Local Light Field Fusion" (2019).

    Args:
        folder: Folder with `poses_bounds.npy`.
        size: Longer image side, in pixels; larger photos are averaged down to it.
        memory: Memory budget that the photos count towards.

    Raises:
        InputError: If the file is damaged, or the numbers of photos and rows differ.
    """
    path = folder / "poses_bounds.npy"
    rows = _read_rows(path)
    matrices, bounds = rows[:, :15].reshape(-1, 3, 5), rows[:, 15:]
    paths, files = _find_photos(folder, len(rows), path, size)
    found = []
    for name, place, photo, matrix in zip(view_names(paths), paths, files, matrices, strict=True):
        down, right, back, centre, (tall, wide, focal) = matrix.T
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, down, -back], axis=1)
        pose[:3, 3] = centre
        rotation = pose[:3, :3]
        rigid = np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-3)
        if not rigid or np.linalg.det(rotation) < 0:
            raise InputError(
                f"{path}: the pose of {place.name} is no rotation (scaled or mirrored); expected "
                "columns down, right, back, so export it again."
            )
        params = (float(focal), float(focal), float(wide) / 2, float(tall) / 2)
        lens = make_lens("PINHOLE", round(wide), round(tall), params, f"{path}: {place.name}")
        found.append(Photo(name, photo, pose, lens, keys=mask_keys(place, name)))
    enough = len(found) >= HOLD_OUT_EVERY
    posed = PosedPhotos(
        folder,
        found,
        masks=mask_source(folder),
        depth=float(np.median(np.sqrt(bounds[:, 0] * bounds[:, 1]))),
        held_out=[photo.name for photo in found[::HOLD_OUT_EVERY]] if enough else [],
    )
    return assemble(posed, size=size, memory=memory)


def _find_photos(
    folder: Path, count: int, source: Path, size: int
) -> tuple[list[PurePosixPath], list[Path]]:
    """Paths and files of the photos, in the order of the rows; a file may be a reduced twin."""
    finder = Finder(folder)
    places = [
        place for place in (PHOTOS, *reversed(finder.twins.values())) if (folder / place).is_dir()
    ]
    listed = {place: _list_photos(folder / place) for place in places}
    if not listed:
        raise InputError(f"no images in {folder}; expected images, images_4 or images_8.")
    whole = [place for place in places if len(listed[place]) == count]
    if not whole:
        counts = ", ".join(f"{place} {len(photos)}" for place, photos in listed.items())
        raise InputError(
            f"{source} has {count} poses, and the folders of {folder} have other numbers of photos "
            f"({counts}); expected one pose for each photo, in the order of their names."
        )
    paths = [PurePosixPath(whole[0]) / photo.name for photo in listed[whole[0]]]
    files = []
    for index, path in enumerate(paths):
        # Programs that reduce photos often renumber them, so only the order identifies them.
        options = [listed[place][index] for place in reversed(whole)]
        if whole[0] == PHOTOS and len(whole) < len(places):
            named = finder.photo(path, size)
            options = [*([named] if named else []), *options]
        files.append(_just_large_enough(options, size))
    return paths, files


def _list_photos(folder: Path) -> list[Path]:
    """Photos of a folder in plain order of their names, which may have no ending."""
    endings = (*IMAGE_ENDINGS, *UNREADABLE_ENDINGS, "")
    return [
        path
        for path in visible_entries(folder)
        if path.suffix.lower() in endings and not path.is_dir()
    ]


def _just_large_enough(options: Sequence[Path], size: int) -> Path:
    """Pick the smallest no smaller than `size`, else the largest; `options` are smallest first."""
    sizes = [max(read_image_size(option)) for option in options] if len(options) > 1 else [size]
    enough = [each for each in zip(sizes, options, strict=True) if each[0] >= size]
    best = (
        min(enough, key=lambda each: each[0])
        if enough
        else max(zip(sizes, options, strict=True), key=lambda each: each[0])
    )
    return best[1]


def _read_rows(path: Path) -> Float[np.ndarray, "V 17"]:
    try:
        mapped = map_array(path)
        if mapped.ndim != 2 or mapped.shape[1] != COLUMNS or mapped.dtype.kind != "f":
            raise ValueError(f"{mapped.dtype} of shape {mapped.shape}")
        if not 0 < len(mapped) <= MOST_PHOTOS:
            raise ValueError(f"{len(mapped)} rows")
        rows = np.array(mapped, dtype=np.float64)
    except ValueError as error:
        raise InputError(
            f"{path} holds no poses ({reason_of(error)}); expected one row of "
            f"{COLUMNS} numbers a photo."
        ) from None
    sizes = rows[:, [4, 9]]
    if not np.isfinite(rows).all() or np.abs(rows).max() > 1e9:
        raise InputError(f"{path} holds NaN, infinite or huge numbers; export it again.")
    if not ((sizes >= 1) & (sizes < 1e6)).all() or not (rows[:, 15:] > 0).all():
        raise InputError(
            f"{path} has image sizes or bounds of depth that are not positive; export it again."
        )
    centres = rows[:, [3, 8, 13]]
    rounding = float(np.spacing(mapped.dtype.type(np.abs(centres).max()))) / 2
    spread = float(np.linalg.norm(np.ptp(centres, axis=0)))
    if rounding > MOST_ROUNDING * spread > 0:
        raise InputError(
            f"{path} holds numbers of {8 * mapped.dtype.itemsize} bits, which round positions so "
            f"far from the origin by up to {rounding:.2g}, where the cameras are within "
            f"{spread:.3g}; expected 64 bits, so save it as float64, or nearer to the origin."
        )
    return rows
