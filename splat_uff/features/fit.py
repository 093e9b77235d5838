"""The contrastive fit: one feature per Gaussian from the masks of all views; geometry is fixed."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from splat_uff.features.blend import blend_pixels
from splat_uff.features.closed_form import closed_form_start
from splat_uff.features.config import FeaturesConfig
from splat_uff.features.cosines import pair_cosines
from splat_uff.features.grouped import Features
from splat_uff.features.linkage import Merges
from splat_uff.features.losses import contrastive_loss, norm_loss
from splat_uff.features.one_thread import one_thread
from splat_uff.features.pairs import Pairs, draw_pairs
from splat_uff.features.samples import STAGE, Sample, Samples
from splat_uff.features.scene_tree import (
    SceneSimilarity,
    SceneTree,
    find_heaviest,
    group_means,
    regrow,
)
from splat_uff.features.ultrametric import average_linkage_similarity, spanning_tree_similarity
from splat_uff.geometry.cameras import Camera, pixel_centres, ray_directions
from splat_uff.masks.bags import mask_counts
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.render.frozen import FrozenViews
from splat_uff.system.errors import InputError
from splat_uff.system.hooks import Hooks
from splat_uff.system.progress import progress_bar

LOG_EVERY = 25


def fit_features(
    views: FrozenViews,
    bags: Sequence[tuple[MaskSet, MaskTree]],
    config: FeaturesConfig,
    *,
    seed: int,
    tree: SceneTree | Callable[[], SceneTree | None] | None = None,
    device: str = "cpu",
    hooks: Hooks = Hooks(),
) -> Float[np.ndarray, "N D"]:
    """Fit features so that pixels of the same mask are alike and others differ (docs/method.md).

    Args:
        views: Training views of Gaussians whose geometry is fixed.
        bags: Masks and mask tree of each training view.
        config: Settings of the fit.
        seed: Seed of all draws of the stage; every step draws from a stream of its own.
        tree: Tree that the masks of all photos agree on, or a function that makes it. Without one,
            features start from noise and the loss on the scene's tree is left out; if that was the
            only loss, average linkage of pixels replaces it.
        device: Device of the tensors: `cpu` or `cuda`.
        hooks: Checkpoint, log of the losses, and observer.

    Returns:
        One float32 feature per Gaussian, of about unit length for Gaussians that are seen.

    Raises:
        InputError: If no view has a mask, or both similarity losses have weight 0.
    """
    _check(bags, config)
    samples = Samples(views, bags, config, seed=seed)
    tree = tree() if callable(tree) else tree  # Needs all views, which `Samples` has seen.
    features = Features(*_first(views.num_gaussians, config, tree, seed), device=device)
    state, step = hooks.checkpoint.restore({"step", *features.state()}), 0
    if state is not None:
        features.restore(state)
        step = int(state["step"])
    in_scene, refresh = _scene_of(tree, state, config), config.ultrametric_refresh
    with one_thread(), progress_bar("features", config.steps, done=step) as bar:
        while step < config.steps:
            if in_scene is not None and refresh and step % refresh == 0:
                in_scene = SceneSimilarity(regrow(in_scene.tree, features.all().cpu().numpy()))
            sample = samples[step]
            shown, weights = sample.weights.of_rows(sample.rows)
            taken = features.take(shown)
            blended = blend_pixels(taken.features, weights, np.arange(len(sample.rows)))
            losses = _losses(blended, features.superpoints, sample, views.cameras, config, in_scene)
            losses["loss"].backward()
            features.step(taken, config.lr * _cosine(step / config.steps))
            step += 1
            if step % LOG_EVERY == 0 or step == config.steps:
                figures = {name: loss.item() for name, loss in losses.items()}
                hooks.log(step, **figures)
                bar.advance(LOG_EVERY if step % LOG_EVERY == 0 else 1, **figures)
            hooks.checkpoint.keep(
                lambda done=step, now=in_scene: _state(done, features, now),
                now=hooks.observer.holding,
            )
            hooks.observer.after_step("features", step, config.steps, features.all)
    return features.all().cpu().numpy()


def _check(bags: Sequence[tuple[MaskSet, MaskTree]], config: FeaturesConfig) -> None:
    if config.euclidean_weight == 0 and config.ultrametric_weight == 0:
        raise InputError("euclidean_weight and ultrametric_weight are both 0; set one above 0.")
    if not any(mask_counts(bags)):
        raise InputError("no training view has a mask; make masks first.")


def _first(
    num_gaussians: int, config: FeaturesConfig, tree: SceneTree | None, seed: int
) -> tuple[Float[np.ndarray, "G D"], Float[np.ndarray, "N D"], Int[np.ndarray, "N"]]:
    """Features of superpoints and what Gaussians add before the first step, and superpoints."""
    shape = (num_gaussians, config.dimension)
    if config.start == "consensus" and tree is not None:
        return closed_form_start(tree, config.dimension), np.zeros(shape, np.float32), tree.group
    rng = np.random.default_rng([seed, STAGE])
    noise = rng.standard_normal(shape, dtype=np.float32) / np.sqrt(config.dimension)
    noise = noise.astype(np.float32)
    if tree is None or not _uses_tree(config):
        return noise[:0], noise, np.zeros(num_gaussians, np.int64)
    means = group_means(noise, tree.group)[0].astype(np.float32)
    return means, noise - means[tree.group], tree.group


def _uses_tree(config: FeaturesConfig) -> bool:
    """Whether the loss compares pixels in the scene's tree."""
    return config.ultrametric == "scene-tree" and config.ultrametric_weight > 0


