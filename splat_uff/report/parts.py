"""Parts of a run alone: their scores, the table for the terminal, and the files in the run."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from splat_uff.evaluate.part_choice import best_nodes, node_members, object_votes, true_members
from splat_uff.evaluate.parts import (
    FEWEST_PIXELS,
    AloneView,
    PartScores,
    PartTruth,
    render_part,
    score_parts,
)
from splat_uff.report.pictures import Picture, Window, write_sheet
from splat_uff.run.open import Run
from splat_uff.system.errors import reason_of
from splat_uff.system.files import write_json
from splat_uff.system.lock import FolderLocked, folder_lock
from splat_uff.system.progress import notice
from splat_uff.system.records import array_record

COLUMNS = {
    "iou": ("IoU", 3),
    "border_f": ("border\nF", 3),
    "psnr": ("PSNR\nalone", 1),
    "psnr_in_scene": ("PSNR\nin scene", 1),
    "psnr_photo": ("PSNR\nphoto", 1),
    "iou_seen": ("IoU\nseen", 3),
    "never_seen": ("never\nseen", 3),
}
"""Heading and number of decimals of each score of the table; `parts.json` has one more."""
WORST = 5
"""Number of objects that the table names."""


@array_record
class ScoredParts:
    """Scores of the parts of a run, and what they were computed from."""

    scene: str
    ours: PartScores
    """Scores of the node of the tree that fits each object best."""
    ceiling: PartScores
    """Scores if each Gaussian carried its true label."""
    chosen: Bool[np.ndarray, "K N"]
    """Gaussians of our part for each object."""
    nodes: tuple[int, ...]
    """Node of our part for each object; -1 if none shows it."""

    def record(self) -> dict[str, Any]:
        """Content of `parts.json`."""
        nodes = dict(zip(self.ours.names, self.nodes, strict=True))
        ours, ceiling = self.ours.record(), self.ceiling.record()
        return {"scene": self.scene, "ours": ours, "ceiling": ceiling, "nodes": nodes}


def score_run_parts(run: Run, truth: PartTruth) -> ScoredParts:
    """Score the nodes of a run's tree that fit the true objects best, each alone.

    Raises:
        InputError: If no training view has ground truth.
    """
    votes = object_votes(run.gaussians, run.capture.train, len(truth.names))
    nodes, _ = best_nodes(run.hierarchy.tree, votes)
    chosen = node_members(run.hierarchy.tree, nodes)
    return ScoredParts(
        run.provenance.scene,
        score_parts(run.gaussians, chosen, truth),
        score_parts(run.gaussians, true_members(votes), truth),
        chosen,
        tuple(nodes.tolist()),
    )


def keep_parts(run: Run, scored: ScoredParts, truth: PartTruth) -> None:
    """Write `parts.json` and `parts.png` into the folder of a run.

    If that cannot be written, or another process is writing to it, a notice says so.
    """
    try:
        with folder_lock(run.folder.path):
            write_json(run.folder.parts, scored.record())
            pictures = part_pictures(run, scored, truth)
            if pictures:
                write_sheet(run.folder.parts_sheet, [pictures])
        return
    except FolderLocked as error:
        reason = f"{error.holder} writes into it"
    except OSError as error:
        reason = reason_of(error)
    notice(f"the scores of the parts are not kept in {run.folder.path} ({reason}).")


def part_pictures(run: Run, scored: ScoredParts, truth: PartTruth) -> list[Picture]:
    """Truth and ours of three objects alone: those with the best, the median and the worst IoU.

    Each is shown in the view where it is largest; there are fewer if fewer objects count.
    """
    order = np.argsort(-scored.ours.iou, kind="stable")
    order = order[~np.isnan(scored.ours.iou[order])]
    if not len(order):
        return []
    pictures = []
    for k in dict.fromkeys(order[[0, len(order) // 2, -1]].tolist()):
        largest = max(truth.alone[k], key=lambda each: int(each.inside.sum()))
        camera = truth.views[largest.view].camera
        true = 1 - largest.placed(1 - largest.colours.astype(np.float32), camera)
        ours = render_part(run.gaussians, scored.chosen[k], camera)[..., :3]
        name = truth.names[k].rpartition("/")[2]
        pictures.append(Picture(f"{name}, true", around(true, largest)))
        pictures.append(Picture(f"{name}, run", around(ours.astype(np.float32), largest)))
    return pictures


def parts_table(scored: ScoredParts) -> RenderableType:
    """Table of the scores for the terminal: means over objects, and the objects with the worst."""
    table = Table(title="Parts alone, means over objects", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for heading, _ in COLUMNS.values():
        table.add_column(heading, justify="right")
    table.add_row("this run", *_cells(scored.ours.means()), style="bold")
    table.add_row("true labels", *_cells(scored.ceiling.means()))
    rows = scored.ours.record()["objects"]
    known = [k for k in np.argsort(scored.ours.iou, kind="stable") if scored.ours.views[k]]
    table.add_section()
    table.add_row(Text("The worst", style="dim"))
    for k in known[:WORST]:
        name = scored.ours.names[k]
        table.add_row(Text(name), *_cells(rows[name]))
    note = (
        f"{len(known)} of {len(rows)} objects have {FEWEST_PIXELS} pixels in a held-out view. "
        "PSNR alone is against the object lit as if alone, PSNR in scene against the object lit as "
        "in its scene (pixels that training views see), PSNR photo against the photo."
    )
    return Group(table, Text(note, style="dim"))


def _cells(scores: dict[str, float | None]) -> list[str]:
    values = ((scores[name], digits) for name, (_, digits) in COLUMNS.items())
    return ["-" if value is None else f"{value:.{digits}f}" for value, digits in values]


def around(picture: Float[np.ndarray, "H W 3"], alone: AloneView) -> Float[np.ndarray, "S S 3"]:
    """Square of a picture around an object, white beyond the picture."""
    return Window.around(alone.top, alone.left, *alone.inside.shape).cut(picture)
