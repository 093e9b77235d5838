"""Safe reading of image files: colour with alpha, ids, and averaging down to a smaller size."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Float, Int, Shaped, UInt8
from PIL import Image, ImageOps

from splat_uff.capture.unreadable import describe_unreadable
from splat_uff.system.errors import InputError, reason_of

MAX_PIXELS = 64 * 2**20
"""Maximum size of an image, in pixels; larger ones are refused before they are decoded."""

# Listed explicitly, so that Pillow never hands an untrusted file to an interpreter (EPS, PDF).
_FORMATS = (
    *("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "TGA", "JPEG2000", "AVIF", "HEIF"),
    *("MPO", "DIB", "PCX", "QOI", "SGI"),
)
LOSSY = ("JPEG", "MPO", "WEBP", "JPEG2000", "AVIF", "HEIF")
"""Formats whose compression slightly changes pixels."""
_ORIENTATION = 0x0112
STATED = "stated orientation"
"""Key in `image.info` for a TIFF's orientation, after it is removed from the EXIF data."""
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes for 16-bit grey."""
BRIGHTER = 2.0
"""Floats up to this value are read as 0 to 1; brighter lights are clipped to 1."""
_WHOLE_RANGES = (255, 2**16 - 1, 2**32 - 1)


def read_image(
    path: Path, *, upright: tuple[int, int] | None = None, white: float | None = None
) -> Float[np.ndarray, "H W 4"]:
    """Read a photo as float32 RGBA in [0, 1], colour multiplied by alpha.

    Grey becomes three equal channels, a missing alpha becomes 1, a palette is looked up, and
    16-bit grey keeps its precision. Pixels of 32 bits are divided by `white`, or else by the
    smallest of 1 (floats only), 255, 65535 and 2^32 - 1 that none of them exceeds. An EXIF
    orientation is followed only if the photo has the proportions of `upright` with it and not
    without it, since most programs that estimate poses ignore it.

    Args:
        path: Photo to read.
        upright: Height and width of the photo according to its camera.
        white: Value of white in 16- or 32-bit grey, if known from other photos.

    Raises:
        InputError: If the file is missing, not an image, truncated or larger than `MAX_PIXELS`, or
            has floating point pixels that are negative or not finite.
    """
    with opened(path) as image:
        if upright is not None and _is_turned(image, upright):
            image = _upright(image)
        if image.mode in (*SIXTEEN_BIT, "I", "F"):
            is_wide = image.mode in SIXTEEN_BIT or image.format in ("PNG", "PPM")
            if is_wide and image.mode != "F":  # Older versions of Pillow read 16-bit PNG as "I".
                white = white or 65535
            grey = _to_unit_range(np.asarray(image), image.mode, path, white)
            return np.stack([grey, grey, grey, np.ones_like(grey)], axis=-1)
        rgba = np.asarray(image.convert("RGBA")).astype(np.float32) / 255
    rgba[..., :3] *= rgba[..., 3:]
    return rgba


def read_image_size(path: Path) -> tuple[int, int]:
    """Read height and width from the header of an image file, without decoding it.

    Raises:
        InputError: If the file is missing, not an image or larger than `MAX_PIXELS`.
    """
    with opened(path) as image:
        return image.height, image.width


def read_turn(path: Path, upright: tuple[int, int]) -> tuple[int, bool]:
    """Read the orientation in a photo's EXIF data, and whether `read_image` follows it.

    Args:
        path: Photo to read.
        upright: Height and width of the photo according to its camera.

    Returns:
        Orientation, 1 to 8, 1 if none is stated; and whether the photo is turned upright.

    Raises:
        InputError: In the same cases as `read_image_size`.
    """
    with opened(path) as image:
        orientation = _orientation_of(image)
        turned = _is_turned(image, upright)
    return (orientation if orientation in range(1, 9) else 1), turned


def has_alpha_channel(path: Path) -> bool:
    """Whether an image file has an alpha channel, according to its header.

    Raises:
        InputError: In the same cases as `read_image_size`.
    """
    with opened(path) as image:
        return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def find_white(paths: Iterable[Path]) -> float | None:
    """Find the value of white in grey photos of over 8 bits: the least usual one none exceeds.

    A 12-bit camera writes 16-bit files, and a single dark photo does not reveal its range.

    Args:
        paths: All photos of one capture.

    Returns:
        1 (floats only), 255, 4095, 16383, 65535 or 2^32 - 1; None if no photo has such pixels.

    Raises:
        InputError: In the same cases as `read_image`.
    """
    largest, floats = None, False
    for path in paths:
        with opened(path) as image:
            if image.mode not in (*SIXTEEN_BIT, "I", "F"):
                continue
            values, floats = np.asarray(image), floats or image.mode == "F"
        if values.dtype.kind == "i":
            values = values.astype(np.int64) % 2**32
        finite = values[np.isfinite(values)]
        largest = max(largest or 0.0, float(finite.max(initial=0)))
    if largest is None:
        return None
    if floats and largest <= BRIGHTER:
        return 1.0
    whites = (255, 2**12 - 1, 2**14 - 1, 2**16 - 1, 2**32 - 1)
    return next((float(white) for white in whites if largest <= white), None)


def _to_unit_range(
    values: Shaped[np.ndarray, "H W"], mode: str, path: Path, white: float | None
) -> Float[np.ndarray, "H W"]:
    """Scale pixels of 16 or 32 bits to [0, 1]."""
    if mode == "F":
        if not np.isfinite(values).all() or values.min() < 0:
            raise InputError(
                f"{path} holds floating point pixels that are negative or not finite; expected 0 "
                "to 1, so save it as PNG."
            )
        ranges: tuple[int, ...] = (1, *_WHOLE_RANGES)
    else:
        values, ranges = values.astype(np.int64) % 2**32, _WHOLE_RANGES  # Pillow is signed.
    if white is not None:
        return (values / white).clip(0, 1).astype(np.float32)
    largest = float(values.max(initial=0))
    if mode == "F" and 1 < largest <= BRIGHTER:
        values, largest = values.clip(max=1), 1.0
    whole = next((each for each in ranges if largest <= each), None)
    if whole is None:
        raise InputError(
            f"{path} holds pixels up to {largest:.4g}; expected at most 2^32, so save it as PNG."
        )
    return (values / whole).astype(np.float32)


def read_ids(path: Path) -> Int[np.ndarray, "H W"]:
    """Read segment ids from channel 0 of an 8- or 16-bit TIFF, as int32.

    Raises:
        InputError: If the file is missing, damaged or too large, or does not hold small integers.
    """
    _require_file(path)
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            height, width = page.imagelength, page.imagewidth  # pyright: ignore
            _check_size(path, height, width)
            values = page.asarray()
            # "S" is the axis of the channels: usually last, but first in a planar file.
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


def _orientation_of(image: Image.Image) -> int:
    return image.info.get(STATED) or image.getexif().get(_ORIENTATION, 1)


def _is_turned(image: Image.Image, upright: tuple[int, int]) -> bool:
    """Whether a photo has the proportions of its camera only with its EXIF orientation."""
    wants_turning = _orientation_of(image) in (5, 6, 7, 8)
    height, width = upright
    return wants_turning and (image.height > image.width) != (height > width)


def area_resize(
    image: Float[np.ndarray, "H W *C"], height: int, width: int
) -> Float[np.ndarray, "height width *C"]:
    """Average an image over the areas that the pixels of a coarser grid cover.

    Every input pixel is weighted by the part of its area that is covered, so the mean is preserved.
    Colours must be multiplied by alpha, or the colour of invisible pixels would bleed in.

    Args:
        image: Image with any number of channels.
        height: Rows of the result.
        width: Columns of the result.
    """
    columns = _average_rows(_average_rows(image, height).swapaxes(0, 1), width)
    return np.ascontiguousarray(columns.swapaxes(0, 1))


def reduced_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width after the longer side is reduced to `size`; never larger than before."""
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
    """Share of each input row in each output row: overlaps of two grids over the same interval."""
    edges = np.arange(height + 1) * (rows / height)
    below = np.minimum(edges[1:, None], np.arange(1, rows + 1))
    above = np.maximum(edges[:-1, None], np.arange(rows))
    return np.clip(below - above, 0, None) * (height / rows)


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image of acceptable size; any error while it is open means a damaged file.

    Raises:
        InputError: If the file is missing, not an image, truncated or larger than `MAX_PIXELS`.
    """
    _require_file(path)
    try:
        with Image.open(path, formats=_formats()) as image:
            _check_size(path, image.height, image.width)
            if image.format == "TIFF":
                _leave_as_stored(image)
            yield image
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(f"{path} has over {MAX_PIXELS} pixels; make the image smaller.") from None
    except Exception as error:  # Each format's parser raises its own errors, even SyntaxError.
        known = describe_unreadable(path)
        if known is not None:
            raise InputError(f"{path} is {known}") from None
        raise InputError(
            f"{path} is not a whole image file ({reason_of(error)}); export or copy it again."
        ) from None


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture upright, according to its orientation."""
    if STATED in image.info:
        image.load()
        image.getexif()[_ORIENTATION] = image.info[STATED]
    return ImageOps.exif_transpose(image)


