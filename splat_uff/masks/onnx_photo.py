"""Photos as the encoders of ONNX files take them: their size, order of axes and colours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Num, UInt8
from PIL import Image

from splat_uff.system.errors import InputError
from splat_uff.system.records import array_record

MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Mean and standard deviation of ImageNet's colours in [0, 255], which all these models take off.

SAM 2 states the same in [0, 1], as 0.485, 0.456, 0.406 and 0.229, 0.224, 0.225.
"""
LEAST_SIDE, MOST_SIDE = 16, 4096
"""Bounds of the side of a model's square input, in pixels."""
DTYPES: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
"""Types of inputs that are understood, under the names of onnxruntime."""


@array_record
class PhotoInput:
    """Size, order of axes and type of the photo that an encoder takes."""

    sizes: tuple[int | None, ...]
    """Length of each axis; None where any is taken."""
    dtype: type[np.generic]
    """Type of the values."""
    order: Literal["channels first", "channels last"]
    """Whether the colours are the first axis of an image, or the last."""

    @classmethod
    def of(cls, declared: Any, path: Path) -> "PhotoInput":
        """Understand the input of an encoder.

        Args:
            declared: Input of a session of onnxruntime.
            path: File of the encoder.

        Raises:
            InputError: If it is no image of three colours in a square, of a type of `DTYPES`.
        """
        sizes, dtype = sizes_of(declared, path), dtype_of(declared, path)
        if len(sizes) == 4:
            last = sizes[3] == 3 and sizes[1] != 3
        else:
            last = len(sizes) == 3 and sizes[0] != 3
        order = "channels last" if last else "channels first"
        axes = sizes[-3:-1] if last else sizes[-2:]
        colours = sizes[-1] if last else sizes[-3] if len(sizes) > 2 else None
        square = len({size for size in axes if size is not None}) < 2
        single = len(sizes) == 3 or (len(sizes) == 4 and sizes[0] in (None, 1))
        if not single or colours not in (None, 3) or not square:
            raise InputError(
                f"{declared.name} of {path} has the shape {list(declared.shape)}; expected one "
                "square image, as [1, 3, side, side] or [height, width, 3]."
            )
        return cls(sizes, dtype, order)

    @property
    def raw(self) -> bool:
        """Whether the encoder takes colours in [0, 255] and normalises them itself."""
        return self.order == "channels last" or np.issubdtype(self.dtype, np.integer)

    @property
    def side(self) -> int | None:
        """Side of the square that is taken, in pixels; None if any is."""
        axes = self.sizes[-3:-1] if self.order == "channels last" else self.sizes[-2:]
        return next((size for size in axes if size is not None), None)

    def scaled(self, image: UInt8[np.ndarray, "H W 3"]) -> Num[np.ndarray, "..."]:
        """Colours in [0, 1], for an encoder that does all else itself, as that of EfficientSAM."""
        if self.side is not None:
            image = resized(image, (self.side, self.side), in_bytes=True).astype(np.uint8)
        values = image.astype(np.float32) / 255
        if self.order == "channels first":
            values = values.transpose(2, 0, 1)
        values = values if len(self.sizes) == 3 else values[None]
        return np.ascontiguousarray(values.astype(self.dtype))

    def arrange(
        self, image: Float[np.ndarray, "h w 3"], size: tuple[int, int]
    ) -> Num[np.ndarray, "..."]:
        """Colours in [0, 255] as the encoder takes them, with the mean colour beside the photo."""
        side = self.side
        if side is None and not self.raw:
            side = max(size)
        if side is not None and (side, side) != size:
            padded = np.empty((side, side, 3))
            padded[:] = MEAN
            padded[: size[0], : size[1]] = image
            image = padded
        if not self.raw:
            image = (image - np.array(MEAN)) / np.array(DEVIATION)
        elif np.issubdtype(self.dtype, np.integer):
            image = np.round(image)
        if self.order == "channels first":
            image = image.transpose(2, 0, 1)
        image = image if len(self.sizes) == 3 else image[None]
        return np.ascontiguousarray(image.astype(self.dtype))


def resized(
    image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int], *, in_bytes: bool
) -> Float[np.ndarray, "h w 3"]:
    """Photo at another height and width, smoothed where it shrinks, as colours in [0, 255].

    Args:
        image: Photo.
        size: Height and width, in pixels.
        in_bytes: Round colours to bytes in between, as segment_anything does.
    """
    if in_bytes:
        shape = (size[1], size[0])
        return np.asarray(Image.fromarray(image).resize(shape, Image.Resampling.BILINEAR), float)
    import torch
    from torch.nn.functional import interpolate

    values = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    small = interpolate(values, size, mode="bilinear", align_corners=False, antialias=True)
    return small[0].permute(1, 2, 0).numpy().astype(float)


def sizes_of(declared: Any, path: Path) -> tuple[int | None, ...]:
    """Length of each axis of an input of onnxruntime; None where any is taken.

    Raises:
        InputError: If the input is larger than that of any known model.
    """
    try:
        shape = list(declared.shape)
    except UnicodeDecodeError:  # Axes have names.
        raise InputError(f"{path} is damaged (names are no text); export it again.") from None
    sizes = tuple(size if isinstance(size, int) and size > 0 else None for size in shape)
    total = 1
    for size in sizes:
        total *= size or 1
    if total > 3 * MOST_SIDE**2 or len(sizes) > 8:
        raise InputError(
            f"{declared.name} of {path} has the shape {shape[:8]}; expected at most "
            f"{3 * MOST_SIDE**2} values."
        )
    return sizes


def dtype_of(declared: Any, path: Path) -> type[np.generic]:
    """Type of an input of onnxruntime.

    Raises:
        InputError: If it is none of `DTYPES`.
    """
    if declared.type not in DTYPES:
        raise InputError(
            f"{declared.name} of {path} is of type {declared.type}; expected {', '.join(DTYPES)}."
        )
    return DTYPES[declared.type]
