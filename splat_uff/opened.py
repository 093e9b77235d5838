"""A finished run as a library sees it, and what can be taken away from it."""

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff import __version__
from splat_uff.cameras import Camera
from splat_uff.capture import Capture, View, read_capture
from splat_uff.errors import InputError, worded
from splat_uff.evaluate.palette import NONE_COLOUR
from splat_uff.evaluate.score import render_over_white, scored_camera
from splat_uff.export.cloud import write_boxes, write_cloud
from splat_uff.export.labels import preview_names, write_label_pngs
from splat_uff.export.splats import (
    ENDINGS,
    NO_ORIGIN,
    Format,
    choose_origin,
    require_gsply,
    shows,
    source_splats,
    whole_labels,
    with_labels,
    write_splats,
)
from splat_uff.export.tree import describe_tree, largest_first, ranked
from splat_uff.files import replacing_folder, require_apart, require_new, write_json
from splat_uff.gaussians.foreign import split_similarity
from splat_uff.gaussians.ply import load_ply
from splat_uff.gaussians.source import SourceSplats, centres_of
from splat_uff.hierarchy.build import Hierarchy
from splat_uff.hierarchy.labels import blended_votes, label_maps
from splat_uff.hierarchy.walk import Walk
from splat_uff.names import read_names
from splat_uff.progress import notice, track
from splat_uff.render import Gaussians
from splat_uff.run import Provenance, Run, load_arrays, read_provenance, train_again
from splat_uff.stages import load_hierarchy

Kind = Literal["parts", "scene", "cloud", "labels"]
KINDS: tuple[Kind, ...] = ("parts", "scene", "cloud", "labels")
MOST_PARTS = 10_000


@dataclass(frozen=True)
class OpenedRun:
    """Gaussians, their tree, and the way back to the frame of the capture."""

    run: Run
    provenance: Provenance
    gaussians: Gaussians
    """In our normalised world."""
    hierarchy: Hierarchy
    source_from_world: Float[np.ndarray, "4 4"]
    """Of the capture; scale and translation only."""
    original_from_source: Float[np.ndarray, "4 4"] = field(default_factory=lambda: np.eye(4))
    """From the frame of the capture to that of the splats' own file, where they came from one."""

    @property
    def files_from_world(self) -> Float[np.ndarray, "4 4"]:
        """Similarity from our world to the frame of exported files."""
        return self.original_from_source @ self.source_from_world

    @cached_property
    def capture(self) -> Capture:
        """The photos and cameras that it was trained on, read when first asked for."""
        return read_capture(Path(self.provenance.data), size=self.provenance.settings.size)

    @cached_property
    def rendering(self) -> AbstractContextManager[Any]:
        """Held while views are rendered, by threads that share the run, and for one view at a time.

        Not all of numba's threading layers bear kernels that run side by side.
        """
        return threading.Lock()

    @cached_property
    def walk(self) -> Walk:
        """The tree, prepared for questions about its nodes."""
        return Walk(self.hierarchy.tree)

    @cached_property
    def source(self) -> SourceSplats:
        """All rows of the run's splats as files have them, those that it left out included."""
        source = source_splats(self.gaussians, self.source_from_world, self.run.original)
        if source.kept.sum() != len(self.gaussians):
            raise InputError(
                f"{self.run.original} has {source.kept.sum()} Gaussians, the run "
                f"{len(self.gaussians)}; {train_again()}."
            )
        return source

    @property
    def table(self) -> np.ndarray:
        """One row of 3DGS columns per Gaussian, in the frame of exported files."""
        return self.source.drawn

    def cut(self, num_segments: int) -> Int[np.ndarray, "N"]:
        """Segment of each Gaussian, from 1, the largest segment first.

        Args:
            num_segments: How many segments; fewer come back where the tree has no more.

        Raises:
            InputError: If it is below 1.
        """
        _check_segments(num_segments)
        nodes = self.nodes(num_segments)
        return ranked(nodes, largest_first(nodes))

    def render(self, camera: Camera) -> Float[np.ndarray, "H W 3"]:
        """Colours in [0, 1] that a camera in our world sees, over white."""
        return render_over_white(self.gaussians, camera)

    def label_map(self, camera: Camera, num_segments: int) -> Int[np.ndarray, "H W"]:
        """Segment of each pixel that a camera in our world sees, as `cut` has it; 0 is none."""
        labels = self.cut(num_segments)
        return label_maps(blended_votes(self.gaussians, camera), labels[None])[0]

    def segment_at(self, view: View, pixel: tuple[int, int], num_segments: int) -> int:
        """Node of the tree that one sees at a pixel; -1 where there is nothing.

        Args:
            view: Of `capture`.
            pixel: Column and row, from the upper left.
            num_segments: Granularity.

        Raises:
            InputError: If the pixel lies outside the view.
        """
        x, y = pixel
        camera = view.camera
        if not (0 <= x < camera.width and 0 <= y < camera.height):
            raise InputError(
                f"pixel {x}, {y} is outside of {view.name}; it has {camera.width} x "
                f"{camera.height} pixels."
            )
        label = int(self.label_map(camera, num_segments)[y, x])
        return largest_first(self.nodes(num_segments))[label - 1] if label else -1

    def nodes(self, num_segments: int) -> Int[np.ndarray, "N"]:
        """Node of the segment that each Gaussian is in, of at most so many segments."""
        return self.walk.cut(num_segments)

    def members(self, node: int) -> Bool[np.ndarray, "N"]:
        """Which Gaussians lie below a node."""
        inside = np.zeros(len(self.gaussians), bool)
        inside[self.walk.leaves(node)] = True
        return inside


