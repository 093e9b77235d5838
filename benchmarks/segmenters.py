"""What a photo and its clicks cost the models of each backend: writes benchmarks/segmenters.json.

    python benchmarks/segmenters.py --output benchmarks/segmenters.json

Weights are random, and need no hub: the time does not depend on what they are. Each model is of its
real size, and runs in a process of its own, so that its peak memory is known. Those of transformers
are saved and loaded as the hub's would be. Beside the time that passes stands the time that
processors spend, which hardly depends on what else a machine does. EdgeTAM and the model in the
shape of MobileSAM need timm.
"""

import json
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from splat_uff.masks.onnx import load_onnx
from splat_uff.masks.sam import SamSegmenter
from splat_uff.masks.transformers import load_transformers
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.system.portable import load_average, peak_memory

CLICKS = 64
SIZES = {"400": (300, 400), "1600": (1200, 1600)}
"""Height and width of the photos, pixels."""
BUDGETS = {"grid": 1024, "adaptive": 200, "guided": 100}
"""Clicks of a photo: the grid of 32 x 32, and what benchmarks/prompts.py finds enough."""


def main(
    only: str = "",
    output: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
) -> None:
    """Measure and print.

    Args:
        only: Text that the name of a model must contain.
        output: Where the figures go, after each model; those of other models stay in it.
    """
    known = (
        json.loads(output.read_text(encoding="utf-8"))
        if output is not None and output.exists()
        else {}
    )
    rows = known.get("models", {})
    record = {**measured_here(), "threads": torch.get_num_threads(), "models": rows}
    for name in MODELS:
        if only in name:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rows[name] = pool.submit(measure, name).result()
            print(name, rows[name], flush=True)
            if output is not None:
                write_json(output, record)


def measure(name: str) -> dict[str, Any]:
    """Time each part of a model's work: the least of both photos, or of two calls for a photo."""
    generator = np.random.default_rng(0)
    spent: dict[str, list[list[float]]] = {}

    def timed(part: str, call: Callable[[], Any]) -> Any:
        wall, used = time.perf_counter(), time.process_time()
        result = call()
        taken = [time.perf_counter() - wall, time.process_time() - used]
        spent.setdefault(part, []).append(taken)
        return result

    with tempfile.TemporaryDirectory() as folder:
        weights, load = MODELS[name](Path(folder))
        segmenter: Any = timed("load", load)
    for size, (height, width) in SIZES.items():
        photo = generator.integers(0, 256, (height, width, 3), np.uint8)
        points = generator.random((CLICKS, 2)) * [width, height]
        encoded = timed("encode", lambda: segmenter.encode(photo))  # noqa: B023
        logits = timed("answer", lambda: encoded.answer(points)).logits.flatten(0, 1)  # noqa: B023
        for _ in range(2):
            timed(f"upsample_{size}", lambda: encoded.upsample(logits))  # noqa: B023
    row: dict[str, Any] = {
        part: dict(zip(("wall_s", "cpu_s"), np.min(taken, axis=0).round(2).tolist(), strict=True))
        for part, taken in spent.items()
    }
    for budget, clicks in BUDGETS.items():
        parts = row["answer"]["wall_s"] + row["upsample_400"]["wall_s"]
        row[budget] = {"wall_s": round(row["encode"]["wall_s"] + clicks / CLICKS * parts, 1)}
    row["weights_m"] = round(weights / 1e6, 1)
    row["peak_gb"] = round(peak_memory() or 0.0, 2)
    row["load_average"] = load_average()
    return row


Loading = tuple[int, Callable[[], Any]]
"""Number of a model's weights, and what loads it."""


