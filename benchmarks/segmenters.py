"""What a photo and its clicks cost the models of transformers: writes benchmarks/segmenters.json.

    python benchmarks/segmenters.py --output benchmarks/segmenters.json --table

Weights are random, and need no hub: the time does not depend on what they are. Each model is of its
real size, is saved and loaded as one of the hub's would be, and runs in a process of its own, so
that its peak memory is known. Beside the time that passes stands the time that processors spend,
which hardly depends on what else a machine does. EdgeTAM needs timm.
"""

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro

from splat_uff.masks.transformers import load_transformers
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here, peak_memory

CLICKS = 64
SIZES = {"400": (300, 400), "1600": (1200, 1600)}
"""Height and width of the photos, pixels."""


def main(
    only: str = "",
    table: bool = False,
    output: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
) -> None:
    """Measure and print.

    Args:
        only: Text that the name of a model must contain.
        table: Print a table for the documentation as well.
        output: Where the figures go, after each model.
    """
    rows = {}
    record = {**measured_here(), "threads": torch.get_num_threads(), "models": rows}
    for name in MODELS:
        if only in name:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                rows[name] = pool.submit(measure, name).result()
            print(name, rows[name], flush=True)
            if output is not None:
                write_json(output, record)
    if table:
        print_table(rows)


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
        save(name, Path(folder))
        segmenter: Any = timed("load", lambda: load_transformers(folder))
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
    row["weights_m"] = round(sum(each.numel() for each in segmenter.model.parameters()) / 1e6, 1)
    row["peak_gb"] = round(peak_memory() or 0.0, 2)
    row["load_average"] = round(os.getloadavg()[0], 1)
    return row


def save(name: str, folder: Path) -> None:
    """Write a model with random weights and how it prepares photos, as the hub's folders are."""
    from transformers import Sam2ImageProcessor, Sam3ImageProcessor, SamImageProcessor

    model = MODELS[name]()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=weight[0].numel() ** -0.5)
    model.save_pretrained(folder)
    kinds = {"SAM ": SamImageProcessor, "SAM-": SamImageProcessor, "SAM 3": Sam3ImageProcessor}
    kinds["SAM 2"] = kinds["EdgeTAM"] = Sam2ImageProcessor
    longest = max((each for each in kinds if name.startswith(each)), key=len)
    kinds[longest]().save_pretrained(folder)


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


MODELS: dict[str, Callable[[], Any]] = {
    "EdgeTAM": edgetam,
    "SAM 2.1 tiny": sam2_tiny,
    "SAM 2.1 base+": sam2_base,
    "SAM ViT-B": sam,
    "SAM-HQ ViT-B": sam_hq,
    "SAM 3": sam3,
}


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """Rows for the documentation, with the time of processors."""
    for name, row in rows.items():
        cells = [f"{row['weights_m']:.0f}"]
        for part in ("encode", "answer", "upsample_400", "upsample_1600"):
            cells.append(f"{row[part]['cpu_s']:.1f}")
        print(f"| {name} | " + " | ".join([*cells, f"{row['peak_gb']:.1f}"]) + " |")


if __name__ == "__main__":
    tyro.cli(main)
