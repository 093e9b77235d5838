"""Peak memory of training on many large photos with many masks: writes benchmarks/scale.json.

    python benchmarks/scale.py --views 100 500 --output benchmarks/scale.json

Makes captures of 1600 x 1066 photos, 100 masks each (ten that differ, linked as often as needed),
and trains on each at full size in a process of its own, whose peak resident memory counts. The
Gaussians are fitted for a few steps only: memory does not depend on their number of steps.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image

from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import describe_machine
from splat_uff.system.portable import link_or_copy, run_measured

WIDTH, HEIGHT = 1600, 1066
MASKS = 100
DIFFERENT = 10
"""Photos that are made; the others are links to them."""
FOCAL = 1400.0


def main(
    views: tuple[int, ...] = (100, 500),
    memory: float = 2.0,
    steps: int = 1500,
    output: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
) -> None:
    """Measure and print the table.

    Args:
        views: Numbers of photos to train on.
        memory: Budget in gigabytes, as `splat-uff train --memory`.
        steps: Steps of the contrastive fit.
        output: Where the figures go.
    """
    results = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as place:
        make_parts(Path(place))
        for count in views:
            results.append(measure(Path(place), count, memory, steps))
            print(results[-1], flush=True)
            if output is not None:
                record = {"machine": describe_machine(), "memory_gb": memory, "runs": results}
                write_json(output, record)


def make_parts(place: Path) -> None:
    """Ten photos and their masks."""
    (place / "parts").mkdir()
    rng = np.random.default_rng(0)
    for number in range(DIFFERENT):
        labels = cells(rng, MASKS // 2)
        colours = rng.integers(40, 220, (MASKS // 2, 3))
        picture = (colours[labels] + rng.integers(-8, 8, (HEIGHT, WIDTH, 1))).astype(np.uint8)
        Image.fromarray(picture).save(place / "parts" / f"{number}.jpg", quality=90)
        groups = rng.integers(0, MASKS // 2, MASKS // 2)
        masks = [labels == cell for cell in range(MASKS // 2)]
        masks += [np.isin(labels, np.flatnonzero(groups <= group)) for group in range(MASKS // 2)]
        entries = [{"segmentation": encode(mask)} for mask in masks]
        (place / "parts" / f"{number}.json").write_text(json.dumps(entries), encoding="utf-8")


def cells(rng: np.random.Generator, count: int) -> np.ndarray:
    """A picture cut into `count` cells with ragged borders."""
    centres = rng.random((count, 2)) * (HEIGHT, WIDTH)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    bend = 15 * np.sin(rows / 23) + 15 * np.cos(columns / 31)
    nearest = np.full((HEIGHT, WIDTH), np.inf)
    labels = np.zeros((HEIGHT, WIDTH), np.int64)
    for cell, (row, column) in enumerate(centres):
        distance = np.hypot(rows + bend - row, columns + bend - column)
        labels[distance < nearest] = cell
        nearest = np.minimum(nearest, distance)
    return labels


def encode(mask: np.ndarray) -> dict:
    """COCO's run-length encoding, not compressed: runs down the columns, 0s first."""
    flat = np.concatenate([[False], mask.T.ravel()])
    changes = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return {"size": [HEIGHT, WIDTH], "counts": counts.tolist()}


def measure(place: Path, count: int, memory: float, steps: int) -> dict:
    """Train on `count` photos and return the peak of the process."""
    folder = place / f"views{count}"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    frames = []
    for number in range(count):
        part, name = place / "parts" / str(number % DIFFERENT), f"p{number:04d}"
        link_or_copy(part.with_suffix(".jpg"), folder / "images" / f"{name}.jpg")
        link_or_copy(part.with_suffix(".json"), folder / "masks" / f"{name}.json")
        angle = 2 * np.pi * number / count
        frames.append({"file_path": f"images/{name}.jpg", "transform_matrix": pose(angle)})
    lens = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": WIDTH / 2, "cy": HEIGHT / 2}
    record = {"w": WIDTH, "h": HEIGHT, **lens, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(record), encoding="utf-8")
    start = time.perf_counter()
    words = [
        *(sys.executable, "-m", "splat_uff", "train", "--data", str(folder)),
        *("--masks", str(folder / "masks"), "--output", str(folder / "run")),
        *("--size", str(WIDTH), "--memory", str(memory), "--gaussians.steps", "20"),
        *("--features.steps", str(steps), "--gaussians.sh-degree", "0"),
    ]
    status, peak = run_measured(words)
    if status:
        sys.exit(f"training on {count} photos failed.")
    scores = json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))
    return {
        "views": count,
        "peak_gb": None if peak is None else round(peak, 2),
        "minutes": round((time.perf_counter() - start) / 60, 1),
        "seconds": scores["seconds"],
    }


def pose(angle: float) -> list[list[float]]:
    """A camera on a circle around the origin that looks at it, OpenGL axes."""
    back = np.array([np.cos(angle), np.sin(angle), 0.4])
    back /= np.linalg.norm(back)
    right = np.cross([0, 0, 1.0], back)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    matrix[:3, 3] = 3 * back
    return matrix.tolist()


if __name__ == "__main__":
    with told_in_one_line():
        tyro.cli(main)
