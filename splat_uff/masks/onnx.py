"""Models of the Segment Anything family as ONNX files: an encoder of photos, a decoder of clicks.

Names and shapes are those of the exports by segment_anything's scripts/export_onnx_model.py
(https://github.com/facebookresearch/segment-anything), samexporter
(https://github.com/vietanhdev/samexporter; SAM, MobileSAM, SAM 2 and 2.1) and osam
(https://github.com/wkentaro/osam; SAM, SAM 2.1, EfficientSAM), the last as EfficientSAM's own
export_to_onnx.py makes it (https://github.com/yformer/EfficientSAM).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Num, UInt8
from torch import Tensor

from splat_uff.masks.onnx_files import (
    COORDS,
    HAS_MASK,
    LABELS,
    LOW_RES,
    MASK,
    MASKS,
    PLURAL_COORDS,
    PLURAL_LABELS,
    PLURAL_MASKS,
    QUALITY,
    SIZE,
    Pair,
    find_pair,
)
from splat_uff.masks.onnx_photo import (
    LEAST_SIDE,
    MOST_SIDE,
    PhotoInput,
    dtype_of,
    resized,
    sizes_of,
)
from splat_uff.masks.onnx_session import open_session, run_session
from splat_uff.masks.segmenter import Answers
from splat_uff.system.errors import InputError
from splat_uff.system.records import array_record

SIDE = 1024
"""Side of the model's square input where no file says it, in pixels."""
SHRINK = 4
"""Pixels of the model's input for each pixel of its masks, along a side."""
BATCH = 64
"""Most clicks that a decoder answers at a time."""
ALL_MASKS = 4
"""Number of masks of a decoder that also returns the one for several clicks, as its first."""
AGREEMENT = 1e-3
"""Largest difference, as part of the largest value, of the answers to a click in two batches."""


def load_onnx(path: Path, *, device: str = "cpu") -> "OnnxSegmenter":
    """Load a model of the Segment Anything family from its two ONNX files.

    Files are told by the names of their inputs and outputs (see the module's description); the
    number of clicks that the decoder takes at a time, the side of the model's input and whether
    the encoder takes the photo's bytes or normalised colours are read from their shapes. An ONNX
    file is a program: it cannot open files other than its weights, which must be in its folder,
    but it can ask for any amount of memory and time, so take files from those you trust.

    Args:
        path: Folder with encoder and decoder, or one of the two files.
        device: Device to compute on: `cpu` or `cuda`.

    Raises:
        InputError: If onnxruntime is not installed or lacks the device, files are missing, damaged
            or of other models, or weights are outside of the folder.
    """
    pair = find_pair(path)
    encoder, decoder = (
        open_session(each.path, device=device) for each in (pair.encoder, pair.decoder)
    )
    return OnnxSegmenter(pair, encoder, decoder, device)


