"""Finding the masks of each view in a folder, whatever tool wrote them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from splat_uff.capture.names import IMAGE_ENDINGS, without_ending
from splat_uff.capture.records import View
from splat_uff.capture.unreadable import UNREADABLE_ENDINGS
from splat_uff.system.errors import InputError
from splat_uff.system.files import folded, visible_entries

MOST_MASKS = 10_000
"""Maximum number of masks of one view."""
_PICTURES = (*IMAGE_ENDINGS, *UNREADABLE_ENDINGS)


@dataclass(frozen=True)
class Place:
    """Place of one view's masks: at most one of these is set."""

    folder: Path | None = None
    """Folder of pictures, one mask each."""
    encoded: Path | None = None
    """File of run-length encoded masks, JSON."""
    array: Path | None = None
    """File of label maps, `.npy`."""
    levels: tuple[Path, ...] = ()
    """Pictures of label maps, one per level."""

    @property
    def is_empty(self) -> bool:
        """Whether the view has no masks."""
        return not (self.folder or self.encoded or self.array or self.levels)


class Places:
    """Finder of the masks of views in a folder, which is listed only once.

    Names are compared without ending, and without case if there is no exact match, so `photo.jpg/`,
    `photo.JPG.png` and `photo.json` all belong to the view `photo`. `photo_1.png` is a further
    level of `photo.png` only if no photo has that name, as phones use such names for duplicates,
    and at least half of the views with a label map have that level.
    """

    def __init__(
        self,
        source: Path,
        views: Sequence[View],
        others: Sequence[View] = (),
        left_out: Iterable[str] = (),
    ) -> None:
        """List the folder.

        Args:
            source: Folder of masks.
            views: Views whose masks to find.
            others: Views whose names take precedence over those of `views`.
            left_out: Names of photos that are not views.
        """
        self._source = source
        self._listed: dict[Path, _Listing] = {}
        self._names = _usable_names(views, others)
        names = [name for view in (*views, *others) for name in view.mask_names]
        self._owned = {folded(name) for name in (*names, *left_out)}
        self._exact = set(names)
        self._num_levels = self._count_levels(views)

    def of(self, view: View) -> Place:
        """Place of a view's masks; empty if there are none."""
        for name in self._names[view.name]:
            place = self._named(name)
            if not place.is_empty:
                return place
        return Place()

    def _named(self, name: str) -> Place:
        entries = self._entries(name)
        folder = next((entry for entry in entries if entry.is_dir() and pictures_in(entry)), None)
        if folder is not None:
            return Place(folder=folder)
        encoded = _with_ending(entries, ".json")
        if encoded is not None:
            return Place(encoded=encoded)
        array = _with_ending(entries, ".npy")
        if array is not None:
            return Place(array=array)
        first = _picture(entries)
        if first is None:
            return Place()
        levels = [first]
        for number in range(1, self._num_levels):
            further = self._level(name, number)
            if further is None:
                break
            levels.append(further)
        return Place(levels=tuple(levels))

    def _level(self, name: str, number: int) -> Path | None:
        """Find a further label map of a view, unless it belongs to another photo."""
        stem = without_ending(name)
        ending = name[len(stem) :]
        for option in dict.fromkeys((f"{stem}_{number}", f"{name}_{number}")):
            if folded(option) in self._owned or folded(option + ending) in self._owned:
                continue
            found = _picture(self._entries(option)) or _picture(self._entries(option + ending))
            if found is not None:
                return found
        return None

    def _entries(self, name: str) -> list[Path]:
        """Entries with a given name, with or without endings."""
        path = PurePosixPath(name)
        listing = self._list(self._source / path.parent)
        exact = listing.exact.get(path.name, [])
        if exact:
            return exact
        # An entry with exactly the name of another view belongs to that one.
        return [
            entry
            for entry in listing.folded.get(folded(path.name), [])
            if (path.parent / without_ending(entry.name)).as_posix() not in self._exact
        ]

    def _list(self, folder: Path) -> "_Listing":
        if folder not in self._listed:
            self._listed[folder] = _Listing.of(folder)
        return self._listed[folder]

    def _count_levels(self, views: Sequence[View]) -> int:
        """Number of label maps per view; at least half of the views with any have that many."""
        found = [
            next((name for name in self._names[view.name] if _picture(self._entries(name))), None)
            for view in views
        ]
        names = [name for name in found if name is not None]
        number = 1
        while names:
            having = sum(self._level(name, number) is not None for name in names)
            if having < max(1, len(names) / 2):
                break
            number += 1
        return number


@dataclass(frozen=True)
class _Listing:
    """Entries of a folder by name, with and without the last ending."""

    exact: dict[str, list[Path]]
    folded: dict[str, list[Path]]

    @staticmethod
    def of(folder: Path) -> "_Listing":
        listing = _Listing({}, {})
        for entry in visible_entries(folder) if folder.is_dir() else []:
            names = [entry.name]
            if entry.suffix.lower() in (*_PICTURES, ".json", ".npy"):
                names.append(entry.name[: -len(entry.suffix)])
            for name in names:
                listing.exact.setdefault(name, []).append(entry)
                listing.folded.setdefault(folded(name), []).append(entry)
        return listing


def _usable_names(views: Sequence[View], others: Sequence[View]) -> dict[str, list[str]]:
    """Usable names of each view's masks: its own name, and those that no other view has."""
    taken = {name for view in others for name in view.mask_names}
    own = {view.name for view in views} | {view.name for view in others}
    counts = Counter(name for view in views for name in view.mask_names)
    return {
        view.name: [
            name
            for name in view.mask_names
            if name not in taken and (name == view.name or (counts[name] == 1 and name not in own))
        ]
        for view in views
    }


def pictures_in(folder: Path) -> list[Path]:
    """List the pictures in a folder, one mask each, in lexicographic order of their names.

    Raises:
        InputError: If there are more than `MOST_MASKS`.
    """
    found = [path for path in visible_entries(folder) if _is_picture(path)]
    if len(found) > MOST_MASKS:
        raise InputError(f"{folder} holds {len(found)} masks; expected at most {MOST_MASKS}.")
    return found


def _with_ending(entries: Sequence[Path], ending: str) -> Path | None:
    return next((e for e in entries if e.suffix.lower() == ending and e.is_file()), None)


def _picture(entries: Sequence[Path]) -> Path | None:
    ranked = sorted(
        (entry for entry in entries if _is_picture(entry)),
        key=lambda entry: _PICTURES.index(entry.suffix.lower()),
    )
    return ranked[0] if ranked else None


def _is_picture(path: Path) -> bool:
    """Whether a file is a picture, by its ending; a broken link is an unreadable one."""
    return path.suffix.lower() in _PICTURES and not path.is_dir()
