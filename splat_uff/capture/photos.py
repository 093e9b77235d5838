"""Files of photos: finding them by the names in other files, at the size that is needed."""

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from splat_uff.capture.images import read_image_size
from splat_uff.capture.names import IMAGE_ENDINGS, without_ending
from splat_uff.capture.unreadable import UNREADABLE_ENDINGS
from splat_uff.system.errors import InputError
from splat_uff.system.files import folded, visible_entries
from splat_uff.system.progress import notice

PHOTOS = "images"
"""Folder of the photos in most layouts."""
_TWIN = re.compile(r"images_([0-9]{1,3})(_png)?", re.IGNORECASE)
"""Name of a folder of the same photos, reduced by a factor; gsplat's examples write PNG."""
HARDLY_READABLE = (".heic", ".heif", *UNREADABLE_ENDINGS)
_RANKS = {ending: rank for rank, ending in enumerate((*IMAGE_ENDINGS, *UNREADABLE_ENDINGS))}


@dataclass(frozen=True)
class _Listing:
    """Entries of a folder by folded name, and its pictures by folded name without ending."""

    by_name: dict[str, list[Path]] = field(default_factory=dict)
    by_stem: dict[str, list[Path]] = field(default_factory=dict)

    @staticmethod
    def of(folder: Path) -> "_Listing":
        listing = _Listing()
        entries = visible_entries(folder)
        for entry in entries:
            listing.by_name.setdefault(folded(entry.name), []).append(entry)
        pictures = [entry for entry in entries if entry.suffix.lower() in _RANKS]
        for entry in sorted(pictures, key=lambda entry: _RANKS[entry.suffix.lower()]):
            stem = folded(entry.name[: -len(entry.suffix)])
            listing.by_stem.setdefault(stem, []).append(entry)
        return listing


class Finder:
    """Finder of files by names that may differ from theirs in case, ending or separators.

    Every folder is listed only once, so use a new `Finder` each time a capture is read.
    """

    def __init__(self, folder: Path) -> None:
        """Start without listing any folder.

        Args:
            folder: Folder of the capture; paths are relative to it.
        """
        self.folder = folder
        self._listings: dict[Path, _Listing] = {}
        self._named: set[str] = set()
        self._different: dict[str, str] = {}
        self._renamed: dict[str, str] = {}

    def find(self, path: PurePosixPath) -> Path | None:
        """Find the picture that a path refers to; None if there is none.

        Names are tried in this order: the exact name; the same in another case; NAME with another
        ending, or with one if the path has none; NAME.ENDING.png; NAME without an ending. Endings
        are tried in the order of `IMAGE_ENDINGS`, then those of unreadable pictures, so that these
        are reported as such.

        Raises:
            InputError: If the file is a link to itself.
        """
        place = self._place(path.parent)
        if place is None:
            return None
        exact = place / path.name
        if _is_file(exact) and exact.suffix.lower() not in HARDLY_READABLE:
            return exact
        listing, stem = self._listing(place), without_ending(path.name)
        options = [exact, *listing.by_name.get(folded(path.name), [])]
        options = [*options, *listing.by_stem.get(folded(stem), [])]
        options += listing.by_stem.get(folded(path.name), [])
        options += listing.by_name.get(folded(stem), [])
        there = [option for option in options if _is_file(option)]
        # A converted picture may lie beside the original, which cannot be read.
        there.sort(key=lambda option: option.suffix.lower() in HARDLY_READABLE)
        return there[0] if there else None

    def photos(self, paths: Sequence[PurePosixPath], size: int) -> list[Path | None]:
        """Find the files of photos, like `photo`; a file found for several paths goes to one.

        It goes to the path with exactly its name, or else to the first.
        """
        # A folder that paths of photos name is not a folder of reduced photos.
        self._named |= {folded(path.parts[0]) for path in paths}
        found = [self.photo(path, size) for path in paths]
        owners: dict[Path, PurePosixPath] = {}
        for path, file in zip(paths, found, strict=True):
            if file is not None and (file not in owners or file.name == path.name):
                owners[file] = path
        for path, file in zip(paths, found, strict=True):
            if file is not None and owners[file] == path and path.name in self._different:
                self._renamed[path.name] = self._different[path.name]
        return [
            file if file is not None and owners[file] == path else None
            for path, file in zip(paths, found, strict=True)
        ]

    def photo(self, path: PurePosixPath, size: int) -> Path | None:
        """Find the file of a photo: the original, or its smallest twin that is large enough.

        Among `images`, `images_2`, `images_4` ..., this is the smallest photo that is no smaller
        than `size`, or else the largest. Each photo is looked up separately, so one that is missing
        in a folder is read from another.

        Args:
            path: Path of the photo, relative to the capture.
            size: Least length of the longer side, in pixels, if there is such a photo.
        """
        own = self.find(path)
        if own is not None and without_ending(path.name) != path.name != own.name:
            self._different[path.name] = own.name
        options = [*(self.find(twin) for twin in self._twins_of(path)), own]
        found = [option for option in options if option is not None]
        for option in found[:-1]:
            if max(read_image_size(option)) >= size:
                return option
        return found[-1] if found else None

    @cached_property
    def twins(self) -> dict[int, str]:
        """Names of the folders of reduced photos, by factor, smallest photos first."""
        found: dict[int, str] = {}
        for entry in visible_entries(self.folder):
            match = _TWIN.fullmatch(entry.name)
            if match and int(match[1]) > 1 and entry.is_dir():
                found.setdefault(int(match[1]), entry.name)
        return dict(sorted(found.items(), reverse=True))

    def say_renamed(self) -> None:
        """Print a notice on photos that were found under another name than the one written."""
        if self._renamed:
            written, found = next(iter(self._renamed.items()))
            count = len(self._renamed)
            what = "photo is" if count == 1 else "photos are"
            notice(f"{count} {what} there under another name than is written ({written}: {found}).")

    def _twins_of(self, path: PurePosixPath) -> list[PurePosixPath]:
        if len(path.parts) < 2 or folded(path.parts[0]) != PHOTOS:
            return []
        rest = path.relative_to(path.parts[0])
        twins = (twin for twin in self.twins.values() if folded(twin) not in self._named)
        return [PurePosixPath(twin) / rest for twin in twins]

    def _place(self, folder: PurePosixPath) -> Path | None:
        """Find a folder whose name may differ in case."""
        here = self.folder
        for part in folder.parts:
            options = [here / part]
            if not options[0].is_dir() and here.is_dir():
                options = self._listing(here).by_name.get(folded(part), [])
            there = next((option for option in options if option.is_dir()), None)
            if there is None:
                return None
            here = there
        return here if here.is_dir() else None

    def _listing(self, folder: Path) -> _Listing:
        if folder not in self._listings:
            self._listings[folder] = _Listing.of(folder)
        return self._listings[folder]


def _is_file(path: Path) -> bool:
    """Whether a file exists; a link to nothing does not count.

    Raises:
        InputError: If the file is a link to itself, or may not be read.
    """
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(
                f"{path} is a link that leads in a circle; put the file itself there."
            ) from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise InputError(
                f"{path} may not be read; change its permissions, or those of its folder."
            ) from None
        return False
    return path.is_file()