class OnnxSegmenter:
    """A model in two ONNX files, as loaded by `load_onnx`; it implements `Segmenter`."""

    def __init__(self, pair: Pair, encoder: Any, decoder: Any, device: str) -> None:
        """Check the shapes of a pair of sessions.

        Args:
            pair: Names of inputs and outputs.
            encoder: Session of the encoder.
            decoder: Session of the decoder.
            device: Device for the answers.

        Raises:
            InputError: If an input has a type, rank or size that no known model has.
        """
        self.fingerprint = pair.fingerprint
        self.threshold = 0.0
        self._pair, self._device = pair, device
        self._encoder, self._decoder = encoder, decoder
        self._photo = PhotoInput.of(encoder.get_inputs()[0], pair.encoder.path)
        self._takes = {each.name: each for each in decoder.get_inputs()}
        shapes = {
            name: sizes_of(each, pair.decoder.path)
            for name, each in self._takes.items()
            if name not in pair.sources
        }
        self._plural = pair.family == "efficient sam"
        self._names = (PLURAL_COORDS, PLURAL_LABELS) if self._plural else (COORDS, LABELS)
        axes = shapes[self._names[0]]
        if len(axes) != 3 + self._plural:
            raise InputError(
                f"{self._names[0]} of {pair.decoder.path} has {len(axes)} axes; expected "
                f"{3 + self._plural} (prompts, points, x and y are the last)."
            )
        self._shapes = shapes
        self._side = self._photo.side or SHRINK * (shapes.get(MASK, [0])[-1] or 0) or SIDE
        if not LEAST_SIDE <= self._side <= MOST_SIDE:
            raise InputError(
                f"{pair.encoder.path} takes photos of {self._side} pixels a side; expected "
                f"{LEAST_SIDE} to {MOST_SIDE}."
            )
        self._pads = pair.family == "sam"
        """Whether a photo keeps its proportions, as in SAM 1; others stretch it to a square."""
        self._batches: bool | None = None if axes[-3] is None else False
        """Whether the decoder answers several clicks at a time; None while not known."""

    def encode(self, image: UInt8[np.ndarray, "H W 3"]) -> "OnnxEncoded":
        """Look at a photo: the slow part, once for all clicks.

        Raises:
            InputError: If the encoder fails, for example for lack of memory.
        """
        height, width = image.shape[:2]
        size = (self._side, self._side)
        if self._pads:
            scale = self._side / max(height, width)
            size = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
        if self._plural:
            values = self._photo.scaled(image)
        else:
            small = resized(image, size, in_bytes=self._photo.raw or self._pads)
            values = self._photo.arrange(small, size)
        wanted = list(dict.fromkeys(self._pair.sources.values()))
        given = {self._encoder.get_inputs()[0].name: values}
        made = run_session(self._encoder, wanted, given, self._pair.encoder.path)
        features = {name: made[wanted.index(source)] for name, source in self._pair.sources.items()}
        return OnnxEncoded(self, features, (height, width), size)

    def decode(
        self,
        features: Mapping[str, Num[np.ndarray, "..."]],
        points: Float[np.ndarray, "P 2"],
        size: tuple[int, int],
    ) -> Answers:
        """Answer clicks on a photo that the encoder has seen.

        Args:
            features: Inputs of the decoder that the encoder made.
            points: Pixels (x, y) of the model's input.
            size: Height and width of the photo in the model's input.

        Raises:
            InputError: If the decoder fails, or returns masks of an unexpected shape.
        """
        import torch

        if not len(points):
            one = self.decode(features, np.zeros((1, 2)), size)
            return Answers(one.logits[:0], one.quality[:0])
        if self._batches is None and len(points) > 1:
            self._batches = self._answers_batches(features, points[[0, -1]], size)
        step = BATCH if self._batches else 1
        parts = [
            self._decode_batch(features, points[start : start + step], size)
            for start in range(0, len(points), step)
        ]
        logits, quality = (np.concatenate(each) for each in zip(*parts, strict=True))
        return Answers(
            torch.from_numpy(logits).to(self._device), torch.from_numpy(quality).to(self._device)
        )

    def upsample(
        self, logits: Float[Tensor, "K h w"], photo: tuple[int, int], size: tuple[int, int]
    ) -> Float[Tensor, "K H W"]:
        """Mask logits at the size of a photo, without what was added below or beside it.

        Args:
            logits: Mask logits over the model's input.
            photo: Height and width of the photo.
            size: Height and width of the photo in the model's input.
        """
        from torch.nn.functional import interpolate

        options = {"mode": "bilinear", "align_corners": False}
        values = logits[:, None]
        if self._pads:
            values = interpolate(values, (self._side, self._side), **options)
            values = values[..., : size[0], : size[1]]
        return interpolate(values, photo, **options)[:, 0]

    def _answers_batches(
        self, features: Mapping[str, Num[np.ndarray, "..."]], points: np.ndarray, size: Any
    ) -> bool:
        """Whether two clicks at a time are answered as each by itself.

        A shape that leaves the number of prompts open only promises it; exporters that follow one
        example may have fixed what depends on it.
        """
        alone = [self._decode_batch(features, points[[index]], size) for index in range(2)]
        try:
            both = self._decode_batch(features, points, size)
        except InputError:
            return False
        for found, *expected in zip(both, *alone, strict=True):
            wanted = np.concatenate(expected)
            limit = AGREEMENT * max(1.0, float(np.abs(wanted).max()))
            if found.shape != wanted.shape or not (np.abs(found - wanted) <= limit).all():
                return False
        return True

    def _decode_batch(
        self, features: Mapping[str, Num[np.ndarray, "..."]], points: np.ndarray, size: Any
    ) -> tuple[Float[np.ndarray, "P M h w"], Float[np.ndarray, "P M"]]:
        """Logits and qualities for clicks that are passed to the decoder at once."""
        path, count = self._pair.decoder.path, len(points)
        given = {**features, **self._prompt(points, size)}
        cast = {
            name: np.asarray(value, dtype_of(self._takes[name], path))
            for name, value in given.items()
        }
        names = (LOW_RES, MASKS, PLURAL_MASKS)
        wanted = [next(name for name in names if name in self._pair.decoder.outputs), QUALITY]
        logits, quality = run_session(self._decoder, wanted, cast, path)
        if self._plural and len(logits) == len(quality) == 1:
            logits, quality = logits[0], quality[0]
        fits = logits.ndim == 4 and quality.ndim == 2 and logits.shape[:2] == quality.shape
        if not fits or len(logits) != count or 0 in logits.shape:
            raise InputError(
                f"{path} answers {count} clicks with {wanted[0]} of shape {list(logits.shape)} and "
                f"{QUALITY} of shape {list(quality.shape)}; expected [{count}, masks, height, "
                f"width] and [{count}, masks]."
            )
        if logits.shape[1] == ALL_MASKS:
            logits, quality = logits[:, 1:], quality[:, 1:]
        return logits.astype(np.float32), quality.astype(np.float32)

    def _prompt(
        self, points: np.ndarray, size: tuple[int, int]
    ) -> dict[str, Float[np.ndarray, "..."]]:
        """Inputs of the decoder for clicks on objects, without masks from before."""
        # Decoders of SAM 1 want a point that is none where there is no box; others add it.
        places = self._shapes[self._names[0]][-2] or (2 if self._pads else 1)
        coords = np.zeros((len(points), places, 2))
        labels = np.full((len(points), places), -1.0)
        coords[:, 0], labels[:, 0] = points, 1
        if self._plural:  # Points of a photo at the size of the model's masks, all at once.
            coords, labels = coords[None] / SHRINK, labels[None]
        small = self._side // SHRINK
        shape = [len(points), 1, small, small]
        declared = self._shapes.get(MASK, [])
        shape = [size or mine for size, mine in zip(declared, shape, strict=False)]
        # A photo at the size of the model's masks: the full size is not needed, and slow to make.
        reduced = [max(1, round(each / SHRINK)) for each in size]
        flags = [each or 1 for each in self._shapes.get(HAS_MASK, [])]
        given = {
            **{self._names[0]: coords, self._names[1]: labels, MASK: np.zeros(shape)},
            **{HAS_MASK: np.zeros(flags), SIZE: np.array(reduced, float)},
        }
        return {name: value for name, value in given.items() if name in self._takes}


@array_record
class OnnxEncoded:
    """A photo that a model of two ONNX files has seen; it implements `Encoded`."""

    model: OnnxSegmenter
    """Model that has seen the photo."""
    features: Mapping[str, np.ndarray]
    """Inputs of the decoder that the encoder made."""
    photo: tuple[int, int]
    """Height and width of the photo, in pixels."""
    size: tuple[int, int]
    """Height and width of the photo in the model's input, in pixels."""

    def answer(self, points: Float[np.ndarray, "P 2"]) -> Answers:
        """Answer clicks, each by itself and as one on an object.

        Args:
            points: Pixels (x, y) of the photo; its top left corner is (0, 0).

        Raises:
            InputError: If the decoder fails, or returns masks of an unexpected shape.
        """
        scale = np.array([self.size[1] / self.photo[1], self.size[0] / self.photo[0]])
        return self.model.decode(self.features, points * scale, self.size)

    def upsample(self, logits: Float[Tensor, "K h w"]) -> Float[Tensor, "K H W"]:
        """Mask logits at the size of the photo."""
        return self.model.upsample(logits, self.photo, self.size)
