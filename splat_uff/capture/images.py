"""Image files, read with care: colour with alpha, ids, and averaging down to a smaller size."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Bool, Float, Int, Shaped
from PIL import Image, ImageOps

from splat_uff.errors import InputError

MAX_PIXELS = 64 * 2**20
"""Larger images are refused by their header, before a byte is decoded."""

# Named, so that Pillow never hands a stranger's file to an external interpreter (EPS, PDF).
_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
_ORIENTATION = 0x0112
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def read_image(path: Path, *, upright: tuple[int, int] | None = None) -> Float[np.ndarray, "H W 4"]:
    """Read a photo as float32 RGBA in [0, 1], colour multiplied by alpha.

    Grey becomes three equal channels, a missing alpha becomes 1, a palette is looked up, and
    16-bit grey keeps its precision. An EXIF orientation is followed only where the photo has the
    proportions of `upright` with it and not without: most programs that find poses ignore it.

    Args:
        path: Of the photo.
        upright: Height and width that its camera says.

    Raises:
        InputError: If the file is missing, no image, truncated or larger than `MAX_PIXELS`.
    """
    with _opened(path) as image:
        if upright is not None and _is_turned(image, upright):
            image = ImageOps.exif_transpose(image)
        if image.mode in _SIXTEEN_BIT:
            grey = np.asarray(image).astype(np.float32) / 65535
            return np.stack([grey, grey, grey, np.ones_like(grey)], axis=-1)
        if image.mode == "F":
            raise InputError(
                f"{path} holds floating point pixels; expected 8 or 16 bits a channel, "
                "so save it as PNG."
            )
        rgba = np.asarray(image.convert("RGBA")).astype(np.float32) / 255
    rgba[..., :3] *= rgba[..., 3:]
    return rgba


def read_image_size(path: Path) -> tuple[int, int]:
    """Height and width by the header of an image file, without decoding it.

    Raises:
        InputError: If the file is missing, no image or larger than `MAX_PIXELS`.
    """
    with _opened(path) as image:
        return image.height, image.width


def read_binary(path: Path) -> Bool[np.ndarray, "H W"]:
    """Read a binary mask: pixels brighter than half of the brightest are True.

    So masks of 0 and 1 read like masks of 0 and 255, and one of only zeros is empty.

    Raises:
        InputError: If the file is missing, no image, truncated or larger than `MAX_PIXELS`.
    """
    with _opened(path) as image:
        if image.mode not in ("1", "L", *_SIXTEEN_BIT):
            image = image.convert("RGB").getchannel(0)
        values = np.asarray(image)
    if values.dtype == bool:
        return values
    return values > values.max() // 2


def read_label_map(path: Path) -> Int[np.ndarray, "H W"]:
    """Read a label map from a grey or palette image of 8 or 16 bits, as int32.

    Raises:
        InputError: If the file is missing, no image, truncated, too large or in colour.
    """
    with _opened(path) as image:
        if image.mode not in ("L", "P", "1", *_SIXTEEN_BIT):
            raise InputError(
                f"{path} is in colour ({image.mode}); expected one number a pixel, 8 or 16 bits."
            )
        return np.asarray(image).astype(np.int32)


def read_ids(path: Path) -> Int[np.ndarray, "H W"]:
    """Read segment ids from channel 0 of an 8- or 16-bit TIFF, as int32.

    Raises:
        InputError: If the file is missing, damaged, too large or does not hold small integers.
    """
    _require_file(path)
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            height, width = page.imagelength, page.imagewidth  # pyright: ignore
            _check_size(path, height, width)
            values = page.asarray()
            # "S" is the axis of the channels: last as a rule, first in a planar file.
            ids = values if "S" not in page.axes else np.take(values, 0, axis=page.axes.index("S"))
    except InputError:
        raise
    except Exception as error:
        ids = _read_ids_compressed(path, error)
    if ids.dtype not in (np.uint8, np.uint16) or ids.ndim != 2:
        raise InputError(
            f"{path} holds {ids.dtype} of shape {ids.shape}; expected one image of ids of 8 or 16 "
            "bits, so save it as such."
        )
    return ids.astype(np.int32)


def _is_turned(image: Image.Image, upright: tuple[int, int]) -> bool:
    """Whether only the EXIF orientation gives a photo the proportions of its camera."""
    wants_turning = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    height, width = upright
    return wants_turning and (image.height > image.width) != (height > width)


def area_resize(
    image: Float[np.ndarray, "H W *C"], height: int, width: int
) -> Float[np.ndarray, "height width *C"]:
    """Average an image over the areas that the pixels of a coarser grid cover.

    Every input pixel counts by the part of its area that falls in, so the mean is kept exactly.
    Colours must be multiplied by alpha, or the colour of invisible pixels would bleed in.

    Args:
        image: Any number of channels.
        height: Rows of the result.
        width: Columns of the result.
    """
    columns = _average_rows(_average_rows(image, height).swapaxes(0, 1), width)
    return np.ascontiguousarray(columns.swapaxes(0, 1))


def reduced_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width when the longer side becomes `size`; never larger than it was."""
    scale = min(1.0, size / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _average_rows(
    image: Shaped[np.ndarray, "H W *C"], height: int
) -> Float[np.ndarray, "height W *C"]:
    rows = image.shape[0]
    if rows == height:
        return image
    if rows % height == 0:
        # A few sums of whole slices run many times faster than a reduction over a short axis.
        factor = rows // height
        total = image[0::factor].copy()
        for offset in range(1, factor):
            total += image[offset::factor]
        return total * np.asarray(1 / factor, dtype=image.dtype)
    weights = _row_weights(rows, height).astype(image.dtype)
    return (weights @ image.reshape(rows, -1)).reshape(height, *image.shape[1:])


def _row_weights(rows: int, height: int) -> Float[np.ndarray, "height rows"]:
    """Share of each input row in each output row: overlaps of two grids over one interval."""
    edges = np.arange(height + 1) * (rows / height)
    below = np.minimum(edges[1:, None], np.arange(1, rows + 1))
    above = np.maximum(edges[:-1, None], np.arange(rows))
    return np.clip(below - above, 0, None) * (height / rows)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image whose size is acceptable; whatever then fails is a damaged file."""
    _require_file(path)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            _check_size(path, image.height, image.width)
            yield image
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{path} has over {MAX_PIXELS} pixels; make the image smaller.") from None
    except Exception as error:  # Each format's parser raises what it likes, also SyntaxError.
        raise InputError(
            f"{path} is not a whole image file ({_one_line(error)}); export or copy it again."
        ) from None


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"no image {path}; expected a file there, so restore or export it.")


def _check_size(path: Path, height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise InputError(
            f"{path} has {width}x{height} pixels; at most {MAX_PIXELS} are read, so make the "
            "image smaller."
        )


def _read_ids_compressed(path: Path, failure: Exception) -> Shaped[np.ndarray, "..."]:
    """Read 8-bit ids through Pillow, which knows compressions that tifffile alone does not."""
    with _opened(path) as image:
        bits = getattr(image, "tag_v2", {}).get(258, (8,))
        if any(depth != 8 for depth in np.atleast_1d(bits)) or image.mode not in _EIGHT_BIT:
            # Pillow would silently drop the low byte of 16-bit colour.
            raise InputError(
                f"{path} cannot be read as ids ({_one_line(failure)}); save it as an uncompressed "
                "TIFF of 8 or 16 bits."
            )
        return np.asarray(image.getchannel(0))


_EIGHT_BIT = ("L", "LA", "RGB", "RGBA")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:120]
