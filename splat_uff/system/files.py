"""Files that are either whole or absent: write to a temporary name, then rename."""

import glob
import json
import re
import secrets
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from splat_uff.system.errors import InputError, argument, reason_of

MOST_HEADER = 1 << 16
"""Bytes in which the header of a `.ply` must end; those of splats have some 2000."""
LEFTOVER_SECONDS = 3600
"""Half-written folders older than this belong to no running process."""
LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})
"""Names, in lower case, that Windows, macOS' zip and Synology's file stations leave in folders."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to; it becomes `path` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _new_sibling(path.with_name(path.stem), path.suffix, _make_file)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling folder of `path`; it becomes `path` if the block succeeds.

    An interrupted block leaves nothing at `path`. A folder that stood there is replaced whole.
    What a process left that was killed, with no time to clear away, goes after an hour.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{glob.escape(path.name)}-????????"):
        with suppress(FileNotFoundError):  # Another process may be at the same.
            if time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)
    temporary = _new_sibling(path, "", Path.mkdir)
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def visible_entries(folder: Path) -> list[Path]:
    """The files and folders that a person put into `folder`, sorted by name.

    Names that start with a dot (`.DS_Store`, `._photo.png`) and what file managers leave behind
    (`Thumbs.db`, `desktop.ini`, `__MACOSX`, `@eaDir`, in any case of letters) are left out.

    Raises:
        OSError: If `folder` is no folder, or may not be listed.
    """
    return sorted(
        (path for path in folder.iterdir() if not is_hidden(path.name)),
        key=lambda path: path.name,
    )


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or what a file manager leaves behind."""
    return name.startswith(".") or name.lower() in LITTER


def visible_files(folder: Path, endings: Collection[str]) -> list[Path]:
    """The files below a folder, at any depth, that have one of these endings, sorted.

    What `visible_entries` leaves out is left out on all levels. Links are followed, a folder that
    is reached twice is listed once.

    Args:
        folder: Where to look.
        endings: In lower case, with the dot; files have them in any case.
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
    """See that nothing would be lost if results went into a folder.

    Raises:
        InputError: If it holds something, or is a file.
    """
    if folder.exists() and (not folder.is_dir() or not all(map(_is_litter, folder.iterdir()))):
        raise InputError(f"{folder} is there already; pass a new folder as {argument('output')}.")


def folded(name: str) -> str:
    """A name as Windows and macOS tell it from others: in no case of letters, in one spelling."""
    return unicodedata.normalize("NFC", name).casefold()


def require_apart(folder: Path, names: Iterable[str], *, nested: bool = False) -> None:
    """See that what is written under several names does not meet in one place.

    Args:
        folder: Where it is to go.
        names: Of the views whose files or folders are to come; a name may hold slashes.
        nested: Whether one name may be a folder on the way to another, as for files with endings.

    Raises:
        InputError: If two names are one to this disk, or one folder would lie in another.
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
    """Whether the disk that a folder is on takes `a` and `A` for one name."""
    while not folder.is_dir():
        folder = folder.parent
    with tempfile.NamedTemporaryFile(prefix=".case-", dir=folder) as file:
        return (folder / Path(file.name).name.upper()).exists()


def inside_folder(folder: Path, name: str) -> Path:
    """The path of a new file or folder whose name someone typed, which stays in a folder.

    Args:
        folder: Where it may be.
        name: As typed; letters, digits, space, dot, dash and underscore, not a dot first.

    Raises:
        InputError: If it is no such name, or the folder itself leads elsewhere.
    """
    name = name.strip()
    if not re.fullmatch(r"[^\W_][\w .-]{0,79}", name) or name.endswith("."):
        raise InputError(
            f"{name[:40]!r} cannot be a file name here; expected letters, digits, space, dot, dash "
            "and underscore, a letter or digit first, at most 80."
        )
    if folder.is_symlink() or (folder / name).is_symlink():
        raise InputError(f"{folder / name} is a link to elsewhere; type another name.")
    return folder / name


def check_ply_counts(path: Path) -> None:
    """Refuse a `.ply` that announces more rows than it can hold, before memory is taken for them.

    Raises:
        ValueError: If it does, or its header does not end.
    """
    with path.open("rb") as file:
        header, end, _ = file.read(MOST_HEADER).partition(b"end_header")
    size = path.stat().st_size
    if header.startswith(b"ply") and not end and size > MOST_HEADER:
        raise ValueError(f"no end_header in its first {MOST_HEADER} bytes")
    for words in map(bytes.split, header.splitlines()):
        count = int(words[-1]) if words[:1] == [b"element"] and words[-1].isdigit() else 0
        if count > size:  # A row of whatever kind takes a byte or more.
            raise ValueError(f"{count} rows announced in {size} bytes")


def map_array(path: Path) -> np.ndarray:
    """Map the one array of an `.npy` into memory; pickles are refused.

    Raises:
        ValueError: If the file is missing, damaged, or holds anything else.
    """
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # A header is parsed as Python's source, and fails as such.
        raise ValueError(reason_of(error)) from None
    if not isinstance(mapped, np.ndarray):
        raise ValueError("several arrays, as in an .npz")
    return mapped


def write_json(path: Path, record: Any) -> None:
    """Write `record` as indented JSON; NaN is refused, since JSON has none."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n")


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
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise InputError(
            f"{path} is not a readable .npz ({reason_of(error)}); make it again."
        ) from None
    except Exception as error:  # zipfile and zlib errors share no base class with the above.
        raise InputError(f"{path} is damaged ({reason_of(error)}); make it again.") from None


def _is_litter(path: Path) -> bool:
    """Whether a file manager left it; other names that start with a dot may be somebody's work."""
    name = path.name.lower()
    return name in LITTER or name == ".ds_store" or name.startswith("._")


def _new_sibling(path: Path, suffix: str, make: Callable[[Path], None]) -> Path:
    """Make a file or folder beside `path`, under a hidden name that nothing else has.

    The system gives it the permissions of any new file, by the umask of the process. To look that
    up would change it for a moment, in which other threads make files that everyone may write to.
    """
    while True:
        sibling = path.with_name(f".{path.name}-{secrets.token_hex(4)}{suffix}")
        try:
            make(sibling)
        except FileExistsError:
            continue
        return sibling


def _make_file(path: Path) -> None:
    path.touch(exist_ok=False)
