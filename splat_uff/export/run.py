"""Export of a finished run to a folder of standard files."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from splat_uff import __version__
from splat_uff.evaluate.score import scored_camera
from splat_uff.export.clean import clean_run
from splat_uff.export.cloud import write_boxes, write_cloud
from splat_uff.export.config import Export
from splat_uff.export.frame import export_frame
from splat_uff.export.labels import preview_names, write_label_pngs
from splat_uff.export.layers import file_name, painted, write_layers
from splat_uff.export.level import Level
from splat_uff.export.splats import (
    PART_ENDINGS,
    choose_origin,
    move_origin,
    warn_of_clipped_scales,
    whole_labels,
    with_labels,
    write_splats,
)
from splat_uff.export.tree import describe_tree
from splat_uff.formats.ply import write_ply
from splat_uff.gaussians.precision import NO_ORIGIN
from splat_uff.gaussians.similarity import move_table
from splat_uff.gaussians.source import centres_of
from splat_uff.hierarchy.labels import Parties, blended_votes, label_maps
from splat_uff.hierarchy.segments import largest_first
from splat_uff.run.node_names import read_names
from splat_uff.run.open import Run, check_segments
from splat_uff.system.errors import InputError
from splat_uff.system.files import replacing_folder, require_apart, require_new, write_json
from splat_uff.system.progress import notice, track

MOST_GLB_LEVELS = 4
"""Levels that a glTF of the scene holds, those with the fewest segments."""
NODE_KINDS = frozenset({"parts", "layers", "collision"})
"""Kinds of files that chosen nodes change."""
UNSEEN = -20.0
"""Logit of an opacity of nothing."""


def export_run(run: Run, output: Path, wanted: Export = Export()) -> list[Path]:
    """Write parts of a run, or all of it, as standard files in the frame of the capture.

    If the Gaussians came from a file of their own, the exported ones are in the frame of that file,
    unless they are to be turned or scaled.

    * `parts/`: one file of Gaussians per segment, the largest first;
    * `scene.ply`: all Gaussians in their order, with a column `segment_K` for each level K, 0 in
      rows of the original file that cannot be drawn, and in another format than `ply` a second
      file;
    * `cloud_K.ply`, `boxes_K.ply`: centres in the colours of their segments, and their boxes;
    * `labels_K/`: label maps of the held-out views, or of the training views if none are held out;
    * `scene.glb`: all Gaussians as glTF, with the segments of up to four levels as feature ids;
    * `scene.usdc`: all Gaussians as OpenUSD, one prim per part, nested as the tree;
    * `layers/`: one `.ply` per part, named as the part, and one in the colours of the parts;
    * `collision/`: one `.obj` of closed convex meshes per part;
    * `clean.png`: three parts before and after their borders were cleaned, if they were;
    * `hierarchy.json`: the tree, and the files and labels of its nodes.

    Args:
        run: Run to export.
        output: Folder to create; it appears whole or not at all.
        wanted: Choice of parts, levels, formats, kinds of files, and frame.

    Returns:
        Files that were written.

    Raises:
        InputError: If a number is out of range, a format needs a package that is not installed, or
            `output` already exists and is not empty.
    """
    require_new(output)
    _check(run, wanted)
    job = _Job(run, wanted)
    with replacing_folder(output) as place:
        record = job.describe()
        for kind, write in _WRITERS.items():
            if kind in wanted.kinds:
                record |= write(job, place) or {}
        if job.clean is not None:
            job.clean.draw(place / "clean.png")
        write_json(place / "hierarchy.json", record)
    return sorted(path for path in output.rglob("*") if path.is_file())


class _Job:
    """What the writers of all kinds of files share."""

    def __init__(self, run: Run, wanted: Export) -> None:
        self.clean = clean_run(run) if wanted.clean else None
        names = read_names(run.folder)
        if self.clean is not None:
            run = self.clean.run
            names = {self.clean.node(node): name for node, name in names.items()}
            nodes = tuple(self.clean.node(node) for node in wanted.nodes)
            wanted = replace(wanted, nodes=nodes)
        self.run, self.wanted, self.names = run, wanted, names
        self.cut = run.nodes(wanted.segments)
        self.kept = _kept(run, wanted)
        self.parts = list(dict.fromkeys(wanted.nodes)) or largest_first(self.cut)
        self.parts = [node for node in self.parts if self.members(node).any()]
        if len(self.parts) < wanted.segments and not wanted.nodes:
            notice(f"{wanted.segments} segments were asked for; the tree has {len(self.parts)}.")
        levels = sorted(set(wanted.levels), reverse=True)
        self.levels = [Level.of(run, level) for level in levels]
        self.frame = export_frame(run, wanted)
        self.table = self._moved(run.table)
        self.origin = NO_ORIGIN
        few_bits = self._formats_of_few_bits()
        if few_bits or {"parts", "scene"} & set(wanted.kinds):
            self.origin = choose_origin(self.table, few_bits[0] if few_bits else "ply")
        if "spz" in few_bits:
            warn_of_clipped_scales(self.table)

    def _formats_of_few_bits(self) -> list[str]:
        """Formats to be written that hold centres of 32 bits at most."""
        wanted, kinds = self.wanted, set(self.wanted.kinds)
        whole = {"parts", "scene"} if wanted.format != "glb" else {"parts"}
        found = [wanted.format] if wanted.format != "ply" and kinds & whole else []
        return found + [kind for kind in ("glb", "collision") if kind in kinds]

    @cached_property
    def nodes(self) -> list[dict[str, Any]]:
        """The tree, as `hierarchy.json` has it."""
        hierarchy = self.run.hierarchy
        return describe_tree(
            hierarchy.tree, centres_of(self.table), self.names, hierarchy.support, self.kept
        )

    def describe(self) -> dict[str, Any]:
        """Contents of `hierarchy.json`, except for the parts."""
        return {
            "version": __version__,
            "scene": self.run.provenance.scene,
            "num_gaussians": int(self.kept.sum()),
            **({"floaters": int((~self.kept).sum())} if self.wanted.without_floaters else {}),
            "source_from_world": (self.frame @ self.run.files_from_world).tolist(),
            "origin": self.origin.tolist(),
            **({} if self.clean is None else {"clean": self.clean.describe()}),
            "parts": [],
            "levels": {str(each.level): each.describe() for each in self.levels},
            "nodes": self.nodes,
        }

    def members(self, node: int) -> Any:
        """Whether each Gaussian is in a part and kept."""
        inside = self.run.members(node) if self.wanted.nodes else self.cut == node
        return inside & self.kept

    @property
    def drawn(self) -> dict[str, Any]:
        """Comments and the way the Gaussians are drawn, for files that can tell."""
        return {"comments": self.run.comments, "antialiased": self.run.gaussians.antialiased}

    def name_of(self, rank: int) -> str:
        """Number of a part, from 1, with as many digits as all have."""
        return f"{rank:0{len(str(len(self.parts)))}d}"

    def whole(self) -> np.ndarray:
        """All kept rows of the splats' file, with a column of labels for each level."""
        columns = {f"segment_{each.level}": each.labels for each in self.levels}
        source = self.run.source
        rows = np.ones(len(source.table), bool)
        rows[source.kept] = self.kept
        return with_labels(self._moved(source.table), whole_labels(columns, source.kept))[rows]

    def _moved(self, table: np.ndarray) -> np.ndarray:
        is_turned = np.abs(self.frame[:3, :3] - self.frame[0, 0] * np.eye(3)).max() > 0
        if is_turned and "f_rest_45" in (table.dtype.names or ()):
            notice("harmonics of degree 4 cannot be turned and are left out of the files.")
        is_moved = not np.array_equal(self.frame, np.eye(4))
        return move_table(table, self.frame) if is_moved else table


