"""Three blobs of Gaussians seen by four small cameras, with masks of each and of two as one."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from splat_uff.capture.records import Capture, View
from splat_uff.geometry.cameras import Camera
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.masks.tree import build_tree
from splat_uff.render import Gaussians, rasterize

SIZE = 24
CENTRES = np.array([[-0.35, -0.2, 0.0], [0.3, -0.25, 0.1], [0.0, 0.35, -0.1]])
COLOURS = np.array([[0.9, 0.2, 0.1], [0.1, 0.7, 0.2], [0.2, 0.3, 0.9]])


@dataclass(frozen=True)
class TinyScene:
    """The scene and, per Gaussian, which blob it is part of."""

    gaussians: Gaussians
    blobs: np.ndarray
    cameras: list[Camera]
    capture: Capture
    bags: list[tuple[MaskSet, MaskTree]]


def look_at_origin(azimuth: float, elevation: float, distance: float = 1.5) -> Camera:
    """A camera on a sphere around the origin; the world's +z is up."""
    flat = np.cos(elevation)
    back = np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])
    right = np.cross(-back, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(-back, right), -back], axis=1)
    pose[:3, 3] = distance * back
    K = np.array([[SIZE * 1.1, 0, SIZE / 2], [0, SIZE * 1.1, SIZE / 2], [0, 0, 1.0]])
    return Camera(pose, K, SIZE, SIZE)


def tiny_scene(per_blob: int = 30, seed: int = 0) -> TinyScene:
    """Build the scene; the same seed gives the same scene."""
    rng = np.random.default_rng(seed)
    blobs = np.repeat(np.arange(len(CENTRES)), per_blob)
    gaussians = Gaussians(
        means=floats(CENTRES[blobs] + rng.normal(0, 0.06, (len(blobs), 3))),
        quats=floats(rng.normal(size=(len(blobs), 4))),
        log_scales=floats(np.log(rng.uniform(0.05, 0.09, (len(blobs), 3)))),
        opacity_logits=torch.full((len(blobs),), 2.0),
        sh0=floats((COLOURS[blobs] - 0.5) / 0.28209479177387814)[:, None],
        shN=torch.zeros(len(blobs), 0, 3),
    )
    cameras = [look_at_origin(0.4 + 1.6 * k, 0.5 - 0.3 * (k % 2)) for k in range(4)]
    views, bags = [], []
    for index, camera in enumerate(cameras):
        render = rasterize(gaussians, camera, floats(np.eye(3)[blobs]))
        shares, alpha = render.values.numpy(), render.alpha.numpy()
        image = np.concatenate([shares @ COLOURS, alpha[..., None]], axis=2).astype(np.float32)
        views.append(View(f"r_{index}", camera, image))
        owned = (alpha > 0.5)[..., None] & (shares == shares.max(axis=2, keepdims=True))
        parts = owned.transpose(2, 0, 1)
        masks = MaskSet.of(np.stack([*parts, parts[0] | parts[1], parts.any(axis=0)]))
        bags.append((masks, build_tree(masks)))
    capture = Capture("tiny", Path(), tuple(views), (), True, np.eye(4), "simulated")
    return TinyScene(gaussians, blobs, cameras, capture, bags)


def floats(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
