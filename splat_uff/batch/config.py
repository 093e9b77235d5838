"""The captures of a batch: given one by one, or listed in a TOML file."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from splat_uff.run.folder import name_of_splats
from splat_uff.scenes.builtin import find_scene, is_users_own
from splat_uff.scenes.catalogue import RECIPES
from splat_uff.settings import (
    TrainConfig,
    config_folder,
    override,
    read_settings,
    read_toml,
    scene_presets,
)
from splat_uff.system.errors import InputError
from splat_uff.system.files import folded, inside_folder

MOST_CAPTURES = 10_000
MOST_BYTES = 1 << 24
"""Size of the largest list of captures that is read, in bytes."""
RESERVED = {"batch.json", "batch.html"}
"""Files in the output folder of a batch, which no run may be called."""


@dataclass(frozen=True)
class Entry:
    """One capture of a batch, and how to train on it."""

    name: str
    """Name of its run: a folder in the output folder of the batch."""
    settings: TrainConfig
    scene: str = ""
    """Name of a scene, for instance a built-in one; empty if `data` or `splats` say what it is."""
    data: Path | None = None
    """Absolute path of the capture's folder."""
    splats: Path | None = None
    """Absolute path of Gaussians fitted elsewhere; without `scene` and `data`, virtual photos are
    made of them."""
    masks: str = ""
    """Absolute path of a folder of masks, or `classical`; empty for the capture's own."""
    force: bool = False
    """Whether the splats are used even if they do not fit the photos."""

    @property
    def source(self) -> str:
        """Origin of the capture in a few words."""
        photos = f"scene {self.scene}" if self.scene else f"{self.data or ''}"
        return " with ".join(filter(None, [photos, str(self.splats or "")]))


@dataclass(frozen=True)
class Overrides:
    """Settings that hold for all captures of a batch."""

    config: Path | None = None
    """TOML file of settings that override the defaults and those of built-in scenes."""
    last: tuple[tuple[str, Any], ...] = ()
    """Names and values, as nested records, that override the settings of every capture."""


def read_entries(
    given: Sequence[str], output: Path, overrides: Overrides = Overrides()
) -> list[Entry]:
    """Read the captures of a batch.

    Args:
        given: Folders of captures, files of splats and names of built-in scenes; or one TOML file
            that lists captures (docs/cluster.md).
        output: Absolute path of the folder in which every run has a folder of its own.
        overrides: Settings for all captures.

    Raises:
        InputError: If a capture is unknown, two runs would have the same name, a name leads out of
            the output folder, or the TOML file is invalid.
    """
    if not given:
        raise InputError("there are no captures; give folders, scenes, splats, or a TOML file.")
    lists = [each for each in given if each.lower().endswith(".toml")]
    if lists and len(given) > 1:
        raise InputError(f"{lists[0]} is a list of captures; give it alone.")
    if lists:
        entries = list(_read_list(Path(lists[0]), overrides))
        source = f"{lists[0]}: "
    else:
        entries, source = [_entry_of(each, overrides) for each in given], ""
    _check_names(entries, output, source)
    return entries


def parse_overrides(given: Sequence[str]) -> tuple[tuple[str, Any], ...]:
    """Parse settings written as `NAME=VALUE`, for example `gaussians.steps=500`.

    A value is written as in TOML; a text may go without quotes.

    Raises:
        InputError: If one has no name or no value.

    Example:
        >>> parse_overrides(["size=64", "features.start=noise"])
        (('size', 64), ('features', {'start': 'noise'}))
    """
    return tuple(_parse_override(each) for each in given)


def _parse_override(text: str) -> tuple[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    name, equals, value = text.partition("=")
    if not equals or not value or not re.fullmatch(r"\w+(\.\w+)?", name.strip(), re.ASCII):
        raise InputError(f"{text} is no setting; expected NAME=VALUE, as in gaussians.steps=500.")
    for written in (value, json.dumps(value)):
        try:
            ((first, parsed),) = tomllib.loads(f"{name} = {written}").items()
            return first, parsed
        except (ValueError, RecursionError):
            pass
    raise InputError(f"{text} is no setting; expected a value as in TOML.")


def _read_list(path: Path, overrides: Overrides) -> Iterator[Entry]:
    """Read a TOML file with a table `settings` for all, and an array `captures`."""
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path} has {path.stat().st_size} bytes; expected a list of captures.")
    record = read_toml(path)
    _check_keys(record, {"settings", "captures"}, f"{path}: ")
    captures, shared = record.get("captures"), record.get("settings", {})
    if not isinstance(captures, list) or not captures:
        raise InputError(f"{path} lists no captures; expected [[captures]] with a scene or data.")
    if len(captures) > MOST_CAPTURES:
        raise InputError(f"{path}: {len(captures)} captures; expected at most {MOST_CAPTURES}.")
    if not isinstance(shared, dict):
        raise InputError(f"{path}: settings is {shared!r}; expected a table [settings].")
    for number, each in enumerate(captures, start=1):
        source = f"{path}: capture {number}: "
        if not isinstance(each, dict):
            raise InputError(f"{source}{each!r}; expected a table [[captures]].")
        yield _listed_entry(each, shared, path, overrides, source)


