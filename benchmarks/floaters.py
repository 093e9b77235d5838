"""Plant floaters into finished runs and count which are found, by the rule and by variations of it.

    python benchmarks/floaters.py RUNS --output benchmarks/floaters.json

Five kinds, together 1 % of the Gaussians: single specks, clusters of five, thin needles and faint
blobs in the free space between cameras and scene, and specks 5 % of the scene's extent in front of
a surface. Only those count that have a blend weight of at least 0.05 in some pixel. Prints the
table of docs/research/floaters.md. Rows of other runs and rules stay in the file.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from splat_uff.capture import View
from splat_uff.gaussians import floaters
from splat_uff.gaussians.surface import seen_surface
from splat_uff.geometry.cameras import Camera, unproject
from splat_uff.hierarchy.graph import find_outliers
from splat_uff.render import Gaussians
from splat_uff.render.compositing import render_over_white
from splat_uff.run.open import open_run
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here

KINDS = ("specks", "clusters", "needles", "blobs", "off a surface")
CLUSTER = 5
SHARE = 0.01
VISIBLE = 0.05
SOLID = 0.1
"""Opacity from which the scene's own Gaussians count as solid, for the extent and free space."""
LOOKED_AT = 20
"""Views from which places are drawn, with `DRAWN` pixels each."""
DRAWN = 400
JUDGED = 4
"""Held-out views of which the PSNR is the mean."""


@dataclass(frozen=True)
class Choice:
    """The rule, or a variation of it."""

    touch: float = floaters.TOUCH
    most: int = floaters.MOST_IN_PIECE
    faint: float = floaters.FAINT
    clear: float = floaters.CLEAR
    share: float = floaters.MAJORITY
    views: int = 1
    outliers: bool = False
    """Whether candidates are those that are far from their third neighbour, instead of pieces."""


