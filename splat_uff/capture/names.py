"""Names of photos: their order, and the paths given for them in files."""

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
"""Endings of pictures that Pillow reads, the last two with a plugin; lower case, best first."""
_LONGEST = 255
"""Maximum length of a file name in usual file systems, in bytes."""


def natural_key(name: str) -> list[str | int]:
    """Sort key that compares runs of digits as numbers, so that r_2 comes before r_10."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def without_ending(name: str, endings: Sequence[str] = IMAGE_ENDINGS) -> str:
    """Remove the ending of a picture from a name or path; any other suffix is part of the name.

    Example:
        >>> without_ending("cam/r_0.JPG"), without_ending("frame.0001")
        ('cam/r_0', 'frame.0001')
    """
    ending = PurePosixPath(name).suffix
    return name[: -len(ending)] if ending and ending.lower() in endings else name


def stated_path(
    folder: Path, written: str, source: Path, field: str = "file_path"
) -> PurePosixPath:
    """Parse a path written in a file, relative to a folder that it must not leave.

    Backslashes separate folders, as on Windows, unless a file of exactly that name exists. Links
    inside the folder may lead anywhere, since the user made them; the written path may not.

    Args:
        folder: Folder that relative paths start from.
        written: Path as written in the file.
        source: File that holds the path, for error messages.
        field: Name of the path's field in that file, for error messages.

    Raises:
        InputError: If the path is absolute, leaves the folder, or is not a path.
    """
    text = written
    if "\\" in text and not _is_there(folder, text):
        text = text.replace("\\", "/")
    if not _is_path(text):
        raise InputError(
            f"{source} has {field} {written[:80]!r}; expected a path such as './train/r_0'."
        )
    base = os.path.abspath(folder)  # noqa: PTH100 - Must not follow links.
    real = os.path.realpath(folder)
    if text.startswith(real + os.sep) and not text.startswith(base + os.sep):
        text = text[len(real) + 1 :]  # Absolute, and the folder was given through a link.
    drive = re.match(r"[A-Za-z]:/", text) is not None and os.name != "nt"
    # Collapsed as text: ".." after a link would be resolved in the folder the link points to.
    path = os.path.normpath(os.path.join(base, text))  # noqa: PTH118
    if drive or os.path.commonpath([base, path]) != base:
        raise InputError(
            f"{source} has {field} {written[:200]!r}, which leads out of {folder}; expected a "
            "file inside, so copy it there and make the path relative."
        )
    return PurePosixPath(Path(os.path.relpath(path, base)).as_posix())


def view_names(paths: Sequence[PurePosixPath]) -> list[str]:
    """Name photos by their file names without ending, with folders if these are not unique.

    Leading folders that all paths share are left out.

    Args:
        paths: Paths of the photos, relative to one folder.
    """
    short = [without_ending(path.name) for path in paths]
    if len(set(short)) == len(short):
        return short
    shared = os.path.commonpath([path.parent for path in paths])
    return [without_ending(path.relative_to(shared).as_posix()) for path in paths]


def _is_path(text: str) -> bool:
    """Whether a text is a possible path of a file."""
    try:
        lengths = [len(os.fsencode(part)) for part in text.split("/")]
    except UnicodeEncodeError:  # An unpaired surrogate.
        return False
    return bool(text.strip()) and "\0" not in text and max(lengths) <= _LONGEST


def _is_there(folder: Path, name: str) -> bool:
    try:
        return (folder / name).exists()
    except (OSError, ValueError):  # Too long, or with a zero byte.
        return False
