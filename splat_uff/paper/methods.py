"""All methods that the paper compares, run on the Gaussians of one finished run and scored."""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from splat_uff import __version__
from splat_uff.baselines.distil import distil, render_features, surface_features
from splat_uff.baselines.lift import lift_masks, render_lifted
from splat_uff.baselines.maps import FeatureMaps, describe_capture, read_maps
from splat_uff.baselines.prompts import prompted_covering
from splat_uff.capture.records import GroundTruth
from splat_uff.capture.rotated import ANGLES, RotatedView, read_depths, read_rotated
from splat_uff.evaluate.consistency import Warp, masks_consistency
from splat_uff.evaluate.covering import masks_covering
from splat_uff.evaluate.levels import LEVELS, LevelScores, Undefined
from splat_uff.evaluate.queries import (
    DenseView,
    Distances,
    choose_distances,
    query_consistency,
    query_scores,
)
from splat_uff.evaluate.score import (
    STAGE,
    evaluate,
    masks_at_size,
    scored_camera,
    warp_views,
)
from splat_uff.hierarchy.build import Hierarchy
from splat_uff.masks.config import SamModel
from splat_uff.masks.sam import load_sam
from splat_uff.run.masks import held_out_masks
from splat_uff.run.open import Run
from splat_uff.settings import TrainConfig, read_settings, recipe_file
from splat_uff.system.errors import InputError
from splat_uff.system.files import read_arrays, visible_files, write_arrays, write_json
from splat_uff.system.progress import notice
from splat_uff.training.frozen import FrozenScene, frozen_scene, refit

SOURCES = 20
"""Number of views whose masks SAM3D lifts, as in the paper."""
PROMPTED = 50
"""Maximum number of training views, evenly spaced, that SAM3D prompts."""
LIFT_STAGE = 6
"""Number of the random stream that draws the views whose masks are lifted."""

Scores = dict[str, Any]
"""Scores of one method, as far as they are known: `nc`, `nc_standard_errors`, `nc_fixed`, `si`,
`vc` by degrees, `seconds`."""


@dataclass(frozen=True)
class Choices:
    """Inputs of the comparison besides the run."""

    features: Path | None = None
    """Folder of feature maps; if None, colour and gradient statistics are used."""
    sam_checkpoint: Path | None = None
    """Weights of Segment Anything, to be prompted with the clicks; if None, the given masks are."""
    sam_model: SamModel = "vit_h"
    sources: int = SOURCES
    """Number of views whose masks SAM3D lifts."""


