"""Folders of models from the Hugging Face hub: finding one, and checking what is in it."""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from splat_uff.system.errors import InputError, reason_of, worded
from splat_uff.system.records import array_record

EXAMPLE = "facebook/sam2.1-hiera-tiny"
"""Model that messages suggest."""
CONFIG, WEIGHTS = "config.json", "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
"""List of the files over which large weights are spread."""
PREPROCESSING = ("preprocessor_config.json", "processor_config.json")
"""Files, one of which says how photos are prepared; the second has it among other things."""
WANTED = [CONFIG, *PREPROCESSING, INDEX, "*.safetensors"]
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
LARGEST_JSON = 1 << 22
"""Most bytes of a JSON file that is read."""
LARGEST = 1 << 16
"""Largest whole number in a config: sizes of vocabularies and layers stay below."""
LARGEST_SIDE = 4096
"""Most pixels of a side at which a model sees photos; those of the hub take 1024."""
COUNTS = re.compile("layers|depth|blocks|stages|levels|outputs|point_embeddings")
"""Settings that count parts of a model, each of which has weights."""
SAMPLED = 1 << 20
"""Number of bytes at either end of a file of weights that its fingerprint covers."""


@array_record
class ModelFolder:
    """A folder with the config and the weights of a model, neither of which has been built."""

    path: Path
    config: dict[str, Any]
    """Content of `config.json`."""
    preprocessing: dict[str, Any]
    """Settings with which photos are prepared for the model."""
    weights: list[Path]
    """Files of weights in the format safetensors."""
    num_tensors: int
    num_numbers: int
    """Number of numbers in all tensors, as the headers of the files say."""
    fingerprint: str
    """Hash of the length, the beginning and the end of each file that was read."""


def find_model(path_or_name: str) -> Path:
    """Folder of a model: the user's own, or the hub's, downloaded if the cache lacks it.

    Args:
        path_or_name: Folder, or name on the hub such as `facebook/sam2.1-hiera-tiny`.

    Raises:
        InputError: If there is no such folder, and no such model in the cache or on the hub.
    """
    if Path(path_or_name).is_dir():
        return Path(path_or_name)
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", path_or_name, re.ASCII):
        raise InputError(f"no folder {path_or_name}; {_advice(EXAMPLE)}.")
    from huggingface_hub import snapshot_download  # pyright: ignore[reportMissingImports]

    for cached in (True, False):  # What is in the cache answers without network.
        try:
            found = snapshot_download(path_or_name, allow_patterns=WANTED, local_files_only=cached)
        except Exception:  # Of the network, of the hub, or of the cache: each has its own.
            continue
        if any(Path(found).glob("*.safetensors")) or not cached:
            return Path(found)
    raise InputError(
        f"no folder {path_or_name}, and no such model in the cache or within reach on the Hugging "
        f"Face hub; {_advice(path_or_name)}."
    )


def _advice(name: str) -> str:
    """Way to a folder with a model, for a machine with network."""
    call = worded(
        f'huggingface_hub.snapshot_download("{name}", local_dir=DIR)',
        command=f"hf download {name} --local-dir DIR",
    )
    return f"download it where there is network, {call}, and pass DIR"


def read_model_folder(path: Path) -> ModelFolder:
    """Read the settings of a model and the headers of its weights, and check them.

    The format of the weights is safetensors (https://huggingface.co/docs/safetensors): a header
    that lists types, shapes and places, then plain numbers.

    Raises:
        InputError: If files are missing or damaged, if the weights are pickled or lie elsewhere, or
            if the config asks for more parts than there are weights for.
    """
    config = _read_json(path / CONFIG)
    if not isinstance(config.get("model_type"), str):
        raise InputError(f"{path / CONFIG} has no model_type; {_advice(EXAMPLE)}.")
    if (path / "adapter_config.json").exists():
        raise InputError(f"{path} holds an adapter, not a model; pass the folder of a whole model.")
    for name in PREPROCESSING:
        if (path / name).is_file():
            settings = _read_json(path / name)
            break
    else:
        raise InputError(f"{path} has no {PREPROCESSING[0]}; {_advice(EXAMPLE)}.")
    nested = settings.get("image_processor")
    weights = _files_of_weights(path)
    tensors, numbers = _count(weights)
    _check_sizes(path, config, tensors)
    return ModelFolder(
        path=path,
        config=config,
        preprocessing=nested if isinstance(nested, dict) else settings,
        weights=weights,
        num_tensors=tensors,
        num_numbers=numbers,
        fingerprint=_fingerprint([path / CONFIG, path / name], weights),
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path.parent} has no {path.name}; {_advice(EXAMPLE)}.")
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise ValueError(f"larger than {LARGEST_JSON} bytes")
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError("no object")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is no JSON object of settings ({reason_of(error)}); download it again."
        ) from None
    return record


