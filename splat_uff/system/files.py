"""Files that are either complete or absent: write to a temporary name, then rename."""

import glob
import json
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from splat_uff.system.errors import InputError, argument, reason_of
from splat_uff.system.portable import is_device, patiently

_PARSING = threading.Lock()
"""Held while NumPy parses a header: Python 3.11 counts the depth of all parsing threads together,
and now and then refuses a good file if two parse at once."""
LEFTOVER_SECONDS = 3600
"""Age in seconds from which a half-written folder belongs to no running process."""
LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})
"""Names, in lower case, that Windows, the zip of macOS and Synology devices leave in folders."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to; it becomes `path` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _hidden_sibling(path.with_name(path.stem), path.suffix)
    try:
        temporary.touch(exist_ok=False)
        yield temporary
        patiently(lambda: temporary.replace(path))
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling folder of `path`; it becomes `path` if the block succeeds.

    An interrupted block leaves nothing at `path`. An existing folder is replaced as a whole. The
    leftovers of a killed process, which had no time to clean up, are removed after an hour.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}-????????"):
        with suppress(FileNotFoundError):  # Another process may be removing it, too.
            if time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
    temporary = _hidden_sibling(path)
    try:
        temporary.mkdir()
        yield temporary
        if path.exists():
            patiently(lambda: shutil.rmtree(path))
        patiently(lambda: temporary.rename(path))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def visible_entries(folder: Path) -> list[Path]:
    """Files and folders that a person put into `folder`, sorted by name.

    Names that start with a dot (`.DS_Store`, `._photo.png`) and leftovers of file managers
    (`Thumbs.db`, `desktop.ini`, `__MACOSX`, `@eaDir`, in upper or lower case) are left out.

    Raises:
        OSError: If `folder` is not a folder, or cannot be listed.
    """
    return sorted(
        (path for path in folder.iterdir() if not is_hidden(path.name)),
        key=lambda path: path.name,
    )


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or a leftover of a file manager."""
    return name.startswith(".") or name.lower() in LITTER


def visible_files(folder: Path, endings: Collection[str]) -> list[Path]:
    """Files with one of the given endings below a folder, at any depth, sorted.

    Files that `visible_entries` leaves out are left out at all levels. Links are followed, and a
    folder that is reached twice is listed once.

    Args:
        folder: Folder to search.
        endings: File endings in lower case, with the dot; files may have them in upper case, too.
    """
    found, waiting, seen = [], [folder], set()
    while waiting:
        place = waiting.pop()
        real = place.resolve()
        if real in seen:
            continue
        seen.add(real)
        for entry in visible_entries(place):
            if entry.is_dir():
                waiting.append(entry)
            elif entry.suffix.lower() in endings:
                found.append(entry)
    return sorted(found)