def randomised(model: Any) -> Any:
    """Give a model random weights that keep the size of what flows through it."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=weight[0].numel() ** -0.5)
    return model.eval()


def of_transformers(build: Callable[[], Any], processor: str) -> Callable[[Path], Loading]:
    """A model of transformers, written to a folder as those of the hub are."""

    def write(folder: Path) -> Loading:
        import transformers

        model = randomised(build())
        model.save_pretrained(folder)
        getattr(transformers, processor)().save_pretrained(folder)
        return count(model), lambda: load_transformers(str(folder))

    return write


def of_segment_anything(build: Callable[[], Any]) -> Callable[[Path], Loading]:
    """A model of the package segment_anything."""

    def make(folder: Path) -> Loading:
        model = randomised(build())
        return count(model), lambda: SamSegmenter(model, "")

    return make


def of_onnx(build: Callable[[], Any]) -> Callable[[Path], Loading]:
    """The same as ONNX files, as by segment_anything's scripts/export_onnx_model.py."""

    def export(folder: Path) -> Loading:
        from segment_anything.utils.onnx import SamOnnxModel

        model = randomised(build())
        side = model.image_encoder.img_size
        decoder = SamOnnxModel(model, return_single_mask=False)
        axes = {name: {1: "points"} for name in ("point_coords", "point_labels")}
        clicks = {
            "image_embeddings": torch.randn(1, 256, side // 16, side // 16),
            "point_coords": torch.zeros(1, 5, 2),
            "point_labels": torch.zeros(1, 5),
            "mask_input": torch.zeros(1, 1, side // 4, side // 4),
            "has_mask_input": torch.zeros(1),
            "orig_im_size": torch.tensor([300.0, 400.0]),
        }
        encoder_names = {"input_names": ["x"], "output_names": ["image_embeddings"]}
        decoder_names = {
            "input_names": list(clicks),
            "output_names": ["masks", "iou_predictions", "low_res_masks"],
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of tracing.
            for module, given, path, names in (
                (model.image_encoder, (torch.zeros(1, 3, side, side),), "encoder", encoder_names),
                (decoder, tuple(clicks.values()), "decoder", decoder_names),
            ):
                torch.onnx.export(
                    *(module, given, folder / f"{path}.onnx"),
                    **names,
                    dynamic_axes=axes if path == "decoder" else None,
                    opset_version=17,
                    dynamo=False,
                )
        return count(model), lambda: load_onnx(folder)

    return export


def count(model: Any) -> int:
    """Number of weights."""
    return sum(each.numel() for each in model.parameters())


def original_sam(kind: str) -> Any:
    """SAM of the package segment_anything."""
    from segment_anything import sam_model_registry

    return sam_model_registry[kind]()


def mobile_sam() -> Any:
    """SAM with the encoder of MobileSAM's shape: TinyViT-5M of timm at 1024 pixels.

    The last stage is left out, and a neck of two convolutions brings its 160 channels to 256;
    MobileSAM's own keeps the last stage at the same resolution.
    """
    import timm

    sam = original_sam("vit_b")
    sam.image_encoder = TinyEncoder(
        timm.create_model("tiny_vit_5m_224", features_only=True, pretrained=False)
    )
    return sam


class TinyEncoder(torch.nn.Module):
    """Encoder of photos by TinyViT, with SAM's interface."""

    img_size = 1024

    def __init__(self, body: torch.nn.Module) -> None:
        super().__init__()
        self.body = body
        self.neck = torch.nn.Sequential(
            torch.nn.LazyConv2d(256, 1, bias=False), torch.nn.LazyConv2d(256, 3, padding=1)
        )
        self(torch.zeros(1, 3, self.img_size, self.img_size))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of 1/16 of the photo's resolution."""
        stages = [each for each in self.body(x) if each.shape[-1] == self.img_size // 16]
        return self.neck(stages[-1])


def sam() -> Any:
    """SAM with its smallest encoder, ViT-B."""
    from transformers import SamConfig, SamModel

    return SamModel(SamConfig())


def sam_hq() -> Any:
    """SAM-HQ with its smallest encoder, ViT-B."""
    from transformers import SamHQConfig, SamHQModel

    return SamHQModel(SamHQConfig())


def sam2_tiny() -> Any:
    """SAM 2.1 hiera-tiny."""
    from transformers import Sam2Config, Sam2Model

    return Sam2Model(Sam2Config())


def sam2_base() -> Any:
    """SAM 2.1 hiera-base-plus (sam2.1_hiera_b+.yaml of facebookresearch/sam2)."""
    from transformers import Sam2Config, Sam2HieraDetConfig, Sam2Model, Sam2VisionConfig

    backbone = Sam2HieraDetConfig(
        hidden_size=112,
        num_attention_heads=2,
        blocks_per_stage=[2, 3, 16, 3],
        embed_dim_per_stage=[112, 224, 448, 896],
        num_attention_heads_per_stage=[2, 4, 8, 16],
        window_size_per_stage=[8, 4, 14, 7],
        global_attention_blocks=[12, 16, 20],
        window_positional_embedding_background_size=[14, 14],
    )
    vision = Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=[896, 448, 224, 112])
    return Sam2Model(Sam2Config(vision_config=vision))


def edgetam() -> Any:
    """EdgeTAM, whose encoder is RepViT-M1 of timm."""
    from transformers import EdgeTamConfig, EdgeTamModel, EdgeTamVisionConfig, TimmWrapperConfig

    args = {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]}
    backbone = TimmWrapperConfig(architecture="repvit_m1", model_args=args)
    return EdgeTamModel(EdgeTamConfig(vision_config=EdgeTamVisionConfig(backbone_config=backbone)))


def sam3() -> Any:
    """The part of SAM 3 that answers clicks."""
    from transformers import Sam3TrackerConfig, Sam3TrackerModel

    return Sam3TrackerModel(Sam3TrackerConfig())


MODELS: dict[str, Callable[[Path], Loading]] = {
    "MobileSAM": of_segment_anything(mobile_sam),
    "MobileSAM (ONNX)": of_onnx(mobile_sam),
    "EdgeTAM": of_transformers(edgetam, "Sam2ImageProcessor"),
    "SAM 2.1 tiny": of_transformers(sam2_tiny, "Sam2ImageProcessor"),
    "SAM 2.1 base+": of_transformers(sam2_base, "Sam2ImageProcessor"),
    "SAM ViT-B": of_transformers(sam, "SamImageProcessor"),
    "SAM ViT-B (segment_anything)": of_segment_anything(lambda: original_sam("vit_b")),
    "SAM ViT-B (ONNX)": of_onnx(lambda: original_sam("vit_b")),
    "SAM-HQ ViT-B": of_transformers(sam_hq, "SamImageProcessor"),
    "SAM 3": of_transformers(sam3, "Sam3ImageProcessor"),
    "SAM ViT-H (segment_anything)": of_segment_anything(lambda: original_sam("vit_h")),
}


if __name__ == "__main__":
    with told_in_one_line():
        tyro.cli(main)
