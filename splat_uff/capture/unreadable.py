"""Descriptions of files that Pillow cannot read, for errors that say more than "no image"."""

from importlib.util import find_spec
from pathlib import Path

UNREADABLE_ENDINGS = (
    *(".heic", ".heif", ".hif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf"),
    *(".rw2", ".psd", ".exr", ".hdr", ".svg"),
)
"""Endings of pictures that are found by name, so that an error can say what they are."""
_RAW = (".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2")
_HEIC = (b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1", b"heim", b"heis")
_HEAD = 512


def describe_unreadable(path: Path) -> str | None:
    """Describe a file that could not be read, and what to do about it; None if it is unknown.

    Its first bytes identify the file, or else its ending.

    Args:
        path: File to describe; it exists.

    Returns:
        End of a sentence that begins with "FILE is".
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    ending = path.suffix.lower()
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if find_spec("pillow_heif") is None and brand in _HEIC:
            return (
                "HEIC, which Pillow reads only with a plugin; run pip install pillow-heif, or "
                "save it as JPEG or PNG."
            )
        if brand in (b"avif", b"avis"):
            return "AVIF, which this Pillow cannot read; save it as JPEG or PNG."
    if head.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS and not the picture; run git lfs pull in its folder."
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JPEG XL, which cannot be read here; save it as JPEG or PNG."
    if head.startswith(b"\x76\x2f\x31\x01"):
        return "OpenEXR, which cannot be read here; save it as PNG with 8 or 16 bits."
    if head.startswith((b"#?RADIANCE", b"#?RGBE")):
        return "Radiance HDR, which cannot be read here; save it as PNG with 8 or 16 bits."
    if head.startswith(b"8BPS"):
        return "a Photoshop document, which cannot be read here; save it as PNG."
    if b"<svg" in head:
        return "SVG, which has no pixels; save it as PNG."
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"{")):
        return "a text, perhaps an error message of the web page it is from; download it again."
    if ending in _RAW and head:
        return "a camera's raw picture, which cannot be read here; develop it to JPEG or PNG."
    if head.startswith((b"II*\0", b"MM\0*")) and ending in (".tif", ".tiff"):
        return (
            "a TIFF of a kind that Pillow cannot read, or a damaged one; save it as PNG with 8 "
            "bits a channel."
        )
    return None
