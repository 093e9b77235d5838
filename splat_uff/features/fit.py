"""The contrastive fit: one feature per Gaussian, from the masks of all views, geometry frozen."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from splat_uff.cameras import pixel_centres, ray_directions
from splat_uff.capture import Capture
from splat_uff.checkpoints import Checkpoint, Log, no_log
from splat_uff.errors import InputError
from splat_uff.features.blend import FrozenViews, blend_pixels
from splat_uff.features.config import FeaturesConfig
from splat_uff.features.cosines import pair_cosines
from splat_uff.features.losses import contrastive_loss, norm_loss
from splat_uff.features.pairs import Pairs, draw_pairs
from splat_uff.features.ultrametric import average_linkage_similarity, spanning_tree_similarity
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.progress import progress_bar

STAGE = 2
"""Number of this stage's stream of random draws."""
LOG_EVERY = 25


def fit_features(
    views: FrozenViews,
    num_gaussians: int,
    capture: Capture,
    bags: list[tuple[MaskSet, MaskTree]],
    config: FeaturesConfig,
    *,
    seed: int,
    device: str = "cpu",
    checkpoint: Checkpoint | None = None,
    log: Log = no_log,
) -> Float[np.ndarray, "N D"]:
    """Fit features so that pixels of a mask are alike and others are not (METHOD.md 3 and 4).

    Args:
        views: Blend weights of the training views.
        num_gaussians: Number of Gaussians behind them.
        capture: Whose training views these are.
        bags: Masks and their tree, one per training view.
        config: Settings.
        seed: Seeds every draw of the stage; every step draws from a stream of its own.
        device: Where tensors live.
        checkpoint: Where the stage leaves its state.
        log: Called every so many steps with the losses.

    Returns:
        One feature per Gaussian, float32, of about unit length where Gaussians are seen.

    Raises:
        InputError: If no view has a mask, or both similarity terms have no weight.
    """
    if config.euclidean_weight == 0 and config.ultrametric_weight == 0:
        raise InputError("euclidean_weight and ultrametric_weight are both 0; set one above 0.")
    usable = np.array([index for index, (masks, _) in enumerate(bags) if len(masks)])
    if len(usable) == 0:
        raise InputError("no training view has a mask; make masks first.")
    checkpoint = checkpoint or Checkpoint()
    rng = np.random.default_rng([seed, STAGE])
    shape = (num_gaussians, config.dimension)
    start = rng.standard_normal(shape, dtype=np.float32) / np.sqrt(config.dimension)
    features = torch.nn.Parameter(torch.from_numpy(start.astype(np.float32)).to(device))
    optimizer = torch.optim.Adam([features], lr=config.lr, fused=True)
    step = _restore(checkpoint.restore(), features, optimizer)
    alpha = views.alpha()
    with _one_thread(), progress_bar("features", config.steps, done=step) as bar:
        while step < config.steps:
            rng = np.random.default_rng([seed, STAGE, 1, step])
            epoch, index = divmod(step, len(usable))
            order = np.random.default_rng([seed, STAGE, 2, epoch]).permutation(usable)
            view = int(order[index])
            pixels = _draw_pixels(alpha[view] > 0.5, config, rng)
            optimizer.param_groups[0]["lr"] = config.lr * _cosine(step / config.steps)
            through = torch.from_numpy(1 - alpha[view][pixels]).to(device)
            losses = _losses(
                features, views, view, pixels, through, capture, bags[view], config, rng
            )
            optimizer.zero_grad(set_to_none=True)
            losses["loss"].backward()
            optimizer.step()
            step += 1
            if step % LOG_EVERY == 0 or step == config.steps:
                figures = {name: loss.item() for name, loss in losses.items()}
                log(step, **figures)
                bar.advance(LOG_EVERY if step % LOG_EVERY == 0 else 1, **figures)
            checkpoint.keep(lambda done=step: _state(done, features, optimizer))
    return features.detach().cpu().numpy()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread: a step's tensors are so small that two take three times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _losses(
    features: Tensor,
    views: FrozenViews,
    view: int,
    pixels: Int[np.ndarray, "S"],
    through: Float[Tensor, "S"],
    capture: Capture,
    bag: tuple[MaskSet, MaskTree],
    config: FeaturesConfig,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """The losses of one step by name, `loss` their weighted sum; `through` is what alpha leaves."""
    masks, tree = bag
    rows = views.firsts[view] + pixels
    blended = blend_pixels(features, views, rows)
    # Background has a feature too: the constant unit vector.
    blended = blended + through[:, None] / config.dimension**0.5
    unit = torch.nn.functional.normalize(blended, dim=1)
    members = masks.at(pixels)
    pairs = draw_pairs(
        members,
        tree.inside,
        per_group=config.pairs_per_group,
        neg_ratio=config.neg_ratio,
        rng=rng,
    )
    losses = {"norm": norm_loss(blended)}
    total = config.norm_weight * losses["norm"]
    if len(pairs.positives) and config.euclidean_weight > 0:
        losses["euclidean"] = _contrast(pairs, config.tau, lambda ends: pair_cosines(unit, ends))
        total = total + config.euclidean_weight * losses["euclidean"]
    if len(pairs.positives) and config.ultrametric_weight > 0:
        if config.ultrametric == "spanning-tree":
            camera = capture.train[view].camera
            directions = ray_directions(camera, pixel_centres(camera)[pixels])
            losses["ultrametric"] = _contrast(
                pairs,
                config.tau,
                lambda ends: spanning_tree_similarity(unit, directions, members, ends),
            )
        else:
            losses["ultrametric"] = _contrast(
                pairs, config.tau, lambda ends: average_linkage_similarity(unit, ends)
            )
        total = total + config.ultrametric_weight * losses["ultrametric"]
    return {"loss": total, **losses}


