"""Names of photos: their order, and the files that they lead to."""

import re
from pathlib import Path

from splat_uff.errors import InputError

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def natural_key(name: str) -> list[str | int]:
    """Sort key that takes runs of digits as numbers, so that r_2 comes before r_10."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def image_path(folder: Path, written: str, source: Path) -> Path:
    """The photo that a path written in a file means, with its ending; it need not exist.

    Args:
        folder: Where relative paths start, and what they may not leave.
        written: As in the file, with or without an ending.
        source: The file, for messages.

    Raises:
        InputError: If the path leads out of the folder, or is none.
    """
    options = [folder / written]
    if options[0].suffix.lower() not in IMAGE_ENDINGS:
        options = [folder / (written + ending) for ending in IMAGE_ENDINGS]
    try:
        path = next((option for option in options if option.is_file()), options[0])
        leaves = not path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # Too long, a zero byte, a loop of links.
        raise InputError(
            f"{source} has file_path {written[:80]!r}; expected a path such as './train/r_0'."
        ) from None
    if leaves:
        raise InputError(
            f"{source} has file_path {written!r}, which leads out of {folder}; expected a "
            "photo inside, so copy it there and make the path relative."
        )
    return path