def _leave_as_stored(image: Image.Image) -> None:
    """Keep Pillow from turning a TIFF when it is loaded; it turns no other format."""
    exif = image.getexif()
    orientation = exif.get(_ORIENTATION, 1)
    if orientation != 1:
        del exif[_ORIENTATION]
        image.info[STATED] = orientation
        # Pillow has swapped its size, too; there is no other way to undo that.
        image._size = getattr(image, "_tile_size", image.size)  # pyright: ignore


@cache
def _formats() -> tuple[str, ...]:
    """Formats of `_FORMATS` that the installed Pillow and its plugins can read."""
    if find_spec("pillow_heif") is not None:
        import pillow_heif  # pyright: ignore[reportMissingImports]

        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


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
    """Read 8-bit ids with Pillow, which supports compressions that tifffile alone does not."""
    with opened(path) as image:
        bits = getattr(image, "tag_v2", {}).get(258, (8,))
        if any(depth != 8 for depth in np.atleast_1d(bits)) or image.mode not in _EIGHT_BIT:
            # Pillow would silently drop the low byte of 16-bit colour.
            raise InputError(
                f"{path} cannot be read as ids ({reason_of(failure)}); save it as an uncompressed "
                "TIFF of 8 or 16 bits."
            )
        return np.asarray(image.getchannel(0))


_EIGHT_BIT = ("L", "LA", "RGB", "RGBA")


def to_bytes(picture: Float[np.ndarray, "*_ C"]) -> UInt8[np.ndarray, "*_ C"]:
    """Convert colours in [0, 1] to bytes."""
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
