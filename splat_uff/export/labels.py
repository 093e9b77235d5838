"""Label maps as pictures: one of 16-bit numbers for programs, one in colour for people."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from splat_uff.colours import to_bytes
from splat_uff.evaluate.palette import paint
from splat_uff.files import replacing


def write_label_pngs(
    folder: Path, name: str, labels: Int[np.ndarray, "H W"], colours: Float[np.ndarray, "S 3"]
) -> None:
    """Write `NAME.png`, 16-bit, and `NAME_preview.png`.

    Args:
        folder: Where they go.
        name: Without ending.
        labels: Segment of each pixel; 0 is none.
        colours: By segment, from 0 on.
    """
    with replacing(folder / f"{name}.png") as temporary:
        Image.fromarray(labels.astype(np.uint16)).save(temporary)
    with replacing(folder / f"{name}_preview.png") as temporary:
        Image.fromarray(to_bytes(paint(labels, colours))).save(temporary)
