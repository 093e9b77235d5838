"""Choice of what an export writes."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, get_args

import tyro

PartFormat: TypeAlias = Literal["ply", "splat", "compressed-ply", "spz", "sog", "glb"]
PART_FORMATS: tuple[PartFormat, ...] = get_args(PartFormat)
Kind: TypeAlias = Literal["parts", "scene", "cloud", "labels", "glb", "usd", "layers", "collision"]
KINDS: tuple[Kind, ...] = ("parts", "scene", "cloud", "labels")
"""Kinds of files that are written unless others are chosen."""
Up: TypeAlias = Literal["as it is", "auto", "x", "-x", "y", "-y", "z", "-z"]


@dataclass(frozen=True)
class Export:
    """What an export writes."""

    segments: int = 20
    """Number of parts to cut the scene into, one file of Gaussians each."""
    nodes: tuple[int, ...] = ()
    """Nodes of the tree to write as parts instead, numbered as in hierarchy.json."""
    levels: tuple[int, ...] = (5, 20, 100)
    """Numbers of segments in labelled files (scene.ply, scene.glb, clouds, boxes, label pictures).
    """
    format: PartFormat = "ply"
    """Format of the parts, and of a second file of the whole scene; ply keeps every column, the
    others are for viewers, games and web pages, and smaller."""
    only: tuple[Kind, ...] = ()
    """Kinds of files to write; the default is parts, scene, cloud and labels. hierarchy.json is
    always written."""
    also: tuple[Kind, ...] = ()
    """Kinds of files to write beside those: glb (glTF with the tree), usd (OpenUSD, nested as the
    tree), layers (a folder to drop into SuperSplat), collision (convex meshes of the parts)."""
    up: Up = "as it is"
    """Axis of the splats that points up. The files are then turned upright, which each format
    states in its own way (-y in .ply, .splat and .sog, +y in .spz, glTF and OpenUSD); auto takes
    the axis from the cameras. As it is, splats keep their axes."""
    scale_to: Annotated[float, tyro.conf.arg(metavar="LENGTH")] = 0.0
    """Length that the longest side of the scene gets, for example in metres, without the outermost
    1% of the Gaussians on either side; 0 keeps the unit of the splats."""

    clean: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Split Gaussians that lie across borders of segments, and fit all to the photos and to the
    borders for a few steps, so that parts come without their neighbours' fringe. The run stays as
    it is; how many were split is printed, and kept in hierarchy.json."""
    without_floaters: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Leave floaters out of all files: Gaussians by themselves, in front of what photos show."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds of files to write."""
        return tuple(dict.fromkeys((*(self.only or KINDS), *self.also)))
