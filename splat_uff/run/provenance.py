"""The provenance of a run (its inputs and settings), and the arrays and scores that it holds."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from splat_uff import __version__
from splat_uff.formats.detect import files_of
from splat_uff.run.folder import RunFolder
from splat_uff.settings import TrainConfig, add_former, convert, flatten, read_toml
from splat_uff.system.errors import InputError, argument
from splat_uff.system.files import is_hidden, read_arrays, write_arrays


@dataclass(frozen=True)
class Provenance:
    """Inputs and settings of a run; two runs with equal provenance have equal results."""

    scene: str
    data: str
    """Folder of the capture; virtual photos lie in the run's folder, and their path is relative.
    """
    masks: str
    """Origin of the 2D masks: `simulated`, `imported` or `classical`."""
    fingerprint: str
    """Fingerprint of the capture's files."""
    settings: TrainConfig
    version: str = __version__
    mask_source: str = ""
    """Source of the masks: `classical` or a folder; empty for the capture's own masks."""
    gaussians_source: str = ""
    """Path and digest of a `.ply` of Gaussians fitted elsewhere; empty if they are fitted here."""


def read_provenance(run: RunFolder) -> Provenance:
    """Read the provenance of a run.

    Raises:
        InputError: If there is no run, or its `config.toml` is damaged.
    """
    if not run.config.is_file():
        raise InputError(f"no run in {run.path} (no config.toml); pass the folder of a run.")
    record = read_toml(run.config)
    expected, settings = record.pop("num_settings", None), record.get("settings")
    found = len(flatten(settings)) if isinstance(settings, dict) else 0
    if expected is not None and expected != found:
        raise InputError(
            f"{run.config} has {found} settings and says {expected}, so it is damaged; train again "
            f"with another {argument('output')}."
        )
    if isinstance(settings, dict):
        add_former(settings)
    return convert(record, Provenance, source=f"{run.config}: ")


def read_metrics(run: RunFolder) -> dict[str, Any]:
    """Read the scores of a run.

    Raises:
        InputError: If the run is not finished, or its `metrics.json` is damaged.
    """
    if not run.finished:
        raise InputError(
            f"the run in {run.path} is not finished; train it with {argument('resume', True)} "
            "first."
        )
    try:
        metrics = json.loads(run.metrics.read_text(encoding="utf-8-sig"))
    except ValueError:
        metrics = None
    if not isinstance(metrics, dict) or not isinstance(metrics.get("seconds"), dict):
        raise InputError(f"{run.metrics} is damaged; {train_again()}.")
    return metrics


def train_again() -> str:
    """Advice if the files of a run are damaged, for the end of a message."""
    return f"train again with {argument('overwrite', True)}"


def digest_of(path: Path) -> str:
    """Digest of a file's content, or of those of the files of an unpacked SOG."""
    digest = hashlib.sha256()
    for part in files_of(path):
        with part.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def fingerprint_of(folder: Path, output: Path) -> str:
    """Fingerprint of the poses, and of the name and size of every file of the capture.

    Runs are often kept inside the capture's folder (`--data .`) without being part of it, so the
    entry of `folder` that leads to `output` is left out.
    """
    folder, output = folder.resolve(), output.resolve()
    runs = output.relative_to(folder).parts[:1] if output.is_relative_to(folder) else ()
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("transforms*.json"), *folder.glob("poses_bounds.npy")]):
        digest.update(path.read_bytes())
    for path in sorted(folder.glob("*/**/*")):
        place = path.relative_to(folder)
        if any(is_hidden(part) for part in place.parts):  # File managers may add some at any time.
            continue
        if path.is_file() and place.parts[:1] != runs:
            digest.update(f"{place} {path.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


def save_arrays(path: Path, provenance: Provenance, **arrays: np.ndarray) -> None:
    """Write arrays together with their provenance."""
    made_by = np.array(json.dumps(msgspec.to_builtins(provenance)))
    write_arrays(path, made_by=made_by, **arrays)


def load_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read arrays and check that all are there.

    Raises:
        InputError: If the file is missing or damaged, or lacks an array.
    """
    arrays = read_arrays(path)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; {train_again()}.")
    return arrays