def open_run(folder: Path | str) -> OpenedRun:
    """Open a run that has a hierarchy.

    Raises:
        InputError: If there is none, or its files are damaged or do not belong together.
    """
    run = Run(Path(folder))
    provenance = read_provenance(run)
    if not run.hierarchy.is_file():
        raise InputError(
            f"no file {run.hierarchy}: the run has no hierarchy yet; "
            f"{worded('train(..., resume=True)', command='train --resume')} makes it."
        )
    gaussians, hierarchy = load_ply(run.gaussians), load_hierarchy(run)
    if len(gaussians) != hierarchy.tree.num_leaves:
        raise InputError(
            f"{run.gaussians} has {len(gaussians)} Gaussians, {run.hierarchy} "
            f"{hierarchy.tree.num_leaves} leaves; {train_again()}."
        )
    arrays = load_arrays(run.hierarchy, ("source_from_world",))
    source_from_world = arrays["source_from_world"]
    if not _is_unrotated(source_from_world):
        raise InputError(f"{run.hierarchy} holds no source_from_world; train again.")
    # Runs of earlier versions have none, and need none.
    original_from_source = arrays.get("original_from_source", np.eye(4))
    if not _is_similarity(original_from_source):
        raise InputError(f"{run.hierarchy} holds no original_from_source; train again.")
    return OpenedRun(run, provenance, gaussians, hierarchy, source_from_world, original_from_source)


