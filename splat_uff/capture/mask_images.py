"""Reading pictures as masks and as label maps, with the same rules for segments and cut-outs.

docs/input.md tabulates the rules. A mask has the shape of its photo, within a pixel of rounding.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Shaped
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from splat_uff.capture.images import LOSSY, SIXTEEN_BIT, opened
from splat_uff.system.errors import InputError

HALF = 128
"""Least alpha, and least brightness in lossy pictures, of a pixel in a mask."""
SOLID_SHARE = 0.1
"""Share of the non-black pixels above which a colour is drawn, rather than a soft edge."""
SOFT_SHARE = 0.8
"""Share of pixels at 0 and 255 above which a picture of over `MOST_FLAT` greys is one mask."""
MOST_FLAT = 16
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""
_GREY = ("L", "LA", "La", "I", "F", *SIXTEEN_BIT)


def read_mask(path: Path) -> Bool[np.ndarray, "H W"]:
    """Read one mask, however it is drawn.

    The first rule that applies decides which pixels are in the mask:

    * alpha, if some pixels are opaque and some are not: pixels with an alpha of at least one half;
    * a colour palette: every index but 0, or if just two colours are used, the one that is not
      black;
    * grey: pixels brighter than half of the brightest, so that masks of 0 and 1 read like those of
      0 and 255; in lossy formats, pixels from 128 of 255;
    * colour: pixels that are not black, with soft edges from half of the darkest drawn colour.

    Args:
        path: Picture in any format that `read_image` reads.

    Raises:
        InputError: If the file is missing, not an image, truncated or too large.
    """
    with opened(path) as image:
        alpha = _telling_alpha(image)
        if alpha is not None:
            return alpha
        lossy = image.format in LOSSY
        if image.mode == "1":
            return np.asarray(image)
        if image.mode in _GREY:
            return _bright(
                np.asarray(image if len(image.getbands()) == 1 else image.getchannel(0)), lossy
            )
        if image.mode == "P":
            return _indexed(image)
        colours = np.asarray(image.convert("RGB"))
    if (colours == colours[..., :1]).all():
        return _bright(colours[..., 0], lossy)
    return _not_black(colours, lossy)


def read_label_map(path: Path, *, lifts: bool | None = None) -> Int[np.ndarray, "H W"]:
    """Read a label map: one number per pixel, from 1; 0 is no segment.

    In grey of 8, 16 or 32 bits the value is the label; in a palette it is the index, except 255,
    which is no segment. In colour, every colour but black is a label, and soft edges take the
    nearest label. Pixels that alpha leaves out are no segment. If a map has -1 (255 or 65535 if
    unsigned), that is no segment and 0 is an ordinary label; all labels then go up by one. A grey
    picture that is 0 or 255 almost everywhere, and grey only along edges, is one mask with soft
    edges.

    Args:
        path: Picture in a lossless format that `read_image` reads.
        lifts: Whether -1 is no segment and 0 a label, if known from other maps.

    Raises:
        InputError: If the file is missing, not an image, truncated, too large or a JPEG, or holds
            numbers that are not whole.
    """
    with opened(path) as image:
        if image.format in LOSSY and not _is_lossless(path):
            form = "JPEG" if image.format == "MPO" else image.format
            raise InputError(
                f"{path} is a {form}, whose compression changes labels; save label maps as PNG."
            )
        shown = _telling_alpha(image)
        if image.mode in ("1", "P", *_GREY):
            labels = np.asarray(image if len(image.getbands()) == 1 else image.getchannel(0))
        else:
            labels = _numbered(np.asarray(image.convert("RGB")))
        most = largest_of(image.mode)
        if image.mode == "P":  # VOC's "void".
            labels = np.where(labels == 255, 0, labels)
        if image.mode not in _GREY:
            lifts = False
    if labels.dtype.kind == "f":
        if not (np.isfinite(labels).all() and (labels == np.rint(labels)).all()):
            raise InputError(f"{path} holds numbers that are not whole; expected labels.")
        labels = labels.clip(-1, 2**31 - 1)
    labels = labels.astype(np.int32)
    if image.mode == "L" and _is_soft_mask(labels):
        labels, lifts = (labels >= HALF).astype(np.int32), False
    lifts = has_negative(labels, most) if lifts is None else lifts
    if lifts:
        labels = np.where((labels < 0) | (labels == most), 0, labels + 1).astype(np.int32)
    return labels if shown is None else np.where(shown, labels, 0)


def states_negative(path: Path) -> bool:
    """Whether a grey label map has -1, possibly stored as the largest unsigned value.

    Raises:
        InputError: If the file is missing, not an image, truncated or too large.
    """
    with opened(path) as image:
        if image.mode not in ("L", "I", "F", *SIXTEEN_BIT) or image.format in LOSSY:
            return False
        labels = np.asarray(image)
        if image.mode == "L" and _is_soft_mask(labels):
            return False
        return has_negative(labels, largest_of(image.mode))


def largest_of(kind: str | np.dtype) -> int | None:
    """Largest value of an unsigned Pillow mode or NumPy type, which stores -1; None if signed."""
    if isinstance(kind, str):
        return 255 if kind == "L" else 2**16 - 1 if kind in SIXTEEN_BIT else None
    few = kind.kind == "u" and kind.itemsize <= 2  # In any order of bytes.
    return int(np.iinfo(kind).max) if few else None


def has_negative(labels: Shaped[np.ndarray, "*S"], most: int | None) -> bool:
    """Whether labels have -1, or in its place `most`, the largest value that they can hold.

    `most` does not count if 0 is the only other label, since it is then the white of a mask, nor if
    `most - 1` is a label, since both are then ordinary labels.
    """
    if most is None:
        return bool((labels < 0).any())
    wrapped = labels == most
    others = (labels > 0) & ~wrapped
    return bool(wrapped.any() and others.any() and not (labels == most - 1).any())


def has_two_values(path: Path) -> bool:
    """Whether a picture is one mask, not a label map: it has at most two values, or soft edges.

    Raises:
        InputError: If the file is missing, not an image, truncated or too large.
    """
    with opened(path) as image:
        if image.format in LOSSY or image.mode not in ("L", "P", "RGB", "RGBA", *SIXTEEN_BIT, "I"):
            return True
    return len(np.unique(read_label_map(path))) <= 2


def has_shape(shape: tuple[int, ...], photo: tuple[int, int]) -> bool:
    """Whether one of two sizes is the other scaled by one factor, with sides rounded."""

    def is_reduced(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
        pairs = list(zip(one, other, strict=True))
        low = max((side - 1) / whole for side, whole in pairs)
        high = min((side + 1) / whole for side, whole in pairs)
        return low < high

    return is_reduced(shape, photo) or is_reduced(photo, shape)


def has_any_shape(shape: tuple[int, ...], photos: Sequence[tuple[int, int]]) -> bool:
    """Whether `has_shape` holds for any size of a photo that exists at several sizes."""
    return any(has_shape(shape, photo) for photo in photos)


def as_photo(
    mask: Bool[np.ndarray, "_ _"],
    path: Path,
    *,
    shapes: Sequence[tuple[int, int]],
    other_turn: int,
) -> Bool[np.ndarray, "H W"]:
    """Turn a mask to the orientation in which its photo was read.

    Args:
        mask: Mask as stored in its file.
        path: File of the mask, for error messages.
        shapes: Heights and widths of the photo as it was read, before it was reduced.
        other_turn: EXIF orientation of `View.other_turn`.

    Raises:
        InputError: If the mask has the photo's shape in neither orientation.
    """
    if has_any_shape(mask.shape, shapes):
        return mask
    if other_turn in SIDEWAYS and has_any_shape(mask.shape[::-1], shapes):
        return turned(mask, other_turn)
    shape = shapes[0]
    raise InputError(
        f"{path} is {mask.shape[1]}x{mask.shape[0]}, its photo {shape[1]}x{shape[0]}; expected a "
        "mask of the photo's proportions, so make the masks of this view again."
    )


def turned(picture: Shaped[np.ndarray, "H W *C"], orientation: int) -> Shaped[np.ndarray, "h w *C"]:
    """Turn a picture upright, according to an EXIF orientation from 1 to 8.

    Source: CIPA DC-008 (Exif 3.0), tag 274.
    """
    if orientation in SIDEWAYS:
        picture = picture.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    return np.ascontiguousarray(picture)


def turned_back(orientation: int) -> int:
    """EXIF orientation that undoes the given one."""
    return {6: 8, 8: 6}.get(orientation, orientation)


def _telling_alpha(image: Image.Image) -> Bool[np.ndarray, "H W"] | None:
    """Opaque pixels of a picture; None if all or none of them are."""
    if "A" not in image.getbands() and "a" not in image.getbands():
        if "transparency" not in image.info or image.mode not in ("P", "L", "RGB"):
            return None
        image = image.convert("RGBA")
    opaque = np.asarray(image.getchannel(len(image.getbands()) - 1)) >= HALF
    return opaque if opaque.any() and not opaque.all() else None


def _bright(values: Shaped[np.ndarray, "H W"], lossy: bool) -> Bool[np.ndarray, "H W"]:
    if lossy:
        return values >= HALF
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0, posinf=0, neginf=0)
        return (values > values.max(initial=0) / 2) & (values > 0)
    return values > max(0, int(values.max(initial=0))) // 2


def _indexed(image: Image.Image) -> Bool[np.ndarray, "H W"]:
    indices = np.asarray(image)
    palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    used = np.unique(indices)
    colours = palette[used[used < len(palette)]]
    distinct = np.unique(colours, axis=0)
    if len(distinct) > 1 and (colours == colours[:, :1]).all():
        return _bright(palette[indices][..., 0], False)
    black = used[: len(colours)][~colours.any(axis=1)]
    if len(used) == 2 and len(black) == 1:
        return indices != black[0]
    return indices != 0


def _not_black(colours: Shaped[np.ndarray, "H W 3"], lossy: bool) -> Bool[np.ndarray, "H W"]:
    brightest = colours.max(axis=2)
    drawn = brightest[brightest > (HALF // 8 if lossy else 0)]
    if lossy:  # Compression spreads colours over their neighbours, so none stands out.
        return brightest > np.median(drawn) / 2 if len(drawn) else np.zeros_like(brightest, bool)
    codes, counts = np.unique(_codes(colours[brightest > 0]), return_counts=True)
    solid = codes[counts >= SOLID_SHARE * len(drawn)]
    darkest = min(
        (max(code >> 16, code >> 8 & 255, code & 255) for code in solid.tolist()), default=0
    )
    return (brightest > 0) & (brightest >= darkest / 2)


def _numbered(colours: Shaped[np.ndarray, "H W 3"]) -> Int[np.ndarray, "H W"]:
    """Number the colours in the order of their codes, black as 0; grey keeps its own value."""
    if (colours == colours[..., :1]).all():
        return colours[..., 0].astype(np.int32)
    codes = _without_rims(_codes(colours))
    known = np.unique(codes)
    first = 0 if known[0] == 0 else 1
    # Row by row: all pixels at once would take several arrays of eight bytes each.
    labels = np.empty(codes.shape, np.int32)
    for row, code in enumerate(codes):
        labels[row] = np.searchsorted(known, code) + first
    return labels


def _without_rims(codes: Int[np.ndarray, "H W"]) -> Int[np.ndarray, "H W"]:
    """Replace the codes of colours that occur only along edges by the nearest drawn colours.

    A colour is drawn if it fills a square of two by two pixels somewhere. If fewer than half of the
    colours are, the others come from smoothed edges.
    """
    same = codes[1:, 1:]
    full = (same == codes[:-1, 1:]) & (same == codes[1:, :-1]) & (same == codes[:-1, :-1])
    drawn, known = np.unique(same[full]), np.unique(codes)
    if not 0 < len(drawn) < len(known) - len(drawn):
        return codes
    rims = known[~np.isin(known, drawn)]
    own, others = (_channels(each).astype(np.float32) for each in (rims, drawn))
    nearest = np.concatenate(
        [
            drawn[((part[:, None] - others[None]) ** 2).sum(axis=2).argmin(axis=1)]
            for part in np.array_split(own, max(1, len(own) * len(others) // 10**6))
        ]
    )
    mended = codes.copy()
    inside = np.isin(codes, rims)
    mended[inside] = nearest[np.searchsorted(rims, codes[inside])]
    return mended


def _channels(codes: Int[np.ndarray, "K"]) -> Int[np.ndarray, "K 3"]:
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)


def _is_lossless(path: Path) -> bool:
    """Whether a file is lossless WebP."""
    with path.open("rb") as file:
        head = file.read(64)
    return head[8:12] == b"WEBP" and b"VP8L" in head


def _codes(colours: Shaped[np.ndarray, "*S 3"]) -> Int[np.ndarray, "*S"]:
    codes = colours[..., 0].astype(np.int32)
    for channel in (1, 2):
        codes <<= 8
        codes |= colours[..., channel]
    return codes


def _is_soft_mask(values: Shaped[np.ndarray, "H W"]) -> bool:
    """Whether grey occurs only along the edges of white, or there are too many greys for labels.

    Labels are areas, and an area at least three pixels wide survives an erosion.
    """
    white, grey = values == 255, (values > 0) & (values < 255)
    if not white.any() or not grey.any():
        return False
    flat = values.size - np.count_nonzero(grey)
    if len(np.unique(values)) > MOST_FLAT and flat >= SOFT_SHARE * values.size:
        return True
    square = np.ones((3, 3), bool)
    near_white = binary_dilation(white, square, iterations=2)
    return not binary_erosion(grey, square).any() and bool(near_white[grey].all())
