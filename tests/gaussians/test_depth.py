"""Depth continuity: smooth surfaces are free, steps inside a mask are not."""

import numpy as np
import torch

from splat_uff.gaussians.depth import depth_continuity_loss, find_runs
from splat_uff.geometry.cameras import camera_from_opengl, pixel_centres, unproject
from splat_uff.masks.records import MaskSet
from splat_uff.masks.tree import build_tree

SIZE = 12


def camera():
    pose = np.eye(4)
    pose[2, 3] = 1.5
    return camera_from_opengl(pose, angle_x=0.7, width=SIZE, height=SIZE)


def runs_of(*masks):
    bag = MaskSet.of(np.stack(masks))
    return find_runs(bag, build_tree(bag))


def square(low, high):
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[low:high, low:high] = True
    return mask


def loss(depth, alpha=None, masks=None):
    masks = [square(1, 11)] if masks is None else masks
    alpha = torch.ones(SIZE, SIZE, dtype=depth.dtype) if alpha is None else alpha
    rng = np.random.default_rng(0)
    return depth_continuity_loss(depth, alpha, camera(), runs_of(*masks), rng=rng)


def test_find_runs_lists_every_run_inside_a_leaf_once():
    runs = runs_of(square(0, 12), square(2, 8))
    assert runs.starts.tolist() == [0, 2 * 6 * 3]  # The outer mask is no leaf.
    inside = square(2, 8).ravel()
    pixels = runs.first[:, None] + runs.stride[:, None] * np.arange(4)
    assert inside[pixels].all()
    assert len(np.unique(pixels, axis=0)) == len(pixels)


def test_smooth_depth_is_free_and_a_step_is_not():
    x = torch.linspace(0, 1, SIZE).repeat(SIZE, 1)
    assert loss(1.2 + 0.1 * x + 0.05 * x**2).item() == 0
    assert loss(torch.where(x < 0.5, 1.0, 2.0)).item() > 0


def test_loss_of_one_run_equals_the_formula():
    run = np.zeros((SIZE, SIZE), dtype=bool)
    run[6, 4:8] = True
    rays = unproject(camera(), pixel_centres(camera()), np.ones(SIZE * SIZE)) - camera().centre
    slopes = torch.from_numpy(np.linalg.norm(rays, axis=1)).reshape(SIZE, SIZE)
    distance = torch.ones(SIZE, SIZE, dtype=torch.float64)
    distance[6, 6:8] = 2
    expected = abs(1 - 3 + 3 * 2 - 2) / 2.01**3 - 0.1
    assert abs(loss(distance / slopes, masks=[run]).item() - expected) < 1e-6


def test_a_step_between_masks_is_free():
    x = torch.arange(SIZE).repeat(SIZE, 1)
    step = torch.where(x < 6, 1.0, 2.0)
    left, right = (x < 6).numpy(), (x >= 6).numpy()
    assert loss(step, masks=(left, right)).item() == 0


def test_pixels_that_are_not_opaque_do_not_count():
    x = torch.linspace(0, 1, SIZE).repeat(SIZE, 1)
    step = torch.where(x < 0.5, 1.0, 2.0)
    assert loss(0.8 * step, torch.full((SIZE, SIZE), 0.8)).item() == 0


def test_gradient_equals_finite_differences():
    rng = torch.Generator().manual_seed(0)
    depth = 1 + torch.rand(SIZE, SIZE, generator=rng, dtype=torch.float64)
    variable = depth.clone().requires_grad_()
    loss(variable).backward()
    # The largest distance of a run is held fixed, so pixels that are one nowhere are compared.
    for row, column in ((5, 5), (6, 4), (3, 7)):
        if depth[row, column] > 1.4:
            continue
        moved = []
        for sign in (-1, 1):
            changed = depth.clone()
            changed[row, column] += sign * 1e-6
            moved.append(loss(changed).item())
        slope = (moved[1] - moved[0]) / 2e-6
        assert abs(slope - variable.grad[row, column].item()) < 1e-5
    assert variable.grad.abs().sum() > 0


def test_no_masks_cost_nothing():
    depth = torch.ones(SIZE, SIZE, requires_grad=True)
    empty = MaskSet(np.zeros((0, SIZE * SIZE // 8), np.uint8), SIZE, SIZE)
    runs = find_runs(empty, build_tree(empty))
    rng = np.random.default_rng(0)
    nothing = depth_continuity_loss(depth, torch.ones(SIZE, SIZE), camera(), runs, rng=rng)
    nothing.backward()
    assert nothing.item() == 0
