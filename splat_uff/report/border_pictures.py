"""Pictures of parts alone, before and after their borders were cleaned."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from splat_uff.capture import View
from splat_uff.capture.images import area_resize, reduced_size
from splat_uff.evaluate.parts import render_part
from splat_uff.gaussians.borders import Cleaned
from splat_uff.geometry.cameras import Camera
from splat_uff.hierarchy.dendrogram import Dendrogram, cut_into
from splat_uff.hierarchy.labels import label_map
from splat_uff.render import Gaussians
from splat_uff.render.compositing import WHITE
from splat_uff.report.pictures import Picture, Window, write_sheet
from splat_uff.system.records import array_record

PARTS = 24
"""Segments of the cut of the tree whose parts may be shown."""
SHOWN = 3
"""Parts that are shown."""
LOOKED_AT = 8
"""Photos from which each part may be shown."""
FEWEST_PIXELS = 200
"""Pixels that a part has at least where it is shown."""
LARGEST_SHARE = 0.25
"""Largest share of the picture that a part may cover; what is larger is a wall or a floor."""
WIDEST = 400
"""Longer side of the views that are rendered, in pixels."""
SOLID = 0.5
"""Accumulated opacity of what belongs to the silhouette."""


@array_record
class _Part:
    """A part alone, in the view where it is largest."""

    view: View
    camera: Camera
    before: Float[np.ndarray, "H W 4"]
    after: Float[np.ndarray, "H W 4"]

    @property
    def change(self) -> float:
        """Pixels by which the opacity changes, for each pixel of the silhouette's outline."""
        return float(np.abs(self.after - self.before)[..., 3].sum()) / np.sqrt(self.inside.sum())

    @property
    def inside(self) -> Bool[np.ndarray, "H W"]:
        """Silhouette before."""
        return self.before[..., 3] >= SOLID

    def pictures(self) -> list[Picture]:
        """Photo, before and after, around the part."""
        photo = area_resize(self.view.composite(WHITE), self.camera.height, self.camera.width)
        window = Window.of(self.inside | (self.after[..., 3] >= SOLID))
        return [
            Picture("photo", window.cut(photo)),
            Picture("as fitted", window.cut(self.before[..., :3])),
            Picture("clean borders", window.cut(self.after[..., :3])),
        ]


def write_border_pictures(
    path: Path,
    tree: Dendrogram,
    gaussians: Gaussians,
    cleaned: Cleaned,
    labels: Int[np.ndarray, "N"],
    views: Sequence[View],
) -> None:
    """Draw the three parts that clean borders changed most, before and after; or none.

    Args:
        path: PNG to write; an existing one is replaced. Nothing is written if no part shows.
        tree: Tree over the N Gaussians.
        gaussians: The N Gaussians before.
        cleaned: Gaussians after.
        labels: Segment of each of the N Gaussians whose borders were cleaned, from 1; a cut of the
            tree.
        views: Photos from which the parts are shown.
    """
    coarse = cut_into(tree, PARTS)
    part_of = np.zeros(max(labels.max(), cleaned.labels.max()) + 1, np.int64)
    part_of[labels] = coarse
    step = -(-len(views) // LOOKED_AT)
    found = []
    for part, view, camera in _where_largest(gaussians, coarse, views[::step]):
        before = render_part(gaussians, coarse == part, camera)
        after = render_part(cleaned.gaussians, part_of[cleaned.labels] == part, camera)
        found.append(_Part(view, camera, before, after))
    found = [each for each in found if each.inside.any()]
    found.sort(key=lambda each: -each.change)
    if found:
        write_sheet(path, [each.pictures() for each in found[:SHOWN]])


def _where_largest(
    gaussians: Gaussians, parts: Int[np.ndarray, "N"], views: Sequence[View]
) -> list[tuple[int, View, Camera]]:
    """View, and camera of the picture, in which each part that can be shown is largest."""
    cameras = [
        view.camera.resized(*reversed(reduced_size(view.camera.height, view.camera.width, WIDEST)))
        for view in views
    ]
    count = parts.max() + 1
    pixels = np.stack(
        [
            np.bincount(label_map(gaussians, camera, parts).ravel(), minlength=count)
            for camera in cameras
        ]
    )
    largest = LARGEST_SHARE * np.array([[camera.height * camera.width] for camera in cameras])
    pixels[(pixels < FEWEST_PIXELS) | (pixels > largest)] = 0
    chosen = pixels.argmax(axis=0)
    return [
        (part, views[chosen[part]], cameras[chosen[part]])
        for part in range(1, count)
        if pixels[chosen[part], part]
    ]
