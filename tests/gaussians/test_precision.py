"""How exactly float32 holds centres, against numpy's own rounding."""

import numpy as np
import pytest

from splat_uff.gaussians.precision import judge_precision, near_origin


@pytest.mark.parametrize("distance", [0.0, 300.0, 5e5, 4.78e6, 6.4e6])
def test_judge_precision_bounds_what_float32_moves(distance):
    centres = np.random.default_rng(0).normal(size=(500, 3)) + np.array([distance, 0, -2])
    precision = judge_precision(centres)
    moved = np.abs(centres.astype(np.float32) - centres).max()
    assert moved <= precision.rounding * 1.0001
    assert precision.is_lost == (distance > 1e4)


def test_a_stray_far_away_does_not_count():
    centres = np.random.default_rng(0).normal(size=(500, 3))
    centres[7] = 1e8
    assert not judge_precision(centres).is_lost


def test_near_origin_is_round_and_amid_the_centres():
    centres = np.random.default_rng(0).normal(size=(500, 3)) * 40 + [4.2e6, 1.7e5, -4.78e6]
    origin = near_origin(centres)
    assert (origin % 10 == 0).all()
    assert np.abs(centres - origin).max() < 300
