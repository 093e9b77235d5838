"""What a page shows, without the page: no server, and nothing but public names."""

import threading

import numpy as np
import pytest
import torch

from splat_uff.geometry.cameras import Camera
from splat_uff.hierarchy.build import Hierarchy
from splat_uff.render import Gaussians
from splat_uff.run.folder import RunFolder
from splat_uff.run.node_names import read_names
from splat_uff.run.open import Run
from splat_uff.run.provenance import Provenance
from splat_uff.settings import TrainConfig
from splat_uff.system.errors import InputError
from splat_uff.view.colours import ACCENT
from splat_uff.view.picking import pixel_camera
from splat_uff.view.selection import Selection
from splat_uff.view.state import PageState
from tests.hierarchy.test_walk import SMALL

GROUP = np.array([6, 6, 7, 8, 8, 8])
"""Of each leaf; groups stand beside each other, see `row_of_balls`."""
PLACE = {6: -1.0, 7: 0.0, 8: 1.0}


def row_of_balls():
    """Six Gaussians along x, one group left, one in the middle, one right; the last are largest."""
    means = torch.zeros(6, 3)
    means[:, 0] = torch.tensor([PLACE[group] for group in GROUP]) + torch.arange(6) * 0.01
    sizes = torch.tensor([0.10, 0.11, 0.12, 0.13, 0.14, 0.15])
    opacities = torch.tensor([0.90, 0.95, 0.90, 0.90, 0.90, 0.40])
    return Gaussians(
        means,
        torch.tensor([[1.0, 0, 0, 0]]).repeat(6, 1),
        sizes.log()[:, None].repeat(1, 3),
        opacities.logit(),
        torch.zeros(6, 1, 3),
        torch.zeros(6, 0, 3),
    )


@pytest.fixture
def run(tmp_path):
    """A run of six Gaussians on the tree `SMALL`, with features."""
    np.savez(tmp_path / "features.npz", features=np.eye(6, 4, dtype=np.float32) + 0.1)
    return Run(
        RunFolder(tmp_path),
        Provenance("small", "", "", "", TrainConfig()),
        row_of_balls(),
        Hierarchy(SMALL.tree, np.ones(6, bool)),
        np.eye(4),
    )


@pytest.fixture
def state(run):
    state = PageState(run)
    state.cut(3)
    return state


def pixel_on(group):
    """The pixel of a camera in front of the row that sees a group."""
    return pixel_camera(np.array([PLACE[group], 0.0, -4.0]), np.array([0.0, 0.0, 1.0]), 100.0)


def front(width=240, height=60):
    """A camera in front of the row; a group apart is 60 pixels apart."""
    pose = np.eye(4)
    pose[2, 3] = -4.0
    K = np.array([[240.0, 0, width / 2], [0, 240.0, height / 2], [0, 0, 1]])
    return Camera(pose, K, width, height)


def test_cut_has_as_many_segments_as_asked_for_within_what_the_tree_has(state):
    for asked, there in ((2, 2), (1, 1), (-5, 1), (3, 3), (10**9, 3)):
        state.cut(asked)
        assert state.num_segments == len(np.unique(state.nodes)) == there
    np.testing.assert_array_equal(state.nodes, GROUP)


def test_painted_has_the_colours_of_the_cut(state):
    fine = state.painted()
    np.testing.assert_array_equal(fine, state.colours.of_nodes[GROUP])
    state.cut(1)
    assert len(np.unique(state.painted(), axis=0)) == 1
    assert (state.painted() != fine).any()


def test_painted_lights_up_what_is_selected_and_fades_the_rest_into_the_background(state):
    before = state.painted().astype(float)
    state.select([8])
    inside, background = GROUP == 8, np.array(state.background)
    lit, faded = state.painted().astype(float)[inside], state.painted().astype(float)[~inside]
    assert abs(lit - ACCENT).sum() < 0.6 * abs(before[inside] - ACCENT).sum()
    assert abs(faded - background).sum() < 0.6 * abs(before[~inside] - background).sum()
    state.set_background((255, 255, 255))
    assert state.painted()[~inside].mean() > faded.mean() + 40


