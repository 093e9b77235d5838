"""DFF: features come out of the Gaussians as they went in."""

import numpy as np
import pytest

from splat_uff.baselines.distil import distil, mean_features, render_features, surface_features
from splat_uff.render import blend_weights
from splat_uff.render.frozen import FrozenViews
from tests.features.scenes import tiny_scene


@pytest.fixture(scope="module")
def scene():
    return tiny_scene()


@pytest.fixture(scope="module")
def views(scene):
    return FrozenViews(scene.gaussians, scene.cameras)


def maps_of(scene, features):
    """What the features look like, divided by the opacity, from every camera."""
    maps = []
    for camera in scene.cameras:
        weights = blend_weights(scene.gaussians, camera)
        alpha = np.asarray(weights.sum(axis=1))
        blended = weights @ features / np.maximum(alpha, 1e-6)
        maps.append(blended.reshape(camera.height, camera.width, -1).astype(np.float16))
    return maps


def test_distilled_features_render_as_the_maps(scene, views):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((len(scene.blobs), 5))
    maps = maps_of(scene, features)
    found = distil(views, maps, seed=0, steps=400)
    start = mean_features(views, maps)

    def error(candidate):
        total = []
        for camera, known in zip(scene.cameras, maps, strict=True):
            weights = blend_weights(scene.gaussians, camera)
            alpha = np.asarray(weights.sum(axis=1)).ravel()
            opaque = alpha > 0.5
            blended = (weights @ candidate)[opaque] / alpha[opaque, None]
            total.append(((blended - known.reshape(-1, 5)[opaque]) ** 2).mean())
        return np.mean(total)

    assert error(found) < 0.05 * error(start)


def test_distil_repeats_itself(scene, views):
    maps = maps_of(scene, np.eye(3)[scene.blobs])
    once, twice = (distil(views, maps, seed=3, steps=20) for _ in range(2))
    np.testing.assert_array_equal(once, twice)


def test_mean_features_are_means_by_blend_weight(scene, views):
    rng = np.random.default_rng(1)
    maps = [rng.standard_normal((c.height, c.width, 2)).astype(np.float16) for c in scene.cameras]
    found = mean_features(views, maps)
    every = np.concatenate(
        [blend_weights(scene.gaussians, camera).toarray() for camera in scene.cameras]
    )
    flat = np.concatenate([each.reshape(-1, 2) for each in maps]).astype(np.float64)
    seen = every.sum(axis=0) > 1e-3
    expected = (every.T @ flat)[seen] / every.sum(axis=0)[seen, None]
    np.testing.assert_allclose(found[seen], expected, atol=1e-3)


def test_both_readings_see_one_feature_a_blob(scene):
    features = np.eye(3)[scene.blobs].astype(np.float32)
    everyone = np.ones(len(scene.blobs), bool)
    for camera in scene.cameras:
        rendered = render_features(features, scene.gaussians, camera)
        surface = surface_features(features, scene.gaussians, camera, everyone)
        np.testing.assert_array_equal(rendered.covered, surface.covered)
        assert not rendered.features[~rendered.covered].any()
        lengths = np.linalg.norm(rendered.features[rendered.covered], axis=1)
        np.testing.assert_allclose(lengths, 1, atol=1e-5)
        same = rendered.features.argmax(axis=2) == surface.features.argmax(axis=2)
        assert same[rendered.covered].mean() > 0.9
        # A surface has one feature; a blended border has some of two.
        assert (surface.features[surface.covered].max(axis=1) == 1).all()


def test_surface_features_are_read_from_those_that_carry_some(scene):
    features = np.eye(3)[scene.blobs].astype(np.float32)
    carrying = scene.blobs != 0
    seen = surface_features(features, scene.gaussians, scene.cameras[0], carrying)
    assert not seen.features[..., 0].any()