def _check(run: Run, wanted: Export) -> None:
    check_segments(wanted.segments)
    for level in wanted.levels:
        if not 1 <= level < 2**16:
            raise InputError(f"a level is {level}; expected a number of segments, 1 to 65535.")
    count = len(run.hierarchy.tree.parents)
    for node in wanted.nodes:
        if not 0 <= node < count:
            raise InputError(
                f"there is no node {node}; expected one of hierarchy.json, below {count}."
            )
    _tell_of_nodes(run, wanted)
    if "usd" in wanted.kinds:
        from splat_uff.export.usd import require_usd

        require_usd()


def _tell_of_nodes(run: Run, wanted: Export) -> None:
    """Say where the files are not what chosen nodes may lead one to expect."""
    if wanted.nodes and not NODE_KINDS & set(wanted.kinds):
        notice(
            f"nodes change only {', '.join(sorted(NODE_KINDS))}, and none of these is written; "
            f"the other files are cut into {wanted.segments} segments."
        )
    parents, chosen = run.hierarchy.tree.parents, set(wanted.nodes)
    for node in sorted(chosen):
        above = node
        while parents[above] != above:
            above = int(parents[above])
            if above in chosen:
                notice(f"node {node} lies inside node {above}; both files have its Gaussians.")
                break


def _kept(run: Run, wanted: Export) -> Bool[np.ndarray, "N"]:
    """Whether each Gaussian is written."""
    if not wanted.without_floaters:
        return np.ones(len(run.gaussians), bool)
    found = run.floaters
    notice(f"{found.sum():,} of {len(found):,} Gaussians are floaters and left out.")
    if wanted.nodes:
        lost = [node for node in wanted.nodes if not (run.members(node) & ~found).any()]
        if lost:
            raise InputError(
                f"node {lost[0]} holds nothing but floaters; leave it out, or keep the floaters."
            )
    return ~found


def _write_parts(job: _Job, place: Path) -> Mapping[str, Any]:
    """Write one file per part; return their entries in `hierarchy.json`."""
    (place / "parts").mkdir()
    format, parts = job.wanted.format, []
    for rank, node in enumerate(track(job.parts, "parts", len(job.parts)), start=1):
        inside = job.members(node)
        name = f"parts/{job.name_of(rank)}{PART_ENDINGS[format]}"
        write_splats(place / name, job.table[inside], format, job.origin, **job.drawn)
        parts.append(
            {
                "file": name,
                "node": node,
                "name": job.names.get(node, ""),
                "size": int(inside.sum()),
            }
        )
    return {"parts": parts}


