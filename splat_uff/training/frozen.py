"""Features and tree over Gaussians whose geometry stands, by any settings, without files."""

import time
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from splat_uff.capture import Capture
from splat_uff.features.blend import FrozenViews
from splat_uff.features.fit import fit_features
from splat_uff.features.scene_tree import SceneTree
from splat_uff.hierarchy.build import Hierarchy, build_hierarchy, consensus_tree
from splat_uff.hierarchy.consensus import Consensus
from splat_uff.hierarchy.support import STAGE as SUPPORT_STAGE
from splat_uff.masks.bags import Bags
from splat_uff.masks.gather import gather_masks
from splat_uff.render import Gaussians
from splat_uff.run.open import Run
from splat_uff.settings import TrainConfig
from splat_uff.system.memory import Memory
from splat_uff.system.progress import notice


class FrozenScene:
    """Gaussians that stand, the training photos that see them, and the masks of the photos.

    Args:
        gaussians: The N Gaussians.
        capture: Its training photos see them.
        bags: Masks of those photos.
        memory: Budget that blend weights and masks count towards; none unless given.
    """

    def __init__(
        self, gaussians: Gaussians, capture: Capture, bags: Bags, memory: Memory | None = None
    ) -> None:
        self.gaussians, self.bags = gaussians, bags
        self.views = FrozenViews(gaussians, [view.camera for view in capture.train], memory)
        self._asked: dict[bytes, Consensus] = {}

    @cached_property
    def means(self) -> Float[np.ndarray, "N 3"]:
        """Centres, world units, in double precision."""
        return self.gaussians.means.numpy().astype(np.float64)

    @cached_property
    def colours(self) -> Float[np.ndarray, "N 3"]:
        """Harmonics of degree 0."""
        return self.gaussians.sh0.numpy().reshape(-1, 3).astype(np.float64)

    @property
    def largest_weights(self) -> Float[np.ndarray, "N"]:
        """Largest blend weight of each Gaussian in any photo."""
        return self.views.largest_weights()

    def consensus(self, chosen: Int[np.ndarray, "P"]) -> Consensus:
        """What the photos say of some Gaussians, by their numbers, rising.

        The last answer is remembered: features and tree ask about the same Gaussians.
        """
        question = chosen.tobytes()
        if question not in self._asked:
            self._asked.clear()
            memory = self.views.memory
            self._asked[question] = Consensus.of(self.views, self.bags, chosen, memory=memory)
        return self._asked[question]

    def forget(self) -> None:
        """Ask the photos anew next time."""
        self._asked.clear()


def frozen_scene(run: Run, memory: Memory | None = None) -> FrozenScene:
    """The Gaussians of a run, with the photos and masks that it was trained on.

    Raises:
        InputError: If the capture or its masks are not where they were, or damaged.
    """
    bags = gather_masks(run.capture, run.provenance.mask_source)
    return FrozenScene(run.gaussians, run.capture, bags, memory)


def tree_for_features(scene: FrozenScene, settings: TrainConfig) -> SceneTree | None:
    """The tree that features start from, or are compared in; None where neither is wanted or there.

    Args:
        scene: Whose photos are asked.
        settings: Settings of features and hierarchy.
    """
    config = settings.features
    in_loss = config.ultrametric_weight > 0 and config.ultrametric == "scene-tree"
    if config.start != "consensus" and not in_loss:
        return None
    tree = consensus_tree(
        scene.means, scene.colours, scene.largest_weights, settings.hierarchy, scene.consensus
    )
    if tree is None:
        notice("masks agree on no neighbouring Gaussians; features start from noise.")
    return tree


def grow_tree(
    scene: FrozenScene, features: Float[np.ndarray, "N D"], settings: TrainConfig
) -> Hierarchy:
    """The tree over all Gaussians.

    Args:
        scene: The Gaussians, and the photos that are asked.
        features: One per Gaussian.
        settings: Settings of the hierarchy; `features.steps` of 0 says that none were trained.
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
    """Features and tree by any settings, and the seconds that both took; the photos are asked anew.

    Args:
        scene: The Gaussians, and the photos with their masks.
        settings: Settings of features and hierarchy, and the seed.
    """
    scene.forget()
    start = time.perf_counter()
    features = fit_features(
        scene.views, scene.bags, settings.features, seed=settings.seed,
        tree=tree_for_features(scene, settings),
    )  # fmt: skip
    hierarchy = grow_tree(scene, features, settings)
    return features, hierarchy, time.perf_counter() - start
