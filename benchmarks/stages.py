"""Time the parts of a run on fixed synthetic inputs and compare with a committed baseline.

Run as `make bench`, or `python benchmarks/stages.py --output FILE --compare FILE`. Times are
medians in milliseconds; they wander by 15 to 30 %, so compare ratios within one machine.
"""

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from splat_uff.cameras import Camera
from splat_uff.features.linkage import average_linkage
from splat_uff.features.ultrametric import average_linkage_similarity, spanning_tree_similarity
from splat_uff.gaussians.ssim import mean_ssim
from splat_uff.hierarchy.build import build_hierarchy
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.hierarchy.dendrogram import cut_into
from splat_uff.render import Gaussians, blend_weights, rasterize

COUNT = 30_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="write the times as JSON")
    parser.add_argument("--compare", type=Path, help="print ratios to the times in this file")
    options = parser.parse_args()
    times = {name: median_ms(call) for name, call in cases().items()}
    baseline = json.loads(options.compare.read_text())["ms"] if options.compare else {}
    for name, ms in times.items():
        ratio = f"{ms / baseline[name]:6.2f} x baseline" if name in baseline else ""
        print(f"{name:<42} {ms:9.2f} ms {ratio}")
    if options.output:
        record = {"machine": describe_machine(), "commit": commit(), "ms": times}
        options.output.write_text(json.dumps(record, indent=2) + "\n")


def cases() -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    rng = np.random.default_rng(0)
    calls: dict[str, Callable[[], object]] = {}
    for size, channels in ((200, 3), (200, 16), (400, 3), (400, 16)):
        calls[f"rasterize {size}x{size}, {channels} channels"] = rasterize_case(size, channels)
    gaussians, camera = random_gaussians(200)
    calls["blend weights 200x200"] = lambda: blend_weights(gaussians, camera)
    photo = torch.rand(200, 200, 3).requires_grad_()
    calls["SSIM 200x200, with gradient"] = lambda: mean_ssim(photo, photo.detach() * 0.9).backward()
    unit = rng.standard_normal((1024, 32)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    features, pairs = torch.from_numpy(unit), rng.integers(0, 1024, (16_384, 2))
    directions, members = rng.standard_normal((1024, 3)), rng.random((40, 1024)) < 0.2
    calls["ultrametric, spanning tree, 1024 pixels"] = lambda: spanning_tree_similarity(
        features, directions, members, pairs
    )
    calls["ultrametric, average linkage, 1024 pixels"] = lambda: average_linkage_similarity(
        features, pairs
    )
    calls["average linkage of 2000 superpoints"] = lambda: average_linkage(
        np.concatenate([unit, unit])[:2000]
    )
    points = rng.random((COUNT, 3))
    waves = np.stack([np.sin(5 * (k + 1) * points[:, k % 3]) for k in range(32)], axis=1)
    ones = np.ones(COUNT, np.float32)
    tree = build_hierarchy(points, waves, ones, HierarchyConfig()).tree
    calls[f"tree over {COUNT} Gaussians"] = lambda: build_hierarchy(
        points, waves, ones, HierarchyConfig()
    )
    calls["cut into 100 segments"] = lambda: cut_into(tree, 100)
    return calls


def rasterize_case(size: int, channels: int) -> Callable[[], object]:
    """Forward and backward through projection and blending."""
    gaussians, camera = random_gaussians(size)
    leaves = Gaussians(**{k: v.requires_grad_() for k, v in gaussians.tensors().items()})
    values = torch.rand(COUNT, channels, requires_grad=True)

    def call() -> None:
        render = rasterize(leaves, camera, values)
        (render.values.sum() + render.alpha.sum()).backward()

    return call


def random_gaussians(size: int) -> tuple[Gaussians, Camera]:
    """Gaussians of 1 to 3 pixels all over a square image."""
    rng = torch.Generator().manual_seed(0)
    depth = 2 + 4 * torch.rand(COUNT, 1, generator=rng)
    pixels = torch.rand(COUNT, 2, generator=rng) * size
    means = torch.cat([(pixels - size / 2) * depth / size, depth], dim=1)
    scales = (1 + 2 * torch.rand(COUNT, 3, generator=rng)) * depth / size
    opacities = 0.1 + 0.8 * torch.rand(COUNT, generator=rng)
    gaussians = Gaussians(
        means,
        torch.randn(COUNT, 4, generator=rng),
        scales.log(),
        opacities.logit(),
        torch.zeros(COUNT, 1, 3),
        torch.zeros(COUNT, 0, 3),
    )
    K = np.array([[size, 0, size / 2], [0, size, size / 2], [0, 0, 1.0]])
    return gaussians, Camera(np.eye(4), K, size, size)


def median_ms(call: Callable[[], object], *, repeats: int = 11) -> float:
    """Median time of a call in milliseconds, after two to warm up."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(float(np.median(times[2:])) * 1000, 3)


def describe_machine() -> dict[str, str | int]:
    """Enough to tell two machines apart."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return {"cpu": cpu, "cores": os.cpu_count() or 1, "python": platform.python_version()}


def commit() -> str:
    """Commit of the checkout, or nothing outside one."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