def _write_scene(job: _Job, place: Path) -> None:
    others = job.run.source.content.others
    write_ply(place / "scene.ply", {"vertex": job.whole(), **others}, job.run.comments)
    format = job.wanted.format
    if format not in ("ply", "glb"):
        path = place / f"scene{PART_ENDINGS[format]}"
        write_splats(path, job.table[job.kept], format, job.origin, **job.drawn)


def _write_clouds(job: _Job, place: Path) -> None:
    positions = centres_of(job.table)[job.kept]
    for level in job.levels:
        labels = level.labels[job.kept]
        colours = level.colours[labels]
        write_cloud(place / f"cloud_{level.level}.ply", positions, colours)
        write_boxes(place / f"boxes_{level.level}.ply", positions, labels, colours)


def _write_labels(job: _Job, place: Path) -> None:
    import torch

    run = job.run
    views = run.capture.val or run.capture.train
    names = [view.name for view in views]
    require_apart(place, names, nested=True)
    previews = preview_names(names)
    for each in job.levels:
        (place / f"labels_{each.level}").mkdir()
    if not job.levels:
        return
    parties = Parties.of(np.stack([each.labels[job.kept] for each in job.levels]))
    gaussians = run.gaussians.subset(torch.from_numpy(job.kept))
    for view in track(views, "labels", len(views)):
        with run.rendering:
            maps = label_maps(blended_votes(gaussians, scored_camera(view)), parties)
        for each, shown in zip(job.levels, maps, strict=True):
            write_label_pngs(
                place / f"labels_{each.level}", view.name, shown, each.colours,
                preview=previews[view.name],
            )  # fmt: skip


def _write_glb(job: _Job, place: Path) -> None:
    from splat_uff.export.glb import write_glb
    from splat_uff.export.node_table import Cut

    levels = sorted(job.levels, key=lambda level: level.level)
    if len(levels) > MOST_GLB_LEVELS:
        notice(
            f"scene.glb holds {MOST_GLB_LEVELS} levels: "
            f"{', '.join(str(each.level) for each in levels[:MOST_GLB_LEVELS])}."
        )
    cuts = [
        Cut(f"segments_{each.level}", each.node_of_each[job.kept])
        for each in levels[:MOST_GLB_LEVELS]
    ]
    write_glb(
        place / "scene.glb", job.table[job.kept], cuts=cuts, nodes=job.nodes,
        colours=job.run.walk.colours, origin=job.origin,
    )  # fmt: skip


def _write_usd(job: _Job, place: Path) -> None:
    from splat_uff.export.usd import write_usd

    parents = job.run.hierarchy.tree.parents
    kept = job.kept
    write_usd(place / "scene.usdc", job.table[kept], job.nodes, job.cut[kept], parents)


def _write_layers(job: _Job, place: Path) -> None:
    colours = {node: job.run.walk.colours[node] for node in job.parts}
    tables = [job.table[job.members(node)] for node in job.parts]
    names = [
        file_name(job.name_of(rank), job.names.get(node, ""))
        for rank, node in enumerate(job.parts, start=1)
    ]
    labels = np.full(len(job.table), -1)
    for rank, node in reversed(list(enumerate(job.parts))):
        labels[job.members(node)] = rank
    palette = np.array([colours[node] for node in job.parts])
    write_layers(place / "layers", names, tables, palette, job.run.comments)
    write_ply(
        place / "layers" / f"{job.name_of(0)} all in colours.ply",
        {"vertex": painted(job.table, labels, palette)},
        job.run.comments,
    )


def _write_collision(job: _Job, place: Path) -> Mapping[str, Any]:
    """Write one `.obj` per part; return what each surrounds, for `hierarchy.json`."""
    from splat_uff.export.collision import collision_pieces, write_collision

    (place / "collision").mkdir()
    table, record = move_origin(job.table, job.origin), []
    if not job.kept.all():
        table = table.copy()
        table["opacity"][~job.kept] = UNSEEN
    for rank, node in enumerate(track(job.parts, "collision", len(job.parts)), start=1):
        found = collision_pieces(table, job.run.walk, node)
        name = f"collision/{job.name_of(rank)}.obj"
        title = f"part_{job.name_of(rank)} {job.names.get(node, '')}".strip()
        write_collision(place / name, found.pieces, title)
        record.append(
            {
                "file": name,
                "node": node,
                "pieces": len(found.pieces),
                "volume": found.volume,
                "share": round(found.share, 4),
            }
        )
    return {"collision": record}


_WRITERS = {
    "parts": _write_parts,
    "scene": _write_scene,
    "cloud": _write_clouds,
    "labels": _write_labels,
    "glb": _write_glb,
    "usd": _write_usd,
    "layers": _write_layers,
    "collision": _write_collision,
}
