"""Export with clean borders: a run whose Gaussians are split where segments meet."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from splat_uff.evaluate.images import score_images
from splat_uff.gaussians.borders import BorderCleaner, Cleaned
from splat_uff.gaussians.config import GaussiansConfig
from splat_uff.gaussians.ply import table_of
from splat_uff.gaussians.similarity import move_centres, move_gaussians
from splat_uff.gaussians.source import SourceSplats
from splat_uff.geometry.neighbours import find_nearest
from splat_uff.hierarchy.build import Hierarchy
from splat_uff.hierarchy.dendrogram import Dendrogram, cut_into
from splat_uff.render import Gaussians
from splat_uff.render.compositing import WHITE, render_over_white
from splat_uff.report.border_pictures import write_border_pictures
from splat_uff.run.masks import training_masks
from splat_uff.run.open import Run
from splat_uff.system.errors import InputError
from splat_uff.system.progress import notice, track

ROUNDS = 1
"""Rounds of splitting and fitting, unless the run's settings have some."""
SCORED = 20
"""Most photos on which the whole is compared before and after."""


@dataclass(frozen=True, eq=False)
class CleanRun:
    """A run with clean borders, and how it differs from the one it was made of."""

    run: Run
    former: Run
    cleaned: Cleaned
    labels: Int[np.ndarray, "N"]
    """Segment of each Gaussian of the former run, whose borders were cleaned."""
    num_split: int
    psnr: tuple[float, float]
    """PSNR of the photos before and after, in dB."""

    def describe(self) -> dict[str, float]:
        """Figures for `hierarchy.json`."""
        return {
            "num_split": self.num_split,
            "psnr_before": self.psnr[0],
            "psnr_after": self.psnr[1],
            "straddling_before": self.cleaned.straddling[0],
            "straddling_after": self.cleaned.straddling[1],
        }

    def node(self, node: int) -> int:
        """Number of a node of the former tree: leaves keep theirs."""
        return node if node < len(self.former.gaussians) else node + self.num_split

    def draw(self, path: Path) -> None:
        """Write pictures of the parts that changed most, before and after, as a PNG."""
        run = self.former
        tree, views = run.hierarchy.tree, run.capture.train
        write_border_pictures(path, tree, run.gaussians, self.cleaned, self.labels, views)


def clean_run(run: Run, *, device: str = "cpu") -> CleanRun:
    """Split the Gaussians of a run across borders of its segments; the run's files stay as is.

    The Gaussians keep their order, the second pieces of those that were split come last, and both
    pieces have the other columns of the row that they were. Each hangs in the tree where it did, or
    where the nearest Gaussian of its new segment does.

    Args:
        run: Run with photos, or virtual photos, and masks.
        device: Device that computes: `cpu` or `cuda`.

    Raises:
        InputError: If the capture or its masks have moved or are damaged, or no photo has masks.
    """
    settings, views = run.provenance.settings, run.capture.train
    bags = training_masks(run)
    if not any(len(masks) for masks, _ in bags):
        raise InputError("no photo of the run has masks, which clean borders are made from.")
    config = settings.borders
    config = config if config.rounds else replace(config, rounds=ROUNDS)
    labels = cut_into(run.hierarchy.tree, config.segments)
    # The run's own learning rates may be those of an earlier version's fit, or of another program.
    how = BorderCleaner(config, GaussiansConfig(), settings.seed, device)
    cleaned = how.clean(run.gaussians, views, bags, labels)
    hierarchy = _hang(run, cleaned, labels)
    new = replace(
        run, gaussians=cleaned.gaussians, hierarchy=hierarchy, known_capture=run.capture,
        known_source=_source(run, cleaned),
    )  # fmt: skip
    psnr = _psnr(run, run.gaussians), _psnr(run, cleaned.gaussians)
    split = len(cleaned.gaussians) - len(run.gaussians)
    photos = "virtual photos" if run.capture.virtual else "photos"
    notice(
        f"{split} of {len(run.gaussians)} Gaussians lay across borders and were split; PSNR of the "
        f"{photos} {psnr[0]:.2f} -> {psnr[1]:.2f} dB."
    )
    return CleanRun(new, run, cleaned, labels, split, psnr)


def _psnr(run: Run, gaussians: Gaussians) -> float:
    """PSNR of at most `SCORED` training photos, in dB."""
    views = run.capture.train
    chosen = views[:: -(-len(views) // SCORED)]
    return score_images(
        (render_over_white(gaussians, view.camera), view.composite(WHITE).astype(np.float32))
        for view in track(chosen, "render", len(chosen))
    ).psnr


def _hang(run: Run, cleaned: Cleaned, labels: Int[np.ndarray, "N"]) -> Hierarchy:
    """The run's tree with the new Gaussians as leaves."""
    tree, former = run.hierarchy.tree, run.hierarchy
    above = _parents_of_leaves(run, cleaned, labels)
    shift = len(above) - tree.num_leaves
    inner = tree.parents[tree.num_leaves :]
    parents = np.concatenate([above, inner]) + shift
    altitudes = np.concatenate([np.zeros(len(above)), tree.altitudes[tree.num_leaves :]])
    support = former.support
    if support is not None:
        support = np.concatenate([np.ones(len(above)), support[tree.num_leaves :]])
    return Hierarchy(
        Dendrogram(parents, altitudes, len(above)), former.shaping[cleaned.parents], support
    )


def _parents_of_leaves(
    run: Run, cleaned: Cleaned, labels: Int[np.ndarray, "N"]
) -> Int[np.ndarray, "M"]:
    """Node of the former tree from which each Gaussian hangs."""
    parents = run.hierarchy.tree.parents
    above = parents[cleaned.parents]
    means = run.gaussians.means.double().numpy()
    moved = np.flatnonzero(cleaned.labels != labels[cleaned.parents])
    places = cleaned.gaussians.means.double().numpy()[moved]
    for segment in np.unique(cleaned.labels[moved]):
        members, which = np.flatnonzero(labels == segment), cleaned.labels[moved] == segment
        _, nearest = find_nearest(means[members], places[which], k=1)
        above[moved[which]] = parents[members[nearest[:, 0]]]
    # A node without leaves would be no node: its first one stays.
    emptied = np.setdiff1d(parents[: len(labels)], above)
    if len(emptied):
        leaves = np.flatnonzero(np.isin(parents[: len(labels)], emptied))
        _, first = np.unique(parents[leaves], return_index=True)
        above[leaves[first]] = parents[leaves[first]]
    return above


def _source(run: Run, cleaned: Cleaned) -> SourceSplats:
    """Rows of the splats' file with the new Gaussians' values, and the second pieces at the end."""
    source, gaussians = run.source, cleaned.gaussians
    count = len(run.gaussians)
    rows = np.flatnonzero(source.kept)
    table = np.concatenate([source.table, source.table[rows[cleaned.parents[count:]]]])
    kept = np.concatenate([source.kept, np.ones(len(gaussians) - count, bool)])
    matrix = run.files_from_world
    moved = move_gaussians(gaussians, matrix)
    new = table_of(moved, move_centres(gaussians.means.numpy(), matrix))
    for name in set(new.dtype.names or ()) & set(table.dtype.names or ()) - {"nx", "ny", "nz"}:
        table[name][kept] = new[name]
    return SourceSplats(replace(source.content, table=table), kept)
