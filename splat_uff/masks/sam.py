"""Segment Anything: loading the model from the user's checkpoint, and asking it."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from splat_uff.masks.config import SamModel
from splat_uff.masks.segmenter import Answers
from splat_uff.system.errors import InputError, argument, reason_of
from splat_uff.system.records import array_record

SAMPLED = 1 << 20
"""Number of bytes at either end of a checkpoint that its fingerprint covers."""


class SamSegmenter:
    """Segmenter by a model of the package `segment_anything`.

    Args:
        sam: Model, as loaded by `load_sam`.
        fingerprint: Fingerprint of its weights, for example `fingerprint_of` their file.
    """

    def __init__(self, sam: Any, fingerprint: str) -> None:
        self._sam, self._fingerprint = sam, fingerprint

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the weights."""
        return self._fingerprint

    @property
    def threshold(self) -> float:
        """Logit above which a pixel is in the mask."""
        return float(self._sam.mask_threshold)

    @torch.no_grad()
    def encode(self, image: UInt8[np.ndarray, "H W 3"]) -> "EncodedBySam":
        """Look at a photo: resized to the encoder's longer side, and padded to a square."""
        from segment_anything.utils.transforms import ResizeLongestSide

        sam = self._sam
        resized = ResizeLongestSide(sam.image_encoder.img_size).apply_image(image)
        pixels = torch.as_tensor(resized, device=sam.device).permute(2, 0, 1).contiguous()[None]
        features = sam.image_encoder(sam.preprocess(pixels))
        return EncodedBySam(sam, features, image.shape[:2], resized.shape[:2])


@array_record
class EncodedBySam:
    """A photo that a model of `segment_anything` has seen."""

    sam: Any
    features: Tensor
    """Output of the image encoder."""
    size: tuple[int, int]
    """Height and width of the photo."""
    resized: tuple[int, int]
    """Height and width at which the encoder saw it, without padding."""

    @torch.no_grad()
    def answer(self, points: Float[np.ndarray, "P 2"]) -> Answers:
        """Answer clicks, each by three masks."""
        sam = self.sam
        scale = np.array(self.resized[::-1]) / np.array(self.size[::-1])
        clicks = torch.as_tensor(points.astype(np.float64) * scale, device=sam.device)
        labels = torch.ones((len(points), 1), dtype=torch.int, device=sam.device)
        sparse, dense = sam.prompt_encoder(points=(clicks[:, None], labels), boxes=None, masks=None)
        logits, quality = sam.mask_decoder(
            image_embeddings=self.features,
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        return Answers(logits, quality)

    @torch.no_grad()
    def upsample(self, logits: Float[Tensor, "K h w"]) -> Float[Tensor, "K H W"]:
        """Mask logits at the size of the photo, interpolated as `segment_anything` does."""
        return self.sam.postprocess_masks(logits[None], self.resized, self.size)[0]


def fingerprint_of(checkpoint: Path) -> str:
    """Fingerprint of a file of gigabytes: a hash of its length, its beginning and its end."""
    length = checkpoint.stat().st_size
    digest = hashlib.sha256(str(length).encode())
    with checkpoint.open("rb") as file:
        digest.update(file.read(SAMPLED))
        file.seek(max(0, length - SAMPLED))
        digest.update(file.read())
    return digest.hexdigest()[:16]


def load_sam(checkpoint: Path, model: SamModel, *, device: str = "cpu") -> Any:
    """Build a model of `segment_anything` and load its weights, without unpickling any objects.

    Args:
        checkpoint: File of weights, for example `sam_vit_h_4b8939.pth`.
        model: Model that the weights belong to.
        device: Device to compute on: `cpu` or `cuda`.

    Raises:
        InputError: If the file is missing or damaged, or belongs to another model.
    """
    if not checkpoint.is_file():
        raise InputError(f"no checkpoint {checkpoint}; download the weights of Segment Anything.")
    from segment_anything import sam_model_registry

    try:
        # Files in torch's old format cannot be mapped into memory.
        mapped = zipfile.is_zipfile(checkpoint)
        weights = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # Zip, pickle and torch each raise their own errors.
        raise InputError(
            f"{checkpoint} is no checkpoint of weights ({reason_of(error)}); download it again."
        ) from None
    sam = sam_model_registry[model]()
    try:
        sam.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError):
        raise InputError(
            f"{checkpoint} does not hold the weights of {model}; name its model with "
            f"{argument('model', flag='--sam-model')}."
        ) from None
    return sam.eval().to(device)
