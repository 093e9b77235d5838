"""How good is the tree of a splat without photos, beside that of the same Gaussians with them?

    python benchmarks/splat_alone.py RUNS --output benchmarks/splat_alone.json

Takes finished runs of built-in scenes. The Gaussians of each are written to a file as if they were
all that there is: virtual cameras are chosen for them and photos rendered. Masks of these photos
are simulated with the usual flaws from the true ids that the scene's geometry gives for the virtual
cameras, or classical. Features and tree are made from them and scored on the real held-out views of
the scene. With photos, features and tree are made on the same Gaussians from the scene's own photos
and masks. Rows of other scenes and seeds stay in the file.

    python benchmarks/splat_alone.py RUN --timed 200000 1000000 --output benchmarks/splat_alone.json

Times a whole training on splats alone, with simulated masks given. The Gaussians of the run are
split until they are as many. Each size is trained in a process of its own, for its peak memory.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from splat_uff.capture import Capture, read_capture
from splat_uff.evaluate.score import evaluate
from splat_uff.gaussians.classical import gather_seen
from splat_uff.gaussians.ply import save_ply
from splat_uff.gaussians.similarity import move_gaussians
from splat_uff.gaussians.source import read_source
from splat_uff.geometry.cameras import Camera, pixel_centres
from splat_uff.masks.bags import Bags
from splat_uff.masks.folders import write_masks
from splat_uff.masks.gather import CLASSICAL, OWN
from splat_uff.render import Gaussians
from splat_uff.run.open import Run, open_run
from splat_uff.run.provenance import digest_of
from splat_uff.scenes.catalogue import RECIPES
from splat_uff.scenes.raytrace import build_scene, cast, render_ids
from splat_uff.scenes.simulated import simulate_masks
from splat_uff.settings import TrainConfig
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.training.frozen import FrozenScene, refit
from splat_uff.training.train import train
from splat_uff.virtual.config import VirtualConfig
from splat_uff.virtual.photos import virtual_capture


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs of built-in scenes")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=["simulated", "classical"], help="masks")
    parser.add_argument("--timed", nargs="+", type=int, default=[], help="numbers of Gaussians")
    options = parser.parse_args()
    known = json.loads(options.output.read_text("utf-8")) if options.output.exists() else {}
    kept, timed = known.get("rows", []), known.get("timed", [])
    for count in options.timed:
        [found] = run_apart(time_training, [(options.runs[0], count)])
        print(json.dumps(found), flush=True)
        timed = [row for row in timed if row["gaussians"] != found["gaussians"]] + [found]
        write_json(options.output, {**measured_here(), "rows": kept, "timed": timed})
    if options.timed:
        return
    rows = {(row["scene"], row["seed"], row["photos"], row["masks"]): row for row in kept}
    for folder in options.runs:
        for row in compare(open_run(folder, finished=True), options.only):
            print(json.dumps(row), flush=True)
            rows[row["scene"], row["seed"], row["photos"], row["masks"]] = row
            write_json(
                options.output, {**measured_here(), "rows": list(rows.values()), "timed": timed}
            )


def run_apart(work: Callable[..., dict], jobs: list[tuple]) -> list[dict]:
    """Results of a function, each computed in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        return [pool.submit(work, *job).result() for job in jobs]


def time_training(folder: Path, count: int) -> dict:
    """Seconds and memory of a training on splats alone, by stage."""
    run = open_run(folder, finished=True)
    with tempfile.TemporaryDirectory() as temporary:
        path, output = Path(temporary) / "splat.ply", Path(temporary) / "run"
        save_ply(path, split(run.gaussians, count))
        views = VirtualConfig(fewest=80, most=80)
        settings = replace(TrainConfig(), views=views)
        start = time.perf_counter()
        virtual_capture(
            output / "capture", read_source(path), path, views, size=400, digest=digest_of(path)
        )
        seconds = time.perf_counter() - start
        draw_masks(run, output / "capture", 400)
        start = time.perf_counter()
        metrics = train(None, output, settings, splats=path)
        return {
            "gaussians": metrics["num_gaussians"],
            "views": 80,
            "seconds": {"cameras": round(seconds, 1), **metrics["seconds"]},
            "total": round(seconds + time.perf_counter() - start, 1),
            "peak_memory_gb": metrics["peak_memory_gb"],
        }