def _contrast(pairs: Pairs, tau: float, similarity) -> Tensor:
    """Contrastive loss under a similarity of pairs; one call, since trees are costly to build."""
    count, ratio, _ = pairs.negatives.shape
    both = similarity(np.concatenate([pairs.positives, pairs.negatives.reshape(-1, 2)]))
    return contrastive_loss(both[:count], both[count:].reshape(count, ratio), tau=tau)


def _draw_pixels(
    opaque: np.ndarray, config: FeaturesConfig, rng: np.random.Generator
) -> Int[np.ndarray, "S"]:
    """Distinct pixels of one view, mostly opaque ones, in increasing order."""
    inside = np.flatnonzero(opaque)
    wanted = min(config.pixels, opaque.size)
    most = min(round(config.foreground * wanted), len(inside))
    chosen = rng.choice(inside, most, replace=False) if most else inside[:0]
    left = np.ones(opaque.size, dtype=bool)
    left[chosen] = False
    rest = rng.choice(np.flatnonzero(left), wanted - most, replace=False)
    return np.sort(np.concatenate([chosen, rest]))


def _cosine(progress: float) -> float:
    """From 1 to a thirtieth."""
    return 1 / 30 + (1 - 1 / 30) * 0.5 * (1 + np.cos(np.pi * progress))


def _state(step: int, features: Tensor, optimizer: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    moments = {name: value.cpu().numpy() for name, value in optimizer.state[features].items()}
    return {"step": np.array(step), "features": features.detach().cpu().numpy()} | {
        f"adam.{name}": value for name, value in moments.items()
    }


def _restore(
    state: dict[str, np.ndarray] | None, features: Tensor, optimizer: torch.optim.Optimizer
) -> int:
    """Put a saved `_state` back; returns the number of steps it had taken."""
    if state is None:
        return 0
    with torch.no_grad():
        features.copy_(torch.from_numpy(state["features"]))
    optimizer.state[features] = {
        name.removeprefix("adam."): torch.from_numpy(value).to(
            "cpu" if name == "adam.step" else features.device
        )
        for name, value in state.items()
        if name.startswith("adam.")
    }
    return int(state["step"])
