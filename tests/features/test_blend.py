"""Blending through frozen weights against dense matrices."""

import numpy as np
import pytest
import torch

from splat_uff.features.blend import BlendRows, blend_pixels
from splat_uff.render import rasterize
from splat_uff.render.frozen import FrozenViews
from tests.features.scenes import tiny_scene


def random_views(seed=0, *, count=9, views=3, pixels=20):
    """Random weights, about half of the rows empty, with the dense matrix they stand for."""
    rng = np.random.default_rng(seed)
    dense = rng.random((views * pixels, count)).astype(np.float32) / count
    dense *= rng.random(dense.shape) < 0.4
    dense[rng.random(len(dense)) < 0.5] = 0
    rows, columns = np.nonzero(dense)
    starts = np.concatenate([[0], np.cumsum(np.count_nonzero(dense, axis=1))])
    weights = dense[rows, columns]
    firsts = np.arange(views + 1) * pixels
    return BlendRows(starts, columns.astype(np.int32), weights, firsts), dense


def random_features(count=9, channels=6):
    return torch.randn(count, channels, generator=torch.Generator().manual_seed(0))


def test_blend_pixels_equals_the_dense_product_with_its_gradient():
    views, dense = random_views()
    rows = np.array([0, 59, 7, 7, 31, 20, 19])  # Also one row twice.
    ours, truth = random_features().requires_grad_(), random_features().requires_grad_()
    pull = torch.randn(len(rows), 6, generator=torch.Generator().manual_seed(1))
    blended, expected = blend_pixels(ours, views, rows), torch.from_numpy(dense)[rows] @ truth
    torch.testing.assert_close(blended, expected)
    (blended * pull).sum().backward()
    (expected * pull).sum().backward()
    torch.testing.assert_close(ours.grad, truth.grad)


def test_blend_pixels_leaves_gaussians_out_of_the_rows_alone():
    views, dense = random_views()
    features = random_features().requires_grad_()
    blend_pixels(features, views, np.array([3])).sum().backward()
    assert ((features.grad != 0).any(dim=1).numpy() == (dense[3] > 0)).all()


def test_blend_pixels_of_no_rows_is_nothing():
    views, _ = random_views()
    features = random_features().requires_grad_()
    blended = blend_pixels(features, views, np.zeros(0, np.int64))
    assert blended.shape == (0, 6)
    blended.sum().backward()
    assert not features.grad.any()


def test_blend_pixels_repeats_itself_to_the_bit():
    views, _ = random_views(count=200, pixels=400)
    rows = np.random.default_rng(1).integers(0, 1200, 900)
    gradients = []
    for _ in range(2):
        features = random_features(200).requires_grad_()
        blend_pixels(features, views, rows).square().sum().backward()
        gradients.append(features.grad)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("view", [0, 1, 2])
def test_blend_pixels_equals_rasterizing_the_features(view):
    scene = tiny_scene()
    views = BlendRows.of(FrozenViews(scene.gaussians, scene.cameras))
    features = random_features(len(scene.gaussians))
    pixels = np.arange(views.firsts[1])
    blended = blend_pixels(features, views, views.firsts[view] + pixels)
    render = rasterize(scene.gaussians, scene.cameras[view], features)
    torch.testing.assert_close(blended, render.values.reshape(-1, 6), atol=1e-5, rtol=1e-5)
    alpha = views.alpha()[view]
    np.testing.assert_allclose(alpha, render.alpha.numpy().ravel(), atol=1e-5)


def test_alpha_sums_each_row():
    views, dense = random_views()
    np.testing.assert_allclose(np.stack(views.alpha()), dense.sum(axis=1).reshape(3, 20), atol=1e-6)


def test_largest_weights_are_the_maxima_over_all_views():
    scene = tiny_scene()
    views = FrozenViews(scene.gaussians, scene.cameras)
    dense = np.concatenate([views.matrix(view).toarray() for view in range(len(views))])
    np.testing.assert_array_equal(views.largest_weights(), dense.max(axis=0))
