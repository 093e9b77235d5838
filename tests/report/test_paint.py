import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splat_uff.report.paint import NONE_COLOUR, feature_colours, nested_colours, paint


def random_cuts(rng: np.random.Generator, leaves: int = 60) -> list[np.ndarray]:
    """Nested labels, fine to coarse, with shuffled numbers."""
    cuts = []
    groups = np.arange(leaves)
    for count in (40, 12, 3):
        groups = rng.integers(0, count, leaves)[groups]
        cuts.append(np.unique(groups, return_inverse=True)[1] + 1)
    return cuts


@given(seed=st.integers(0, 99))
def test_nested_colours_let_the_largest_child_keep_its_parents_colour(seed):
    cuts = random_cuts(np.random.default_rng(seed))
    tables = nested_colours(cuts)
    for fine, coarse, fine_table, coarse_table in zip(
        cuts, cuts[1:], tables, tables[1:], strict=False
    ):
        for parent in np.unique(coarse):
            children, sizes = np.unique(fine[coarse == parent], return_counts=True)
            heir = children[sizes.argmax()]
            np.testing.assert_array_equal(fine_table[heir], coarse_table[parent])


@given(seed=st.integers(0, 99))
def test_nested_colours_differ_within_each_cut_and_repeat_themselves(seed):
    cuts = random_cuts(np.random.default_rng(seed))
    tables = nested_colours(cuts)
    for table, again in zip(tables, nested_colours(cuts), strict=True):
        assert len(np.unique(table, axis=0)) == len(table)
        np.testing.assert_array_equal(table, again)
        assert (table >= 0).all()
        assert (table <= 1).all()


def test_nested_colours_go_on_when_there_are_more_segments_than_colours():
    (table,) = nested_colours([np.arange(1, 1001)])
    assert table.shape == (1001, 3)


def test_nested_colours_keep_none_white_and_allow_gaps():
    fine, coarse = nested_colours([np.array([0, 0, 5, 9]), np.array([0, 1, 1, 1])])
    np.testing.assert_array_equal(fine[0], NONE_COLOUR)
    assert (fine[5] != fine[9]).any()
    assert len(fine) == 10
    assert len(coarse) == 2


def test_paint_looks_labels_up():
    picture = paint(np.array([[0, 1]]), np.array([[1.0, 1, 1], [0.2, 0.3, 0.4]]))
    np.testing.assert_array_equal(picture[0], [[1, 1, 1], [0.2, 0.3, 0.4]])


@given(seed=st.integers(0, 99))
def test_feature_colours_ignore_scale_offset_and_order(seed):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((50, 6)) * [5, 3, 2, 0.1, 0.1, 0.1]
    colours = feature_colours(features)
    assert colours.min() == 0
    assert colours.max() == 1
    np.testing.assert_allclose(feature_colours(3 * features + 7), colours, atol=1e-6)
    order = rng.permutation(50)
    np.testing.assert_allclose(feature_colours(features[order]), colours[order], atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (5, 1), (5, 2)])
def test_feature_colours_take_any_shape(shape):
    features = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    colours = feature_colours(features)
    assert colours.shape == (shape[0], 3)
    assert (colours[:, 1:] == 0.5).all()  # Nothing varies in a second direction.
