"""The contrastive fit on three small blobs: it separates them, and only the seed decides how."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from splat_uff.features.blend import BlendRows
from splat_uff.features.closed_form import closed_form_start
from splat_uff.features.config import FeaturesConfig
from splat_uff.features.fit import fit_features
from splat_uff.features.linkage import Merges
from splat_uff.features.scene_tree import SceneTree
from splat_uff.masks.records import MaskSet
from splat_uff.masks.tree import build_tree
from splat_uff.render import rasterize
from splat_uff.render.frozen import FrozenViews
from splat_uff.system.checkpoints import Checkpoint
from splat_uff.system.errors import InputError
from splat_uff.system.files import write_arrays
from splat_uff.system.hooks import Hooks
from tests.features.scenes import look_at_origin, tiny_scene

# With one negative a positive, which the margins below were set for.
CONFIG = FeaturesConfig(steps=120, dimension=8, pixels=200, neg_ratio=1, ultrametric_weight=0.0)


@pytest.fixture(scope="module")
def scene():
    return tiny_scene()


@pytest.fixture(scope="module")
def views(scene):
    return FrozenViews(scene.gaussians, scene.cameras)


def fit(scene, views, config=CONFIG, *, seed=0, bags=None, **options):
    bags = scene.bags if bags is None else bags
    return fit_features(views, bags, config, seed=seed, **options)


def similarities(scene, features):
    """Mean cosine between pixels from blob to blob, in a view that was never fitted to."""
    shares = np.eye(3, dtype=np.float32)[scene.blobs]
    values = torch.from_numpy(np.concatenate([features, shares], axis=1))
    render = rasterize(scene.gaussians, look_at_origin(1.0, 0.3), values).values.numpy()
    blended, shares = render[..., :-3], render[..., -3:]
    unit = blended / np.linalg.norm(blended, axis=2, keepdims=True).clip(1e-6)
    means = np.stack([unit[shares[..., blob] > 0.8].mean(axis=0) for blob in range(3)])
    return means @ means.T


class Cut(Exception):
    """Stands for a kill."""


def cut_at(step):
    def log(reached, **_):
        if reached == step:
            raise Cut

    return log


@pytest.mark.parametrize(
    ("euclidean", "ultrametric", "tree"),
    [
        (1.0, 0.0, "spanning-tree"),
        (0.0, 1.0, "average-linkage"),
        (1.0, 1.0, "spanning-tree"),
        (1.0, 1.0, "average-linkage"),
    ],
)
def test_fit_features_makes_blobs_alike_within_and_unlike_across(
    scene, views, euclidean, ultrametric, tree
):
    config = replace(
        CONFIG, euclidean_weight=euclidean, ultrametric_weight=ultrametric, ultrametric=tree
    )
    alike = similarities(scene, fit(scene, views, config))
    assert alike.diagonal().min() > alike[~np.eye(3, dtype=bool)].max() + 0.3


def test_fit_features_puts_blobs_that_share_a_mask_nearer_than_others(scene, views):
    alike = similarities(scene, fit(scene, views))
    assert alike[0, 1] > max(alike[0, 2], alike[1, 2])


def test_fit_features_lowers_its_losses(scene, views):
    curve = []
    fit(scene, views, hooks=Hooks(log=lambda step, **figures: curve.append((step, figures))))
    assert [step for step, _ in curve] == [25, 50, 75, 100, 120]
    for name in ("loss", "norm", "euclidean"):
        assert curve[-1][1][name] < curve[0][1][name]


def test_fit_features_gives_seen_gaussians_about_unit_length(scene, views):
    features = fit(scene, views)
    assert features.dtype == np.float32
    assert features.shape == (len(scene.gaussians), 8)
    blends = BlendRows.of(views)
    for row in np.flatnonzero(np.concatenate(blends.alpha()) > 0.99)[::50]:
        span = slice(blends.starts[row], blends.starts[row + 1])
        blended = blends.weights[span] @ features[blends.indices[span]]
        assert np.linalg.norm(blended) == pytest.approx(1, abs=0.3)


def test_fit_features_of_one_seed_is_the_same_to_the_bit(scene, views):
    config = replace(CONFIG, steps=10, ultrametric_weight=1.0)
    first, second, other = (fit(scene, views, config, seed=seed) for seed in (0, 0, 1))
    assert (first == second).all()
    assert (first != other).any()


def test_fit_features_does_not_depend_on_threads(scene, views):
    config = replace(CONFIG, steps=10)
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(fit(scene, views, config))
    finally:
        torch.set_num_threads(threads)
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize("step", [25, 50])
def test_fit_features_cut_off_and_resumed_equals_a_straight_run(scene, views, step, tmp_path):
    config = replace(CONFIG, steps=60, ultrametric_weight=0.5, ultrametric="average-linkage")
    straight = fit(scene, views, config)
    checkpoint = Checkpoint(tmp_path / "features.npz", seconds=0)
    with pytest.raises(Cut):
        fit(scene, views, config, hooks=Hooks(checkpoint, cut_at(step)))
    state = checkpoint.restore()
    assert state is not None
    assert state["step"] == step - 1
    steps = []
    resumed = fit(
        scene, views, config, hooks=Hooks(checkpoint, lambda step, **_: steps.append(step))
    )
    assert steps[0] == step
    assert (resumed == straight).all()


def test_fit_features_resumed_when_done_changes_nothing(scene, views, tmp_path):
    config = replace(CONFIG, steps=3)
    checkpoint = Checkpoint(tmp_path / "features.npz", seconds=0)
    straight = fit(scene, views, config, hooks=Hooks(checkpoint))
    assert (fit(scene, views, config, hooks=Hooks(checkpoint)) == straight).all()


def test_fit_features_begins_again_if_another_version_saved_its_state(
    scene, views, tmp_path, capsys
):
    config = replace(CONFIG, steps=3)
    checkpoint = Checkpoint(tmp_path / "features.npz", seconds=0)
    write_arrays(tmp_path / "features.npz", step=np.array(2), features=np.zeros((4, 2)))
    found = fit(scene, views, config, hooks=Hooks(checkpoint))
    said = capsys.readouterr().err
    assert "was saved by another version: it lacks own, superpoints. The stage begins" in said
    assert (found == fit(scene, views, config)).all()


def test_fit_features_learns_from_the_views_that_have_masks(scene, views):
    nothing = MaskSet.of(np.zeros((0, 24, 24), dtype=bool))
    bags = [scene.bags[0], *[(nothing, build_tree(nothing))] * 3]
    losses = []
    config = replace(CONFIG, steps=25)
    fit(
        scene,
        views,
        config,
        bags=bags,
        hooks=Hooks(log=lambda step, **figures: losses.append(figures)),
    )
    assert "euclidean" in losses[-1]


def test_fit_features_passes_over_masks_too_small_to_draw_from(scene, views):
    dot = np.zeros((1, 24, 24), dtype=bool)
    dot[0, 5, 5] = True
    bag = MaskSet.of(dot), build_tree(MaskSet.of(dot))
    features = fit(scene, views, replace(CONFIG, steps=3), bags=[bag] * 4)
    assert np.isfinite(features).all()


def test_fit_features_draws_no_more_pixels_than_there_are(scene, views):
    config = replace(CONFIG, steps=2, pixels=10_000)
    assert np.isfinite(fit(scene, views, config)).all()


def test_fit_features_refuses_captures_without_masks(scene, views):
    nothing = MaskSet.of(np.zeros((0, 24, 24), dtype=bool))
    with pytest.raises(InputError, match="no training view has a mask"):
        fit(scene, views, bags=[(nothing, build_tree(nothing))] * 4)


def test_fit_features_refuses_to_fit_without_a_loss(scene, views):
    config = replace(CONFIG, euclidean_weight=0.0, ultrametric_weight=0.0)
    with pytest.raises(InputError, match="both 0"):
        fit(scene, views, config)


def scene_tree(scene):
    """Two superpoints a blob; blobs merge as the masks say."""
    group = scene.blobs * 2 + np.arange(len(scene.blobs)) % 2
    lefts, rights = np.array([0, 2, 4, 0, 0]), np.array([1, 3, 5, 2, 4])
    return SceneTree(group, Merges(lefts, rights, np.array([0.9, 0.9, 0.9, 0.5, 0.1])))


FROM_TREE = replace(CONFIG, start="consensus")


def test_fit_features_without_steps_is_the_start_in_closed_form(scene, views):
    features = fit(scene, views, replace(FROM_TREE, steps=0), tree=scene_tree(scene))
    tree = scene_tree(scene)
    assert (features == closed_form_start(tree, CONFIG.dimension)[tree.group]).all()


def test_fit_features_starts_from_noise_where_there_is_no_tree(scene, views):
    config = replace(CONFIG, steps=3, start="noise")
    straight = fit(scene, views, config)
    assert (fit(scene, views, replace(config, start="consensus")) == straight).all()
    assert (fit(scene, views, config, tree=scene_tree(scene)) == straight).all()


def test_fit_features_from_the_tree_keep_what_it_knows(scene, views):
    features = fit(scene, views, replace(FROM_TREE, steps=10), tree=scene_tree(scene))
    alike = similarities(scene, features)
    assert alike.diagonal().min() > alike[~np.eye(3, dtype=bool)].max() + 0.3
    assert alike[0, 1] > max(alike[0, 2], alike[1, 2])


def test_fit_features_in_the_scenes_tree_lowers_that_loss_and_sets_blobs_apart(scene, views):
    config = replace(
        CONFIG, start="noise", euclidean_weight=0.0, ultrametric_weight=1.0,
        ultrametric="scene-tree",
    )  # fmt: skip
    losses = []
    fit(
        scene, views, config, tree=scene_tree(scene),
        hooks=Hooks(log=lambda step, **figures: losses.append(figures["ultrametric"])),
    )  # fmt: skip
    assert losses[-1] < losses[0]
    both = replace(config, euclidean_weight=1.0)
    alike = similarities(scene, fit(scene, views, both, tree=scene_tree(scene)))
    assert alike.diagonal().min() > alike[~np.eye(3, dtype=bool)].max() + 0.2


def test_fit_features_leaves_the_scenes_tree_out_where_there_is_none(scene, views):
    config = replace(CONFIG, steps=3, ultrametric="scene-tree", ultrametric_weight=1.0)
    without = replace(config, ultrametric_weight=0.0)
    assert (fit(scene, views, config) == fit(scene, views, without)).all()
    alone = replace(config, euclidean_weight=0.0)
    instead = replace(alone, ultrametric="average-linkage")
    assert (fit(scene, views, alone) == fit(scene, views, instead)).all()


@pytest.mark.parametrize("refresh", [0, 1, 10])
def test_fit_features_from_the_tree_resumed_equals_a_straight_run(scene, views, refresh, tmp_path):
    config = replace(
        FROM_TREE, steps=60, ultrametric_weight=0.5, ultrametric="scene-tree",
        ultrametric_refresh=refresh,
    )  # fmt: skip
    straight = fit(scene, views, config, tree=scene_tree(scene))
    checkpoint = Checkpoint(tmp_path / "features.npz", seconds=0)
    with pytest.raises(Cut):
        fit(scene, views, config, tree=scene_tree(scene), hooks=Hooks(checkpoint, cut_at(25)))
    resumed = fit(scene, views, config, tree=scene_tree(scene), hooks=Hooks(checkpoint))
    assert (resumed == straight).all()
