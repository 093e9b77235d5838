"""Models of Hugging Face transformers that answer clicks: the family of Segment Anything.

Each of them sees a photo once (`encode`) and answers many clicks in one call of its decoder. The
models, how they prepare photos and where they place clicks are documented at
https://huggingface.co/docs/transformers (version 5).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from splat_uff.masks.hub import LARGEST_SIDE, ModelFolder, find_model, read_model_folder
from splat_uff.masks.segmenter import Answers, Encoded, Segmenter
from splat_uff.system.errors import InputError, reason_of
from splat_uff.system.records import array_record

MOST_TABLES = 1 << 26
"""Most numbers of positions that a model computes when it is built; SAM 3 has 75 264."""
UPSAMPLED = 1 << 24
"""Number of logits that are enlarged at a time, as 64 MB."""
CHANGED = (
    *("auto_map", "quantization_config", "attn_implementation", "_attn_implementation"),
    *("_attn_implementation_internal", "_name_or_path", "dtype", "torch_dtype"),
)
"""Settings that would run other code than that of transformers, or change its precision."""
PREPARATION = ("image_mean", "image_std", "rescale_factor", "do_normalize", "do_rescale")


@dataclass(frozen=True)
class Family:
    """A kind of model, in the words of transformers."""

    name: str
    model: str
    processor: str
    """Class that prepares photos and enlarges masks."""
    parts: str
    """Pattern of the kinds of parts that its config may name."""


SAM = Family("SAM", "SamModel", "SamImageProcessor", "sam_.*")
SAM_HQ = Family("SAM-HQ", "SamHQModel", "SamImageProcessor", "sam_.*")
SAM_2 = Family("SAM 2 and 2.1", "Sam2Model", "Sam2ImageProcessor", "sam2_.*")
EDGE_TAM = Family(
    "EdgeTAM", "EdgeTamModel", "Sam2ImageProcessor", "edgetam_.*|sam2_vision_model|timm_wrapper"
)
SAM_3 = Family("SAM 3", "Sam3TrackerModel", "Sam3ImageProcessor", "sam3|sam3_.*|clip_text_model")
FAMILIES = {
    "sam": SAM,
    "sam_hq": SAM_HQ,
    "sam2": SAM_2,
    "sam2_video": SAM_2,  # The hub's folders are for videos too; photos need a part of them.
    "edgetam": EDGE_TAM,
    "edgetam_video": EDGE_TAM,
    "sam3_tracker": SAM_3,
    "sam3_video": SAM_3,
}
"""Family of each `model_type` in a config."""


def load_transformers(path_or_name: str, *, device: str = "cpu") -> Segmenter:
    """Load a model of the family of Segment Anything, without running code or unpickling objects.

    Args:
        path_or_name: Folder with `config.json`, `preprocessor_config.json` and weights in the
            format safetensors; or a name on the hub such as `facebook/sam2.1-hiera-tiny`, which is
            taken from the cache or downloaded.
        device: Device to compute on: `cpu` or `cuda`.

    Raises:
        InputError: If transformers is missing, if there is no such model, if it is of another
            family, or if files are missing or damaged.
    """
    library = _import_transformers()
    folder = read_model_folder(find_model(path_or_name))
    family = _family_of(folder, library)
    with _quiet(library):
        model = _build(folder, family, library)
        model.eval().requires_grad_(False).to(device)
        processor = _processor(folder, family, library, _side(folder, model.config))
    return TransformersSegmenter(
        model=model, processor=processor, fingerprint=f"{family.model} {folder.fingerprint}"
    )


@array_record
class TransformersSegmenter:
    """A model of transformers that answers clicks."""

    model: Any
    processor: Any
    """Image processor of transformers, set as the model expects."""
    fingerprint: str
    threshold: float = 0.0

    def encode(self, image: UInt8[np.ndarray, "H W 3"]) -> Encoded:
        """Prepare a photo as the model's processor does, and run the encoder."""
        prepared = self.processor(image, input_data_format="channels_last", return_tensors="pt")
        with _blamed_on_the_model(), torch.no_grad():
            found = self.model.get_image_embeddings(prepared["pixel_values"].to(self.model.device))
        if isinstance(found, tuple):  # SAM-HQ, whose decoder takes an early layer as well.
            features = {"image_embeddings": found[0], "intermediate_embeddings": found[1]}
        else:
            features = {"image_embeddings": found}
        side = prepared["pixel_values"].shape[-1]
        seen = prepared.get("reshaped_input_sizes")  # Without the border; all, where there is none.
        height, width = (side, side) if seen is None else seen[0].tolist()
        return TransformersEncoded(
            segmenter=self, features=features, size=image.shape[:2], seen=(height, width)
        )


