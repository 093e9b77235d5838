"""Files of a SOG, in a zip or in a folder, and its images."""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from splat_uff.formats.quantised import damaged
from splat_uff.system.errors import InputError, reason_of

KIND = "SOG"
META = "meta.json"
BYTES_PER_PIXEL = 8
"""Bytes of an image per pixel above which it is refused; uncompressed pixels take 4."""
FREE_IMAGE_BYTES = 1 << 20
Read = Callable[[str, int], bytes]
"""Function that reads a file of the SOG by its name, if it has no more bytes than given."""


@contextmanager
def open_source(path: Path) -> Iterator[Read]:
    """Open a `.sog`, an unpacked folder, or the `meta.json` in it.

    Yields:
        Function that reads a file beside `meta.json`.

    Raises:
        InputError: If there is no `meta.json`; while reading, if a file is missing, damaged or
            larger than allowed, or its name is that of a file elsewhere.
    """
    if path.is_dir() or path.suffix.lower() == ".json":
        meta = path / META if path.is_dir() else path

        def read_beside(name: str, most: int) -> bytes:
            file = meta if name == META else meta.parent / _plain(path, name)
            return _read_file(path, file, most)

        yield read_beside
        return
    if not path.is_file():
        raise InputError(f"{path} is not there; expected a .sog, its folder, or its {META}.")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise damaged(path, KIND, reason_of(error)) from None
    with archive:
        yield lambda name, most: _read_member(path, archive, name, most)


def _plain(path: Path, name: str) -> str:
    """Check that a name is that of a file in the same folder."""
    if not name or name in (".", "..") or any(sign in name for sign in "/\\:\0"):
        raise damaged(path, KIND, f"{META} names the file {name[:60]!r}, which is elsewhere")
    return name


def _read_file(path: Path, file: Path, most: int) -> bytes:
    if not file.is_file():
        raise damaged(path, KIND, f"no file {file.name} in it")
    try:
        size = file.stat().st_size
        if size > most:
            raise damaged(path, KIND, f"{file.name} has {size:,} bytes; expected at most {most:,}")
        return file.read_bytes()
    except OSError as error:
        raise damaged(path, KIND, f"{file.name}: {reason_of(error)}") from None


def _read_member(path: Path, archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    try:
        member = archive.getinfo(_plain(path, name))
        if member.file_size > most:
            raise damaged(
                path, KIND, f"{name} has {member.file_size:,} bytes; expected at most {most:,}"
            )
        with archive.open(member) as file:
            return file.read(most)
    except KeyError:
        raise damaged(path, KIND, f"no file {name} in it") from None
    except InputError:
        raise
    except (  # The last two are of encrypted members and unknown methods.
        *(zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError),
        *(RuntimeError, NotImplementedError),
    ) as error:
        raise damaged(path, KIND, f"{name}: {reason_of(error)}") from None


def most_bytes(pixels: int) -> int:
    """Most bytes of an image of so many pixels."""
    return BYTES_PER_PIXEL * pixels + FREE_IMAGE_BYTES


def decode_image(
    path: Path, name: str, content: bytes, *, least: int, most: int
) -> UInt8[np.ndarray, "H W 4"]:
    """Decode an image of WebP; its size is checked before memory is taken for it.

    Args:
        path: SOG, for messages.
        name: Name of the image, for messages.
        content: Bytes of the image.
        least: Number of pixels that are needed.
        most: Number of pixels from which it is too large.

    Raises:
        InputError: If it is damaged, no WebP, too small, or too large.
    """
    from PIL import Image, UnidentifiedImageError

    width, height = _webp_size(content) or (0, 0)
    if not width:
        raise damaged(path, KIND, f"{name} is no WebP")
    if not least <= width * height <= most:
        raise damaged(path, KIND, f"{name} has {width} x {height} pixels, not {least} to {most}")
    try:
        with Image.open(io.BytesIO(content), formats=["WEBP"]) as image:
            if image.size != (width, height):
                raise damaged(path, KIND, f"{name} has two sizes")
            return np.asarray(image.convert("RGBA"))
    except InputError:
        raise
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        raise damaged(path, KIND, f"{name}: {reason_of(error)}") from None


def _webp_size(content: bytes) -> tuple[int, int] | None:
    """Width and height in the first chunk of a WebP (RFC 9649); None if it is none."""
    if len(content) < 30 or content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        return None
    match content[12:16]:
        case b"VP8L" if content[20] == 0x2F:
            (bits,) = struct.unpack_from("<I", content, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            return (
                int.from_bytes(content[24:27], "little") + 1,
                int.from_bytes(content[27:30], "little") + 1,
            )
        case b"VP8 ":
            width, height = struct.unpack_from("<2H", content, 26)
            return width & 0x3FFF, height & 0x3FFF
    return None
