"""Writing Gaussians to files that splat editors and viewers open."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from splat_uff.formats.ply import write_ply
from splat_uff.gaussians.ply import gaussians_of
from splat_uff.gaussians.precision import judge_precision, near_origin
from splat_uff.gaussians.source import centres_of
from splat_uff.render.records import Gaussians
from splat_uff.system.errors import InputError, argument
from splat_uff.system.files import replacing
from splat_uff.system.progress import notice

Format = Literal["ply", "splat", "compressed-ply", "spz"]
FORMATS: tuple[Format, ...] = get_args(Format)
ENDINGS: Mapping[str, str] = {
    "ply": ".ply",
    "splat": ".splat",
    "compressed-ply": ".compressed.ply",
    "spz": ".spz",
}
MOST_FRACTIONAL_BITS = 24
NO_ORIGIN = np.zeros(3)
_GSPLAT = {"splat": "splat", "compressed-ply": "ply_compressed"}


def whole_labels(
    labels: Mapping[str, Int[np.ndarray, "N"]], kept: Bool[np.ndarray, "M"]
) -> dict[str, Int[np.ndarray, "M"]]:
    """Labels of all rows of a file; 0 for rows that the run left out."""
    whole = {name: np.zeros(len(kept), np.int32) for name in labels}
    for name, values in labels.items():
        whole[name][kept] = values
    return whole


def choose_origin(table: np.ndarray, format: Format) -> Float[np.ndarray, "3"]:
    """Choose the origin of the parts' centres; print a notice if 32 bits are too few for them."""
    positions = centres_of(table)
    precision = judge_precision(positions)
    if not precision.is_lost:
        return NO_ORIGIN
    if format != "ply":
        origin = near_origin(positions)
        notice(
            f"the scene lies {precision}; parts as {format} count their centres from the origin "
            f"{origin.tolist()}, which hierarchy.json keeps."
        )
        return origin
    if table.dtype["x"].itemsize > 4:
        notice(
            f"the scene lies {precision}; its .ply files have x, y, z of 64 bits. For viewers that "
            f"read 32-bit columns only, pass {argument('format', 'splat')}, which moves the origin."
        )
    return NO_ORIGIN


def with_labels(table: np.ndarray, labels: Mapping[str, Int[np.ndarray, "N"]]) -> np.ndarray:
    """Add named integer columns to a table."""
    kept = [(name, table.dtype[name]) for name in table.dtype.names or () if name not in labels]
    wider = np.empty(len(table), [*kept, *((name, "<i4") for name in labels)])
    for name, _ in kept:
        wider[name] = table[name]
    for name, values in labels.items():
        wider[name] = values
    return wider


def shows(table: np.ndarray) -> Bool[np.ndarray, "N"]:
    """Whether each Gaussian is visible: renderers draw none with an opacity below 1/255."""
    return table["opacity"] > np.log(1 / 254)


def write_splats(
    path: Path,
    table: np.ndarray,
    format: Format,
    origin: Float[np.ndarray, "3"] = NO_ORIGIN,
    *,
    comments: Sequence[str] = (),
) -> None:
    """Write Gaussians to a file.

    Args:
        path: File to write.
        table: Rows of `source_splats` that can be drawn.
        format: File format. `ply` keeps every column and every bit. `splat` (8 bits, no
            view-dependent colour) and `compressed-ply` are written by gsplat, which reorders
            Gaussians, and in `compressed-ply` drops those for which `shows` is False; some must
            remain. `spz` (Niantic's, version 3) is written by gsply, in our order and frame. These
            three hold centres of 32 bits or fewer, relative to `origin`.
        origin: Origin that is subtracted from the centres in formats other than `ply`.
        comments: Comments for the header of a `ply`.

    Raises:
        InputError: If the format is `spz` and gsply is missing.
    """
    if format == "spz":
        require_gsply()
    if format == "ply":
        write_ply(path, {"vertex": table}, comments)
        return
    with replacing(path) as temporary:
        gaussians = gaussians_of(table)
        means = gaussians.means.double() - torch.from_numpy(np.array(origin, np.float64))
        gaussians = gaussians.moved(means.float())
        if format == "spz":
            _write_spz(temporary, gaussians)
            return
        from gsplat import export_splats

        content = export_splats(
            means=gaussians.means,
            scales=gaussians.log_scales,
            quats=gaussians.quats,
            opacities=gaussians.opacity_logits,
            sh0=gaussians.sh0,
            shN=gaussians.shN,
            format=_GSPLAT[format],  # pyright: ignore[reportArgumentType]
        )
        temporary.write_bytes(content)


def require_gsply() -> None:
    """Check that `spz` can be written.

    Raises:
        InputError: If gsply is missing.
    """
    if find_spec("gsply") is None:
        raise InputError("spz needs gsply, which is not there; pip install gsply, or pass ply.")


def _write_spz(path: Path, gaussians: Gaussians) -> None:
    from gsply import GSData, write_spz

    arrays = {name: tensor.numpy() for name, tensor in gaussians.tensors().items()}
    data = GSData.from_arrays(
        arrays["means"],
        arrays["log_scales"],
        arrays["quats"] / np.linalg.norm(arrays["quats"], axis=1, keepdims=True),
        arrays["opacity_logits"],
        arrays["sh0"][:, 0],
        arrays["shN"] if arrays["shN"].shape[1] else None,
        format="ply",
    )
    # Centres are fixed-point numbers of 24 bits, with as many fractional bits as leave room for the
    # furthest.
    furthest = max(float(np.abs(arrays["means"]).max()), 1e-9)
    bits = int(np.clip(np.floor(23 - np.log2(furthest * (1 + 1e-6))), 1, MOST_FRACTIONAL_BITS))
    write_spz(path, data, fractional_bits=bits)
