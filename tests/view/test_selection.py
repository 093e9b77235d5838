"""Selecting, hiding and naming nodes, and taking all of it back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splat_uff.hierarchy.walk import Walk
from splat_uff.view.selection import Marks, Selection
from tests.hierarchy.test_walk import SMALL, trees


@pytest.fixture
def selection():
    return Selection(SMALL)


def leaves(mask):
    return np.flatnonzero(mask).tolist()


def test_nothing_is_selected_and_all_is_shown_at_first(selection):
    assert selection.current is None
    assert not selection.selected.any()
    assert selection.shown.all()
    assert not selection.undo()
    assert not selection.redo()
    assert not selection.wider()
    assert not selection.narrower()
    assert not selection.hide()
    assert not selection.isolate()
    assert not selection.show_all()
    assert not selection.rename("x")


def test_wider_climbs_and_narrower_goes_back_to_what_was_clicked(selection):
    selection.select([7], anchor=2)
    assert selection.wider()
    assert selection.wider()
    assert selection.current == 10
    assert not selection.wider()
    assert selection.narrower()
    assert selection.narrower()
    assert selection.current == 7  # Not 8, which is larger.
    assert not selection.narrower()


def test_narrower_without_a_click_goes_to_the_largest(selection):
    selection.select([10])
    selection.narrower()
    selection.narrower()
    assert selection.current == 8


def test_adding_a_node_takes_those_below_it_in(selection):
    selection.select([7])
    selection.select([6], "add")
    assert selection.marks.selected == (7, 6)
    selection.select([9], "add")
    assert selection.marks.selected == (6, 9)
    selection.select([8], "add")  # Selected already, as a part of 9.
    assert selection.marks.selected == (6, 9)


def test_removing_a_part_leaves_the_rest_of_it_selected(selection):
    selection.select([10])
    selection.select([7], "remove")
    assert leaves(selection.selected) == [0, 1, 3, 4, 5]
    selection.select([9], "remove")
    assert leaves(selection.selected) == [0, 1]


def test_hidden_and_isolated(selection):
    selection.select([8])
    selection.hide()
    assert leaves(selection.shown) == [0, 1, 2]
    assert selection.current is None
    selection.select([9])
    selection.isolate()  # What is looked at alone is shown, hidden or not.
    assert leaves(selection.shown) == [2, 3, 4, 5]
    selection.show_all()
    assert selection.shown.all()


def test_names(selection):
    selection.select([6])
    selection.rename("  rim\n of\tthe  wheel\x00 ")
    assert selection.called(6) == "rim of the wheel"
    assert selection.called(7) == "#7"
    selection.rename("x" * 100)
    assert selection.called(6) == "x" * 60
    selection.rename("")
    assert selection.called(6) == "#6"


def test_names_of_nodes_that_are_not_there_are_left_out():
    assert Selection(SMALL, {6: "rim", 0: "leaf", 99: "none"}).marks.names == {6: "rim"}


def test_a_step_that_changes_nothing_is_no_step(selection):
    selection.select([6])
    selection.select([6])
    assert selection.undo()
    assert selection.marks == Marks()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["replace", "add", "remove", "wider", "narrower", "hide", "isolate", "show_all"]
        ),
        st.integers(0, 100),
    ),
    max_size=12,
)


def take(selection, step, number):
    tree = selection.walk.tree
    node = tree.num_leaves + number % (len(tree.parents) - tree.num_leaves)
    if step in ("replace", "add", "remove"):
        selection.select([node], step)
    else:
        getattr(selection, step)()


@given(trees(), STEPS)
def test_any_steps_are_undone_and_done_again(tree, steps):
    selection = Selection(Walk(tree))
    states = [selection.marks]
    for step, number in steps:
        take(selection, step, number)
        if selection.marks != states[-1]:
            states.append(selection.marks)
    for state in reversed(states[:-1]):
        assert selection.undo()
        assert selection.marks == state
    assert not selection.undo()
    for state in states[1:]:
        assert selection.redo()
        assert selection.marks == state
    assert not selection.redo()


@given(trees(), STEPS, st.integers(0, 100))
def test_add_and_remove_are_union_and_difference(tree, steps, number):
    selection = Selection(Walk(tree))
    for step, each in steps:
        take(selection, step, each)
    before = selection.selected
    node = tree.num_leaves + number % (len(tree.parents) - tree.num_leaves)
    inside = np.isin(np.arange(tree.num_leaves), selection.walk.leaves(node))
    selection.select([node], "add")
    np.testing.assert_array_equal(selection.selected, before | inside)
    selection.select([node], "remove")
    np.testing.assert_array_equal(selection.selected, before & ~inside)
    for one in selection.marks.selected:
        assert not set(selection.walk.ancestors(one)) & set(selection.marks.selected)