class Comparison:
    """Comparison of the methods on one run; each runs once, and its scores are stored."""

    def __init__(self, run: Run, choices: Choices, folder: Path) -> None:
        self.run, self.choices, self.folder = run, choices, folder
        self.settings = run.provenance.settings
        self.seed = self.settings.seed
        self.num_clicks = self.settings.evaluate.clicks
        views = [view for view in run.capture.val if view.truth is not None]
        if not views or len(views) < len(run.capture.val):
            raise InputError(
                f"{run.capture.folder} has no ground truth for its held-out views (gt_seg/val), "
                "so there is nothing to compare by; use a scene that has, as drums."
            )
        self.truths: list[GroundTruth] = [view.truth for view in views if view.truth is not None]
        self.key = _key(run)
        checkpoint = choices.sam_checkpoint
        if checkpoint is not None and not checkpoint.is_file():
            raise InputError(f"no checkpoint {checkpoint}; pass the weights of Segment Anything.")
        if choices.features is not None:
            _ = self.maps  # Report damaged files before the first method runs.

    def kept(self, name: str, make: Callable[[], Scores], *inputs: object) -> Scores:
        """Read scores from their file, or make them; they depend on the run and on `inputs`."""
        path = self.folder / "scores" / f"{name}.json"
        key = f"{self.key} {__version__} {inputs}"
        try:
            record = json.loads(path.read_text(encoding="utf-8-sig"))
            if record["key"] == key:
                return record["scores"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        notice(f"{name} ...")
        start = time.perf_counter()
        scores = make()
        notice(f"{name}: {time.perf_counter() - start:.0f} s")
        write_json(path, {"key": key, "scores": scores})
        return scores

    @cached_property
    def scene(self) -> FrozenScene:
        """Gaussians, training photos and their masks."""
        return frozen_scene(self.run)

    @cached_property
    def maps(self) -> FeatureMaps:
        """Dense features of all views."""
        if self.choices.features is None:
            return describe_capture(self.run.capture, self.run.gaussians)
        return read_maps(self.choices.features, self.run.capture)

    @cached_property
    def rotated(self) -> dict[int, list[RotatedView]]:
        """Rotated twins of the held-out views, by degrees; empty without true depth."""
        capture = self.run.capture
        if read_depths(capture) is None:
            return {}
        twins = {degrees: read_rotated(capture, degrees) for degrees in ANGLES}
        return {degrees: found for degrees, found in twins.items() if found is not None}

    def warps(self, degrees: int) -> list[Warp]:
        """Warps of the held-out views to their rotated twins, as published."""
        depths = read_depths(self.run.capture) or []
        published = [depth.published for depth in depths]
        return warp_views(self.run.capture.val, published, self.rotated[degrees], as_published=True)

    def ours(self) -> Scores:
        """Full scores of the run itself."""

        def make() -> Scores:
            return self._evaluate(self.run.hierarchy, self.settings)

        return self.kept("ours", make, "with all ceilings")

    def negatives(self) -> Scores:
        """Scores with the run's own settings and one or four negatives per positive."""

        def make() -> Scores:
            found = {}
            for ratio in (1, 4):
                features = replace(self.settings.features, neg_ratio=ratio)
                scores, seconds = self._fit(replace(self.settings, features=features))
                found[str(ratio)] = {**_brief(scores), "seconds": seconds}
            return found

        return self.kept("negatives", make)

    def papers_recipe(self) -> Scores:
        """Scores of the paper's recipe: `published`, cut at its own distances, and `1` and `4`.

        The latter, named by their negatives per positive, are cut evenly in height up to the root:
        at the paper's distances, features that reach beyond them stay in small fragments.
        """
        settings = self.recipe
        to_root = replace(settings, evaluate=replace(settings.evaluate, highest_cut=0.0))
        four = replace(to_root, features=replace(settings.features, neg_ratio=4))

        def make() -> Scores:
            scores, seconds = self._fit(to_root, full=True)
            published = self._evaluate(self._last, settings)
            found = {"1": {**_brief(scores), "seconds": seconds}}
            found["published"] = {**_brief(published), "seconds": seconds}
            scores, seconds = self._fit(four)
            return {**found, "4": {**_brief(scores), "seconds": seconds}}

        return self.kept("paper's recipe", make, settings)

    @property
    def recipe(self) -> TrainConfig:
        """Settings of the run, with the paper's recipe for features, tree and labels."""
        return read_settings(recipe_file("paper"), self.settings)

    def sam(self) -> Scores:
        """Scores of point prompts in each view, answered by SAM or by the given masks."""
        capture, choices = self.run.capture, self.choices
        if choices.sam_checkpoint is not None:
            checkpoint = choices.sam_checkpoint

            def prompt() -> Scores:
                start = time.perf_counter()
                sam = load_sam(checkpoint, choices.sam_model)
                scores = prompted_covering(sam, capture.val, self.truths, **self._clicks())
                return {**_covering(scores), "seconds": time.perf_counter() - start}

            size = checkpoint.stat().st_size if checkpoint.is_file() else 0
            return self.kept("SAM, prompted", prompt, choices.sam_model, checkpoint.name, size)
        bags = held_out_masks(self.run)
        if not bags:
            return {}

        def score() -> Scores:
            sized = [
                masks_at_size(masks, truth)
                for (masks, _), truth in zip(bags, self.truths, strict=True)
            ]
            return _covering(masks_covering(sized, self.truths, **self._clicks()))

        return self.kept("SAM, given masks", score)

    def sam3d(self) -> Scores:
        """Scores of masks lifted to 3D; `by_views` has NC for the first 1, 2 ... source views.

        If there are fewer training views than sources, all are lifted.
        """
        return self.kept("SAM3D", self._sam3d, self.choices.sources)

    def dense(self) -> Scores:
        """Scores of LSeg: dense features of each view, not distilled; empty if views have none."""
        if not self.maps.val:
            return {}

        def make() -> Scores:
            views = [_everywhere(each) for each in self.maps.val]
            rotated = {
                degrees: [_everywhere(each) for each in found]
                for degrees, found in self.maps.rotated.items()
                if degrees in self.rotated
            }
            return self._query(views, rotated)

        return self.kept("2D features", make, self._maps_key())

    def distilled(self) -> Scores:
        """Scores of DFF, `rendered` and `surface`, and of LeRF, `scales`: the best per level."""

        def make() -> Scores:
            features, seconds = self.distilled_features()
            found = {
                "rendered": self._query_both(features, self._rendered),
                "surface": self._query_both(features, self._on_surfaces),
            }
            if len(self.maps.scales) > 1:
                found["scales"] = self._best_scale(features)
            return {**found, "seconds": seconds}

        return self.kept("DFF", make, self._maps_key())

    def distilled_features(self) -> tuple[Float[np.ndarray, "N D"], float]:
        """Dense features distilled into the Gaussians, and the seconds that took."""
        path, key = self.folder / "dff_features.npz", f"{self.key} {self._maps_key()}"
        if path.is_file():
            arrays = read_arrays(path)
            if str(arrays.get("key")) == key:
                return arrays["features"], float(arrays["seconds"])
        start = time.perf_counter()
        features = distil(self.scene.views, list(self.maps.train), seed=self.seed)
        seconds = time.perf_counter() - start
        write_arrays(path, features=features, seconds=np.array(seconds), key=np.array(key))
        return features, seconds

    def _clicks(self) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, STAGE])
        return {"rng": rng, "num_clicks": self.num_clicks}

    def _evaluate(
        self, hierarchy: Hierarchy, settings: TrainConfig, *, full: bool = True
    ) -> Scores:
        run = self.run
        evaluation = evaluate(
            run.capture, run.gaussians, hierarchy, [], settings.evaluate,
            seed=self.seed, full=full,
        )  # fmt: skip
        return evaluation.metrics

    def _fit(self, settings: TrainConfig, *, full: bool = False) -> tuple[Scores, float]:
        """Scores of features and tree refitted with other settings, and the seconds that took."""
        _ = self.scene.largest_weights  # Rendered before the clock starts.
        _, self._last, seconds = refit(self.scene, settings)
        return self._evaluate(self._last, settings, full=full), seconds

    def _sam3d(self) -> Scores:
        capture, gaussians = self.run.capture, self.run.gaussians
        count = len(capture.train)
        chosen = np.unique(np.linspace(0, count - 1, min(PROMPTED, count)).round().astype(int))
        order = np.random.default_rng([self.seed, LIFT_STAGE]).permutation(len(chosen))
        sources = order[: self.choices.sources].tolist()
        start = time.perf_counter()
        lifted = lift_masks(
            gaussians,
            [capture.train[view] for view in chosen],
            [self.scene.bags[view][0] for view in chosen],
            sources,
        )
        seconds = time.perf_counter() - start
        shown = [render_lifted(lifted, gaussians, scored_camera(view)) for view in capture.val]
        by_views = []
        for number in range(1, len(sources) + 1):
            most = int((lifted.source < number).sum())
            first = [bag[:most] for bag in shown]
            by_views.append(masks_covering(first, self.truths, **self._clicks()))
        consistency = {}
        for degrees, twins in self.rotated.items():
            there = [render_lifted(lifted, gaussians, twin.camera) for twin in twins]
            rng = np.random.default_rng([self.seed, STAGE, degrees])
            with suppress(Undefined):
                found = masks_consistency(
                    shown, there, self.truths, self.warps(degrees),
                    rng=rng, num_clicks=self.num_clicks,
                )  # fmt: skip
                consistency[str(degrees)] = {"published": _with_errors(found)}
        return {
            **_covering(by_views[-1]), "vc": consistency, "seconds": seconds,
            "masks": len(lifted.source), "by_views": [each.record() for each in by_views],
        }  # fmt: skip

    def _rendered(self, features: Float[np.ndarray, "N D"], camera) -> DenseView:
        return render_features(features, self.run.gaussians, camera)

    def _on_surfaces(self, features: Float[np.ndarray, "N D"], camera) -> DenseView:
        return surface_features(features, self.run.gaussians, camera, self.run.hierarchy.shaping)

    def _query_both(self, features: Float[np.ndarray, "N D"], see) -> Scores:
        views = [see(features, scored_camera(view)) for view in self.run.capture.val]
        rotated = {
            degrees: [see(features, twin.camera) for twin in twins]
            for degrees, twins in self.rotated.items()
        }
        return self._query(views, rotated)

    def _best_scale(self, features: Float[np.ndarray, "N D"]) -> Scores:
        """Scores of each level at the scale whose NC is best for it."""
        covering, injectivity, fixed, chosen = {}, {}, {}, {}
        found = []
        for scale in self.maps.scales:
            part = features[:, scale]
            views = [self._rendered(part, scored_camera(view)) for view in self.run.capture.val]
            found.append(query_scores(views, self.truths, self._distances(views), **self._seeds()))
        for level in LEVELS:
            best = max(range(len(found)), key=lambda k, level=level: getattr(found[k][0], level))
            chosen[level] = best
            covering[level] = getattr(found[best][0], level)
            injectivity[level] = getattr(found[best][1], level)
            fixed[level] = max(scores.nc[level] for _, _, scores in found)
        for scores in (covering, injectivity, fixed):
            scores["mean"] = sum(scores.values()) / len(scores)
        return {"nc": covering, "nc_fixed": fixed, "si": injectivity, "scale": chosen}

    def _query(self, views: list[DenseView], rotated: dict[int, list[DenseView]]) -> Scores:
        distances = self._distances(views)
        covering, injectivity, fixed = query_scores(views, self.truths, distances, **self._seeds())
        consistency = {}
        for degrees, twins in rotated.items():
            rng = np.random.default_rng([self.seed, STAGE, degrees])
            with suppress(Undefined):
                found = query_consistency(
                    views, twins, self.truths, self.warps(degrees), distances,
                    rng=rng, num_clicks=self.num_clicks,
                )  # fmt: skip
                consistency[str(degrees)] = {"published": _with_errors(found)}
        return {
            **_covering(covering), "nc_fixed": fixed.nc, "si": injectivity.record(),
            "vc": consistency,
        }  # fmt: skip

    def _distances(self, views: list[DenseView]) -> Distances:
        rng = np.random.default_rng([self.seed, STAGE, 1])
        return choose_distances(views, self.settings.evaluate.cuts, rng=rng)

    def _seeds(self) -> dict[str, Any]:
        return {"seeds": [self.seed, STAGE], "num_clicks": self.num_clicks}

    def _maps_key(self) -> str:
        folder = self.choices.features
        if folder is None:
            return "described"
        files = visible_files(folder, (".npy", ".pt"))
        sizes = [
            f"{path.relative_to(folder)} {path.stat().st_size} {path.stat().st_mtime_ns}"
            for path in files
        ]
        return hashlib.sha256("\n".join(sizes).encode()).hexdigest()[:16]


def _key(run: Run) -> str:
    """Fingerprint of the Gaussians, the tree and the provenance of a run."""
    digest = hashlib.sha256(repr(run.provenance).encode())
    for tensor in run.gaussians.tensors().values():
        digest.update(tensor.numpy().tobytes())
    digest.update(run.hierarchy.tree.parents.tobytes())
    return digest.hexdigest()[:16]


def _everywhere(features: Float[np.ndarray, "H W D"]) -> DenseView:
    """View of 2D features, which cover every pixel, as they have no background."""
    return DenseView.of(features, np.ones(features.shape[:2], bool))


def _brief(metrics: Scores) -> Scores:
    """Scores of a full evaluation that the tables show."""
    names = ("nc", "nc_standard_errors", "nc_fixed", "si", "vc", "nc_ceiling", "ratios")
    return {name: metrics[name] for name in names if name in metrics}


def _covering(scores: LevelScores) -> Scores:
    return {"nc": scores.record(), "nc_standard_errors": scores.standard_errors}


def _with_errors(scores: LevelScores) -> Scores:
    return scores.record() | {"standard_errors": scores.standard_errors}