def _losses(
    blended: Float[Tensor, "S D"],
    superpoints: Float[Tensor, "G D"],
    sample: Sample,
    cameras: Sequence[Camera],
    config: FeaturesConfig,
    in_scene: SceneSimilarity | None,
) -> dict[str, Tensor]:
    """Losses of one step by name, given its blended features; `loss` is their weighted sum."""
    through = torch.from_numpy(sample.through).to(blended.device)
    # The background has a feature too: the constant unit vector.
    blended = blended + through[:, None] / config.dimension**0.5
    unit = torch.nn.functional.normalize(blended, dim=1)
    pairs = draw_pairs(
        sample.members, sample.inside,
        per_group=config.pairs_per_group, neg_ratio=config.neg_ratio, rng=sample.rng,
    )  # fmt: skip
    ends = pairs.all_ends()
    losses = {"norm": norm_loss(blended)}
    total = config.norm_weight * losses["norm"]
    if len(pairs.positives) and config.euclidean_weight > 0:
        losses["euclidean"] = _contrast(pair_cosines(unit, ends), pairs, config.tau)
        total = total + config.euclidean_weight * losses["euclidean"]
    if len(pairs.positives):
        similarity = _in_a_tree(superpoints, unit, sample, ends, cameras, config, in_scene)
        if similarity is not None:
            losses["ultrametric"] = _contrast(similarity, pairs, config.tau)
            total = total + config.ultrametric_weight * losses["ultrametric"]
    return {"loss": total, **losses}


def _in_a_tree(
    superpoints: Float[Tensor, "G D"],
    unit: Tensor,
    sample: Sample,
    ends: Int[np.ndarray, "P 2"],
    cameras: Sequence[Camera],
    config: FeaturesConfig,
    in_scene: SceneSimilarity | None,
) -> Tensor | None:
    """Ultrametric similarity of all pairs of pixels, or None if that loss is left out."""
    if config.ultrametric_weight == 0:
        return None
    if config.ultrametric == "spanning-tree":
        camera = cameras[sample.view]
        directions = ray_directions(camera, pixel_centres(camera)[sample.pixels])
        return spanning_tree_similarity(unit, directions, sample.members, ends)
    if in_scene is not None:
        weights = sample.weights
        heaviest = find_heaviest(weights.starts, weights.indices, weights.weights, sample.rows)
        return in_scene(superpoints, unit, heaviest, ends)
    if config.ultrametric == "scene-tree" and config.euclidean_weight > 0:
        return None  # The scene has no tree.
    return average_linkage_similarity(unit, ends)


def _contrast(similarity: Tensor, pairs: Pairs, tau: float) -> Tensor:
    """Contrastive loss, given the similarities of the positive pairs, then of the negative ones."""
    count, ratio, _ = pairs.negatives.shape
    return contrastive_loss(similarity[:count], similarity[count:].reshape(count, ratio), tau=tau)


def _cosine(progress: float) -> float:
    """Factor of the learning rate, which falls along a cosine from 1 to a thirtieth."""
    return 1 / 30 + (1 - 1 / 30) * 0.5 * (1 + np.cos(np.pi * progress))


def _scene_of(
    tree: SceneTree | None, state: dict[str, np.ndarray] | None, config: FeaturesConfig
) -> SceneSimilarity | None:
    """Similarity in the scene's tree as last built; None if there is none or it is not used."""
    if tree is None or not _uses_tree(config):
        return None
    if state is not None and "tree.lefts" in state:
        merges = Merges(*(state[f"tree.{name}"] for name in ("lefts", "rights", "similarities")))
        tree = SceneTree(tree.group, merges)
    return SceneSimilarity(tree)


def _state(
    step: int, features: Features, in_scene: SceneSimilarity | None
) -> dict[str, np.ndarray]:
    state = {"step": np.array(step), **features.state()}
    if in_scene is not None:
        state |= {f"tree.{name}": value for name, value in vars(in_scene.tree.merges).items()}
    return state