def export_run(
    opened: OpenedRun,
    output: Path,
    *,
    segments: int = 20,
    nodes: Sequence[int] = (),
    levels: Sequence[int] = (5, 20, 100),
    format: Format = "ply",
    kinds: Sequence[Kind] = KINDS,
) -> list[Path]:
    """Write parts of a run, or all of it, as standard files in the frame of the capture.

    Those of splats from elsewhere are in the frame of their own file, as it had them.

    * `parts/`: one file of Gaussians per segment, the largest first;
    * `scene.ply`: all Gaussians in their order, with a column `segment_K` for each level K, 0 in
      rows of the original file that cannot be drawn;
    * `cloud_K.ply`, `boxes_K.ply`: centres in the colours of their segments, and their boxes;
    * `labels_K/`: label maps of the held-out views, or of the training views where there are none;
    * `hierarchy.json`: the tree, and which file and which label belongs to which node.

    Args:
        opened: The run.
        output: New folder; appears whole or not at all.
        segments: Number of parts.
        nodes: Nodes of the tree to write as parts, in place of a number of segments.
        levels: Numbers of segments of the other files; labels count from 1, the largest first.
        format: Of the parts.
        kinds: What to write; `hierarchy.json` always is.

    Returns:
        The files written.

    Raises:
        InputError: If a number is out of range, or something stands at `output`.
    """
    require_new(output)
    if format == "spz":
        require_gsply()
    tree = opened.hierarchy.tree
    _check(opened, segments, nodes, levels)
    chosen = opened.nodes(segments)
    wanted = list(dict.fromkeys(nodes)) or largest_first(chosen)
    if not nodes and len(wanted) < segments:
        notice(f"{segments} segments were asked for; the tree has {len(wanted)}.")
    names = read_names(opened.run)
    table = opened.table
    positions = centres_of(table)
    splats = {"parts", "scene"} & set(kinds)
    origin = choose_origin(table, format if "parts" in kinds else "ply") if splats else NO_ORIGIN
    record: dict[str, Any] = {
        "version": __version__,
        "scene": opened.provenance.scene,
        "num_gaussians": len(table),
        "source_from_world": opened.files_from_world.tolist(),
        "origin": origin.tolist(),
        "parts": [],
        "levels": {},
        "nodes": describe_tree(tree, positions, names, opened.hierarchy.support),
    }
    ordered = sorted(set(levels), reverse=True)
    ranks = {level: largest_first(opened.nodes(level)) for level in ordered}
    labels = {level: ranked(opened.nodes(level), ranks[level]) for level in ordered}
    colours = {
        level: np.concatenate([NONE_COLOUR[None], opened.walk.colours[ranks[level]]])
        for level in ordered
    }
    with replacing_folder(output) as place:
        if "parts" in kinds:
            (place / "parts").mkdir()
            digits = len(str(len(wanted)))
            for rank, node in enumerate(track(wanted, "parts", len(wanted)), start=1):
                inside = opened.members(node) if nodes else chosen == node
                name = f"parts/{rank:0{digits}d}{ENDINGS[format]}"
                if format == "compressed-ply" and not shows(table[inside]).any():
                    notice(f"no Gaussian of {name} shows, so there is no such file.")
                    continue
                write_splats(
                    place / name, table[inside], format, origin,
                    fitted_focal=opened.gaussians.fitted_focal,
                )  # fmt: skip
                record["parts"].append(
                    {
                        "file": name,
                        "node": node,
                        "name": names.get(node, ""),
                        "size": int(inside.sum()),
                    }
                )
        if "scene" in kinds:
            source = opened.source
            columns = {f"segment_{level}": labels[level] for level in ordered}
            whole = with_labels(source.table, whole_labels(columns, source.kept))
            write_splats(
                place / "scene.ply", whole, "ply", fitted_focal=opened.gaussians.fitted_focal
            )
        for level in ordered:
            record["levels"][str(level)] = [
                {"label": rank, "node": node, "colour": colours[level][rank].round(4).tolist()}
                for rank, node in enumerate(ranks[level], start=1)
            ]
            if "cloud" in kinds:
                painted = colours[level][labels[level]]
                write_cloud(place / f"cloud_{level}.ply", positions, painted)
                write_boxes(place / f"boxes_{level}.ply", positions, labels[level], painted)
        if "labels" in kinds:
            _write_labels(opened, place, labels, colours)
        write_json(place / "hierarchy.json", record)
    return sorted(path for path in output.rglob("*") if path.is_file())


def _check(opened: OpenedRun, segments: int, nodes: Sequence[int], levels: Sequence[int]) -> None:
    _check_segments(segments)
    for level in levels:
        if not 1 <= level < 2**16:
            raise InputError(f"a level is {level}; expected a number of segments, 1 to 65535.")
    count = len(opened.hierarchy.tree.parents)
    for node in nodes:
        if not 0 <= node < count:
            raise InputError(
                f"there is no node {node}; expected one of hierarchy.json, below {count}."
            )


def _is_similarity(matrix: np.ndarray) -> bool:
    """Whether it scales, turns and moves, and nothing else."""
    try:
        split_similarity(matrix, tolerance=1e-6)
    except (ValueError, TypeError, IndexError, np.linalg.LinAlgError):
        return False
    return matrix.shape == (4, 4)


def _is_unrotated(similarity: np.ndarray) -> bool:
    """Whether it only scales and moves."""
    if similarity.shape != (4, 4) or not np.isfinite(similarity).all():
        return False
    scale = float(similarity[0, 0])
    return scale > 0 and np.allclose(similarity[:3, :3], scale * np.eye(3), atol=1e-9 * scale)


def _check_segments(number: int) -> None:
    if not 1 <= number <= MOST_PARTS:
        raise InputError(f"segments is {number}; expected 1 to {MOST_PARTS}.")


def _write_labels(
    opened: OpenedRun,
    place: Path,
    labels: dict[int, Int[np.ndarray, "N"]],
    colours: dict[int, Float[np.ndarray, "_ 3"]],
) -> None:
    views = opened.capture.val or opened.capture.train
    names = [view.name for view in views]
    require_apart(place, names, nested=True)
    previews = preview_names(names)
    for level in labels:
        (place / f"labels_{level}").mkdir()
    stacked = np.stack(list(labels.values()))
    for view in track(views, "labels", len(views)):
        with opened.rendering:
            maps = label_maps(blended_votes(opened.gaussians, scored_camera(view)), stacked)
        for level, shown in zip(labels, maps, strict=True):
            write_label_pngs(
                place / f"labels_{level}", view.name, shown, colours[level],
                preview=previews[view.name],
            )  # fmt: skip
