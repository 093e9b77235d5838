"""Small splats of known shape."""

import numpy as np
import torch

from splat_uff.render import Gaussians

AXES = {"x": 0, "y": 1, "z": 2}


def splat(means, *, scales=0.05, opacity=4.0, colours=None, quats=(1.0, 0, 0, 0)):
    """Gaussians with one colour each; scales may be one number, three, or one row each."""
    count = len(means)
    rng = np.random.default_rng(0)
    colours = rng.uniform(-1.5, 1.5, (count, 1, 3)) if colours is None else colours
    columns = (
        np.asarray(means),
        np.tile(quats, (count, 1)),
        np.log(np.broadcast_to(scales, (count, 3))),
        np.full(count, opacity),
        colours,
        np.zeros((count, 0, 3)),
    )
    return Gaussians(*(torch.tensor(np.asarray(each, np.float32)) for each in columns))


def sheet(axis, at, *, side=2.0, count=1500, seed=0):
    """Centres and scales of a flat square across an axis, at a height along it."""
    rng = np.random.default_rng(seed)
    means = rng.uniform(-side / 2, side / 2, (count, 3))
    means[:, AXES[axis]] = at
    scales = np.full((count, 3), 0.06)
    scales[:, AXES[axis]] = 0.001
    return means, scales


def joined(*pieces):
    """One splat of several sheets or balls."""
    means, scales = (np.concatenate(each) for each in zip(*pieces, strict=True))
    return splat(means, scales=scales)


def ball(centre=(0, 0, 0), *, radius=0.3, count=1500, seed=1):
    """Centres and scales of round Gaussians on a sphere."""
    points = np.random.default_rng(seed).normal(size=(count, 3))
    points *= radius / np.linalg.norm(points, axis=1, keepdims=True)
    return points + centre, np.full((count, 3), 0.03)


def room(*, side=2.0):
    """A closed box of six walls, with a ball on its floor."""
    walls = [
        sheet(axis, at, side=side, seed=number)
        for number, (axis, at) in enumerate((axis, s * side / 2) for axis in "xyz" for s in (-1, 1))
    ]
    return joined(*walls, ball((0, 0, -0.7)))
