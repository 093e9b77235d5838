"""Features and tree over Gaussians with fixed geometry, for any settings and without files."""

import time
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from splat_uff.capture import Capture
from splat_uff.features.fit import fit_features
from splat_uff.features.scene_tree import SceneTree
from splat_uff.hierarchy.build import Hierarchy, build_hierarchy, consensus_tree
from splat_uff.hierarchy.consensus import Consensus
from splat_uff.hierarchy.opinions import Opinion
from splat_uff.hierarchy.support import STAGE as SUPPORT_STAGE
from splat_uff.masks.bags import Bags, mask_counts
from splat_uff.render import Gaussians
from splat_uff.render.frozen import FrozenViews
from splat_uff.run.masks import training_masks
from splat_uff.run.open import Run
from splat_uff.settings import TrainConfig
from splat_uff.system.memory import Memory
from splat_uff.system.progress import notice, track


class FrozenScene:
    """Gaussians with fixed geometry, the training photos that see them, and the photos' masks.

    Args:
        gaussians: The N Gaussians, on the CPU.
        capture: Capture whose training photos see the Gaussians.
        bags: Masks and mask tree of each training photo.
        memory: Budget towards which blend weights and masks count; unlimited by default.
        device: Device that computes with them: `cpu` or `cuda`.
    """

    def __init__(
        self,
        gaussians: Gaussians,
        capture: Capture,
        bags: Bags,
        memory: Memory | None = None,
        device: str = "cpu",
    ) -> None:
        self.gaussians, self.bags, self.device = gaussians, bags, device
        cameras = [view.camera for view in capture.train]
        self.views = FrozenViews(gaussians.to(device), cameras, memory)
        self._opinions: dict[int, Opinion] = {}

    @cached_property
    def means(self) -> Float[np.ndarray, "N 3"]:
        """Centres in world units, in double precision."""
        return self.gaussians.means.numpy().astype(np.float64)

    @cached_property
    def colours(self) -> Float[np.ndarray, "N 3"]:
        """SH coefficients of degree 0 (`sh0`)."""
        return self.gaussians.sh0.numpy().reshape(-1, 3).astype(np.float64)

    @property
    def largest_weights(self) -> Float[np.ndarray, "N"]:
        """Largest blend weight of each Gaussian in any photo."""
        return self.views.largest_weights()

    def ask_early(self) -> None:
        """Collect the opinion of each photo as soon as its blend weights are computed.

        This is for scenes whose consensus will be wanted: blend weights for which there is no room
        are then computed once less.
        """
        self.views.on_first = self._ask

    def consensus(self, chosen: Int[np.ndarray, "P"]) -> Consensus:
        """Consensus of the photos on the given Gaussians (indices in rising order).

        The photos' opinions are kept, for the tree of the features and the final one.
        """
        with_masks = np.flatnonzero(mask_counts(self.bags)).tolist()
        missing = [view for view in with_masks if view not in self._opinions]
        for view in track(missing, "consensus", len(missing)):
            self._ask(view, self.views.matrix(view))
        opinions = [self._opinions[view] for view in with_masks]
        return Consensus.of(opinions, chosen, self.views.num_gaussians, device=self.device)

    def forget(self) -> None:
        """Clear the photos' opinions, so that they are asked again next time."""
        self._opinions.clear()

    def _ask(self, view: int, matrix: csr_matrix) -> None:
        """Collect the opinion of a photo, unless it is known or the photo has no masks."""
        bag = self.bags[view]
        if view not in self._opinions and len(bag[0]):
            self._opinions[view] = Opinion.of(
                matrix, bag, memory=self.views.memory, device=self.device
            )


def frozen_scene(run: Run, memory: Memory | None = None) -> FrozenScene:
    """Gaussians of a run, with the photos and masks on which it was trained.

    Raises:
        InputError: If the capture or its masks have moved or are damaged.
    """
    return FrozenScene(run.gaussians, run.capture, training_masks(run), memory)


def tree_for_features(scene: FrozenScene, settings: TrainConfig) -> SceneTree | None:
    """Build the tree for the features' start and loss; None if neither uses it or there is none.

    Args:
        scene: Scene whose masks give the tree.
        settings: Settings of features and hierarchy.
    """
    if not _features_use_tree(settings):
        return None
    tree = consensus_tree(
        scene.means, scene.colours, scene.largest_weights, settings.hierarchy, scene.consensus
    )
    if tree is None:
        notice("masks agree on no neighbouring Gaussians; features start from noise.")
    return tree


def needs_consensus(settings: TrainConfig) -> bool:
    """Whether features or tree will ask for the consensus of the photos' masks."""
    return settings.hierarchy.linkage == "consensus" or _features_use_tree(settings)


def _features_use_tree(settings: TrainConfig) -> bool:
    config = settings.features
    in_loss = config.ultrametric_weight > 0 and config.ultrametric == "scene-tree"
    return config.steps > 0 and (config.start == "consensus" or in_loss)


def grow_tree(
    scene: FrozenScene, features: Float[np.ndarray, "N D"], settings: TrainConfig
) -> Hierarchy:
    """Build the tree over all Gaussians.

    Args:
        scene: Gaussians, and the photos with their masks.
        features: Feature of each Gaussian.
        settings: Settings of the hierarchy; a `features.steps` of 0 means that no features were
            trained.
    """
    return build_hierarchy(
        scene.means,
        features,
        scene.largest_weights,
        settings.hierarchy,
        scene.consensus,
        colours=None if settings.features.steps else scene.colours,
        rng=np.random.default_rng([settings.seed, SUPPORT_STAGE]),
    )


def refit(
    scene: FrozenScene, settings: TrainConfig
) -> tuple[Float[np.ndarray, "N D"], Hierarchy, float]:
    """Fit features and build the tree, recomputing the consensus; also returns the seconds taken.

    Args:
        scene: Gaussians, and the photos with their masks.
        settings: Settings of features and hierarchy, and the seed.
    """
    scene.forget()
    start = time.perf_counter()
    features = fit_features(
        scene.views, scene.bags, settings.features, seed=settings.seed,
        tree=lambda: tree_for_features(scene, settings), device=scene.device,
    )  # fmt: skip
    hierarchy = grow_tree(scene, features, settings)
    return features, hierarchy, time.perf_counter() - start