def require_new(folder: Path) -> None:
    """Check that results can be written to a folder, and that nothing would be lost.

    Nothing is created, so that a long computation that fails leaves nothing behind.

    Raises:
        InputError: If the folder is not empty, is a file, or cannot be created where it is to be.
    """
    if folder.exists() and (not folder.is_dir() or not all(map(_is_litter, folder.iterdir()))):
        raise InputError(f"{folder} is there already; pass a new folder as {argument('output')}.")
    if folder.is_symlink() and not folder.exists():
        raise InputError(
            f"{folder} is a link to {folder.readlink()}, which is not there; make that folder, "
            f"or pass another {argument('output')}."
        )
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise InputError(
            f"{place} is a file, so {folder} cannot be in it; pass another {argument('output')}."
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(
            f"{place} may not be written; change its permissions, or pass another "
            f"{argument('output')}."
        )


def folded(name: str) -> str:
    """Fold a name as Windows and macOS do to compare names: by case and by Unicode spelling."""
    return unicodedata.normalize("NFC", name).casefold()


def require_apart(folder: Path, names: Iterable[str], *, nested: bool = False) -> None:
    """Check that files written under several names do not collide.

    Args:
        folder: Folder to write to.
        names: Names of the views whose files or folders will be written; they may contain slashes.
        nested: Whether one name may be a parent folder of another, as for files with endings.

    Raises:
        InputError: If two names are the same to this disk, or one folder would lie in another.
    """
    merged = ignores_case(folder)
    known: dict[str, str] = {}
    for name in names:
        key = folded(name) if merged else name
        if key in known:
            raise InputError(
                f"the files of views {known[key]} and {name} would be the same in {folder}; "
                "rename one of the photos."
            )
        known[key] = name
    for key, name in known.items() if not nested else ():
        for above in Path(key).parents:
            if above.as_posix() in known:
                raise InputError(
                    f"the files of view {name} would lie among those of view "
                    f"{known[above.as_posix()]}; rename one of the photos."
                )


def ignores_case(folder: Path) -> bool:
    """Whether the disk that holds a folder treats `a` and `A` as the same name."""
    while not folder.is_dir():
        folder = folder.parent
    with tempfile.NamedTemporaryFile(prefix=".case-", dir=folder) as file:
        return (folder / Path(file.name).name.upper()).exists()


def inside_folder(folder: Path, name: str) -> Path:
    """Path of a new file or folder with a typed name, checked to stay inside a folder.

    Args:
        folder: Folder in which the path must lie.
        name: Typed name: letters, digits, space, dot, dash and underscore, and no dot first.

    Raises:
        InputError: If the name is not allowed or that of a device on Windows, or the folder or the
            path is a link.
    """
    name = name.strip()
    if not re.fullmatch(r"[^\W_][\w .-]{0,79}", name) or name.endswith("."):
        raise InputError(
            f"{name[:40]!r} cannot be a file name here; expected letters, digits, space, dot, dash "
            "and underscore, a letter or digit first, at most 80."
        )
    if is_device(name):
        raise InputError(f"{name} is a device on Windows and no file; type another name.")
    if folder.is_symlink() or (folder / name).is_symlink():
        raise InputError(f"{folder / name} is a link to elsewhere; type another name.")
    return folder / name


def map_array(path: Path) -> np.ndarray:
    """Map the array of an `.npy` file into memory; pickles are refused.

    Raises:
        ValueError: If the file is missing, damaged, or holds anything else.
    """
    try:
        with _PARSING:
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # The header is parsed as Python source and may fail as such.
        raise ValueError(reason_of(error)) from None
    if not isinstance(mapped, np.ndarray):
        raise ValueError("several arrays, as in an .npz")
    return mapped


def write_json(path: Path, record: Any) -> None:
    """Write `record` as indented JSON; NaN is refused, because JSON has none."""
    with replacing(path) as temporary:
        text = json.dumps(record, indent=2, allow_nan=False) + "\n"
        temporary.write_text(text, encoding="utf-8")


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write named arrays as one `.npz`."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read every array of an `.npz`; pickled members are refused.

    Raises:
        InputError: If the file is missing, truncated or holds pickled objects.
    """
    if not path.is_file():
        raise InputError(f"no file {path}; expected an .npz written by splat-uff.")
    try:
        with _PARSING, path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise InputError(
            f"{path} is not a readable .npz ({reason_of(error)}); make it again."
        ) from None
    except Exception as error:  # zipfile and zlib errors share no base class with the above.
        raise InputError(f"{path} is damaged ({reason_of(error)}); make it again.") from None


def _is_litter(path: Path) -> bool:
    """Whether a file manager left the file; other dot files may be someone's work."""
    name = path.name.lower()
    return name in LITTER or name == ".ds_store" or name.startswith("._")


def _hidden_sibling(path: Path, suffix: str = "") -> Path:
    """Hidden name beside `path` that nothing else has.

    Whoever creates it does so after a `try` that removes it, so that an interruption at any moment
    leaves nothing; the system sets its permissions by the umask, as for any new file.
    """
    return path.with_name(f".{path.name}-{secrets.token_hex(4)}{suffix}")
