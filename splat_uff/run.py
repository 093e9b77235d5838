"""The run folder: what is where, what it was made with, and whether it may be gone on with."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from splat_uff import __version__
from splat_uff.errors import InputError
from splat_uff.evaluate.config import EvaluateConfig
from splat_uff.features.config import FeaturesConfig
from splat_uff.files import read_arrays, replacing, write_arrays
from splat_uff.gaussians.config import GaussiansConfig
from splat_uff.hierarchy.config import HierarchyConfig

T = TypeVar("T")


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a run; the defaults reproduce the README's table."""

    size: int = 200
    """Pixels of the longer side of the images to train on; photos are averaged down to it."""
    seed: int = 0
    """Seeds every random draw."""
    gaussians: GaussiansConfig = field(default_factory=GaussiansConfig)
    features: FeaturesConfig = field(default_factory=FeaturesConfig)
    hierarchy: HierarchyConfig = field(default_factory=HierarchyConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)


@dataclass(frozen=True)
class Provenance:
    """What a run is made from; two runs with equal provenance have equal results."""

    scene: str
    data: str
    masks: str
    """Where the 2D masks come from: `simulated` or `imported`."""
    fingerprint: str
    """Of the capture's files."""
    settings: TrainConfig
    version: str = __version__


@dataclass(frozen=True)
class Run:
    """The files of one run."""

    folder: Path

    @property
    def config(self) -> Path:
        """Provenance as TOML."""
        return self.folder / "config.toml"

    @property
    def gaussians(self) -> Path:
        """Standard 3DGS columns, in our normalised world."""
        return self.folder / "gaussians.ply"

    @property
    def features(self) -> Path:
        """`features` [N, D] and `largest_weights` [N]."""
        return self.folder / "features.npz"

    @property
    def hierarchy(self) -> Path:
        """`parents`, `altitudes`, `num_leaves`, `shaping`, `source_from_world`."""
        return self.folder / "hierarchy.npz"

    @property
    def metrics(self) -> Path:
        """Scores; written last, so a run that has it is finished."""
        return self.folder / "metrics.json"

    @property
    def report(self) -> Path:
        """One page to look at."""
        return self.folder / "report.html"

    @property
    def overview(self) -> Path:
        """One picture to look at."""
        return self.folder / "overview.png"

    @property
    def log(self) -> Path:
        """One JSON object per line: stage, step and figures."""
        return self.folder / "log.jsonl"

    @property
    def checkpoints(self) -> Path:
        """States of stages, while the run is not finished."""
        return self.folder / "checkpoint"

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.metrics.is_file()


def start_run(folder: Path, provenance: Provenance, *, resume: bool, overwrite: bool) -> Run:
    """Make a run folder, or go on in one that was cut off.

    Args:
        folder: Where the run goes.
        provenance: What it is made from.
        resume: Go on with a run that was cut off.
        overwrite: Begin again where a run stands already.

    Raises:
        InputError: If something stands there that must not be replaced unasked, or a run that is to
            be gone on with was made from something else.
    """
    run = Run(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; pass a folder as --output.")
    if not folder.exists() or not any(folder.iterdir()):
        _begin(run, provenance)
    elif not run.config.is_file():
        raise InputError(f"{folder} holds files but no run; pass another --output.")
    elif resume:
        differences = _differences(read_provenance(run), provenance)
        if differences:
            raise InputError(
                f"the run in {folder} was made with {'; '.join(differences)}; go on with the same "
                "command, or pass --overwrite or another --output."
            )
    elif overwrite:
        shutil.rmtree(folder)
        _begin(run, provenance)
    elif run.finished:
        raise InputError(f"{folder} holds a finished run; pass --overwrite or another --output.")
    else:
        raise InputError(
            f"{folder} holds a run that was cut off; pass --resume to go on, or --overwrite to "
            "begin again."
        )
    return run


def read_provenance(run: Run) -> Provenance:
    """Read what a run was made from.

    Raises:
        InputError: If there is no run, or its `config.toml` is damaged.
    """
    if not run.config.is_file():
        raise InputError(f"no run in {run.folder} (no config.toml); pass the folder of a run.")
    return _convert(read_toml(run.config), Provenance, run.config)


def read_settings(path: Path, base: TrainConfig) -> TrainConfig:
    """Read a settings file that says only what differs from `base`.

    Raises:
        InputError: If it is missing, no TOML, or names a setting that does not exist.
    """
    merged = msgspec.to_builtins(base)
    for name, value in read_toml(path).items():
        if isinstance(value, dict) and isinstance(merged.get(name), dict):
            merged[name] = {**merged[name], **value}
        else:
            merged[name] = value
    return _convert(merged, TrainConfig, path)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; bad ones are an `InputError`."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} is no readable TOML ({error}); mend or remove it.") from None


def write_log(run: Run, stage: str) -> Callable[..., None]:
    """A function that appends one stage's figures to the run's log."""

    def log(step: int, **figures: float) -> None:
        line = json.dumps({"stage": stage, "step": step, **figures})
        with run.log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    return log


def save_arrays(path: Path, provenance: Provenance, **arrays: np.ndarray) -> None:
    """Write arrays with what they were made from."""
    made_by = np.array(json.dumps(msgspec.to_builtins(provenance)))
    write_arrays(path, made_by=made_by, **arrays)


def load_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read arrays and see that all are there.

    Raises:
        InputError: If the file is missing or damaged, or lacks an array.
    """
    arrays = read_arrays(path)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; train again with --overwrite.")
    return arrays


def _begin(run: Run, provenance: Provenance) -> None:
    import tomli_w

    run.folder.mkdir(parents=True, exist_ok=True)
    with replacing(run.config) as temporary:
        temporary.write_text(tomli_w.dumps(msgspec.to_builtins(provenance)), encoding="utf-8")


def _differences(was: Provenance, now: Provenance) -> list[str]:
    """Settings that differ, as `name = old (now new)`."""
    old, new = (_flat(msgspec.to_builtins(each)) for each in (was, now))
    return [
        f"{name} = {old.get(name)} (now {new.get(name)})"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _convert(settings: dict[str, Any], kind: type[T], path: Path) -> T:
    try:
        converted = msgspec.convert(settings, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error}; mend that setting.") from None
    unknown = _flat(settings).keys() - _flat(msgspec.to_builtins(converted)).keys()
    if unknown:
        raise InputError(f"{path} has no setting {', '.join(sorted(unknown))}; see train --help.")
    return converted