KEPT = "kept"
CHOICES = {
    KEPT: Choice(),
    "far from the third neighbour, no depth": Choice(outliers=True, share=0.0, views=0),
    "pieces alone, no depth": Choice(share=0.0, views=0),
    **{f"touch {touch:g}": Choice(touch=touch) for touch in (1.0, 1.5, 3.0)},
    "pieces of at most 5": Choice(most=5),
    "pieces of at most 100": Choice(most=100),
    "faint ones join, too": Choice(faint=0.0),
    "clear 0": Choice(clear=0.0),
    "clear 4": Choice(clear=4.0),
    "share 0.8": Choice(share=0.8),
    "in front in 3 views": Choice(views=3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=list(CHOICES), choices=list(CHOICES))
    options = parser.parse_args()
    before = (
        json.loads(options.output.read_text(encoding="utf-8"))["rows"]
        if options.output.exists()
        else []
    )
    rows = {(row["run"], row["choice"]): row for row in before}
    for folder in options.runs:
        found = measure(folder, options.only)
        rows |= {(row["run"], row["choice"]): row for row in found}
        write_json(options.output, {**measured_here(), "rows": list(rows.values())})
        for row in found:
            said = {name: row[name] for name in ("choice", "found", "own", "psnr")}
            print(folder.name, said, flush=True)
    print(table_of(list(rows.values())))


def measure(folder: Path, choices: list[str]) -> list[dict[str, Any]]:
    """One row for each choice; the seed of the planting is that of the run."""
    run, chosen = open_run(folder, finished=True), {name: CHOICES[name] for name in choices}
    seed, scene = run.provenance.settings.seed, run.provenance.scene
    cameras = [view.camera for view in run.capture.train]
    gaussians, kinds = plant(run.gaussians, cameras, rng=np.random.default_rng(seed))
    judged = (run.capture.val or run.capture.train)[:JUDGED]
    before = [psnr(each, judged) for each in (run.gaussians, gaussians)]
    cache: dict[bytes, Any] = {}
    real = floaters.pixel_weights

    def cached(of: Gaussians, camera: Camera, *, eps2d: float) -> Any:
        key = camera.world_from_cam.tobytes()
        if key not in cache:
            cache[key] = real(of, camera, eps2d=eps2d)
        return cache[key]

    start = time.perf_counter()
    floaters.find_floaters(gaussians, cameras)
    seconds = time.perf_counter() - start
    floaters.pixel_weights = cached
    try:
        found = {name: find(gaussians, cameras, choice) for name, choice in chosen.items()}
    finally:
        floaters.pixel_weights = real
    top = np.zeros(len(gaussians), np.float32)
    for _, indices, weights in cache.values():
        np.maximum.at(top, indices, weights)
    seen = top >= VISIBLE
    rows = []
    for name, choice in chosen.items():
        taken = found[name]
        of_kind = [float(taken[seen & (kinds == kind)].mean()) for kind in range(len(KINDS))]
        cleaned = gaussians.subset(torch.from_numpy(~taken))
        own = run.gaussians.subset(torch.from_numpy(~taken[kinds < 0]))
        after = [psnr(each, judged) for each in (cleaned, own)] if name == KEPT else []
        rows.append({
            **{"scene": scene, "run": folder.name, "seed": seed, "choice": name, **asdict(choice)},
            "gaussians": len(gaussians),
            "visible": int((seen & (kinds >= 0)).sum()),
            "found": round(float(taken[seen & (kinds >= 0)].mean()), 4),
            **{kind: round(each, 4) for kind, each in zip(KINDS, of_kind, strict=True)},
            "own": round(float(taken[kinds < 0].mean()), 5),
            "psnr": [round(each, 2) for each in before + after],
            "seconds": round(seconds, 1),
        })  # fmt: skip
    return rows


def find(gaussians: Gaussians, cameras: list[Camera], choice: Choice) -> Bool[np.ndarray, "N"]:
    """Floaters by a variation of `find_floaters`."""
    if choice.outliers:
        return find_outliers(gaussians.means.numpy().astype(np.float64))
    piece = floaters.small_pieces(
        gaussians, touch=choice.touch, most=choice.most, faint=choice.faint
    )
    inside = piece >= 0
    if choice.views == 0 or not inside.any():
        return inside
    standing = floaters.find_standing(gaussians, cameras, inside, clear=choice.clear)
    columns = standing.front, standing.other, standing.views
    front, other, views = (np.bincount(piece[inside], weights=each[inside]) for each in columns)
    good = (front > 0) & (front >= choice.share * (front + other)) & (views >= choice.views)
    found = inside.copy()
    found[inside] = good[piece[inside]]
    return found


def plant(
    gaussians: Gaussians, cameras: list[Camera], *, rng: np.random.Generator
) -> tuple[Gaussians, Int[np.ndarray, "M"]]:
    """Add floaters of all kinds; also returns the kind of each Gaussian, -1 for the scene's own."""
    solid = gaussians.opacities.numpy() >= SOLID
    centres = gaussians.means.numpy().astype(np.float64)[solid]
    low, high = np.percentile(centres, (1, 99), axis=0)
    extent = float(np.linalg.norm(high - low))
    free, off = places(gaussians, cameras, extent, rng=rng)
    tree = KDTree(centres)
    free = free[tree.query(free)[0] > 0.06 * extent]
    off = off[tree.query(off)[0] > 0.045 * extent]
    each = max(round(SHARE * len(gaussians) / len(KINDS)), 10)
    kinds = np.repeat(np.arange(len(KINDS)), each)
    means = np.where(
        (kinds == 4)[:, None], off[rng.choice(len(off), kinds.size)],
        free[rng.choice(len(free), kinds.size)],
    )  # fmt: skip
    middles = free[rng.choice(len(free), -(-each // CLUSTER))].repeat(CLUSTER, axis=0)[:each]
    size = np.exp(np.median(gaussians.log_scales.numpy()[solid], axis=0).max())
    means[kinds == 1] = middles + size * rng.normal(size=middles.shape)
    like = rng.choice(np.flatnonzero(solid), kinds.size)
    log_scales = gaussians.log_scales.numpy()[like].astype(np.float64)
    log_scales[kinds == 2] = np.log(extent * np.array([0.03, 0.003, 0.003]))
    log_scales[kinds == 3] = np.log(extent * rng.uniform(0.02, 0.04, (each, 1)))
    opacities = rng.uniform(0.1, 0.9, kinds.size)
    opacities[kinds == 3] = rng.uniform(0.1, 0.3, each)
    colours = (rng.random((kinds.size, 1, 3)) - 0.5) / 0.2821
    new = {
        "means": means, "quats": rng.normal(size=(kinds.size, 4)), "log_scales": log_scales,
        "opacity_logits": np.log(opacities / (1 - opacities)), "sh0": colours,
        "shN": np.zeros((kinds.size, *gaussians.shN.shape[1:])),
    }  # fmt: skip
    joined = {
        name: torch.cat([own, torch.tensor(new[name], dtype=own.dtype)])
        for name, own in gaussians.tensors().items()
    }
    return replace(gaussians, **joined), np.concatenate([np.full(len(gaussians), -1), kinds])


def places(
    gaussians: Gaussians, cameras: list[Camera], extent: float, *, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "P 3"], Float[np.ndarray, "P 3"]]:
    """Places between cameras and surface, and others 5 % of the extent in front of the surface."""
    free, off = [], []
    for index in rng.choice(len(cameras), min(LOOKED_AT, len(cameras)), replace=False):
        camera = cameras[index]
        depth = seen_surface(gaussians, camera).depth
        rows, columns = np.nonzero(depth)
        if len(rows) == 0:
            continue
        drawn = rng.choice(len(rows), DRAWN)
        pixels = np.stack([columns[drawn] + 0.5, rows[drawn] + 0.5], axis=1)
        depths = depth[rows[drawn], columns[drawn]]
        surface = unproject(camera, pixels, depths)
        towards = camera.centre - surface
        free.append(unproject(camera, pixels, depths * rng.uniform(0.3, 0.9, DRAWN)))
        off.append(
            surface + 0.05 * extent * towards / np.linalg.norm(towards, axis=1, keepdims=True)
        )
    return np.concatenate(free), np.concatenate(off)


def psnr(gaussians: Gaussians, views: "tuple[View, ...]") -> float:
    """Mean PSNR in dB."""
    errors = [
        np.mean((render_over_white(gaussians, view.camera) - view.composite(np.ones(3))) ** 2)
        for view in views
    ]
    return float(np.mean(-10 * np.log10(errors)))


def table_of(rows: list[dict[str, Any]]) -> str:
    """Means over all runs, as Markdown."""
    lines = [
        f"| rule | found | worst run | {' | '.join(KINDS)} | own taken, % | worst run | runs |",
        "| --- " * (len(KINDS) + 6) + "|",
    ]
    for name in CHOICES:
        own = [row for row in rows if row["choice"] == name]
        if not own:
            continue
        means = [f"{np.mean([row[kind] for row in own]):.3f}" for kind in ("found", *KINDS)]
        means.insert(1, f"{min(row['found'] for row in own):.3f}")
        taken = [100 * row["own"] for row in own]
        lines.append(
            f"| {name} | {' | '.join(means)} | {np.mean(taken):.3f} | {max(taken):.3f} "
            f"| {len(own)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    with told_in_one_line():
        main()