@array_record
class TransformersEncoded:
    """A photo that a model of transformers has seen."""

    segmenter: TransformersSegmenter
    features: dict[str, Any]
    """What the decoder needs of the encoder, by argument."""
    size: tuple[int, int]
    """Height and width of the photo, pixels."""
    seen: tuple[int, int]
    """Height and width that it had when the model saw it, pixels."""

    def answer(self, points: Float[np.ndarray, "P 2"]) -> Answers:
        """Answer clicks in one call of the decoder; see `Encoded`."""
        model = self.segmenter.model
        scale = torch.tensor([self.seen[1] / self.size[1], self.seen[0] / self.size[0]])
        clicks = torch.from_numpy(points.astype(np.float32)) * scale
        if not len(points):
            clicks = clicks.new_zeros(1, 2)  # For the shapes; nothing of its answer is kept.
        clicks = clicks[None, :, None].to(model.device)
        labels = torch.ones(clicks.shape[:3], dtype=torch.int64, device=model.device)
        with _blamed_on_the_model(), torch.no_grad():
            found = model(
                input_points=clicks, input_labels=labels, multimask_output=True, **self.features
            )
        count = len(points)
        return Answers(logits=found.pred_masks[0, :count], quality=found.iou_scores[0, :count])

    def upsample(self, logits: Float[Tensor, "K h w"]) -> Float[Tensor, "K H W"]:
        """Enlarge logits as the model's processor does, in parts of bounded memory."""
        process = self.segmenter.processor.post_process_masks
        places = {"original_sizes": [self.size], "binarize": False}
        if self.segmenter.processor.pad_size is not None:
            places["reshaped_input_sizes"] = [self.seen]
        largest = max(self.size[0] * self.size[1], max(self.seen) ** 2)
        enlarged = logits.new_empty(len(logits), *self.size)
        step = max(1, UPSAMPLED // largest)
        for start in range(0, len(logits), step):
            part = slice(start, start + step)
            enlarged[part] = process([logits[None, part]], **places)[0][0]
        return enlarged


def _import_transformers() -> ModuleType:
    """Import transformers, and what its image processors need."""
    try:
        import torchvision  # noqa: F401  # pyright: ignore[reportMissingImports]
        import transformers  # pyright: ignore[reportMissingImports]
    except (ImportError, RuntimeError) as error:  # The latter if versions do not match.
        raise InputError(
            f"models of transformers need what cannot be imported ({reason_of(error)}); "
            'pip install "splat-uff[transformers]".'
        ) from None
    return transformers


def _family_of(folder: ModelFolder, library: ModuleType) -> Family:
    """Family of a model, if it is one of ours and all of its parts are of it."""
    kind = folder.config["model_type"]
    family = FAMILIES.get(kind)
    if family is None:
        known = ", ".join(dict.fromkeys(each.name for each in FAMILIES.values()))
        raise InputError(
            f"{folder.path} holds a model of type {kind}, which does not answer clicks; pass one "
            f"of {known} (types {', '.join(FAMILIES)})."
        )
    left = list(folder.config.values())
    while left:
        value = left.pop()
        if isinstance(value, dict):
            part = value.get("model_type", "")
            if part and not (isinstance(part, str) and re.fullmatch(family.parts, part)):
                raise InputError(
                    f"{folder.path} says that {family.name} has a part of type {part}, which it "
                    "does not; download it again."
                )
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
    if family is EDGE_TAM:
        _check_backbone(folder)
    if not hasattr(library, family.model) or not hasattr(library, family.processor):
        raise InputError(
            f"transformers {library.__version__} has no {family.name}; "
            'pip install -U "transformers>=5".'
        )
    return family


def _check_backbone(folder: ModelFolder) -> None:
    """Check that the backbone of EdgeTAM is one of timm, and nothing is loaded for it."""
    vision = folder.config.get("vision_config")
    backbone = vision.get("backbone_config") if isinstance(vision, dict) else None
    backbone = backbone if isinstance(backbone, dict) else {}
    name, settings = backbone.get("architecture", ""), backbone.get("model_args") or {}
    known = {"features_only", "in_chans", "out_indices"}
    plain = isinstance(name, str) and re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)?", name, re.ASCII)
    if not plain or not isinstance(settings, dict) or not settings.keys() <= known:
        raise InputError(
            f"{folder.path} does not name a plain model of timm as backbone of EdgeTAM; download "
            "it again."
        )
    try:
        import timm  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            'EdgeTAM needs timm, which is not installed; pip install "splat-uff[transformers]".'
        ) from None


