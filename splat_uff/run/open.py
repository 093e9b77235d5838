"""A run as a library object: its Gaussians, its tree, and renders and label maps of any view."""

import threading
from contextlib import AbstractContextManager
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.capture import Capture, View, read_capture
from splat_uff.formats.records import marks
from splat_uff.gaussians.floaters import find_floaters
from splat_uff.gaussians.ply import load_ply
from splat_uff.gaussians.similarity import source_splats, split_similarity
from splat_uff.gaussians.source import SourceSplats
from splat_uff.geometry.cameras import Camera
from splat_uff.hierarchy.build import Hierarchy
from splat_uff.hierarchy.dendrogram import Dendrogram
from splat_uff.hierarchy.labels import blended_votes, label_maps
from splat_uff.hierarchy.segments import largest_first, numbered
from splat_uff.hierarchy.walk import Walk
from splat_uff.render import Gaussians
from splat_uff.render.compositing import render_over_white
from splat_uff.run.folder import RunFolder
from splat_uff.run.provenance import (
    Provenance,
    fingerprint_of,
    load_arrays,
    read_metrics,
    read_provenance,
    train_again,
)
from splat_uff.system.errors import InputError, worded
from splat_uff.system.progress import notice
from splat_uff.system.records import array_record

MOST_PARTS = 10_000


