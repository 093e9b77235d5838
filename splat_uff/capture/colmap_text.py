"""COLMAP's text models, brought into the form that pycolmap reads.

pycolmap ends a photo's name at its first blank, and wants a second line for every image, which
programs that write models of poses alone leave out.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

MOST_LINE = 1 << 26
"""Characters of one line, at most."""
MOST_BYTES = 1 << 30
"""Of the files that are copied as they are."""
_UNIT = 1e-2
"""Rotations are of length 1 within so much."""


def plain_copy(model: Path, target: Path) -> dict[int, str]:
    """Copy a text model without what pycolmap stumbles over: names, and where points are seen.

    Args:
        model: Folder with `cameras.txt`, `images.txt` and `points3D.txt`.
        target: Empty folder.

    Returns:
        Names of the images by their ids; in the copy they are called by these.

    Raises:
        ValueError: If a line is not what COLMAP writes.
        OSError: If a file is missing.
    """
    for name in ("cameras.txt", "rigs.txt", "frames.txt"):
        path = model / name
        if not path.is_file() and name != "cameras.txt":
            continue  # They are newer than COLMAP 3.11.
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
    """The nine numbers of each image, and its name."""
    after_image = False
    for line in _lines(path):
        if line.lstrip().startswith("#"):
            continue
        image = _image_of(line)
        if after_image and (image is None or _is_points(line)):
            after_image = False  # The line of its points, which may be empty.
            continue
        if not line.strip():
            continue
        if image is None:
            raise ValueError(f"images.txt has the line {line.strip()[:60]!r}")
        yield image
        after_image = True


def _image_of(line: str) -> tuple[list[str], str] | None:
    """The nine numbers and the name that a line holds, if it is one of an image."""
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
    """Whether a line could be points as well: x, y and a whole number, again and again."""
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
    """Write a file again without the byte order mark that Windows puts at its beginning."""
    content = path.read_bytes()
    if content.startswith(b"\xef\xbb\xbf"):
        path.write_bytes(content[3:])