def _build(folder: ModelFolder, family: Family, library: ModuleType) -> Any:
    """Build a model and load its weights, once it is known that these fill it."""
    kind = getattr(library, family.model)
    try:
        mapping = library.models.auto.configuration_auto.CONFIG_MAPPING
        config = mapping[folder.config["model_type"]].from_dict(_without(folder.config))
        with torch.device("meta"):  # Shapes without memory.
            empty = kind(config)
        wanted = sum(each.numel() for each in empty.parameters())
        if wanted > folder.num_numbers:
            raise ValueError(f"{folder.num_numbers} numbers, where the config asks for {wanted}")
        tables = sum(each.numel() for each in empty.buffers())
        if tables > MOST_TABLES:
            raise ValueError(f"{tables} numbers in tables, where {MOST_TABLES} are the most")
        model, found = kind.from_pretrained(
            folder.path,
            config=mapping[folder.config["model_type"]].from_dict(_without(folder.config)),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
        if found["missing_keys"] or found["mismatched_keys"]:
            missing = [*found["missing_keys"], *found["mismatched_keys"]]
            raise ValueError(
                f"{len(missing)} tensors are missing, such as {min(map(str, missing))}"
            )
    except Exception as error:  # Of every kind, from any depth of the library.
        raise InputError(
            f"{folder.path} does not hold the config and weights of a {family.name} model "
            f"({reason_of(error)}); download it again."
        ) from None
    return model


def _without(settings: Any) -> Any:
    """Settings without those that would run other code or change the precision."""
    if isinstance(settings, dict):
        return {key: _without(each) for key, each in settings.items() if key not in CHANGED}
    if isinstance(settings, list):
        return [_without(each) for each in settings]
    return settings


def _side(folder: ModelFolder, config: Any) -> int:
    """Side of the square at which a model sees photos, pixels."""
    sizes = config.prompt_encoder_config.image_size
    sizes = {sizes} if isinstance(sizes, int) else set(sizes)
    side = sizes.pop()
    if sizes or not 0 < side <= LARGEST_SIDE:
        raise InputError(
            f"{folder.path} says that its model sees photos of {side} pixels a side; expected a "
            f"square of at most {LARGEST_SIDE}."
        )
    return side


def _processor(folder: ModelFolder, family: Family, library: ModuleType, side: int) -> Any:
    """Image processor with the colours of the folder and the size of the model."""
    settings = folder.preprocessing
    square = {"height": side, "width": side}
    padded = family.processor == "SamImageProcessor"
    size = {"longest_edge": side} if padded else square
    said = settings.get("size", size)
    if isinstance(said, dict):
        said = {key: value for key, value in said.items() if value is not None}
    if said != size or settings.get("do_resize") is False:
        raise InputError(
            f"{folder.path} prepares photos to the size {said}, but its model expects {size}; "
            "download it again."
        )
    colours = {key: settings[key] for key in PREPARATION if settings.get(key) is not None}
    try:
        for key, value in colours.items():
            numbers = np.asarray(value, dtype=np.float64)
            if numbers.shape != ((3,) if "image" in key else ()) or not np.isfinite(numbers).all():
                raise ValueError(f"{key} is {value}")
        if (np.asarray(colours.get("image_std", 1.0)) == 0).any():
            raise ValueError("image_std is 0")
        kind = getattr(library, family.processor)
        return kind(size=size, **({"pad_size": square} if padded else {}), **colours)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{folder.path} does not say how to prepare photos ({reason_of(error)}); download it "
            "again."
        ) from None


@contextmanager
def _blamed_on_the_model() -> Iterator[None]:
    """Report what fails inside of a model, whose config may make no sense, as its mistake."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise InputError(
            f"the model cannot look at photos as its config says ({reason_of(error)}); download it "
            "again."
        ) from error


@contextmanager
def _quiet(library: ModuleType) -> Iterator[None]:
    """Keep the notes and progress bars of transformers from the terminal during the block."""
    logging = library.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
