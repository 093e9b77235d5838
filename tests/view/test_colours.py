"""Colours of the page."""

import numpy as np
import pytest

from splat_uff.run.open import open_run
from splat_uff.run.provenance import load_arrays
from splat_uff.view.colours import Colours, agreement, light_up

GREY = (100, 100, 100)


def test_agreement_is_one_where_all_features_point_the_same_way():
    features = np.array([[2.0, 0], [1, 0], [0, 3], [0, 1], [0, -1], [1, 1]], np.float32)
    found = agreement(features, np.array([7, 7, 8, 8, 8, 9]))
    np.testing.assert_allclose(found, [1, 1, 1, 1, 0, 1], atol=1e-6)


def test_what_is_selected_glows_and_the_rest_fades():
    colours = np.array([[0, 0, 255], [0, 0, 255]], np.uint8)
    assert light_up(colours, np.zeros(2, bool), GREY) is colours
    lit, faded = light_up(colours, np.array([True, False]), GREY)
    assert lit[0] > 100
    assert np.abs(faded.astype(int) - GREY).max() < np.abs(colours[1].astype(int) - GREY).max()


@pytest.fixture(scope="module")
def run(trained):
    return open_run(trained)


def test_segments_keep_their_colours_from_one_granularity_to_the_next(run):
    colours = Colours(run, None)
    coarse, fine = run.walk.cut(4), run.walk.cut(5)
    changed = colours.of("segments", coarse) != colours.of("segments", fine)
    inside = changed.any(axis=1)
    split = np.unique(coarse[fine != coarse])
    assert len(split) == 1
    assert 0 < inside.sum() <= (coarse == split[0]).sum() / 2  # Only the smaller child's.


def test_modes(run):
    features = load_arrays(run.folder.features, ("features",))["features"]
    colours = Colours(run, features)
    assert colours.modes == ("segments", "photo", "features", "confidence")
    assert Colours(run, None).modes == ("segments", "photo")
    shown = {mode: colours.of(mode, run.walk.cut(5)) for mode in colours.modes}
    for each in shown.values():
        assert each.shape == (len(run.gaussians), 3)
        assert each.dtype == np.uint8
        assert len(np.unique(each, axis=0)) > 4
    photo = np.clip(0.5 + 0.28209479 * run.gaussians.sh0[:, 0].numpy(), 0, 1) * 255
    np.testing.assert_allclose(shown["photo"], photo, atol=0.51)
