"""Names of photos: their order, and the paths that files state."""

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from splat_uff.system.errors import InputError

IMAGE_ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".jfif", ".jpe"),
    *(".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".mpo", ".apng"),
    *(".pcx", ".qoi", ".dib", ".sgi", ".heic", ".heif"),
)
"""Endings of pictures that Pillow reads, the last two with a plugin; lower case, by preference."""
_LONGEST = 255
"""Bytes of a file name that file systems allow."""


def natural_key(name: str) -> list[str | int]:
    """Sort key that takes runs of digits as numbers, so that r_2 comes before r_10."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def without_ending(name: str, endings: Sequence[str] = IMAGE_ENDINGS) -> str:
    """A name or path without the ending of a picture; what else follows a dot is part of the name.

    Example:
        >>> without_ending("cam/r_0.JPG"), without_ending("frame.0001")
        ('cam/r_0', 'frame.0001')
    """
    ending = PurePosixPath(name).suffix
    return name[: -len(ending)] if ending and ending.lower() in endings else name


def stated_path(
    folder: Path, written: str, source: Path, field: str = "file_path"
) -> PurePosixPath:
    """A path that stands in a file, relative to the folder that it may not leave.

    Backslashes separate folders, as Windows writes them, unless a file of just that name is there.
    Links inside of the folder may lead anywhere, since the user made them; the text may not.

    Args:
        folder: Where relative paths start.
        written: As in the file.
        source: The file, for messages.
        field: What the path is called there, for messages.

    Raises:
        InputError: If the path is absolute or climbs out of the folder, or is no path.
    """
    text = written
    if "\\" in text and not _is_there(folder, text):
        text = text.replace("\\", "/")
    if not _is_path(text):
        raise InputError(
            f"{source} has {field} {written[:80]!r}; expected a path such as './train/r_0'."
        )
    base = os.path.abspath(folder)  # noqa: PTH100 - Links are not to be followed.
    real = os.path.realpath(folder)
    if text.startswith(real + os.sep) and not text.startswith(base + os.sep):
        text = text[len(real) + 1 :]  # Absolute, and the folder was given through a link.
    drive = re.match(r"[A-Za-z]:/", text) is not None and os.name != "nt"
    # Collapsed as text: ".." behind a link would lead out of where the link leads to.
    path = os.path.normpath(os.path.join(base, text))  # noqa: PTH118
    if drive or os.path.commonpath([base, path]) != base:
        raise InputError(
            f"{source} has {field} {written[:200]!r}, which leads out of {folder}; expected a "
            "file inside, so copy it there and make the path relative."
        )
    return PurePosixPath(Path(os.path.relpath(path, base)).as_posix())


def view_names(paths: Sequence[PurePosixPath]) -> list[str]:
    """Names for photos: the file names without ending where these differ, else with folders.

    Folders that all paths share at the front are left out.

    Args:
        paths: Relative to one folder.
    """
    short = [without_ending(path.name) for path in paths]
    if len(set(short)) == len(short):
        return short
    shared = os.path.commonpath([path.parent for path in paths])
    return [without_ending(path.relative_to(shared).as_posix()) for path in paths]


def _is_path(text: str) -> bool:
    """Whether a file could be called so."""
    try:
        lengths = [len(os.fsencode(part)) for part in text.split("/")]
    except UnicodeEncodeError:  # Half of a pair of code units.
        return False
    return bool(text.strip()) and "\0" not in text and max(lengths) <= _LONGEST


def _is_there(folder: Path, name: str) -> bool:
    try:
        return (folder / name).exists()
    except (OSError, ValueError):  # Too long, a zero byte.
        return False
