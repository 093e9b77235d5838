"""A small made-up report: nested blobs seen from two sides, with a noisy training log."""

import numpy as np
import pytest

from splat_uff.report.paint import feature_colours, nested_colours
from splat_uff.report.pictures import Report, ReportView


def make_report(size: int = 48, num_views: int = 2, scene: str = "blobs") -> Report:
    rng = np.random.default_rng(0)
    grid = np.mgrid[:size, :size].reshape(2, -1).T / size
    seeds = 0.15 + 0.7 * rng.random((40, 2))
    order = np.argsort(seeds[:, 0] + 0.3 * seeds[:, 1])
    groups = [np.arange(40), np.arange(40) // 3, np.arange(40) // 8, np.arange(40) // 20]
    leaf_cuts = []
    for group in groups:
        cut = np.zeros(40, int)
        cut[order] = group + 1
        leaf_cuts.append(cut)
    colours = nested_colours(leaf_cuts)
    views = []
    for number in range(num_views):
        moved = seeds + 0.05 * number * np.array([1, -0.5])
        gaps = np.linalg.norm(grid[:, None] - moved[None], axis=2)
        leaf, inside = gaps.argmin(axis=1), gaps.min(axis=1) < 0.12
        labels = np.stack([np.where(inside, cut[leaf], 0).reshape(size, size) for cut in leaf_cuts])
        tints = rng.random((40, 3))[leaf] * (1 - 3 * gaps.min(axis=1))[:, None]
        photo = np.where(inside[:, None], np.clip(tints, 0, 1), 1).reshape(size, size, 3)
        noisy = np.clip(photo + 0.04 * rng.standard_normal(photo.shape), 0, 1)
        vectors = seeds[leaf] @ rng.random((2, 8)) + 0.02 * rng.standard_normal((size * size, 8))
        features = np.where(inside[:, None], feature_colours(vectors), 1).reshape(photo.shape)
        views.append(
            ReportView(f"r_{number}", photo, noisy, features, labels, labels[0], labels[2])
        )
    steps = np.arange(10, 3001, 10.0)
    decay = np.exp(-steps / 700) + 0.03
    curves = {
        "gaussians": {
            "step": steps,
            "loss": 0.3 * decay * np.exp(0.2 * rng.standard_normal(300)),
            "psnr": 33 - 15 * decay + 0.5 * rng.standard_normal(300),
            "num_gaussians": np.minimum(4000 + 6 * steps, 16234),
        },
        "features": {
            "step": steps[:150],
            "loss": 5 * decay[:150] + 0.2 * rng.random(150),
            "ultrametric": 3 * decay[:150] + 0.2 * rng.random(150),
            "euclidean": 2 * decay[:150] + 0.1 * rng.random(150),
        },
    }
    metrics = {
        "scene": scene,
        "nc": {"objects": 0.8112, "collections": 0.9534, "scene": 0.9891, "mean": 0.9179},
        "nc_standard_errors": {
            "objects": 0.0082,
            "collections": 0.0041,
            "scene": 0.0007,
            "mean": 0.0031,
        },
        "nc_masks": {"objects": 0.5412, "collections": 0.8701, "scene": 0.6103, "mean": 0.6739},
        "num_cuts": 50,
        "masks": "simulated",
        "psnr": 31.234,
        "ssim": 0.9731,
        "num_gaussians": 16234,
        "seconds": {
            "capture": 1.4,
            "masks": 3.2,
            "gaussians": 121.7,
            "features": 68.1,
            "hierarchy": 2.4,
            "evaluate": 9.3,
            "total": 206.1,
        },
        "seed": 0,
        "version": "0.1.0",
    }
    settings = {
        "seed": 0,
        "gaussians.steps": 3000,
        "gaussians.sh_degree": 1,
        "features.steps": 1500,
        "features.tau": 0.1,
        "features.dimension": 32,
        "hierarchy.method": "average",
    }
    return Report(
        scene=scene,
        metrics=metrics,
        views=tuple(views),
        colours=tuple(colours),
        masks="simulated",
        curves=curves,
        settings=settings,
    )


@pytest.fixture
def report() -> Report:
    return make_report()
