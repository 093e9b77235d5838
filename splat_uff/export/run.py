"""Export of a finished run to a folder of standard files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff import __version__
from splat_uff.evaluate.score import scored_camera
from splat_uff.export.cloud import write_boxes, write_cloud
from splat_uff.export.labels import preview_names, write_label_pngs
from splat_uff.export.splats import (
    ENDINGS,
    NO_ORIGIN,
    Format,
    choose_origin,
    require_gsply,
    shows,
    whole_labels,
    with_labels,
    write_splats,
)
from splat_uff.export.tree import describe_tree
from splat_uff.formats.ply import write_ply
from splat_uff.gaussians.source import centres_of
from splat_uff.hierarchy.labels import blended_votes, label_maps
from splat_uff.hierarchy.segments import largest_first, numbered
from splat_uff.report.paint import NONE_COLOUR
from splat_uff.run.node_names import read_names
from splat_uff.run.open import Run, check_segments
from splat_uff.system.errors import InputError
from splat_uff.system.files import replacing_folder, require_apart, require_new, write_json
from splat_uff.system.progress import notice, track
from splat_uff.system.records import array_record

Kind = Literal["parts", "scene", "cloud", "labels"]
KINDS: tuple[Kind, ...] = ("parts", "scene", "cloud", "labels")


def export_run(
    run: Run,
    output: Path,
    *,
    segments: int = 20,
    nodes: Sequence[int] = (),
    levels: Sequence[int] = (5, 20, 100),
    format: Format = "ply",
    kinds: Sequence[Kind] = KINDS,
) -> list[Path]:
    """Write parts of a run, or all of it, as standard files in the frame of the capture.

    If the Gaussians came from a file of their own, the exported ones are in the frame of that file.

    * `parts/`: one file of Gaussians per segment, the largest first;
    * `scene.ply`: all Gaussians in their order, with a column `segment_K` for each level K, 0 in
      rows of the original file that cannot be drawn;
    * `cloud_K.ply`, `boxes_K.ply`: centres in the colours of their segments, and their boxes;
    * `labels_K/`: label maps of the held-out views, or of the training views if none are held out;
    * `hierarchy.json`: the tree, and the files and labels of its nodes.

    Args:
        run: Run to export.
        output: Folder to create; it appears whole or not at all.
        segments: Number of parts.
        nodes: Nodes of the tree to write as parts, in place of a number of segments.
        levels: Numbers of segments in the other files; labels count from 1, the largest first.
        format: Format of the parts.
        kinds: Kinds of files to write; `hierarchy.json` is always written.

    Returns:
        Files that were written.

    Raises:
        InputError: If a number is out of range, or `output` already exists and is not empty.
    """
    require_new(output)
    _check(run, segments, nodes, levels, format)
    cut = run.nodes(segments)
    wanted = list(dict.fromkeys(nodes)) or largest_first(cut)
    if len(wanted) < segments and not nodes:
        notice(f"{segments} segments were asked for; the tree has {len(wanted)}.")
    origin = _origin_of(run, format, kinds)
    cuts = [_Level.of(run, level) for level in sorted(set(levels), reverse=True)]
    record = _describe(run, origin)
    with replacing_folder(output) as place:
        if "parts" in kinds:
            members = run.members if nodes else lambda node: cut == node
            record["parts"] = _write_parts(run, place, wanted, members, format, origin)
        if "scene" in kinds:
            _write_scene(run, place, cuts)
        for each in cuts:
            record["levels"][str(each.level)] = each.describe()
            if "cloud" in kinds:
                _write_clouds(run, place, each)
        if "labels" in kinds:
            _write_labels(run, place, cuts)
        write_json(place / "hierarchy.json", record)
    return sorted(path for path in output.rglob("*") if path.is_file())


def _origin_of(run: Run, format: Format, kinds: Sequence[Kind]) -> Float[np.ndarray, "3"]:
    """Origin that the coordinates in the files are relative to."""
    if not {"parts", "scene"} & set(kinds):
        return NO_ORIGIN
    return choose_origin(run.table, format if "parts" in kinds else "ply")


def _describe(run: Run, origin: Float[np.ndarray, "3"]) -> dict[str, Any]:
    """Contents of `hierarchy.json`, except for parts and levels."""
    tree, support = run.hierarchy.tree, run.hierarchy.support
    nodes = describe_tree(tree, centres_of(run.table), read_names(run.folder), support)
    return {
        "version": __version__,
        "scene": run.provenance.scene,
        "num_gaussians": len(run.table),
        "source_from_world": run.files_from_world.tolist(),
        "origin": origin.tolist(),
        "parts": [],
        "levels": {},
        "nodes": nodes,
    }


@array_record
class _Level:
    """Cut into a number of segments, the largest first."""

    level: int
    """Requested number of segments."""
    nodes: Sequence[int]
    """Node of each segment."""
    labels: Int[np.ndarray, "N"]
    """Segment of each Gaussian, from 1."""
    colours: Float[np.ndarray, "_ 3"]
    """Colour of each label, including 0."""

    @staticmethod
    def of(run: Run, level: int) -> "_Level":
        nodes = run.nodes(level)
        order = largest_first(nodes)
        colours = np.concatenate([NONE_COLOUR[None], run.walk.colours[order]])
        return _Level(level, order, numbered(nodes, order), colours)

    def describe(self) -> list[dict[str, Any]]:
        """Label, node and colour of each segment, for `hierarchy.json`."""
        return [
            {"label": rank, "node": node, "colour": self.colours[rank].round(4).tolist()}
            for rank, node in enumerate(self.nodes, start=1)
        ]


def _write_parts(
    run: Run,
    place: Path,
    nodes: Sequence[int],
    members: Callable[[int], Bool[np.ndarray, "N"]],
    format: Format,
    origin: Float[np.ndarray, "3"],
) -> list[dict[str, Any]]:
    """Write one file per node; return their entries in `hierarchy.json`."""
    (place / "parts").mkdir()
    table, names, parts = run.table, read_names(run.folder), []
    digits = len(str(len(nodes)))
    for rank, node in enumerate(track(nodes, "parts", len(nodes)), start=1):
        inside = members(node)
        name = f"parts/{rank:0{digits}d}{ENDINGS[format]}"
        if format == "compressed-ply" and not shows(table[inside]).any():
            notice(f"no Gaussian of {name} shows, so there is no such file.")
            continue
        write_splats(place / name, table[inside], format, origin, comments=run.comments)
        size = int(inside.sum())
        parts.append({"file": name, "node": node, "name": names.get(node, ""), "size": size})
    return parts


def _check(
    run: Run, segments: int, nodes: Sequence[int], levels: Sequence[int], format: Format
) -> None:
    if format == "spz":
        require_gsply()
    check_segments(segments)
    for level in levels:
        if not 1 <= level < 2**16:
            raise InputError(f"a level is {level}; expected a number of segments, 1 to 65535.")
    count = len(run.hierarchy.tree.parents)
    for node in nodes:
        if not 0 <= node < count:
            raise InputError(
                f"there is no node {node}; expected one of hierarchy.json, below {count}."
            )


def _write_scene(run: Run, place: Path, cuts: Sequence[_Level]) -> None:
    columns = {f"segment_{each.level}": each.labels for each in cuts}
    whole = with_labels(run.source.table, whole_labels(columns, run.source.kept))
    write_ply(place / "scene.ply", {**run.source.content.others, "vertex": whole}, run.comments)


def _write_clouds(run: Run, place: Path, cut: _Level) -> None:
    positions, painted = centres_of(run.table), cut.colours[cut.labels]
    write_cloud(place / f"cloud_{cut.level}.ply", positions, painted)
    write_boxes(place / f"boxes_{cut.level}.ply", positions, cut.labels, painted)


def _write_labels(run: Run, place: Path, cuts: Sequence[_Level]) -> None:
    views = run.capture.val or run.capture.train
    names = [view.name for view in views]
    require_apart(place, names, nested=True)
    previews = preview_names(names)
    for each in cuts:
        (place / f"labels_{each.level}").mkdir()
    stacked = np.stack([each.labels for each in cuts])
    for view in track(views, "labels", len(views)):
        with run.rendering:
            maps = label_maps(blended_votes(run.gaussians, scored_camera(view)), stacked)
        for each, shown in zip(cuts, maps, strict=True):
            write_label_pngs(
                place / f"labels_{each.level}", view.name, shown, each.colours,
                preview=previews[view.name],
            )  # fmt: skip
