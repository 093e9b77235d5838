"""LLFF: `poses_bounds.npy` beside folders of photos."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from splat_uff.capture.blender import mask_source
from splat_uff.capture.colmap import photos_folder
from splat_uff.capture.lenses import make_lens
from splat_uff.capture.names import IMAGE_ENDINGS, natural_key
from splat_uff.capture.posed import Photo, assemble
from splat_uff.capture.records import Capture
from splat_uff.errors import InputError
from splat_uff.memory import Memory

COLUMNS = 17
"""A 3x5 matrix (rotation, position, height width focal) and two bounds of depth."""
MOST_PHOTOS = 100_000


def read_llff(folder: Path, *, size: int = 200, memory: Memory | None = None) -> Capture:
    """Read photos and `poses_bounds.npy`.

    Rows belong to the photos in the order of their names. Photos are in `images/`, or in
    `images_2/`, `images_4/` or `images_8/`, of which the smallest that is no smaller than `size`
    is read. Every eighth is held out, as LLFF is used everywhere.

    Axes are down, right, back. Source: Mildenhall et al., "Local Light Field Fusion" (2019).

    Args:
        folder: Holds `poses_bounds.npy`.
        size: Pixels of the longer image side; photos are averaged down to it.
        memory: Budget that the photos count towards.

    Raises:
        InputError: If the file is damaged or there are more or fewer photos than rows.
    """
    path = folder / "poses_bounds.npy"
    rows = _read_rows(path)
    matrices, bounds = rows[:, :15].reshape(-1, 3, 5), rows[:, 15:]
    height, width = (round(value) for value in matrices[0, :2, 4])
    place = photos_folder(folder, (height, width), size)
    if not place.is_dir():
        raise InputError(f"no images in {folder}; expected images, images_4 or images_8.")
    photos = sorted(
        (path for path in place.iterdir() if path.suffix.lower() in IMAGE_ENDINGS),
        key=lambda photo: natural_key(photo.name),
    )
    if len(photos) != len(rows):
        raise InputError(
            f"{path} has {len(rows)} poses and {place} {len(photos)} photos; expected one pose for "
            "each photo, in the order of their names."
        )
    found = []
    for photo, matrix in zip(photos, matrices, strict=True):
        down, right, back, centre, (tall, wide, focal) = matrix.T
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, down, -back], axis=1)
        pose[:3, 3] = centre
        if not np.allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-3):
            raise InputError(f"{path}: the pose of {photo.name} is no rotation; export it again.")
        params = (float(focal), float(focal), float(wide) / 2, float(tall) / 2)
        lens = make_lens("PINHOLE", round(wide), round(tall), params, f"{path}: {photo.name}")
        found.append(Photo(photo.stem, photo, pose, lens))
    depth = float(np.median(np.sqrt(bounds[:, 0] * bounds[:, 1])))
    return assemble(folder, found, size=size, memory=memory, depth=depth, masks=mask_source(folder))


def _read_rows(path: Path) -> Float[np.ndarray, "V 17"]:
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if mapped.ndim != 2 or mapped.shape[1] != COLUMNS or mapped.dtype.kind != "f":
            raise ValueError(f"{mapped.dtype} of shape {mapped.shape}")
        if not 0 < len(mapped) <= MOST_PHOTOS:
            raise ValueError(f"{len(mapped)} rows")
        rows = np.array(mapped, dtype=np.float64)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            f"{path} holds no poses ({error}); expected one row of {COLUMNS} numbers a photo."
        ) from None
    sizes = rows[:, [4, 9]]
    if not np.isfinite(rows).all() or np.abs(rows).max() > 1e9:
        raise InputError(f"{path} holds NaN, infinite or huge numbers; export it again.")
    if not ((sizes >= 1) & (sizes < 1e6)).all() or not (rows[:, 15:] > 0).all():
        raise InputError(
            f"{path} has image sizes or bounds of depth that are not positive; export it again."
        )
    return rows
