"""Segment Anything: loading the model from the user's checkpoint."""

import zipfile
from pathlib import Path
from typing import Any, Literal

from splat_uff.system.errors import InputError, argument, reason_of

SamModel = Literal["vit_h", "vit_l", "vit_b"]


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
    import torch
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
