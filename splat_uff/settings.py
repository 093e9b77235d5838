"""Settings of a run: their definition, reading them from TOML, and checking them."""

import difflib
import sys
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import tyro

from splat_uff.evaluate.config import EvaluateConfig
from splat_uff.features.config import FeaturesConfig
from splat_uff.gaussians.config import BordersConfig, GaussiansConfig
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.system.errors import InputError, reason_of, worded
from splat_uff.system.setting_types import Natural
from splat_uff.virtual.config import VirtualConfig

T = TypeVar("T")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run; the defaults reproduce the README's table."""

    size: Annotated[int, msgspec.Meta(ge=16, le=4096), tyro.conf.arg(aliases=("--max-size",))] = 400
    """Longer side of the training images, in pixels; larger photos are averaged down to it."""
    seed: Natural = 0
    """Seed of every random draw; the same seed gives the same result."""
    views: VirtualConfig = field(default_factory=VirtualConfig)
    gaussians: GaussiansConfig = field(default_factory=GaussiansConfig)
    borders: BordersConfig = field(default_factory=BordersConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    hierarchy: HierarchyConfig = field(default_factory=HierarchyConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


def read_settings(path: Path, base: TrainConfig) -> TrainConfig:
    """Read a settings file that lists only what differs from `base`.

    The `config.toml` of a run works too, to train again with its settings.

    Raises:
        InputError: If the file is missing or not valid TOML, or a setting in it is unknown or out
            of range.
    """
    record = read_toml(path)
    settings = record.get("settings")
    if isinstance(settings, dict):
        add_former(settings)
    return override(base, settings if isinstance(settings, dict) else record, source=f"{path}: ")


def override(base: TrainConfig, record: dict[str, Any], *, source: str) -> TrainConfig:
    """Override settings by those of a nested record, such as a table of TOML.

    Args:
        base: Settings where the record has none.
        record: Names and values, sections as records of their own.
        source: Prefix of error messages, for example the file's name and a colon.

    Raises:
        InputError: If a setting is unknown or out of range.
    """
    merged = msgspec.to_builtins(base)
    for name, value in record.items():
        if isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = {**merged[name], **value}
        else:
            merged[name] = value
    return convert(merged, TrainConfig, source=source)


def add_former(settings: dict[str, Any]) -> None:
    """Add settings that an earlier version did not offer, with the values it used."""
    features = settings.get("features")
    if isinstance(features, dict):
        features.setdefault("start", "noise")


def config_folder() -> Path:
    """Folder of settings files: `configs/` in the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def scene_presets() -> set[str]:
    """Names of the scenes that have their own settings file."""
    paths = config_folder().glob("*.toml")
    return {path.stem for path in paths if not path.name.startswith(".")}


def recipe_names() -> list[str]:
    """Names of the bundled recipes: settings that `train --config` takes by name."""
    paths = (config_folder() / "recipes").glob("*.toml")
    return sorted(path.stem for path in paths if not path.name.startswith("."))


def recipe_file(name: str) -> Path:
    """Settings file of a recipe, for example `paper`.

    Raises:
        InputError: If there is no such recipe.
    """
    if name not in recipe_names():
        known = ", ".join(recipe_names())
        raise InputError(f"there is no recipe {name}; expected one of {known}, or a TOML file.")
    return config_folder() / "recipes" / f"{name}.toml"


def settings_file(given: str) -> Path:
    """Settings file given by its path or by the name of a recipe.

    A recipe's name takes precedence over a file in the current folder; `./paper` is always a file.

    Raises:
        InputError: If a bare name, without folder or ending, is neither a recipe nor a file.
    """
    path = Path(given)
    is_name = given == path.stem
    if is_name and (given in recipe_names() or not path.exists()):
        return recipe_file(given)
    return path


def check_settings(settings: TrainConfig, *, source: str = "") -> None:
    """Check that every setting is in range and that the settings are consistent.

    Args:
        settings: Settings to check, whatever their source.
        source: Prefix of the error message.

    Raises:
        InputError: If a setting is out of range or contradicts another.
    """
    _convert_checked(msgspec.to_builtins(settings), TrainConfig, source)
    features = settings.features
    if features.euclidean_weight == 0 and features.ultrametric_weight == 0:
        raise InputError(
            f"{source}features.euclidean_weight and features.ultrametric_weight are both 0; set "
            "one above 0."
        )
    if settings.hierarchy.blocks > 1 and settings.hierarchy.linkage == "watershed":
        raise InputError(
            f"{source}hierarchy.blocks is {settings.hierarchy.blocks} with the linkage watershed, "
            "which has no superpoints; set it to 1, or choose consensus or average."
        )
    views = settings.views
    if views.fewest > views.most:
        raise InputError(
            f"{source}views.fewest is {views.fewest} and views.most {views.most}; expected the "
            "former to be no larger."
        )


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file in UTF-8, with or without a byte order mark.

    Raises:
        InputError: If the file is missing, in another encoding, or not valid TOML.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    if not path.is_file():
        raise InputError(f"no file {path}; expected settings in TOML.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if "\0" in text:  # UTF-16 without a byte order mark.
            raise UnicodeError
        return tomllib.loads(text)
    except UnicodeError:
        raise InputError(f"{path} is no text in UTF-8; save it with that encoding.") from None
    except RecursionError:
        raise InputError(f"{path} nests too deeply for TOML; mend or remove it.") from None
    except (OSError, ValueError) as error:  # The latter also for a number of thousands of digits.
        raise InputError(
            f"{path} is no readable TOML ({reason_of(error)}); mend or remove it."
        ) from None


def convert(record: dict[str, Any], kind: type[T], *, source: str) -> T:
    """Convert the contents of a file to `kind`, checking that names exist and values are in range.

    Args:
        record: Nested names and values.
        kind: Dataclass to convert to.
        source: Prefix of error messages, for example the file's name and a colon.

    Raises:
        InputError: If a name is unknown, or a value is missing, of another type or out of range.
    """
    converted = _convert_checked(record, kind, source)
    known = flatten(msgspec.to_builtins(converted))
    unknown = sorted(flatten(record).keys() - known.keys())
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"see {_list_of_settings()}."
        raise InputError(f"{source}there is no setting {unknown[0]}; {hint}")
    if isinstance(converted, TrainConfig):
        check_settings(converted, source=source)
    return converted


def flatten(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a nested record, joining names with dots: `gaussians.steps`."""
    flat: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _convert_checked(record: dict[str, Any], kind: type[T], source: str) -> T:
    try:
        converted = msgspec.convert(record, kind)
    except msgspec.ValidationError as error:
        raise InputError(source + _explain(str(error), record)) from None
    _write_out(converted)
    return converted


def _write_out(record: Any) -> None:
    """Store defaults on the record itself; msgspec leaves them on the class and omits them."""
    if is_dataclass(record):
        for each in fields(record):
            value = getattr(record, each.name)
            object.__setattr__(record, each.name, value)
            _write_out(value)


def _list_of_settings() -> str:
    return worded("help(splat_uff.TrainConfig)", command="splat-uff train --help")


def _explain(message: str, record: dict[str, Any]) -> str:
    """Turn msgspec's "Expected `int` >= 1 - at `$.gaussians.steps`" into a readable sentence."""
    expected, _, place = message.replace("`", "").partition(" - at $.")
    value: Any = record
    for part in place.split(".") if place else ():
        value = value.get(part) if isinstance(value, dict) else None
    if expected.startswith("Invalid enum"):
        expected = f"that is none of its choices, see {_list_of_settings()}"
    expected = expected.replace("object", "a section")
    found = f"{place} is {value!r}; " if place and not isinstance(value, dict) else f"{place}: "
    return f"{found if place else ''}{expected[0].lower()}{expected[1:]}."
