"""Loading a model that answers clicks from whatever a person has of it."""

from pathlib import Path

from splat_uff.masks.config import SamModel
from splat_uff.masks.sam import SamSegmenter, fingerprint_of, load_sam
from splat_uff.masks.segmenter import Segmenter
from splat_uff.system.errors import InputError

CHECKPOINTS = (".pth", ".pt", ".ckpt")
"""Endings of checkpoints of `segment_anything`."""


def load_segmenter(model: str, *, sam_model: SamModel = "vit_h", device: str = "cpu") -> Segmenter:
    """Load a model from a file, a folder, or by its name on the Hugging Face hub.

    Args:
        model: A checkpoint of `segment_anything` (`.pth`), a pair of ONNX files (one of them, or
            their folder), or a model of transformers (its folder, or its name on the hub).
        sam_model: Model that a checkpoint of `segment_anything` belongs to.
        device: Device to compute on: `cpu` or `cuda`.

    Raises:
        InputError: If there is nothing of this name, or it is damaged, of another kind, or needs a
            package that is not installed.
    """
    path = Path(model)
    if path.suffix.lower() in CHECKPOINTS:
        return SamSegmenter(load_sam(path, sam_model, device=device), fingerprint_of(path))
    if path.suffix.lower() == ".onnx" or (path.is_dir() and any(path.glob("*.onnx"))):
        from splat_uff.masks.onnx import load_onnx

        return load_onnx(path, device=device)
    if path.is_file():
        raise InputError(
            f"{path} is no model; expected a checkpoint of Segment Anything (.pth), an .onnx, or "
            "the folder of a model of transformers."
        )
    from splat_uff.masks.transformers import load_transformers

    return load_transformers(model, device=device)
