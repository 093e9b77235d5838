"""ONNX files of models that answer clicks: their inputs and outputs, and which go together.

The format is ONNX's protobuf (onnx.proto3, IR version 3 and later,
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3). Names are read by walking over the fields,
without taking the weights into memory, for two reasons: a folder's files are told apart before
gigabytes are loaded, and the places of external weights are checked before a library opens them,
also where the package `onnx` is not installed.
"""

import hashlib
import mmap
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from splat_uff.system.errors import InputError, reason_of

COORDS, LABELS = "point_coords", "point_labels"
PLURAL_COORDS, PLURAL_LABELS, PLURAL_MASKS = (
    *("batched_point_coords", "batched_point_labels"),
    "output_masks",
)
"""Names of EfficientSAM, whose prompts are the second axis."""
MASK, HAS_MASK, SIZE = "mask_input", "has_mask_input", "orig_im_size"
QUALITY, LOW_RES, MASKS = "iou_predictions", "low_res_masks", "masks"
FEATURES = {
    "image_embeddings": "embedding",
    "image_embed": "embedding",
    "high_res_feats_0": "fine",
    "high_res_features1": "fine",
    "high_res_feats_1": "middle",
    "high_res_features2": "middle",
}
"""What each output of an encoder is, under the names of segment_anything, samexporter and osam."""
Family = Literal["sam", "sam 2", "efficient sam"]
"""Families by what their photos and clicks are like; MobileSAM is as SAM, SAM 2.1 as SAM 2."""
KINDS: Mapping[str, Mapping[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Graph": {1: "Node", 5: "Weight", 11: "Input", 12: "Output", 15: "Sparse"},
    "Subgraph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Training": {1: "Subgraph", 2: "Subgraph"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {
        **{5: "Tensor", 6: "Subgraph", 10: "Tensor", 11: "Subgraph"},
        **{22: "Sparse", 23: "Sparse"},
    },
    "Sparse": {1: "Tensor", 2: "Tensor"},
    "Weight": {8: "WeightName", 13: "Entry"},
    "Tensor": {13: "Entry"},
    "Input": {1: "InputName"},
    "Output": {1: "OutputName"},
}
"""Kind of the message in each field that is walked; all others are skipped."""
MOST_FIELDS = 3_000_000
"""Most fields of a file; the encoder of SAM ViT-H has about a hundred thousand."""
MOST_FILES = 64
"""Most .onnx files of a folder."""
LONGEST_NAME = 1024
"""Most bytes of a name or a place of weights."""
SAMPLED = 1 << 20
"""Number of bytes at either end of a file that the fingerprint covers."""
PARTS = re.compile(r"(encoder|decoder|encode|decode|preprocess|mask|image|prompt|vision)s?|\W|_")
"""What tells the two files of a model apart; the rest of their names is the model's."""
EXPECTED = (
    f"an encoder of one image with the outputs image_embeddings, or image_embed, high_res_feats_0 "
    f"and high_res_feats_1, and a decoder that takes them, {COORDS} and {LABELS} and returns "
    f"{LOW_RES} and {QUALITY}"
)


@dataclass(frozen=True)
class Signature:
    """What an ONNX file takes and returns."""

    path: Path
    """Place of the file."""
    inputs: tuple[str, ...]
    """Names of the inputs, without weights."""
    outputs: tuple[str, ...]
    """Names of the outputs."""
    data: tuple[Path, ...]
    """Files with weights outside of the file, all in its folder."""

    @property
    def is_decoder(self) -> bool:
        """Whether the file takes clicks."""
        return COORDS in self.inputs or PLURAL_COORDS in self.inputs

    @property
    def features(self) -> tuple[str, ...]:
        """Inputs that an encoder makes of a photo."""
        return tuple(name for name in self.inputs if name in FEATURES)


@dataclass(frozen=True)
class Pair:
    """Encoder and decoder of one model."""

    encoder: Signature
    """File that looks at the photo."""
    decoder: Signature
    """File that answers clicks."""
    sources: Mapping[str, str]
    """Output of the encoder for each input of the decoder that comes from it."""

    @property
    def family(self) -> Family:
        """Family of models, by the decoder's inputs."""
        if PLURAL_COORDS in self.decoder.inputs:
            return "efficient sam"
        return "sam" if len(self.sources) == 1 else "sam 2"

    @property
    def fingerprint(self) -> str:
        """Hash of the lengths, beginnings and ends of all files."""
        digest = hashlib.sha256(b"onnx")
        for part in (self.encoder, self.decoder):
            for path in (part.path, *part.data):
                length = path.stat().st_size
                digest.update(f" {length} ".encode())
                with path.open("rb") as file:
                    digest.update(file.read(SAMPLED))
                    file.seek(max(0, length - SAMPLED))
                    digest.update(file.read())
        return f"onnx-{digest.hexdigest()[:16]}"


def find_pair(path: Path) -> Pair:
    """Find encoder and decoder of a model by their inputs and outputs.

    Args:
        path: Folder with both files, or one of the two; the other is then in the same folder. In
            a folder with several models, names say which files go together, as in
            `sam_encoder.onnx` and `sam_decoder.onnx`.

    Raises:
        InputError: If a file is missing or damaged, files have other inputs and outputs, several
            could be meant, or weights are outside of the folder.
    """
    if path.is_dir():
        files = sorted(each for each in path.iterdir() if each.suffix.lower() == ".onnx")
    elif path.is_file():
        others = (each for each in path.parent.iterdir() if each.suffix.lower() == ".onnx")
        files = [path, *sorted(each for each in others if each.name != path.name)]
    else:
        raise InputError(f"no file or folder {path}; pass a folder with {EXPECTED}.")
    if not files or len(files) > MOST_FILES:
        raise InputError(f"{len(files)} .onnx files in {path}; put there {EXPECTED}.")
    known, damaged = _read_all(files, required=path)
    chosen = None if path.is_dir() else known[0]
    if chosen is not None:
        known = [chosen, *(each for each in known[1:] if each.is_decoder != chosen.is_decoder)]
    pairs = [
        Pair(encoder, decoder, sources)
        for decoder in known
        if decoder.is_decoder
        for encoder in known
        if not encoder.is_decoder and (sources := _sources(encoder, decoder)) is not None
    ]
    alike = [each for each in pairs if _stem(each.encoder.path) == _stem(each.decoder.path)]
    found = alike if len(pairs) > 1 and alike else pairs
    if len(found) == 1:
        _check(found[0])
        return found[0]
    if found:
        names = ", ".join(f"{each.encoder.path.name} + {each.decoder.path.name}" for each in found)
        raise InputError(f"several models in {path} ({names}); keep two files in a folder.")
    if damaged:
        raise damaged[0]
    shown = "; ".join(_shown(each) for each in known)
    raise InputError(f"no encoder with its decoder in {path} ({shown}); expected {EXPECTED}.")


def read_signature(path: Path) -> Signature:
    """Names of the inputs and outputs of an ONNX file, and its files of weights.

    Raises:
        InputError: If the file is no ONNX file or damaged, or names weights that are missing or
            outside of its folder.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            names = _walk(data)
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path} is no ONNX file or damaged ({reason_of(error)}); export it again."
        ) from None
    weights = set(names["WeightName"])
    inputs = tuple(name for name in names["InputName"] if name not in weights)
    if not inputs or not names["OutputName"]:
        raise InputError(f"{path} is no ONNX file (it has no inputs and outputs); export it again.")
    places = dict.fromkeys(names["location"])
    data_files = tuple(_weights_at(path, place) for place in places)
    return Signature(path, inputs, tuple(names["OutputName"]), data_files)


def _read_all(files: Sequence[Path], required: Path) -> tuple[list[Signature], list[InputError]]:
    """Signatures of all files that can be read, and the errors of the others but the required."""
    known, damaged = [], []
    for each in files:
        try:
            known.append(read_signature(each))
        except InputError as error:
            if each == required:
                raise
            damaged.append(error)
    return known, damaged


def _sources(encoder: Signature, decoder: Signature) -> dict[str, str] | None:
    """Output of the encoder for each feature of the decoder; None if they do not fit."""
    features = decoder.features
    if len(encoder.inputs) != 1 or not features:
        return None
    if len(features) == len(encoder.outputs) == 1:
        return {features[0]: encoder.outputs[0]}
    made = {FEATURES[name]: name for name in encoder.outputs if name in FEATURES}
    if len(made) != len(features) or any(FEATURES[name] not in made for name in features):
        return None  # An encoder that makes more belongs to another decoder.
    return {name: made[FEATURES[name]] for name in features}


def _check(pair: Pair) -> None:
    """Check that a decoder takes nothing else than clicks, and returns what is needed."""
    decoder, family = pair.decoder, pair.family
    clicks, known, masks = {COORDS, LABELS}, {MASK, HAS_MASK, SIZE}, {LOW_RES, MASKS}
    if family == "efficient sam":
        clicks, known, masks = {PLURAL_COORDS, PLURAL_LABELS}, {SIZE}, {PLURAL_MASKS}
    elif family == "sam" and SIZE in decoder.inputs:
        masks = {LOW_RES}  # In `masks` is the crop of the photo that the export was traced with.
    inputs, outputs = set(decoder.inputs), set(decoder.outputs)
    fits = (
        clicks <= inputs <= {*FEATURES, *clicks, *known}
        and QUALITY in outputs
        and masks & outputs
        and len(pair.sources) in ((1, 3) if family != "efficient sam" else (1,))
        and (family != "efficient sam" or SIZE in inputs)
    )
    if not fits:
        raise InputError(f"{_shown(decoder)} is no decoder for clicks; expected {EXPECTED}.")


def _shown(part: Signature) -> str:
    """Name of a file with its inputs and outputs, a few of each."""

    def few(names: tuple[str, ...]) -> str:
        shown = ", ".join(name[:40] for name in names[:8])
        return shown + (", ..." if len(names) > 8 else "")

    return f"{part.path.name}: {few(part.inputs)} -> {few(part.outputs)}"


def _stem(path: Path) -> str:
    return PARTS.sub("", path.stem.lower())


def _weights_at(path: Path, place: str) -> Path:
    """File of weights that an ONNX file names, by its path below the folder of that file.

    A location with `*` is a pointer into memory to some libraries; it is no file here.
    """
    parts = PurePosixPath(place).parts
    unsafe = not parts or place.startswith("/") or ".." in parts or set(place) & set("\\:*\0")
    if unsafe:
        raise InputError(
            f"{path} takes weights from {place}, outside of its folder; export it again with "
            "weights beside it."
        )
    found = path.parent / place
    if not found.is_file():
        raise InputError(f"{path} needs its weights {found}, which is missing; copy it there.")
    # Caches of downloads keep links to files that lie together in another folder.
    homes = (path.parent.resolve(), path.resolve().parent)
    if not any(found.resolve().is_relative_to(home) for home in homes):
        raise InputError(
            f"{path} takes weights from {place}, a link out of its folder; copy the file there."
        )
    return found


def _walk(data: mmap.mmap) -> dict[str, list[str]]:
    """Names of inputs, outputs and weights, and places of external weights, in a file."""
    names: dict[str, list[str]] = {
        kind: [] for kind in ("InputName", "OutputName", "WeightName", "location")
    }
    fields, todo = 0, [("Model", 0, len(data))]
    while todo:
        kind, start, end = todo.pop()
        if kind == "Entry":
            entry = {
                number: _text(data, *span)
                for number, span in _messages(data, start, end)
                if number in (1, 2)
            }
            if entry.get(1) == "location":
                names["location"].append(entry.get(2, ""))
            continue
        if kind in names:
            names[kind].append(_text(data, start, end))
            continue
        inside = []
        for number, span in _messages(data, start, end):
            fields += 1
            if fields > MOST_FIELDS:
                raise ValueError(f"more than {MOST_FIELDS} fields")
            if number in KINDS[kind]:
                inside.append((KINDS[kind][number], *span))
        todo.extend(reversed(inside))  # Names keep their order.
    return names


def _messages(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Number of each field of a message, and the span of its bytes (empty for numbers)."""
    while start < end:
        tag, start = _varint(data, start, end)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise ValueError(f"field {number}")
        length = 0
        if wire == 0:
            _, start = _varint(data, start, end)
        elif wire == 2:
            length, start = _varint(data, start, end)
        elif wire in (1, 5):
            start += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if length > end - start:
            raise ValueError("it ends too early")
        yield (number if wire == 2 else 0), (start, start + length)
        start += length


def _varint(data: mmap.mmap, start: int, end: int) -> tuple[int, int]:
    """Number in base 128, least significant digit first, and where it ends."""
    value = shift = 0
    while start < end and shift < 70:
        byte = data[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
        shift += 7
    raise ValueError("it ends too early" if start >= end else "a number is too long")


def _text(data: mmap.mmap, start: int, end: int) -> str:
    if end - start > LONGEST_NAME:
        raise ValueError(f"a name of {end - start} bytes")
    return data[start:end].decode("utf-8")
