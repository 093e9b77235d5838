"""Selecting, hiding and naming nodes, and taking all of it back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splat_uff.hierarchy.walk import Walk
from splat_uff.view.session import Session, State
from tests.hierarchy.test_walk import SMALL, trees


@pytest.fixture
def session():
    return Session(SMALL)


def leaves(mask):
    return np.flatnonzero(mask).tolist()


def test_nothing_is_selected_and_all_is_shown_at_first(session):
    assert session.current is None
    assert not session.selected.any()
    assert session.shown.all()
    assert not session.undo()
    assert not session.redo()
    assert not session.wider()
    assert not session.narrower()
    assert not session.hide()
    assert not session.isolate()
    assert not session.show_all()
    assert not session.rename("x")


def test_wider_climbs_and_narrower_goes_back_to_what_was_clicked(session):
    session.select([7], anchor=2)
    assert session.wider()
    assert session.wider()
    assert session.current == 10
    assert not session.wider()
    assert session.narrower()
    assert session.narrower()
    assert session.current == 7  # Not 8, which is larger.
    assert not session.narrower()


def test_narrower_without_a_click_goes_to_the_largest(session):
    session.select([10])
    session.narrower()
    session.narrower()
    assert session.current == 8


def test_adding_a_node_takes_those_below_it_in(session):
    session.select([7])
    session.select([6], "add")
    assert session.state.selected == (7, 6)
    session.select([9], "add")
    assert session.state.selected == (6, 9)
    session.select([8], "add")  # Selected already, as a part of 9.
    assert session.state.selected == (6, 9)


def test_removing_a_part_leaves_the_rest_of_it_selected(session):
    session.select([10])
    session.select([7], "remove")
    assert leaves(session.selected) == [0, 1, 3, 4, 5]
    session.select([9], "remove")
    assert leaves(session.selected) == [0, 1]


def test_hidden_and_isolated(session):
    session.select([8])
    session.hide()
    assert leaves(session.shown) == [0, 1, 2]
    assert session.current is None
    session.select([9])
    session.isolate()  # What is looked at alone is shown, hidden or not.
    assert leaves(session.shown) == [2, 3, 4, 5]
    session.show_all()
    assert session.shown.all()


def test_names(session):
    session.select([6])
    session.rename("  rim\n of\tthe  wheel\x00 ")
    assert session.called(6) == "rim of the wheel"
    assert session.called(7) == "#7"
    session.rename("x" * 100)
    assert session.called(6) == "x" * 60
    session.rename("")
    assert session.called(6) == "#6"


def test_names_of_nodes_that_are_not_there_are_left_out():
    assert Session(SMALL, {6: "rim", 0: "leaf", 99: "none"}).state.names == {6: "rim"}


def test_a_step_that_changes_nothing_is_no_step(session):
    session.select([6])
    session.select([6])
    assert session.undo()
    assert session.state == State()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["replace", "add", "remove", "wider", "narrower", "hide", "isolate", "show_all"]
        ),
        st.integers(0, 100),
    ),
    max_size=12,
)


def take(session, step, number):
    tree = session.walk.tree
    node = tree.num_leaves + number % (len(tree.parents) - tree.num_leaves)
    if step in ("replace", "add", "remove"):
        session.select([node], step)
    else:
        getattr(session, step)()


@given(trees(), STEPS)
def test_any_steps_are_undone_and_done_again(tree, steps):
    session = Session(Walk(tree))
    states = [session.state]
    for step, number in steps:
        take(session, step, number)
        if session.state != states[-1]:
            states.append(session.state)
    for state in reversed(states[:-1]):
        assert session.undo()
        assert session.state == state
    assert not session.undo()
    for state in states[1:]:
        assert session.redo()
        assert session.state == state
    assert not session.redo()


@given(trees(), STEPS, st.integers(0, 100))
def test_add_and_remove_are_union_and_difference(tree, steps, number):
    session = Session(Walk(tree))
    for step, each in steps:
        take(session, step, each)
    before = session.selected
    node = tree.num_leaves + number % (len(tree.parents) - tree.num_leaves)
    inside = np.isin(np.arange(tree.num_leaves), session.walk.leaves(node))
    session.select([node], "add")
    np.testing.assert_array_equal(session.selected, before | inside)
    session.select([node], "remove")
    np.testing.assert_array_equal(session.selected, before & ~inside)
    for one in session.state.selected:
        assert not set(session.walk.ancestors(one)) & set(session.state.selected)
