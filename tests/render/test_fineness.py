"""Gaussians look as they were fitted, whatever the size of the image."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from splat_uff.hierarchy.labels import blended_votes, expected_depth, label_maps
from splat_uff.render import Gaussians, blend_weights
from splat_uff.render.cpu import EPS2D
from splat_uff.render.fineness import MOST_FINER, Fineness
from tests.render.scenes import camera, random_gaussians

FITTED = 96


def fitted():
    """A wall of thin Gaussians in eight stripes, fitted at `FITTED` pixels, and their stripe."""
    rng = torch.Generator().manual_seed(0)
    count = 20_000
    means = (torch.rand(count, 3, generator=rng) - 0.5) * torch.tensor([3.0, 3.0, 0.01])
    means[:, 2] += 2.5
    gaussians = Gaussians(
        means,
        torch.randn(count, 4, generator=rng),
        torch.log(0.004 + 0.012 * torch.rand(count, 3, generator=rng)),
        torch.full((count,), 3.0),
        torch.zeros(count, 1, 3),
        torch.zeros(count, 0, 3),
        fitted_focal=camera(FITTED, FITTED).focal,
    )
    stripes = 1 + np.floor((means[:, 0].numpy() + 1.5) / 3 * 8).clip(0, 7).astype(int)
    return gaussians, stripes


def at(size):
    """The camera of the fit with another number of pixels."""
    return camera(FITTED, FITTED).resized(size, size)


def labels_at(gaussians, stripes, size):
    return label_maps(blended_votes(gaussians, at(size)), stripes[None])[0]


def disagreements(labels, other):
    """Share of the pixels of a map that differ from all of another in and around their place."""
    across = max(1, len(other) // len(labels))
    places = (np.arange(len(labels)) * len(other)) // len(labels)
    found = np.zeros(labels.shape, bool)
    for dy in range(-1, across + 1):
        for dx in range(-1, across + 1):
            rows, columns = (np.clip(places + d, 0, len(other) - 1) for d in (dy, dx))
            found |= labels == other[np.ix_(rows, columns)]
    return 1 - found.mean()


@pytest.mark.parametrize("size", [24, 32, 48, 70, 192, 240])
def test_labels_at_another_size_are_the_same_within_a_pixel(size):
    gaussians, stripes = fitted()
    as_fitted = labels_at(gaussians, stripes, FITTED)
    assert disagreements(labels_at(gaussians, stripes, size), as_fitted) < 0.002


@pytest.mark.parametrize("size", [24, 288])
def test_labels_of_gaussians_of_unknown_size_grow_fat_or_full_of_holes(size):
    gaussians, _ = fitted()
    alpha = np.asarray(blend_weights(gaussians, at(FITTED)).sum(1)).mean()
    for known in (True, False):
        seen = gaussians if known else replace(gaussians, fitted_focal=0.0)
        other = np.asarray(blend_weights(seen, at(size)).sum(1)).mean()
        assert (abs(other / alpha - 1) < 0.01) == known


def test_blend_weights_at_the_fitted_size_are_those_of_gsplat():
    gaussians = random_gaussians()
    plain = blend_weights(gaussians, camera())
    known = blend_weights(replace(gaussians, fitted_focal=1.1 * camera().focal), camera())
    assert (plain != known).nnz == 0


def test_blend_weights_of_larger_pixels_are_means_of_the_fitted_ones():
    gaussians = replace(random_gaussians(), fitted_focal=camera(60, 40).focal)
    fine = blend_weights(gaussians, camera(60, 40)).toarray().reshape(20, 2, 30, 2, -1)
    half = camera(60, 40).resized(30, 20)
    coarse = blend_weights(gaussians, half).toarray().reshape(20, 30, -1)
    np.testing.assert_allclose(coarse, fine.mean(axis=(1, 3)), atol=1e-6)


def test_expected_depth_is_the_same_at_half_the_size():
    gaussians, _ = fitted()
    whole, _ = expected_depth(gaussians, at(FITTED))
    half, alpha = expected_depth(gaussians, at(FITTED // 2))
    means = whole.reshape(FITTED // 2, 2, FITTED // 2, 2).mean(axis=(1, 3))
    assert np.abs(half - means)[alpha > 0.9].max() < 0.02


def test_fineness_keeps_the_blur_in_the_scene_and_bounds_the_finer_image():
    gaussians = replace(random_gaussians(), fitted_focal=camera(800).focal)
    for width, factor in ((800, 1), (400, 2), (390, 2), (300, 3), (50, MOST_FINER), (1600, 1)):
        found = Fineness.of(gaussians, camera(width))
        assert found.factor == factor, width
        assert found.camera.width == factor * width
        blur = EPS2D * (found.camera.focal / gaussians.fitted_focal) ** 2
        assert found.eps2d == pytest.approx(blur)


def test_fineness_averages_images_as_its_matrix_does():
    fineness = Fineness.of(
        replace(random_gaussians(), fitted_focal=camera(111, 87).focal), camera(37, 29)
    )
    image = np.random.default_rng(0).random((87, 111, 3))
    flat = fineness.averaging() @ image.reshape(-1, 3)
    np.testing.assert_allclose(flat.reshape(29, 37, 3), fineness.average(image), atol=1e-6)
