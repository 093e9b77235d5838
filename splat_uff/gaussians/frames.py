"""Frames in which other programs fit, found from the files that they leave beside their splats.

nerfstudio and gsplat rotate, scale and move a scene before fitting it, and export the Gaussians in
that frame. nerfstudio writes `dataparser_transforms.json`: x' = scale * (transform @ [x, 1]), from
the frame of the original model, before the `applied_transform` given in its `transforms.json`.
gsplat's trainer stores one 4 x 4 matrix, `transform`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from splat_uff.capture.names import natural_key
from splat_uff.capture.records import Capture
from splat_uff.gaussians.similarity import split_similarity
from splat_uff.system.files import map_array
from splat_uff.system.progress import notice
from splat_uff.system.records import array_record

DATAPARSER = "dataparser_transforms.json"
RUN = "hierarchy.npz"
"""File that lies beside the Gaussians in one of our own runs."""
MATRICES = ("transform.json", "transform.npy", "transform.txt")
MOST_BYTES = 1 << 20
"""Largest size of a file that holds one matrix, in bytes."""
PARENTS = 2
"""Number of folders above the splats' own that are searched."""
MOST_SCALE = 1e12
"""Size from which an entry makes a matrix implausible."""
TOLERANCE = 1e-3
"""Largest relative deviation from a similarity; such matrices are computed in float32."""


@array_record
class KnownFrame:
    """A frame in which splats may be."""

    path: Path
    """File in which the frame is described."""
    frame_from_source: Float[np.ndarray, "4 4"]
    """Similarity from the frame of the capture's files to this one."""


def find_frames(splats: Path, capture: Capture) -> list[KnownFrame]:
    """Look for frames beside the splats, in the two folders above, and in the capture's folder.

    The `gaussians.ply` of one of our own runs is in our normalised world.

    Files that cannot be read are skipped with a notice; checkpoints are read as tensors only, so
    nothing in them is executed.
    """
    place, poses = splats.resolve().parent, capture.folder.resolve()
    folders = dict.fromkeys([place, *list(place.parents)[:PARENTS], poses])
    known: list[KnownFrame] = []
    if (place / RUN).is_file():
        known.append(KnownFrame(place / RUN, np.linalg.inv(capture.source_from_world)))
    for folder in folders:
        if (folder / DATAPARSER).is_file():
            known += _read_dataparser(folder / DATAPARSER, poses)
        for path in (folder / name for name in MATRICES):
            # Such names are common, so files that hold no matrix are skipped without a notice.
            known += _known(path, _read_matrix(path)) if path.is_file() else []
        checkpoints = [*folder.glob("ckpt_*.pt"), *folder.glob("ckpts/ckpt_*.pt")]
        if checkpoints:
            newest = max(checkpoints, key=lambda path: natural_key(path.name))
            known += _known(newest, _read_checkpoint(newest))
    return [frame for frame in known if not np.allclose(frame.frame_from_source, np.eye(4))]


def _read_dataparser(path: Path, poses: Path) -> list[KnownFrame]:
    """Frame relative to the original model, and relative to the `transforms.json` made from it."""
    record = _read_record(path)
    try:
        matrix = np.diag([float(record["scale"])] * 3 + [1.0]) @ _square(record["transform"])
    except (KeyError, TypeError, ValueError, OverflowError):
        matrix = np.zeros((4, 4))  # Not a similarity.
    known = _known(path, matrix)
    if not known:
        notice(f"{path} holds no transform and scale as nerfstudio writes them; passed over.")
        return []
    applied = _read_record(poses / "transforms.json")
    if "applied_transform" in applied:
        try:
            first = _square(applied["applied_transform"])
            first_scale = float(applied.get("applied_scale", 1.0))
            undone = np.diag([1 / first_scale] * 3 + [1.0]) @ matrix @ np.linalg.inv(first)
        except (TypeError, ValueError, ArithmeticError, np.linalg.LinAlgError):
            return known
        known += _known(path, undone)
    return known


def _read_record(path: Path) -> dict[str, Any]:
    """Read a small JSON object; an empty one if there is none."""
    try:
        if path.stat().st_size > MOST_BYTES * 64:
            return {}
        record = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _read_matrix(path: Path) -> object:
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        if path.suffix == ".npy":
            # Memory-mapped, so that a false shape in the header takes no memory.
            return np.array(map_array(path))
        if path.suffix == ".txt":
            return [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line]
        record = json.loads(path.read_text(encoding="utf-8-sig"))
        return record.get("transform") if isinstance(record, dict) else record
    except (OSError, ValueError, RecursionError, EOFError):
        return None


def _read_checkpoint(path: Path) -> object:
    """Read `transform` from a checkpoint; None if it has none, as most do."""
    import torch

    try:
        # Memory-mapped, so that the tensors of the Gaussians stay on disk.
        record = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        found = record.get("transform") if isinstance(record, dict) else None
        return found.numpy() if isinstance(found, torch.Tensor) else found
    except Exception as error:  # torch raises whatever its readers do.
        notice(f"{path} is no checkpoint of plain tensors ({type(error).__name__}); passed over.")
        return None


def _known(path: Path, values: object) -> list[KnownFrame]:
    """Frame that a matrix leads to, made an exact similarity; empty if it is far from one."""
    try:
        matrix = _square(values)
        if not np.abs(matrix).max() < MOST_SCALE:
            return []
        scale, rotation = split_similarity(matrix, tolerance=TOLERANCE)
    except (TypeError, ValueError, OverflowError, np.linalg.LinAlgError):
        return []
    matrix[:3, :3] = scale * rotation
    return [KnownFrame(path, matrix)]


def _square(values: object) -> Float[np.ndarray, "4 4"]:
    """Extend a 3 x 4 matrix to 4 x 4; a 4 x 4 one gets the last row 0 0 0 1.

    Raises:
        ValueError: If the matrix has another shape.
    """
    matrix = np.array(values, np.float64)
    if matrix.shape not in ((3, 4), (4, 4)):
        raise ValueError(f"shape {matrix.shape}")
    return np.concatenate([matrix[:3], [[0.0, 0.0, 0.0, 1.0]]])
