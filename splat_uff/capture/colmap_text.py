"""COLMAP's text models, converted to the form that pycolmap reads.

pycolmap ends a photo's name at its first blank, and requires a second line for every image, which
programs that write only poses leave out.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

MOST_LINE = 1 << 26
"""Maximum length of a line, in characters."""
MOST_BYTES = 1 << 30
"""Maximum size of a file that is copied unchanged."""
_UNIT = 1e-2
"""Tolerance for the length 1 of a rotation's quaternion."""


def plain_copy(model: Path, target: Path) -> dict[int, str]:
    """Copy a text model without the parts pycolmap fails on: image names and the tracks of points.

    Args:
        model: Folder with `cameras.txt`, `images.txt` and `points3D.txt`.
        target: Empty folder to copy to.

    Returns:
        Names of the images by id; in the copy, each image is named by its id.

    Raises:
        ValueError: If a line is not what COLMAP writes.
        OSError: If a file is missing.
    """
    for name in ("cameras.txt", "rigs.txt", "frames.txt"):
        path = model / name
        if not path.is_file() and name != "cameras.txt":
            continue  # Models of COLMAP 3.11 and older do not have it.
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise ValueError(f"no {name} of at most {MOST_BYTES} bytes")
        shutil.copyfile(path, target / name)
    _drop_mark(target / "cameras.txt")
    names: dict[int, str] = {}
    with (target / "images.txt").open("w", encoding="utf-8") as file:
        for words, name in _read_images(model / "images.txt"):
            number = int(words[0])
            if number in names:
                raise ValueError(f"images.txt has two images with the id {number}")
            names[number] = name
            file.write(" ".join(words) + f" {number}\n\n")
    with (target / "points3D.txt").open("w", encoding="utf-8") as file:
        for line in _lines(model / "points3D.txt"):
            if line.strip() and not line.startswith("#"):
                file.write(" ".join(line.split(maxsplit=8)[:8]) + "\n")  # Without its track.
    return names


def count_images(path: Path) -> int:
    """Number of images in an `images.txt`.

    Raises:
        ValueError: If a line is not what COLMAP writes.
    """
    return sum(1 for _ in _read_images(path))


def _read_images(path: Path) -> Iterator[tuple[list[str], str]]:
    """Yield the nine numbers and the name of each image."""
    after_image = False
    for line in _lines(path):
        if line.lstrip().startswith("#"):
            continue
        image = _image_of(line)
        if after_image and (image is None or _is_points(line)):
            after_image = False  # This is the line of the image's points, which may be empty.
            continue
        if not line.strip():
            continue
        if image is None:
            raise ValueError(f"images.txt has the line {line.strip()[:60]!r}")
        yield image
        after_image = True


def _image_of(line: str) -> tuple[list[str], str] | None:
    """The nine numbers and the name in a line, or None if the line is not an image's."""
    match = re.fullmatch(r"\s*((?:\S+\s+){9})(.*\S)\s*", line)
    if match is None:
        return None
    words = match[1].split()
    try:
        _ = int(words[0]), int(words[8])
        rotation = np.array([float(word) for word in words[1:8]])[:4]
    except ValueError:
        return None
    length = float(np.linalg.norm(rotation))
    return (words, match[2]) if abs(length - 1) < _UNIT or not np.isfinite(length) else None


def _is_points(line: str) -> bool:
    """Whether a line could also be a list of points: x, y and a whole number, repeated."""
    words = line.split()
    try:
        [float(word) for word in words]
        [int(word) for word in words[2::3]]
    except ValueError:
        return False
    return len(words) % 3 == 0 and not _is_whole(words[0])


def _is_whole(word: str) -> bool:
    return re.fullmatch(r"[0-9]+", word) is not None


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        while line := file.readline(MOST_LINE):
            if len(line) >= MOST_LINE:
                raise ValueError(f"{path.name} has a line of over {MOST_LINE} characters")
            yield line


def _drop_mark(path: Path) -> None:
    """Rewrite a file without the byte order mark that Windows puts at its beginning."""
    content = path.read_bytes()
    if content.startswith(b"\xef\xbb\xbf"):
        path.write_bytes(content[3:])
