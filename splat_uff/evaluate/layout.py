"""Label maps in the layout of the published scripts: `VIEW/HEIGHT.npy`, 200 for no segment.

docs/metrics.md describes the layout.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from splat_uff.system.errors import InputError, reason_of
from splat_uff.system.files import map_array, replacing_folder, require_new, visible_entries

PUBLISHED_ANGLE = 10
"""Rotation of the views that the published scripts score, in degrees."""
NONE = 200
"""Label for no segment, including background; segments are 0 to 199, the largest first."""
MOST_MAPS = 1000
"""Maximum number of granularities that are read."""
MOST_PIXELS = 4096 * 4096


def write_layout(
    folder: Path, maps: Sequence[Int[np.ndarray, "K H W"]], heights: Sequence[float]
) -> None:
    """Write label maps; the folder appears whole or not at all.

    Args:
        folder: Folder to create; an existing one must be empty.
        maps: Label maps of each view at K granularities, fine to coarse; segments are numbered from
            1, the largest first, 0 is no segment.
        heights: Heights of the granularities in their tree, which are stored in `cuts.json`.

    Raises:
        InputError: If `folder` already exists and is not empty.
    """
    require_new(folder)
    names = [f"{rank / 100:.3f}" for rank in range(1, len(heights) + 1)]
    with replacing_folder(folder) as temporary:
        for index, view in enumerate(maps):
            (temporary / str(index)).mkdir()
            for name, labels in zip(names, view, strict=True):
                theirs = np.where(labels > 0, labels - 1, NONE)
                np.save(temporary / str(index) / f"{name}.npy", theirs)
        record = json.dumps(dict(zip(names, heights, strict=True)), indent=2)
        (temporary / "cuts.json").write_text(record + "\n", encoding="utf-8")


def read_layout(folder: Path, num_views: int) -> Int[np.ndarray, "V K H W"]:
    """Read the label maps of the first views.

    Args:
        folder: Folder with the subfolders 0, 1, 2 ..., one per view, each with the same files.
        num_views: Number of views to read.

    Returns:
        Label maps, cuts from fine to coarse, which is the order of the numbers in their names; 0 is
        no segment.

    Raises:
        InputError: If a view or granularity is missing, or a file is not a map of small integers.
    """
    places = [folder / str(index) for index in range(num_views)]
    for place in places:
        if not place.is_dir():
            raise InputError(f"no folder {place}; expected one for each view, from 0 on.")
    paths = _maps_in(places[0])
    views = []
    for place in places:
        found = _maps_in(place)
        if [path.stem for path in found] != [path.stem for path in paths]:
            raise InputError(
                f"{place} has {len(found)} label maps and {places[0]} {len(paths)}; "
                "expected the same granularities in every view."
            )
        views.append([_read_map(path) for path in found])
    shapes = {labels.shape for view in views for labels in view}
    if len(shapes) != 1:
        raise InputError(f"{folder} has label maps of sizes {sorted(shapes)}; expected one size.")
    stacked = np.stack([np.stack(view) for view in views])
    return np.where(stacked == NONE, 0, stacked + 1)


def count_views(folder: Path) -> int:
    """Number of views that a folder has label maps of: subfolders 0, 1, 2 ... without a gap."""
    count = 0
    while (folder / str(count)).is_dir():
        count += 1
    return count


def _maps_in(place: Path) -> list[Path]:
    """List the label maps of one view, in the order of the numbers in their names."""
    paths = [path for path in visible_entries(place) if path.suffix.lower() == ".npy"]
    try:
        paths.sort(key=lambda path: float(path.stem))
    except ValueError:
        raise InputError(
            f"{place} has files such as {paths[-1].name}; expected names like 0.010.npy."
        ) from None
    if not 0 < len(paths) <= MOST_MAPS:
        raise InputError(f"{place} has {len(paths)} label maps; expected 1 to {MOST_MAPS}.")
    return paths


def _read_map(path: Path) -> Int[np.ndarray, "H W"]:
    try:
        labels = map_array(path)
        if labels.ndim != 2 or labels.dtype.kind not in "iu" or not 0 < labels.size <= MOST_PIXELS:
            raise ValueError(f"{labels.dtype} of shape {labels.shape}")
        labels = np.array(labels, dtype=np.int64)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            f"{path} is no label map ({reason_of(error)}); expected whole numbers, one a pixel."
        ) from None
    if labels.min() < 0 or labels.max() > NONE:
        raise InputError(
            f"{path} has labels from {labels.min()} to {labels.max()}; expected 0 to {NONE}."
        )
    return labels.astype(np.int32)