@pytest.mark.parametrize("group", PLACE)
def test_select_seen_selects_what_a_pixel_shows(state, group):
    state.select_seen(pixel_on(group), "replace")
    assert state.selection.marks.selected == (group,)
    assert GROUP[state.selection.marks.anchor] == group


def test_select_seen_of_nothing_clears_only_with_replace(state):
    nothing = pixel_camera(np.array([0.0, 3.0, -4.0]), np.array([0.0, 0.0, 1.0]), 100.0)
    state.select_seen(pixel_on(6), "replace")
    state.select_seen(pixel_on(8), "add")
    for mode in ("add", "remove"):
        state.select_seen(nothing, mode)
        assert state.selection.marks.selected == (6, 8)
    state.select_seen(nothing, "replace")
    assert state.selection.marks.selected == ()


def test_hidden_gaussians_are_neither_drawn_nor_selected_nor_labelled(state):
    state.select([8])
    assert state.step(Selection.hide)
    np.testing.assert_array_equal(state.visible, GROUP != 8)
    state.select_seen(pixel_on(8), "replace")
    assert state.selection.marks.selected == ()
    assert set(np.unique(state.label_map(front()))) == {0, 6, 7}
    assert state.step(Selection.show_all)
    assert state.visible.all()
    assert set(np.unique(state.label_map(front()))) == {0, 6, 7, 8}


def test_label_map_shows_groups_from_left_to_right(state):
    labels = state.label_map(front())
    assert labels[30, 60] == 6
    assert labels[30, 120] == 7
    assert labels[30, 180] == 8
    assert labels[2, 90] == 0
    state.cut(1)
    assert set(np.unique(state.label_map(front()))) == {0, SMALL.root}


def test_label_map_of_nothing_is_empty(state):
    state.select([SMALL.root])
    state.step(Selection.hide)
    assert not state.label_map(front()).any()


def test_select_in_box_takes_what_it_holds_and_says_where_it_holds_nothing(state):
    assert state.select_in_box(front(), (0.0, 0.0), (0.6, 1.0), "replace")
    assert state.selection.marks.selected == (6, 7)
    assert state.select_in_box(front(), (0.4, 0.0), (0.6, 1.0), "remove")
    assert state.selection.marks.selected == (6,)
    assert not state.select_in_box(front(), (0.0, 0.0), (0.1, 0.1), "replace")
    assert state.selection.marks.selected == (6,)


@pytest.mark.parametrize(
    ("share", "least_opacity", "kept"),
    [
        (1.0, 0.0, [0, 1, 2, 3, 4, 5]),
        (1.0, 0.5, [0, 1, 2, 3, 4]),
        (1.0, 0.92, [1]),
        # The last is largest and faint: it covers less than the two before it.
        (0.5, 0.0, [2, 3, 4]),
        (0.34, 0.0, [3, 4]),
        (0.0, 0.0, [4]),
        (0.0, 0.92, []),
    ],
)
def test_keep_leaves_out_those_that_cover_least_and_the_faint(state, share, least_opacity, kept):
    state.keep(share=share, least_opacity=least_opacity)
    assert np.flatnonzero(state.kept).tolist() == kept
    assert np.flatnonzero(state.visible).tolist() == kept
    assert set(np.unique(state.label_map(front()))) - {0} == set(GROUP[kept].tolist())
    state.keep(share=1.0, least_opacity=0.0)
    assert state.visible.all()


def test_names_are_kept_in_the_run_and_undone_there(state, run):
    state.select([SMALL.root])
    assert state.step(lambda selection: selection.rename("everything"))
    assert read_names(run.folder) == {SMALL.root: "everything"}
    assert PageState(run).selection.called(SMALL.root) == "everything"
    assert state.step(Selection.undo)
    assert read_names(run.folder) == {}
    assert state.step(Selection.redo)
    assert read_names(run.folder) == {SMALL.root: "everything"}


def test_damaged_names_are_told(run):
    run.folder.names.write_text("{")
    with pytest.raises(InputError, match=r"names\.json is damaged"):
        PageState(run)