@array_record
class Run:
    """A run with its tree: the Gaussians, the tree over them, and the transform to the capture.

    Capture and features are read on first use, metrics on each use.
    """

    folder: RunFolder
    """Folder of the run's files."""
    provenance: Provenance
    """Settings and inputs of the run."""
    gaussians: Gaussians
    """Gaussians in our normalised world."""
    hierarchy: Hierarchy
    """Tree whose leaves are the Gaussians, in the same order."""
    source_from_world: Float[np.ndarray, "4 4"]
    """Similarity from our world to the frame of the capture; scale and translation only."""
    original_from_source: Float[np.ndarray, "4 4"] = field(default_factory=lambda: np.eye(4))
    """Similarity from the frame of the capture to that of the splats' file, if they came from one.
    """
    known_capture: Capture | None = field(default=None, repr=False)
    """Capture of the run, if it has already been read."""
    known_source: SourceSplats | None = field(default=None, repr=False)
    """Rows of the run's splats, if they are not those of its files."""

    @property
    def files_from_world(self) -> Float[np.ndarray, "4 4"]:
        """Similarity from our world to the frame of exported files."""
        return self.original_from_source @ self.source_from_world

    @cached_property
    def capture(self) -> Capture:
        """Photos and cameras on which the run was trained.

        Raises:
            InputError: If the capture has moved or is damaged.
        """
        if self.known_capture is not None:
            return self.known_capture
        data = self.folder.path / self.provenance.data  # An absolute path stays as it is.
        capture = read_capture(data, size=self.provenance.settings.size)
        if fingerprint_of(data, self.folder.path) != self.provenance.fingerprint:
            notice(f"{data} has changed since this run was trained on it.")
        return capture

    @cached_property
    def features(self) -> Float[np.ndarray, "N D"]:
        """One feature per Gaussian.

        Raises:
            InputError: If the features are missing, damaged or from another run.
        """
        path = self.folder.features
        features = load_arrays(path, ("features",))["features"]
        if features.ndim != 2 or features.dtype.kind != "f" or not np.isfinite(features).all():
            raise InputError(f"{path} holds no features; {train_again()}.")
        if len(features) != len(self.gaussians):
            raise InputError(
                f"{path} has {len(features)} rows, {self.folder.gaussians} {len(self.gaussians)} "
                f"Gaussians; {train_again()}."
            )
        return features

    @cached_property
    def floaters(self) -> Bool[np.ndarray, "N"]:
        """Whether each Gaussian is a floater, as `find_floaters` finds them from the photos' views.

        Raises:
            InputError: If the capture has moved or is damaged.
        """
        cameras = [view.camera for view in self.capture.train]
        return find_floaters(self.gaussians, cameras, rendering=self.rendering)

    @property
    def metrics(self) -> dict[str, Any]:
        """Scores currently in `metrics.json`.

        Raises:
            InputError: If the run is not finished, or the file is damaged.
        """
        return read_metrics(self.folder)

    @cached_property
    def rendering(self) -> AbstractContextManager[Any]:
        """Lock that threads sharing the run hold while rendering, for one view at a time.

        Some of numba's threading layers do not support kernels that run concurrently.
        """
        return threading.Lock()

    @cached_property
    def walk(self) -> Walk:
        """Tree of the run, prepared for queries about its nodes."""
        return Walk(self.hierarchy.tree)

    @cached_property
    def source(self) -> SourceSplats:
        """Rows of the run's splats as stored in files, including those that it left out."""
        if self.known_source is not None:
            return self.known_source
        source = source_splats(self.gaussians, self.source_from_world, self.folder.original)
        if source.kept.sum() != len(self.gaussians):
            raise InputError(
                f"{self.folder.original} has {source.kept.sum()} Gaussians, the run "
                f"{len(self.gaussians)}; {train_again()}."
            )
        return source

    @property
    def table(self) -> np.ndarray:
        """One row of 3DGS columns per Gaussian, in the frame of exported files."""
        return self.source.drawn

    @property
    def comments(self) -> list[str]:
        """Comments for the header of an exported `.ply`, with those of the original file."""
        of_file, gaussians = self.source.content.comments, self.gaussians
        return marks(
            of_file, fitted_focal=gaussians.fitted_focal, antialiased=gaussians.antialiased
        )

    def cut(self, num_segments: int) -> Int[np.ndarray, "N"]:
        """Segment of each Gaussian, numbered from 1 with the largest segment first.

        Args:
            num_segments: Number of segments, at least 1; fewer are returned if the tree has fewer.

        Raises:
            InputError: If `num_segments` is out of range.
        """
        check_segments(num_segments)
        nodes = self.nodes(num_segments)
        return numbered(nodes, largest_first(nodes))

    def render(self, camera: Camera) -> Float[np.ndarray, "H W 3"]:
        """Render colours in [0, 1] over white, as seen by a camera in our world."""
        return render_over_white(self.gaussians, camera)

    def label_map(self, camera: Camera, num_segments: int) -> Int[np.ndarray, "H W"]:
        """Label map of what a camera in our world sees, with the labels of `cut`; 0 is none."""
        labels = self.cut(num_segments)
        return label_maps(blended_votes(self.gaussians, camera), labels[None])[0]

    def segment_at(self, view: View, pixel: tuple[int, int], num_segments: int) -> int:
        """Node of the tree seen at a pixel; -1 if there is nothing.

        Args:
            view: View of `capture`.
            pixel: Column and row, counted from the upper left.
            num_segments: Number of segments of the cut.

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
        """Node of each Gaussian's segment, in a cut into at most `num_segments` segments."""
        return self.walk.cut(num_segments)

    def members(self, node: int) -> Bool[np.ndarray, "N"]:
        """Whether each Gaussian lies below a node."""
        inside = np.zeros(len(self.gaussians), bool)
        inside[self.walk.leaves(node)] = True
        return inside


def open_run(path: Path | str, *, finished: bool = False, capture: Capture | None = None) -> Run:
    """Open a run that has a tree.

    Args:
        path: Run folder, for example `runs/drums`.
        finished: Whether to refuse a run whose training is not finished.
        capture: Capture of the run, if it has already been read.

    Raises:
        InputError: If there is no run, or its files are damaged or do not belong together.
    """
    folder = RunFolder(Path(path))
    provenance = read_provenance(folder)
    if finished:
        read_metrics(folder)
    if not folder.hierarchy.is_file():
        raise InputError(
            f"no file {folder.hierarchy}: the run has no hierarchy yet; "
            f"{worded('train(..., resume=True)', command='train --resume')} makes it."
        )
    gaussians, hierarchy = load_ply(folder.gaussians), load_hierarchy(folder)
    if len(gaussians) != hierarchy.tree.num_leaves:
        raise InputError(
            f"{folder.gaussians} has {len(gaussians)} Gaussians, {folder.hierarchy} "
            f"{hierarchy.tree.num_leaves} leaves; {train_again()}."
        )
    arrays = load_arrays(folder.hierarchy, ("source_from_world",))
    source_from_world = arrays["source_from_world"]
    if not _is_unrotated(source_from_world):
        raise InputError(f"{folder.hierarchy} holds no source_from_world; train again.")
    # Runs of earlier versions have none and do not need it.
    original_from_source = arrays.get("original_from_source", np.eye(4))
    if not _is_similarity(original_from_source):
        raise InputError(f"{folder.hierarchy} holds no original_from_source; train again.")
    run = Run(
        folder, provenance, gaussians, hierarchy, source_from_world, original_from_source, capture
    )
    return run if gaussians.fitted_focal else _with_fitted_focal(run)


