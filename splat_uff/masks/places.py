"""Where the masks of each view lie in a folder, whatever tool wrote them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from splat_uff.capture.names import IMAGE_ENDINGS, without_ending
from splat_uff.capture.records import View
from splat_uff.capture.unreadable import UNREADABLE_ENDINGS
from splat_uff.errors import InputError
from splat_uff.files import folded, visible_entries

MOST_MASKS = 10_000
"""Masks of one view that are read at most."""
_PICTURES = (*IMAGE_ENDINGS, *UNREADABLE_ENDINGS)


@dataclass(frozen=True)
class Place:
    """The masks of one view: the first of these that is not empty."""

    folder: Path | None = None
    """Whose pictures are one mask each."""
    encoded: Path | None = None
    """Run lengths, JSON."""
    array: Path | None = None
    """Label maps, `.npy`."""
    levels: tuple[Path, ...] = ()
    """Label maps as pictures, one a level."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is there."""
        return not (self.folder or self.encoded or self.array or self.levels)


class Places:
    """Finds the masks of views in a folder that is listed once.

    Names are compared without case and ending, so `photo.jpg/`, `photo.JPG.png` and `photo.json`
    all belong to the view `photo`. `photo_1.png` is a further level of `photo.png` only if no view
    is called that, and at least half of the views with a label map have that level: phones call
    duplicates so.
    """

    def __init__(
        self, source: Path, views: Iterable[View], taken: Collection[str] = frozenset()
    ) -> None:
        """List the folder.

        Args:
            source: Folder of masks.
            views: All views of the capture.
            taken: Names under which the masks of other views lie.
        """
        self._source, self._taken = source, taken
        self._listed: dict[Path, dict[str, list[Path]]] = {}
        views = list(views)
        self._owned = {folded(name) for view in views for name in view.mask_names}
        self._num_levels = self._count_levels(views)

    def of(self, view: View) -> Place:
        """The masks of a view; an empty place where there are none."""
        for name in (name for name in view.mask_names if name not in self._taken):
            place = self._named(name)
            if not place.is_empty:
                return place
        return Place()

    def arrays(self, views: Sequence[View]) -> list[Path]:
        """The arrays among the masks of views."""
        found = (self.of(view).array for view in views)
        return [path for path in found if path is not None]

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
            further = _picture(self._entries(f"{without_ending(name)}_{number}"))
            if further is None or folded(f"{without_ending(name)}_{number}") in self._owned:
                break
            levels.append(further)
        return Place(levels=tuple(levels))

    def _entries(self, name: str) -> list[Path]:
        """What is there under a name, with or without endings."""
        path = PurePosixPath(name)
        return self._list(self._source / path.parent).get(folded(path.name), [])

    def _list(self, folder: Path) -> dict[str, list[Path]]:
        """Entries by their names, and by these without their last ending."""
        if folder not in self._listed:
            found: dict[str, list[Path]] = {}
            entries = visible_entries(folder) if folder.is_dir() else []
            for entry in entries:
                whole = folded(entry.name)
                found.setdefault(whole, []).append(entry)
                if entry.suffix.lower() in (*_PICTURES, ".json", ".npy"):
                    found.setdefault(folded(entry.name[: -len(entry.suffix)]), []).append(entry)
            self._listed[folder] = found
        return self._listed[folder]

    def _count_levels(self, views: Sequence[View]) -> int:
        """How many label maps a view has, as most of them do."""
        stems = [
            without_ending(name)
            for view in views
            for name in view.mask_names[:1]
            if _picture(self._entries(name)) is not None
        ]
        number = 1
        while stems:
            having = [
                stem
                for stem in stems
                if folded(f"{stem}_{number}") not in self._owned
                and _picture(self._entries(f"{stem}_{number}")) is not None
            ]
            if len(having) < max(1, len(stems) / 2):
                break
            number += 1
        return number


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder, one mask each, in lexicographic order of their names.

    Raises:
        InputError: If there are too many.
    """
    found = [path for path in visible_entries(folder) if path.suffix.lower() in _PICTURES]
    if len(found) > MOST_MASKS:
        raise InputError(f"{folder} holds {len(found)} masks; expected at most {MOST_MASKS}.")
    return found


def _with_ending(entries: Sequence[Path], ending: str) -> Path | None:
    return next((e for e in entries if e.suffix.lower() == ending and e.is_file()), None)


def _picture(entries: Sequence[Path]) -> Path | None:
    ranked = sorted(
        (entry for entry in entries if entry.suffix.lower() in _PICTURES),
        key=lambda entry: _PICTURES.index(entry.suffix.lower()),
    )
    return ranked[0] if ranked else None
