"""Try the choices inside the tree by consensus, one at a time, on finished runs.

    python benchmarks/tree_choices.py RUNS --output benchmarks/tree_choices.json

The photos are asked once a run; what follows is built here with every constant an argument, and the
row that was kept is checked against the product's own tree. Rows that the file holds are not made
again. `docs/research/tree.md` shows them, by `python tools/update_readme.py`.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import no_type_check

import numpy as np
from numba import njit, prange

from splat_uff.evaluate.covering import coverings
from splat_uff.evaluate.score import STAGE, make_cuts, scored_camera
from splat_uff.features.linkage import Merges
from splat_uff.geometry.neighbours import find_nearest
from splat_uff.hierarchy import build
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.hierarchy.consensus import LEAST_GROUP, _group_sums, merge_by_ratio
from splat_uff.hierarchy.dendrogram import Dendrogram
from splat_uff.hierarchy.graph import find_outliers, neighbour_graph
from splat_uff.hierarchy.labels import blended_votes, label_maps
from splat_uff.hierarchy.superpoints import flood
from splat_uff.run.folder import RunFolder
from splat_uff.run.open import open_run
from splat_uff.run.provenance import read_provenance
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.training.frozen import frozen_scene

PRODUCT, LEAST_MOST, COMMON = 0, 1, 2
FIRST, KEPT = "as in the prototype", "no crumbs, small masks count more, 1.5 feature"


@dataclass(frozen=True)
class Choice:
    """One way to build the tree; unless said otherwise as the prototype did."""

    neighbours: int = 16
    feature: float = 1.0
    """Weight of the features in the length of an edge; that of the consensus is 1."""
    colour: float = 0.0
    """Of the distance of the colours (degree 0)."""
    normal: float = 0.0
    """Of 1 - |cosine| of the shortest axes."""
    unseen: str = "apart"
    """Edges that no photo sees: as long as those on which all disagree, or as their features."""
    superpoints: int = 2000
    alike: str = "product"
    """Of superpoints in one photo: Jaccard by products or by min and max; smallest common mask."""
    masks: str = "alike"
    """What a mask counts: all alike, or more if small or large, or if photos that had no part in
    the tree explain it."""
    edge_cap: float = 1.0
    cap: float = 3.0
    """Visibility, in pixels, from which on edges and superpoints count in full."""
    root: bool = False
    """Whether trust is the root of the product of visibilities."""
    least_masked: float = 0.3
    share: float = 0.5
    weigh: str = "Gaussians"
    """What pairs of superpoints weigh in a merge: pairs of Gaussians, of pixels, or what photos
    see of both (with `share` 1)."""
    crumbs: float = 0.1
    min_weight: float = 0.2


CHOICES = {
    FIRST: Choice(),
    "superpoints: Jaccard by min and max": Choice(alike="min/max"),
    "superpoints: smallest common mask, by rank": Choice(alike="common mask, rank"),
    "superpoints: smallest common mask, by log of size": Choice(alike="common mask, log"),
    "masks: small ones count more": Choice(masks="small"),
    "masks: large ones count more": Choice(masks="large"),
    **{f"edges: {w:g} feature": Choice(feature=w) for w in (0.0, 0.25, 0.5, 2.0, 4.0)},
    **{f"edges: + {w:g} colour": Choice(colour=w) for w in (0.05, 0.1, 0.2)},
    **{f"edges: + {w:g} normal": Choice(normal=w) for w in (0.1, 0.3)},
    "edges: no photo sees both, by feature": Choice(unseen="feature"),
    **{f"at most {n} superpoints": Choice(superpoints=n) for n in (500, 1000, 4000, 8000)},
    **{f"{k} neighbours": Choice(neighbours=k) for k in (8, 12, 32)},
    **{f"edges: trust full from {c:g} px": Choice(edge_cap=c) for c in (0.3, 3.0, 10.0)},
    **{f"superpoints: trust full from {c:g} px": Choice(cap=c) for c in (1.0, 10.0, 30.0)},
    "trust: root of the product": Choice(root=True),
    **{f"least masked {m:g}": Choice(least_masked=m) for m in (0.1, 0.5, 0.9)},
    **{f"share of consensus {s:g}": Choice(share=s) for s in (0.25, 0.4, 0.6, 0.67, 0.75, 1.0)},
    "pairs weigh by pixels": Choice(weigh="pixels"),
    "consensus alone, pairs weigh by what photos see": Choice(share=1.0, weigh="seen"),
    **{f"crumb exponent {e:g}": Choice(crumbs=e) for e in (-0.1, -0.05, 0.0, 0.02, 0.05, 0.2)},
    **{f"least weight {w:g}": Choice(min_weight=w) for w in (0.1, 0.3)},
    # Together with the one that matters.
    **{f"no crumbs, share {s:g}": Choice(crumbs=0.0, share=s) for s in (0.4, 0.6, 0.67, 0.75)},
    **{f"no crumbs, {w:g} feature": Choice(crumbs=0.0, feature=w) for w in (1.5, 2.0)},
    "no crumbs, 2 feature, share 0.6": Choice(crumbs=0.0, feature=2.0, share=0.6),
    "no crumbs, small masks count more": Choice(crumbs=0.0, masks="small"),
    KEPT: Choice(crumbs=0.0, masks="small", feature=1.5),
    "kept, masks count as the other half of the photos explains them": Choice(
        crumbs=0.0, masks="explained", feature=1.5
    ),
    "kept, masks count as the square of that": Choice(
        crumbs=0.0, masks="explained, squared", feature=1.5
    ),
    "no crumbs, trust full from 10 px": Choice(crumbs=0.0, cap=10.0),
    "no crumbs, root of the product": Choice(crumbs=0.0, root=True),
    "no crumbs, small masks count more, 2 feature": Choice(crumbs=0.0, masks="small", feature=2.0),
    "no crumbs, small masks count more, 2 feature, trust full from 10 px": Choice(
        crumbs=0.0, masks="small", feature=2.0, cap=10.0
    ),
    "no crumbs, small masks count more, 2 feature, share 0.6": Choice(
        crumbs=0.0, masks="small", feature=2.0, share=0.6
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs with ground truth")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=list(CHOICES), help="names of choices")
    parser.add_argument("--aside", action="store_true", help="runs that do not choose, only check")
    options = parser.parse_args()
    known = (
        json.loads(options.output.read_text(encoding="utf-8"))["rows"]
        if options.output.exists()
        else []
    )
    rows = {(row["scene"], row["seed"], row["choice"]): row for row in known}
    for folder in options.runs:
        provenance = read_provenance(RunFolder(folder))
        scene, seed = provenance.scene, provenance.settings.seed
        left = [name for name in options.only if (scene, seed, name) not in rows]
        if not left:
            continue
        trial = Trial(folder)
        for name in left:
            start = time.perf_counter()
            tree = trial.tree(CHOICES[name])
            seconds = time.perf_counter() - start
            if name == KEPT:
                trial.check(tree)
            row = {"scene": scene, "seed": seed, "choice": name, **trial.score(tree)}
            rows[scene, seed, name] = row | {"seconds": round(seconds, 1), "aside": options.aside}
            print(json.dumps(rows[scene, seed, name]), flush=True)
            record = {
                **measured_here(),
                "rows": list(rows.values()),
            }
            write_json(options.output, record)


class Trial:
    """A run, its photos' opinions, and what its trees are scored on."""

    def __init__(self, folder: Path) -> None:
        found = open_run(folder, finished=True)
        self.gaussians = gaussians = found.gaussians
        scene = frozen_scene(found)
        self.given = found.features, scene.largest_weights
        self.means, self.bags, self.opinions = scene.means, scene.bags, scene.consensus
        self.normals = _normals(gaussians.quats.numpy(), gaussians.scales.numpy())
        self.least = -1.0
        self.ask(Choice().min_weight)
        self.areas = [masks.unpack().sum(axis=(1, 2)) for masks, _ in self.bags if len(masks)]
        self.once = [1 / tree.same.sum(axis=1) for masks, tree in self.bags if len(masks)]
        self.heard = list(range(len(self.once)))
        self.pixels = found.capture.train[0].camera.width * found.capture.train[0].camera.height
        settings = found.provenance.settings
        self.config, self.seed = settings.evaluate, settings.seed
        views = [view for view in found.capture.val if view.truth is not None]
        self.truths = [view.truth for view in views if view.truth is not None]
        self.votes = [blended_votes(gaussians, scored_camera(view)) for view in views]

    def ask(self, least: float) -> None:
        """Ask the photos about the Gaussians that have this weight somewhere."""
        if least == self.least:
            return
        self.least = least
        self._explained: list[np.ndarray] | None = None
        self._edges: dict[tuple, tuple[np.ndarray, ...]] = {}
        self.shaping = self.given[1] >= least
        self.shaping[self.shaping] = ~find_outliers(self.means[self.shaping])
        self.chosen = np.flatnonzero(self.shaping)
        self.consensus = self.opinions(self.chosen)
        self.unit = build._unit(self.given[0][self.chosen])

    def check(self, tree: build.Hierarchy) -> None:
        """That what is varied here is what the product does."""
        config = HierarchyConfig(linkage="consensus")
        theirs = build.build_hierarchy(self.means, *self.given, config, lambda _: self.consensus)
        ours, own = self.score(tree), self.score(theirs)
        close = all(abs(ours[name] - own[name]) < 2e-3 for name in ours)
        assert close, f"the product's tree scores {own}, ours {ours}"

    def score(self, tree: build.Hierarchy) -> dict[str, float]:
        """NC and NC with one cut a level, means of three levels; and of objects alone."""
        cuts = make_cuts(tree, self.config)
        maps = np.stack([label_maps(votes, cuts).astype(np.int16) for votes in self.votes])
        rng = np.random.default_rng([self.seed, STAGE])
        covering, fixed = coverings(maps, self.truths, rng=rng, num_clicks=self.config.clicks)
        record = covering.record()
        figures = {"nc": record["mean"], "nc_fixed": fixed.nc["mean"]}
        figures |= {"objects": record["objects"], "objects_fixed": fixed.nc["objects"]}
        return {name: round(value, 5) for name, value in figures.items()}

    def tree(self, choice: Choice) -> build.Hierarchy:
        """The tree that a choice leads to."""
        self.ask(choice.min_weight)
        points = self.means[self.shaping]
        group, merges = self.superpoints(choice)
        below, heights = build._rank_merges(merges, group, choice.crumbs)
        _, nearest = find_nearest(points, self.means, k=1)
        tree: Dendrogram = build._hang_leaves(group[nearest[:, 0]], below, heights)
        return build.Hierarchy(tree, self.shaping)

    def superpoints(self, choice: Choice) -> tuple[np.ndarray, Merges]:
        """The superpoint of each point, and their merges."""
        sources, targets, agreed, seen = self.edges(choice)
        cosine = (self.unit[sources] * self.unit[targets]).sum(axis=1)
        unseen = cosine.clip(0) if choice.unseen == "feature" else 0.0
        lengths = 1 - np.where(seen > 0, agreed / np.maximum(seen, 1e-12), unseen)
        lengths += choice.feature * (1 - cosine) / 2
        if choice.colour:
            colours = self.gaussians.sh0.numpy()[self.chosen, 0].astype(np.float64)
            apart = np.linalg.norm(colours[sources] - colours[targets], axis=1)
            lengths += choice.colour * apart
        if choice.normal:
            normals = self.normals[self.chosen]
            along = np.abs((normals[sources] * normals[targets]).sum(axis=1))
            lengths += choice.normal * (1 - along)
        count = len(self.chosen)
        group = flood(lengths, sources, targets, count, choice.superpoints)
        return group, self.merges(choice, group)

    def edges(self, choice: Choice) -> tuple[np.ndarray, ...]:
        """Sources and targets of the graph, and the two sums of their consensus."""
        key = choice.neighbours, choice.masks, choice.edge_cap, choice.root, choice.least_masked
        key = *key, *self.heard
        if key not in self._edges:
            sources, targets = neighbour_graph(self.means[self.shaping], k=choice.neighbours)
            total, weight = np.zeros(len(sources)), np.zeros(len(sources))
            for view in self.heard:
                said = self.consensus.load(self.consensus.opinions[view])
                _add_edges(
                    said.rows(self.consensus.num_points), sources, targets, said.starts,
                    said.masks, said.shares, _trust(said.seen, choice.edge_cap, choice.root),
                    self.counts(view, choice.masks), choice.least_masked, total, weight,
                )  # fmt: skip
            self._edges = {key: (sources, targets, total, weight)}
        return next(iter(self._edges.values()))

    def merges(self, choice: Choice, group: np.ndarray) -> Merges:
        """The merges of superpoints."""
        vectors = build._mean_features(self.unit, group)
        cosine = vectors @ vectors.T
        total, weight, pixels = self.between(choice, group)
        if choice.weigh == "seen":
            return merge_by_ratio(total, weight)
        agreed = np.divide(total, weight, out=cosine.copy(), where=weight > 0)
        sizes = np.bincount(group).astype(np.float64)
        if choice.weigh == "pixels":
            sizes = np.maximum(pixels, 1e-3)
        pairs = sizes[:, None] * sizes[None]
        return merge_by_ratio((choice.share * agreed + (1 - choice.share) * cosine) * pairs, pairs)

    def between(self, choice: Choice, group: np.ndarray) -> tuple[np.ndarray, ...]:
        """Sums over the photos, of superpoints; and the pixels that each covers in all."""
        count = int(group.max()) + 1
        total, weight = (np.zeros((count, count), np.float32) for _ in range(2))
        pixels = np.zeros(count)
        kind = {"product": PRODUCT, "min/max": LEAST_MOST}.get(choice.alike, COMMON)
        for view in self.heard:
            sums, seen = self.group_sums(view, group, count)
            pixels += seen
            means = sums / np.maximum(seen, 1e-12)[:, None]
            counts = self.counts(view, choice.masks)
            of = (means * counts).sum(axis=1)
            which = np.flatnonzero((seen > LEAST_GROUP) & (of > choice.least_masked))
            value = self.values(self.areas[view], choice.alike) if kind == COMMON else counts
            _add_groups(
                kind, means[which].astype(np.float32), value.astype(np.float32),
                of[which].astype(np.float32),
                _trust(seen[which], choice.cap, choice.root).astype(np.float32),
                which, total, weight,
            )  # fmt: skip
        total += np.tril(total, -1).T
        weight += np.tril(weight, -1).T
        return total, weight, pixels

    def group_sums(self, view: int, group: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Weight of each superpoint in each mask of a photo, and in all."""
        said = self.consensus.load(self.consensus.opinions[view])
        of_row = np.where(said.points >= 0, group[said.points], count)
        sums = np.zeros((count + 1, len(said.counts)))
        _group_sums(of_row, said.starts, said.masks, said.shares, said.seen, sums)
        return sums[:count], np.bincount(of_row, said.seen, minlength=count + 1)[:count]

    def counts(self, view: int, masks: str) -> np.ndarray:
        """What each mask of a photo counts, 1 on average."""
        size = np.log2(2 + self.areas[view])
        worth = {"alike": 1.0, "small": 1 / size, "large": size}.get(masks, 1 / size)
        if masks.startswith("explained"):
            worth = worth * self.explained()[view] ** (2 if masks.endswith("squared") else 1)
        counts = self.once[view] * worth
        return counts * (self.once[view].sum() / counts.sum())

    def explained(self) -> list[np.ndarray]:
        """The best IoU of each mask with a node of the tree that every other photo leads to.

        The photos are two halves, so that none explains its own masks.
        """
        if self._explained is None:
            found = [np.zeros(0)] * len(self.once)
            everything = self.heard
            for half in (everything[::2], everything[1::2]):
                self.heard = sorted(set(everything) - set(half))
                group, merges = self.superpoints(CHOICES[KEPT])
                for view in half:
                    sums = self.group_sums(view, group, int(group.max()) + 1)
                    found[view] = _best_nodes(*sums, merges)
            self.heard, self._explained = everything, found
        return self._explained

    def values(self, areas: np.ndarray, alike: str) -> np.ndarray:
        """How alike two are whose smallest common mask is this one: 0 to 1, 1 for the smallest."""
        if alike == "common mask, rank":
            ranks = np.argsort(np.argsort(areas, kind="stable"), kind="stable")
            return 1 - ranks / len(areas)
        return 1 - np.log(np.maximum(areas, 1)) / np.log(self.pixels)


def _best_nodes(sums: np.ndarray, seen: np.ndarray, merges: Merges) -> np.ndarray:
    """The best IoU, in blended pixels of a photo, of each of its masks with any node."""
    whole = sums.sum(axis=0)
    best = (sums / np.maximum(seen[:, None] + whole - sums, 1e-9)).max(axis=0)
    for left, right in zip(merges.lefts, merges.rights, strict=True):
        sums[left] += sums[right]
        seen[left] += seen[right]
        best = np.maximum(best, sums[left] / np.maximum(seen[left] + whole - sums[left], 1e-9))
    return best


def _trust(seen: np.ndarray, cap: float, root: bool) -> np.ndarray:
    """What one of two adds to the trust in a photo: their product is the trust."""
    trust = np.minimum(seen, cap) / cap
    return np.sqrt(trust) if root else trust


def _normals(quats: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Shortest axis of each Gaussian, unit length."""
    w, x, y, z = (quats / np.linalg.norm(quats, axis=1, keepdims=True)).T
    axes = np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], 1),
            np.stack([2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)], 1),
            np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], 1),
        ],
        axis=1,
    )
    return axes[np.arange(len(axes)), scales.argmin(axis=1)]


