"""Seconds and peak memory of the tree by consensus, by the number of Gaussians, photos and masks.

    python benchmarks/consensus_scale.py --output benchmarks/consensus_scale.json

A ball covered by flat Gaussians, seen from all around; its masks are nested cells, small ones in
larger ones in larger ones. Weights are rendered as in a training. Each row is a process of its own,
whose peak resident memory counts, with all that is imported; kernels are compiled before the clock
starts. `python tools/update_readme.py` puts the table into docs/research/choices.md.
"""

import argparse
import cProfile
import json
import pstats
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from splat_uff.geometry.cameras import Camera
from splat_uff.geometry.neighbours import find_nearest
from splat_uff.hierarchy.build import build_hierarchy
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.hierarchy.consensus import Consensus
from splat_uff.hierarchy.opinions import Opinion
from splat_uff.masks.bags import Bags
from splat_uff.masks.records import MaskSet
from splat_uff.render import Gaussians
from splat_uff.render.frozen import FrozenViews
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.system.memory import GIGABYTE, Memory
from splat_uff.system.portable import load_average, peak_memory

SIZE = 400
"""Pixels along the side of a photo."""
DISTANCE, FOCAL = 3.0, 1.3
"""Of the cameras from the centre of the ball, in its radii; in widths of the photo."""
CASES = (
    (25_000, 200, 100, 2.0), (50_000, 200, 100, 2.0), (100_000, 200, 100, 2.0),
    (200_000, 200, 100, 2.0), (200_000, 100, 100, 2.0), (200_000, 200, 50, 2.0),
    (200_000, 200, 100, 0.5),
)  # fmt: skip
"""Gaussians, photos, masks of each, and the budget in gigabytes, as `splat-uff train --memory`."""
PARTS = {
    "rendering": ("blend_weights",),
    "shares": ("_ask",),
    "graph": ("neighbour_graph", "find_outliers"),
    "edges": ("along_edges",),
    "superpoints": ("_superpoints",),
    "their consensus": ("between_groups",),
    "merging": ("merge_by_ratio", "_rank_merges", "_hang_leaves"),
}
"""Functions that each part consists of; none calls another of these."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path)
    parser.add_argument(
        "--case", nargs=4, type=float, metavar=("GAUSSIANS", "PHOTOS", "MASKS", "GIGABYTES")
    )
    parser.add_argument("--inside", action="store_true", help="measure the case in this process")
    options = parser.parse_args()
    cases = CASES
    if options.case:
        count, views, masks, memory = options.case
        cases = ((int(count), int(views), int(masks), memory),)
    if options.inside:
        print(json.dumps(measure(*cases[0])))
        return
    rows = []
    for case in cases:
        rows.append(apart(case))
        print(json.dumps(rows[-1]), flush=True)
        record = {
            **measured_here(),
            "size": SIZE,
            "rows": rows,
        }
        if options.output is not None:
            write_json(options.output, record)


def apart(case: tuple[int, int, int, float]) -> dict[str, object]:
    """Measure a case in a process of its own, so that its peak memory is its own."""
    words = [sys.executable, "-P", __file__, "--inside", "--case", *map(str, case)]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, encoding="utf-8")
    return json.loads(done.stdout)


def measure(count: int, views: int, masks: int, memory: float) -> dict[str, object]:
    """Build the tree once, after one of a few Gaussians; seconds of its parts, and in all."""
    build(*make_scene(500, 2, masks), Memory())  # Compiles.
    budget = Memory(memory * GIGABYTE)
    scene = make_scene(count, views, masks, budget)
    profile = cProfile.Profile()
    load = load_average()
    start, processor = time.perf_counter(), time.process_time()
    profile.enable()
    build(*scene, budget)
    profile.disable()
    total, processor = time.perf_counter() - start, time.process_time() - processor
    spent = dict.fromkeys(PARTS, 0.0)
    for (_, _, function), figures in pstats.Stats(profile).stats.items():  # pyright: ignore
        for part, functions in PARTS.items():
            if function in functions:
                spent[part] += figures[3]
    return {
        "gaussians": count,
        "views": views,
        "masks": masks,
        "seconds": {name: round(value, 2) for name, value in spent.items()}
        | {"total": round(total, 1), "processor": round(processor, 1)},
        "memory_gb": memory,
        "on_disk_gb": round(budget.on_disk / 1e9, 2),
        "peak_gb": round(peak_memory() or 0, 2),
        "load": load,
    }


def make_scene(
    count: int, views: int, masks: int, memory: Memory | None = None
) -> tuple[Gaussians, list[Camera], Bags]:
    """A ball of flat Gaussians, cameras around it, and `masks` masks in each photo."""
    means, normals = ball(count), ball(count)
    spacing = np.sqrt(4 * np.pi / count)
    rng = np.random.default_rng(0)
    means = means * (1 + 0.3 * spacing * rng.standard_normal((count, 1)))
    turn = np.column_stack([1 + normals[:, 2], -normals[:, 1], normals[:, 0], np.zeros(count)])
    scales = np.tile([0.8, 0.8, 0.1], (count, 1)) * spacing
    gaussians = Gaussians(
        *(torch.from_numpy(each.astype(np.float32)) for each in (means, turn, np.log(scales))),
        torch.full((count,), 1.5), torch.zeros(count, 1, 3), torch.zeros(count, 0, 3),
    )  # fmt: skip
    cameras = [look_at(centre) for centre in DISTANCE * ball(views)]
    # About half of the cells are seen; 6 of 10 masks are small, 3 middling, 1 large.
    levels = [ball(max(2, 2 * masks * part // 10)) for part in (6, 3, 1)]
    inner = [np.arange(len(levels[0]))]
    for finer, coarser in pairwise(levels):
        inner.append(find_nearest(coarser, finer, k=1)[1][:, 0][inner[-1]])

    def read(camera: Camera) -> MaskSet:
        cell, hit = cells(camera, levels[0])
        found = [np.where(hit, of[cell], -1) for of in inner]
        bag = [labels == one for labels in found for one in np.unique(labels[labels >= 0])]
        bag = sorted(bag, key=lambda mask: -int(mask.sum()))[:masks]
        return MaskSet.of(np.stack(bag))

    posed = [SimpleNamespace(camera=camera) for camera in cameras]
    bags = Bags.of(posed, lambda view: read(view.camera), memory=memory)  # pyright: ignore
    return gaussians, cameras, bags


def build(gaussians: Gaussians, cameras: list[Camera], bags: Bags, memory: Memory) -> None:
    """The tree, from features that know the large cells roughly."""
    count = len(gaussians)
    means = gaussians.means.numpy().astype(np.float64)
    rng = np.random.default_rng(1)
    cell = find_nearest(ball(40), means, k=1)[1][:, 0]
    features = rng.standard_normal((40, 16))[cell] + 0.5 * rng.standard_normal((count, 16))

    def opinions(chosen: np.ndarray) -> Consensus:
        views = FrozenViews(gaussians, cameras)
        asked = [
            Opinion.of(views.matrix(view), bag, memory=memory) for view, bag in enumerate(bags)
        ]
        return Consensus.of(asked, chosen, count)

    largest = np.ones(count, np.float32)
    config = HierarchyConfig(linkage="consensus")
    build_hierarchy(means, features.astype(np.float32), largest, config, opinions)


def ball(count: int) -> np.ndarray:
    """`count` points spread evenly over the unit sphere, by the golden angle; [count, 3]."""
    z = 1 - (2 * np.arange(count) + 1) / count
    angle = np.arange(count) * np.pi * (3 - np.sqrt(5))
    return np.stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z], 1)


def look_at(centre: np.ndarray) -> Camera:
    """A camera that looks at the origin."""
    forward = -centre / np.linalg.norm(centre)
    right = np.cross(forward, [0.01, 0.02, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = centre
    K = np.array([[FOCAL * SIZE, 0, SIZE / 2], [0, FOCAL * SIZE, SIZE / 2], [0, 0, 1]])
    return Camera(pose, K, SIZE, SIZE)


def cells(camera: Camera, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cell of the unit sphere that each pixel sees, and which pixels see it."""
    columns, rows = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(camera.K).T
    rays = rays @ camera.world_from_cam[:3, :3].T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    along = -rays @ camera.centre
    inside = 1 - (camera.centre @ camera.centre - along**2)
    points = camera.centre + (along - np.sqrt(inside.clip(0)))[..., None] * rays
    points[..., 0] += 0.02 * np.sin(23 * points[..., 1])  # Ragged borders.
    cell = find_nearest(centres, points.reshape(-1, 3), k=1)[1][:, 0]
    return cell.reshape(SIZE, SIZE), inside > 0


if __name__ == "__main__":
    with told_in_one_line():
        main()
