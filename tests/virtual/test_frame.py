"""Where a splat is and which way is up."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from splat_uff.virtual.frame import axis_of, find_frame
from tests.virtual.splats import ball, joined, sheet, splat


def test_floaters_do_not_move_or_enlarge_a_splat():
    means, scales = ball((3, -1, 2), radius=1.0)
    alone = find_frame(joined((means, scales)))
    far = np.random.default_rng(5).normal(size=(40, 3)) * 200
    both = find_frame(joined((means, scales), (far, np.full((40, 3), 0.03))))
    assert np.allclose(alone.centre, (3, -1, 2), atol=0.1)
    assert alone.radius == pytest.approx(1.0, abs=0.1)
    assert np.allclose(alone.centre, both.centre, atol=0.02)
    assert alone.radius == pytest.approx(both.radius, rel=0.02)


@pytest.mark.parametrize("turn", [(0, 0, 0), (20, 0, 0), (0, 25, 10)])
def test_up_is_across_a_floor_however_it_leans(turn):
    means, scales = (np.concatenate(each) for each in zip(sheet("z", 0.0), ball(), strict=True))
    turned = Rotation.from_euler("xyz", turn, degrees=True)
    x, y, z, w = turned.as_quat()
    found = find_frame(splat(turned.apply(means), scales=scales, quats=(w, x, y, z)))
    assert found.up @ turned.apply([0, 0, 1]) > np.cos(np.radians(3))


def test_a_splat_with_its_floor_above_is_upside_down():
    """Files with y up, whose floor lies at small y, are not read as -y up."""
    upright = find_frame(joined(sheet("y", 0.0), ball((0, -0.4, 0))))
    upside_down = find_frame(joined(sheet("y", 0.0), ball((0, 0.4, 0))))
    assert np.allclose(upright.up, axis_of("-y"))
    assert np.allclose(upside_down.up, axis_of("y"))
    assert upright.has_floor
    assert upside_down.has_floor


def test_a_ball_has_no_floor_and_a_custom_up():
    found = find_frame(joined(ball()))
    assert not found.has_floor
    assert np.allclose(found.up, axis_of("z"))


@pytest.mark.parametrize("name", ["x", "-x", "y", "-y", "z", "-z"])
def test_up_can_be_set(name):
    assert np.array_equal(find_frame(joined(ball()), name).up, axis_of(name))


def test_local_frame_is_precise_far_from_the_origin():
    means, scales = ball(radius=1.0)
    found = find_frame(joined((means + np.array([4e5, 5e6, 0]), scales)))
    middle = found.local_from_source @ [*found.centre, 1]
    assert np.allclose(middle[:3], 0, atol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_gaussians_have_a_frame(count):
    found = find_frame(splat(np.zeros((count, 3))))
    assert found.radius > 0
    assert np.linalg.norm(found.up) == pytest.approx(1)
