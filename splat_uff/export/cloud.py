"""Segments as a coloured point cloud, with a box around each, for any tool that reads `.ply`."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from splat_uff.capture.images import to_bytes
from splat_uff.formats.ply import write_ply

PLACE = [(axis, "f8") for axis in "xyz"]
COLOUR = [(channel, "u1") for channel in ("red", "green", "blue")]
EDGE = [("vertex1", "i4"), ("vertex2", "i4")]
"""Columns of an edge, as Open3D and Blender name them."""
_CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
"""Corners of a box as sides of each axis: 0 is the lower one."""
_EDGES = np.array([[a, a | bit] for a in range(8) for bit in (1, 2, 4) if not a & bit])
"""The 12 edges of a box as rows of `_CORNERS`."""


def write_cloud(
    path: Path, positions: Float[np.ndarray, "N 3"], colours: Float[np.ndarray, "N 3"]
) -> None:
    """Write centres as points in the colours of their segments."""
    rows = np.empty(len(positions), [*PLACE, *COLOUR])
    _fill(rows, PLACE, positions)
    _fill(rows, COLOUR, to_bytes(colours))
    write_ply(path, {"vertex": rows})


def write_boxes(
    path: Path,
    positions: Float[np.ndarray, "N 3"],
    segments: Int[np.ndarray, "N"],
    colours: Float[np.ndarray, "N 3"],
) -> None:
    """Write the edges of the box around the centres of each segment as lines in its colour."""
    corners, edges, tones = [], [], []
    for segment in np.unique(segments):
        inside = segments == segment
        ends = np.stack([positions[inside].min(axis=0), positions[inside].max(axis=0)])
        edges.append(_EDGES + 8 * len(corners))
        corners.append(ends[_CORNERS, np.arange(3)])
        tones.append(np.broadcast_to(colours[inside][0], (12, 3)))
    points = np.empty(8 * len(corners), PLACE)
    lines = np.empty(12 * len(corners), [*EDGE, *COLOUR])
    if corners:
        _fill(points, PLACE, np.concatenate(corners))
        _fill(lines, EDGE, np.concatenate(edges))
        _fill(lines, COLOUR, to_bytes(np.concatenate(tones)))
    write_ply(path, {"vertex": points, "edge": lines})


def _fill(rows: np.ndarray, columns: list[tuple[str, str]], values: np.ndarray) -> None:
    for (name, _), column in zip(columns, values.T, strict=True):
        rows[name] = column