@njit(parallel=True, cache=True, error_model="numpy")
@no_type_check
def _add_edges(
    row, sources, targets, starts, masks, shares, trust, counts, least_masked, total, weight
):
    sums = np.zeros(len(trust), np.float64)
    for a in prange(len(trust)):
        for i in range(starts[a], starts[a + 1]):
            sums[a] += counts[masks[i]] * shares[i]
    for e in prange(len(sources)):
        a, b = row[sources[e]], row[targets[e]]
        if a < 0 or b < 0 or (sums[a] < least_masked and sums[b] < least_masked):
            continue
        overlap = 0.0
        i, j = starts[a], starts[b]
        while i < starts[a + 1] and j < starts[b + 1]:
            if masks[i] == masks[j]:
                overlap += counts[masks[i]] * min(shares[i], shares[j])
                i += 1
                j += 1
            elif masks[i] < masks[j]:
                i += 1
            else:
                j += 1
        total[e] += trust[a] * trust[b] * overlap / (sums[a] + sums[b] - overlap)
        weight[e] += trust[a] * trust[b]


@njit(parallel=True, cache=True, error_model="numpy")
@no_type_check
def _add_groups(kind, means, value, sums, trust, which, total, weight):
    count, num_masks = means.shape
    by_mask = np.ascontiguousarray(means.T)
    for a in prange(count):
        overlap = np.zeros(np.int64(a) + 1, np.float32)
        for m in range(num_masks):
            share = means[a, m]
            if share > 0:
                if kind == PRODUCT:
                    for b in range(len(overlap)):
                        overlap[b] += value[m] * share * by_mask[m, b]
                elif kind == LEAST_MOST:
                    for b in range(len(overlap)):
                        overlap[b] += value[m] * min(share, by_mask[m, b])
                else:
                    for b in range(len(overlap)):
                        overlap[b] = max(overlap[b], value[m] * share * by_mask[m, b])
        for b in range(len(overlap)):
            alike = overlap[b]
            if kind != COMMON:
                alike /= max(sums[a] + sums[b] - overlap[b], np.float32(1e-6))
            total[which[a], which[b]] += trust[a] * trust[b] * alike
            weight[which[a], which[b]] += trust[a] * trust[b]


if __name__ == "__main__":
    with told_in_one_line():
        main()
