"""Segments as a coloured point cloud, with a box around each, for any tool that reads `.ply`."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from splat_uff.system.files import replacing


def write_cloud(
    path: Path, positions: Float[np.ndarray, "N 3"], colours: Float[np.ndarray, "N 3"]
) -> None:
    """Write centres as points in the colours of their segments."""
    import open3d as o3d

    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(positions))
    cloud.colors = o3d.utility.Vector3dVector(colours)
    with replacing(path) as temporary:
        o3d.io.write_point_cloud(str(temporary), cloud)


def write_boxes(
    path: Path,
    positions: Float[np.ndarray, "N 3"],
    segments: Int[np.ndarray, "N"],
    colours: Float[np.ndarray, "N 3"],
) -> None:
    """Write the edges of the box around the centres of each segment as lines in its colour."""
    import open3d as o3d

    edges = o3d.geometry.LineSet()
    for segment in np.unique(segments):
        inside = segments == segment
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(positions[inside]))
        box = cloud.get_axis_aligned_bounding_box()
        box.color = colours[inside][0]
        edges += o3d.geometry.LineSet.create_from_axis_aligned_bounding_box(box)
    with replacing(path) as temporary:
        o3d.io.write_line_set(str(temporary), edges)
