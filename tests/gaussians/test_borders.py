"""Clean borders: less of a Gaussian's weight lies in other segments, and photos stay as good."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from splat_uff.evaluate.images import score_images
from splat_uff.gaussians.borders import BorderCleaner, view_colours
from splat_uff.gaussians.config import BordersConfig, GaussiansConfig
from splat_uff.hierarchy.dendrogram import cut_into
from splat_uff.render import render_colours
from splat_uff.render.compositing import WHITE, render_over_white
from splat_uff.run.masks import training_masks
from splat_uff.run.open import open_run

FEW = BordersConfig(rounds=2, steps=30, segments=20, most_split=0.1)


@pytest.fixture(scope="module")
def run(trained):
    return open_run(trained)


@pytest.fixture(scope="module")
def labels(run):
    return cut_into(run.hierarchy.tree, 20)


def clean(run, labels, config=FEW, seed=0):
    views, bags = run.capture.train, training_masks(run)
    rates = run.provenance.settings.gaussians
    return BorderCleaner(config, rates, seed).clean(run.gaussians, views, bags, labels)


def psnr(run, gaussians):
    pairs = [
        (render_over_white(gaussians, view.camera), view.composite(WHITE).astype(np.float32))
        for view in run.capture.val
    ]
    return score_images(pairs).psnr


@pytest.fixture(scope="module")
def cleaned(run, labels):
    return clean(run, labels)


def test_less_lies_across_borders_and_photos_stay_as_good(run, labels, cleaned):
    before, after = cleaned.straddling
    assert after < 0.9 * before
    assert psnr(run, cleaned.gaussians) > psnr(run, run.gaussians) - 0.1


def test_pieces_follow_and_know_where_they_come_from(run, labels, cleaned):
    count, total = len(run.gaussians), len(cleaned.gaussians)
    assert count < total <= 1.16 * count  # A tenth in the first round, half of that in the second.
    assert cleaned.parents[:count].tolist() == list(range(count))
    assert len(cleaned.parents) == len(cleaned.labels) == total
    assert cleaned.labels.min() >= 1
    assert (cleaned.labels[:count] == labels).mean() > 0.8
    assert cleaned.gaussians.fitted_focal == run.gaussians.fitted_focal


def test_same_seed_same_gaussians(run, labels, cleaned):
    again = clean(run, labels)
    for name, values in again.gaussians.tensors().items():
        assert torch.equal(values, cleaned.gaussians.tensors()[name]), name
    other = clean(run, labels, seed=1)
    assert not torch.equal(other.gaussians.means[:10], cleaned.gaussians.means[:10])


def test_memory_does_not_change_the_result(run, labels, cleaned):
    bags, rates = training_masks(run), run.provenance.settings.gaussians
    tight = BorderCleaner(FEW, rates, 0, most_bytes=0).clean(
        run.gaussians, run.capture.train, bags, labels
    )
    assert torch.equal(tight.gaussians.means, cleaned.gaussians.means)


def test_no_rounds_change_nothing(run, labels):
    same = clean(run, labels, replace(FEW, rounds=0))
    assert same.gaussians is run.gaussians
    assert same.labels is labels


def test_colours_of_a_view_are_those_that_are_rendered(run):
    camera = run.capture.train[0].camera
    flat = replace(run.gaussians, sh0=torch.zeros_like(run.gaussians.sh0[:, :1]))
    wavy = replace(
        flat, shN=torch.randn(len(flat), 15, 3, generator=torch.Generator().manual_seed(0)) / 5
    )
    colours = view_colours(wavy, camera)
    same = replace(wavy, sh0=((colours - 0.5) / 0.28209479177387814)[:, None], shN=flat.shN[:, :0])
    a, b = (render_colours(each, camera).values for each in (wavy, same))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_settings_are_in_range():
    assert BordersConfig().rounds == 0
    assert GaussiansConfig().ssim_weight == 0.2