CHANGES = {
    "cut": lambda state: state.cut(2),
    "selection": lambda state: state.select([6]),
    "kept": lambda state: state.keep(share=0.5, least_opacity=0.0),
    "look": lambda state: state.colour_by("photo"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_listeners_are_told_of_their_kind_of_change_alone_and_see_it_done(state, change):
    told = []
    before = state.painted(), state.visible
    for kind in CHANGES:
        state.listen(lambda kind=kind: told.append((kind, state.painted(), state.visible)), kind)
    state.listen(lambda: told.append(("all", state.painted(), state.visible)), *CHANGES)
    CHANGES[change](state)
    assert [kind for kind, _, _ in told] == [change, "all"]
    for _, painted, visible in told:
        np.testing.assert_array_equal(painted, state.painted())
        np.testing.assert_array_equal(visible, state.visible)
    assert (before[0] != state.painted()).any() or (before[1] != state.visible).any()


def test_what_changes_nothing_tells_nobody(state):
    state.select([6])
    told = []
    state.listen(lambda: told.append(1), *CHANGES)
    state.cut(state.num_segments)
    state.select([6])
    assert not state.step(Selection.show_all)
    assert not state.step(Selection.redo)
    assert told == []
    assert state.step(Selection.undo)
    assert told == [1]


def test_listeners_run_one_at_a_time(state):
    inside, most = [], []

    def listen():
        inside.append(1)
        most.append(len(inside))
        threading.Event().wait(0.002)
        inside.pop()

    state.listen(listen, *CHANGES)
    together([lambda: [state.cut(1 + each % 3) for each in range(8)] for _ in range(4)])
    assert max(most) == 1


def together(acts):
    """Carry out acts, each on a thread of its own."""
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_many_threads_leave_the_state_whole(state):
    shown = []
    state.listen(lambda: shown.append((state.num_segments, state.nodes)), "cut", "selection")

    def fiddle(seed):
        rng = np.random.default_rng(seed)
        for _ in range(20):
            state.cut(int(rng.integers(1, 5)))
            state.select([int(rng.integers(6, 11))], "add")
            state.step(Selection.undo)

    together([lambda seed=seed: fiddle(seed) for seed in range(4)])
    assert len(shown) > 40
    for number, nodes in [*shown, (state.num_segments, state.nodes)]:
        np.testing.assert_array_equal(nodes, SMALL.cut(number))


def test_what_waits_for_a_view_to_be_rendered_holds_nothing_else_up(state, run):
    acts = (lambda: state.select_seen(pixel_on(6), "replace"), lambda: state.label_map(front()))
    waiting = [threading.Thread(target=act) for act in acts]
    with run.rendering:
        for thread in waiting:
            thread.start()
        other = threading.Thread(target=lambda: (state.cut(2), state.select([7])), daemon=True)
        other.start()
        other.join(5)
        assert not other.is_alive()
        assert state.num_segments == 2
        assert all(thread.is_alive() for thread in waiting)
    for thread in waiting:
        thread.join()
    assert state.selection.marks.selected == (6,)


def test_features_of_its_own_give_a_run_colours_of_them(state):
    assert state.colours.modes == ("segments", "photo", "features", "confidence")
    for mode in state.colours.modes:
        state.colour_by(mode)
        np.testing.assert_array_equal(state.painted(), state.colours.of(mode, state.nodes))


@pytest.mark.parametrize("harm", ["none", "not finite", "of another run", "no array"])
def test_without_features_of_its_own_a_run_has_no_colours_of_them(run, harm, capsys):
    features = np.ones((6, 4), np.float32)
    if harm == "none":
        run.folder.features.unlink()
    elif harm == "not finite":
        features[3, 1] = np.nan
        np.savez(run.folder.features, features=features)
    elif harm == "of another run":
        np.savez(run.folder.features, features=features[:5])
    else:
        np.savez(run.folder.features, others=features)
    state = PageState(run)
    assert state.colours.modes == ("segments", "photo")
    assert "no colours of features and confidence" in capsys.readouterr().err
    state.colour_by("photo")
    assert state.painted().shape == (6, 3)
