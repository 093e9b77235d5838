"""Label maps as pictures: one with 16-bit labels for programs, one in colour for people."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from splat_uff.capture.images import to_bytes
from splat_uff.report.paint import paint
from splat_uff.system.files import folded, replacing


def preview_names(names: Iterable[str], *, taken: Iterable[str] = ()) -> dict[str, str]:
    """Choose a name for the preview of each map: `NAME_preview`, with a number if that is taken.

    Names that differ only in case count as the same, as on Windows and macOS.

    Args:
        names: Names of the maps, without ending.
        taken: Names of other files in the same folder, without ending.

    Example:
        >>> preview_names(["scan", "scan_preview"])
        {'scan': 'scan_preview_2', 'scan_preview': 'scan_preview_preview'}
    """
    names = list(names)
    used = {folded(name) for name in (*names, *taken)}
    found = {}
    for name in names:
        preview, number = f"{name}_preview", 2
        while folded(preview) in used:
            preview, number = f"{name}_preview_{number}", number + 1
        used.add(folded(preview))
        found[name] = preview
    return found


def write_label_pngs(
    folder: Path,
    name: str,
    labels: Int[np.ndarray, "H W"],
    colours: Float[np.ndarray, "S 3"],
    *,
    preview: str,
) -> None:
    """Write a label map as `NAME.png`, 16-bit, and as a picture in colour.

    Args:
        folder: Folder to write to.
        name: Name of the map, without ending; folders in it are created.
        labels: Segment of each pixel; 0 is no segment.
        colours: Colour of each segment, starting with 0.
        preview: Name of the picture, without ending; see `preview_names`.
    """
    with replacing(folder / f"{name}.png") as temporary:
        Image.fromarray(labels.astype(np.uint16)).save(temporary)
    with replacing(folder / f"{preview}.png") as temporary:
        Image.fromarray(to_bytes(paint(labels, colours))).save(temporary)