def _files_of_weights(path: Path) -> list[Path]:
    """Files of weights in a folder: one, or those that the list names."""
    if (path / WEIGHTS).is_file():
        return [path / WEIGHTS]
    if (path / INDEX).is_file():
        places = _read_json(path / INDEX).get("weight_map")
        named = list(places.values()) if isinstance(places, dict) else []
        if not named or not all(_is_plain(name) for name in named):
            raise InputError(
                f"{path / INDEX} does not name files of its own folder; download it again."
            )
        files = [path / name for name in sorted(set(named))]
        for file in files:
            if not file.is_file():
                raise InputError(f"{path} lacks {file.name}, a part of the weights; download it.")
        return files
    if any(file for pattern in PICKLED for file in path.glob(pattern)):
        raise InputError(
            f"{path} holds pickled weights only, which can run programs; download or convert them "
            f"as {WEIGHTS}."
        )
    raise InputError(f"{path} has no {WEIGHTS}; {_advice(EXAMPLE)}.")


def _is_plain(name: Any) -> bool:
    """Whether a name is that of a safetensors file, without any folder."""
    return isinstance(name, str) and bool(re.fullmatch(r"[\w-][\w.-]*\.safetensors", name))


def _count(weights: list[Path]) -> tuple[int, int]:
    """Number of tensors in files of weights, and of numbers in these."""
    from safetensors import safe_open  # pyright: ignore[reportMissingImports]

    tensors = numbers = 0
    for path in weights:
        try:
            with safe_open(path, framework="numpy") as file:
                for key in file.keys():  # noqa: SIM118 - No mapping.
                    tensors += 1
                    numbers += math.prod(file.get_slice(key).get_shape())
        except Exception as error:  # Its own kind, and those of the system.
            raise InputError(
                f"{path} is no file of safetensors ({reason_of(error)}); download it again."
            ) from None
    return tensors, numbers


def _check_sizes(path: Path, config: dict[str, Any], num_tensors: int) -> None:
    """Check that a config asks for no more parts than there are weights for."""
    for key, value in _whole_numbers(config):
        most = LARGEST_SIDE if "image_size" in key else LARGEST
        most = min(most, num_tensors) if COUNTS.search(key) else most
        if abs(value) > most:
            raise InputError(
                f"{path / CONFIG} says {key} = {value}; expected at most {most}, as the models of "
                "the hub and these weights have; download it again."
            )


def _whole_numbers(record: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Whole numbers anywhere in settings, each by its name; those for all stages as their sum."""
    left: list[tuple[str, Any]] = [("", record)]
    while left:
        key, value = left.pop()
        if isinstance(value, dict):
            left.extend((str(name), inner) for name, inner in value.items())
        elif isinstance(value, list) and "per_stage" in key:
            yield key, sum(abs(each) for each in value if isinstance(each, int))
        elif isinstance(value, list):
            left.extend((key, inner) for inner in value)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield key, value


def _fingerprint(settings: list[Path], weights: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in [*settings, *weights]:
        length = path.stat().st_size
        digest.update(f" {path.name} {length} ".encode())
        with path.open("rb") as file:
            digest.update(file.read(SAMPLED))
            file.seek(max(0, length - SAMPLED))
            digest.update(file.read())
    return digest.hexdigest()[:16]