def _with_fitted_focal(run: Run) -> Run:
    """Complete a run of an earlier version: its Gaussians were fitted at its capture's size."""
    try:
        fitted = with_fitted_focal(run.gaussians, run.capture)
    except InputError as error:
        notice(f"labels are drawn as if at the size of the fit: {error}")
        return run
    return replace(run, gaussians=fitted, known_capture=run.capture)


def with_fitted_focal(gaussians: Gaussians, capture: Capture) -> Gaussians:
    """Assume that Gaussians of unknown size were fitted at the size of a capture."""
    if gaussians.fitted_focal:
        return gaussians
    return replace(gaussians, fitted_focal=capture.focal)


def load_hierarchy(folder: RunFolder) -> Hierarchy:
    """Read the tree of a run.

    Raises:
        InputError: If it is missing or damaged.
    """
    arrays = load_arrays(folder.hierarchy, ("parents", "altitudes", "num_leaves", "shaping"))
    parents, altitudes, shaping = (arrays[name] for name in ("parents", "altitudes", "shaping"))
    if not (
        _is_tree(parents)
        and _are_heights(altitudes, parents)
        and shaping.dtype == bool
        and shaping.shape == tuple(np.atleast_1d(arrays["num_leaves"]))
        and len(shaping) < len(parents)
    ):
        raise InputError(f"{folder.hierarchy} holds no tree; {train_again()}.")
    support = arrays.get("support")  # Only trees by consensus have one.
    if support is not None and not _are_shares(support, parents):
        raise InputError(f"{folder.hierarchy} holds no support of nodes; {train_again()}.")
    return Hierarchy(Dendrogram(parents, altitudes, len(shaping)), shaping, support)


def _are_shares(support: np.ndarray, parents: np.ndarray) -> bool:
    """Whether there is one number from 0 to 1 per node."""
    if support.shape != parents.shape or support.dtype.kind != "f":
        return False
    return bool(((support >= 0) & (support <= 1)).all())  # This excludes NaN, too.


def _are_heights(altitudes: np.ndarray, parents: np.ndarray) -> bool:
    """Whether there is one finite height per node, and none is above its parent's."""
    if altitudes.shape != parents.shape or altitudes.dtype.kind != "f":
        return False
    return bool(np.isfinite(altitudes).all() and (altitudes <= altitudes[parents]).all())


def _is_tree(parents: np.ndarray) -> bool:
    """Whether parents come after their children, and the last node is the root, its own parent."""
    if parents.ndim != 1 or parents.dtype.kind != "i" or len(parents) == 0:
        return False
    nodes, root = np.arange(len(parents)), len(parents) - 1
    rising = (parents[:-1] > nodes[:-1]) & (parents[:-1] <= root)
    return bool(rising.all()) and int(parents[-1]) == root


def _is_similarity(matrix: np.ndarray) -> bool:
    """Whether a matrix only scales, rotates and translates."""
    try:
        split_similarity(matrix, tolerance=1e-6)
    except (ValueError, TypeError, IndexError, np.linalg.LinAlgError):
        return False
    return matrix.shape == (4, 4)


def _is_unrotated(similarity: np.ndarray) -> bool:
    """Whether a matrix only scales and translates."""
    if similarity.shape != (4, 4) or not np.isfinite(similarity).all():
        return False
    scale = float(similarity[0, 0])
    return scale > 0 and np.allclose(similarity[:3, :3], scale * np.eye(3), atol=1e-9 * scale)


def check_segments(number: int) -> None:
    """Check that a number of segments is in range."""
    if not 1 <= number <= MOST_PARTS:
        raise InputError(f"segments is {number}; expected 1 to {MOST_PARTS}.")
