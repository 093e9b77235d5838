"""DFF: dense features of all views, distilled into the Gaussians and rendered from any side.

Source: Kobayashi, Matsumoto, Sitzmann, "Decomposing NeRF for editing via feature field
distillation" (NeurIPS 2022), with Gaussians as the field and the geometry fitted beforehand.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float

from splat_uff.evaluate.queries import DenseView
from splat_uff.features.blend import BlendRows, blend_pixels
from splat_uff.geometry.cameras import Camera
from splat_uff.geometry.neighbours import find_nearest
from splat_uff.hierarchy.labels import OPAQUE, surface_points
from splat_uff.render import Gaussians, blend_weights
from splat_uff.render.frozen import FrozenViews
from splat_uff.system.progress import progress_bar

STAGE = 5
"""Number of this stage's random stream."""
PIXELS = 4096
"""Maximum number of pixels in a step."""


def distil(
    views: FrozenViews,
    maps: Sequence[Float[np.ndarray, "H W D"]],
    *,
    seed: int,
    steps: int = 1500,
    lr: float = 1e-1,
) -> Float[np.ndarray, "N D"]:
    """Fit one feature per Gaussian so that blending them gives the feature maps.

    Each step minimises the squared error of the blended features, divided by opacity, at opaque
    pixels of one view. Features start from the mean over the pixels that each Gaussian covers.

    Args:
        views: Training views of Gaussians with fixed geometry.
        maps: Features of the same views, at their size.
        seed: Seed of the draws.
        steps: Number of steps of the optimiser, Adam.
        lr: Initial learning rate; falls to 0 along a cosine.
    """
    blends = BlendRows.of(views)
    alpha = blends.alpha()
    start = mean_features(views, maps)
    features = torch.nn.Parameter(torch.from_numpy(start))
    optimizer = torch.optim.Adam([features], lr=lr, fused=True)
    opaque = [np.flatnonzero(row > OPAQUE) for row in alpha]
    usable = [view for view, pixels in enumerate(opaque) if len(pixels)]
    rng = np.random.default_rng([seed, STAGE])
    with progress_bar("distil", steps) as bar:
        for step in range(steps if usable else 0):
            view = usable[int(rng.integers(len(usable)))]
            pixels = np.sort(rng.choice(opaque[view], min(PIXELS, len(opaque[view])), False))
            flat = maps[view].reshape(-1, maps[view].shape[2])
            target = torch.from_numpy(flat[pixels].astype(np.float32))
            blended = blend_pixels(features, blends, blends.firsts[view] + pixels)
            error = blended / torch.from_numpy(alpha[view][pixels])[:, None] - target
            loss = error.square().sum(dim=1).mean()
            optimizer.param_groups[0]["lr"] = lr * 0.5 * (1 + np.cos(np.pi * step / steps))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            bar.advance(1, loss=loss.item())
    return features.detach().numpy()


def mean_features(
    views: FrozenViews, maps: Sequence[Float[np.ndarray, "H W D"]]
) -> Float[np.ndarray, "N D"]:
    """Mean feature of the pixels that each Gaussian is visible in, weighted by blend weights."""
    dimension = maps[0].shape[2]
    total = np.zeros((views.num_gaussians, dimension), np.float32)
    weight = np.zeros(views.num_gaussians, np.float32)
    for view, found in enumerate(maps):
        matrix = views.matrix(view).T.tocsr()
        total += matrix @ found.reshape(-1, dimension).astype(np.float32)
        weight += matrix @ np.ones(matrix.shape[1], np.float32)
    return total / np.maximum(weight, 1e-6)[:, None]


def render_features(
    features: Float[np.ndarray, "N D"], gaussians: Gaussians, camera: Camera
) -> DenseView:
    """Features blended along the ray of each pixel: "volume-rendered" in the paper's table."""
    weights = blend_weights(gaussians, camera)
    alpha = np.asarray(weights.sum(axis=1)).reshape(camera.height, camera.width)
    blended = (weights @ features).reshape(camera.height, camera.width, -1)
    return DenseView.of(blended, alpha >= OPAQUE)


def surface_features(
    features: Float[np.ndarray, "N D"],
    gaussians: Gaussians,
    camera: Camera,
    carrying: Bool[np.ndarray, "N"],
) -> DenseView:
    """Features at the surface point of each pixel, as in the official code of DFF.

    The feature at a point is that of the Gaussian with the nearest centre.

    Args:
        features: Feature of each Gaussian.
        gaussians: Fitted Gaussians.
        camera: Camera to render from.
        carrying: Gaussians whose features are used, for example all that are visible enough.
    """
    points, alpha = surface_points(gaussians, camera)
    centres = gaussians.means.numpy().astype(np.float64)[carrying]
    _, nearest = find_nearest(centres, points, k=1)
    shape = (camera.height, camera.width)
    found = features[carrying][nearest[:, 0]].reshape(*shape, -1)
    return DenseView.of(found, (alpha >= OPAQUE).reshape(shape))