@dataclass(frozen=True)
class _Listed:
    """A table of `captures`, as it is written."""

    name: str = ""
    scene: str = ""
    data: str = ""
    gaussians: str = ""
    masks: str = ""
    force: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


def _listed_entry(
    record: dict[str, Any], shared: dict[str, Any], path: Path, overrides: Overrides, source: str
) -> Entry:
    _check_keys(record, set(_Listed.__dataclass_fields__), source)
    try:
        listed = msgspec.convert(record, _Listed)
    except msgspec.ValidationError as error:
        expected, _, place = str(error).replace("`", "").partition(" - at $.")
        raise InputError(
            f"{source}{place} is wrong; {expected[0].lower()}{expected[1:]}."
        ) from None
    if bool(listed.scene) + bool(listed.data) > 1 or not (
        listed.scene or listed.data or listed.gaussians
    ):
        raise InputError(f"{source}expected scene or data, or gaussians alone.")
    if listed.force and not listed.gaussians:
        raise InputError(f"{source}force goes with gaussians; leave it out, or give the file.")
    data, splats = _place(path, listed.data), _place(path, listed.gaussians)
    masks = listed.masks
    if masks not in ("", "classical"):
        masks = str(_place(path, masks))
    settings = _settings_of(listed.scene, overrides, (shared, listed.settings), source)
    name = listed.name or listed.scene or (_name_of(data, splats))
    return Entry(name, settings, listed.scene, data, splats, masks, listed.force)


def _place(path: Path, written: str) -> Path | None:
    """Absolute path that a list gives relative to its own folder, or from home by `~`."""
    if not written:
        return None
    if "\0" in written:
        raise InputError(f"{path}: {written} cannot be a path.")
    try:
        return (path.absolute().parent / Path(written).expanduser()).absolute()
    except RuntimeError:  # There is no such user.
        raise InputError(f"{path}: there is no home folder {written}.") from None


def _name_of(data: Path | None, splats: Path | None) -> str:
    if data is not None:
        return data.resolve().name
    assert splats is not None
    return name_of_splats(splats)


def _entry_of(given: str, overrides: Overrides) -> Entry:
    """Entry of a capture given by itself: a path that exists, else the name of a scene."""
    path = Path(given).expanduser()
    if path.is_file() or (path / "meta.json").is_file():
        splats = path.absolute()
        settings = _settings_of("", overrides, (), "")
        return Entry(name_of_splats(splats), settings, splats=splats)
    if path.is_dir():
        data = path.absolute()
        return Entry(_name_of(data, None), _settings_of("", overrides, (), ""), data=data)
    if re.search(r"[/\\]|\.\w+$", given):
        raise InputError(f"there is no {given}; give a folder, a file of splats, or a scene.")
    return Entry(given, _settings_of(given, overrides, (), ""), given)


def _settings_of(
    scene: str, overrides: Overrides, tables: Sequence[dict[str, Any]], source: str
) -> TrainConfig:
    """Settings of a capture: the defaults, overridden in turn by all that say otherwise."""
    if scene and scene not in RECIPES and not is_users_own(scene):
        find_scene(scene)  # Says which it may be.
    settings = TrainConfig()
    if scene in scene_presets() and not is_users_own(scene):
        settings = read_settings(config_folder() / f"{scene}.toml", settings)
    if overrides.config is not None:
        settings = read_settings(overrides.config, settings)
    for table in filter(None, tables):
        settings = override(settings, table, source=source)
    for name, value in overrides.last:
        settings = override(settings, {name: value}, source="")
    return settings


def _check_keys(record: dict[str, Any], known: set[str], source: str) -> None:
    unknown = sorted(record.keys() - known)
    if unknown:
        raise InputError(
            f"{source}there is no key {unknown[0]}; expected {', '.join(sorted(known))}."
        )


def _check_names(entries: Sequence[Entry], output: Path, source: str) -> None:
    """Check that every run has a folder of its own in the output folder."""
    seen: dict[str, Entry] = {}
    for entry in entries:
        try:
            inside_folder(output, entry.name)
        except InputError as error:
            raise InputError(
                f"{source}{error} Give the run another name, by name = in a TOML file."
            ) from None
        key = folded(entry.name)
        if key in RESERVED:
            raise InputError(f"{source}a run cannot be called {entry.name}; give another name.")
        if key in seen:
            raise InputError(
                f"{source}two runs would be called {entry.name} ({seen[key].source} and "
                f"{entry.source}); give one another name, by name = in a TOML file."
            )
        seen[key] = entry