def split(gaussians: Gaussians, count: int) -> Gaussians:
    """As many Gaussians, each standing for a part of one of the given ones.

    Nothing is known of the photos that they were fitted to, as in files of other programs.
    """
    rng = np.random.default_rng(0)
    index = torch.from_numpy(np.sort(np.arange(count) % len(gaussians)))
    parts = gaussians.subset(index)
    shrunk = float(np.sqrt(len(gaussians) / count))
    offsets = torch.from_numpy(rng.normal(size=(count, 3)).astype(np.float32))
    frames = torch.from_numpy(
        Rotation.from_quat(parts.quats.numpy()[:, [1, 2, 3, 0]]).as_matrix().astype(np.float32)
    )
    moved = (frames @ (offsets * parts.scales * (1 - shrunk**2) ** 0.5)[..., None])[..., 0]
    smaller = parts.log_scales + float(np.log(shrunk))
    return replace(parts, means=parts.means + moved, log_scales=smaller, fitted_focal=0.0)


def compare(run: Run, masks: list[str]) -> Iterator[dict]:
    """Rows with the scene's photos and with virtual ones, for each kind of masks."""
    with tempfile.TemporaryDirectory() as temporary:
        start = time.perf_counter()
        virtual, words = alone(run, Path(temporary) / "capture")
        seconds = time.perf_counter() - start
        for kind in masks:
            yield {**row_of(run, run.capture, kind), "photos": "real", "masks": kind}
            found = row_of(run, virtual, kind)
            found["seconds"]["cameras"] = round(seconds, 1)
            yield {**found, "photos": "virtual", "masks": kind, "words": words}


def alone(run: Run, folder: Path) -> tuple[Capture, str]:
    """Virtual capture of a run's Gaussians, with simulated masks; and what was chosen."""
    path = folder.parent / "splat.ply"
    shutil.copyfile(run.folder.gaussians, path)
    size = run.provenance.settings.size
    words = virtual_capture(
        folder, read_source(path), path, VirtualConfig(), size=size, digest="benchmark"
    )
    draw_masks(run, folder, size)
    return read_capture(folder, size=size), words


def draw_masks(run: Run, folder: Path, size: int) -> None:
    """Simulated masks of a capture whose splat is in the world of a run."""
    capture = read_capture(folder, size=size)
    traced = build_scene(RECIPES[run.provenance.scene].build())
    traced_from_world = run.source_from_world @ capture.source_from_world
    for number, view in enumerate(capture.train):
        camera = moved(view.camera, traced_from_world)
        hits = cast(traced, camera, pixel_centres(camera))
        ids = [each.reshape(camera.height, camera.width) for each in render_ids(traced, hits)]
        bag = simulate_masks(*ids, rng=np.random.default_rng([0, 2, number]))
        write_masks(folder, "train", view.name, bag)


def moved(camera: Camera, similarity: np.ndarray) -> Camera:
    """Camera in another world that differs by a scale and a translation."""
    pose = camera.world_from_cam.copy()
    pose[:3, 3] = similarity[:3, :3] @ pose[:3, 3] + similarity[:3, 3]
    return Camera(pose, camera.K, camera.width, camera.height)


def row_of(run: Run, capture: Capture, kind: str) -> dict:
    """Features and tree from a capture's photos and masks, scored on the run's held-out views."""
    settings = run.provenance.settings
    gaussians = run.gaussians
    if capture.virtual:  # Its world is another one than that of the run.
        gaussians = move_gaussians(gaussians, np.linalg.inv(capture.source_from_world))
    start = time.perf_counter()
    bags = gather_seen(gaussians, capture, OWN if kind == "simulated" else CLASSICAL)
    masks_seconds = time.perf_counter() - start
    _, hierarchy, seconds = refit(FrozenScene(gaussians, capture, bags), settings)
    metrics = evaluate(
        run.capture, run.gaussians, hierarchy, Bags([]), settings.evaluate, seed=settings.seed
    ).metrics
    return {
        "scene": run.provenance.scene,
        "seed": settings.seed,
        "views": len(capture.train),
        "gaussians": len(gaussians),
        "nc": metrics["nc"],
        "nc_fixed": metrics["nc_fixed"],
        "seconds": {"masks": round(masks_seconds, 1), "features and tree": round(seconds, 1)},
    }


if __name__ == "__main__":
    with told_in_one_line():
        main()
