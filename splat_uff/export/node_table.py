"""Nodes of a tree as a glTF property table, and segments as feature ids that point into it.

The layout is that of two extensions of glTF 2.0 by Cesium (branch 3d-tiles-next of
https://github.com/CesiumGS/glTF, in extensions/2.0/Vendor): EXT_structural_metadata holds a table
with one column per property, encoded as in the 3D Metadata Specification 1.0
(https://github.com/CesiumGS/3d-tiles/tree/main/specification/Metadata), and EXT_mesh_features
gives every vertex a row of it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from splat_uff.system.errors import InputError
from splat_uff.system.records import array_record

FEATURES = "EXT_mesh_features"
METADATA = "EXT_structural_metadata"
MOST_CUTS = 4
"""Most cuts in a file: their rows fit into one vector of a shader."""
MOST_NODES = 2**24
"""Number of rows that a 32-bit float can count."""
NO_PARENT = -1
NO_SUPPORT = -1.0
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_CLASS = "node"


@array_record
class Cut:
    """A cut of the tree into segments."""

    label: str
    """Name of the cut, for example `segments_20`: letters, digits and underscores."""
    nodes: Int[np.ndarray, "N"]
    """Node of each Gaussian's segment, as numbered in the dendrogram."""


def prune_nodes(nodes: Sequence[Mapping[str, Any]], cuts: Sequence[Cut]) -> list[dict[str, Any]]:
    """Choose the nodes that are segments of some cut, and all nodes above them.

    Args:
        nodes: Nodes as `describe_tree` returns them, parents before children.
        cuts: Cuts of that tree.

    Returns:
        The chosen nodes in the given order, the root first.

    Raises:
        InputError: If a segment is no node of the tree, or a node precedes its parent.
    """
    rows = {int(node["id"]): index for index, node in enumerate(nodes)}
    chosen = np.zeros(len(nodes), bool)
    for cut in cuts:
        for node in np.unique(cut.nodes).tolist():
            if node not in rows:
                raise InputError(
                    f"cut {cut.label} has a segment of node {node}, which the tree lacks; pass "
                    "nodes and cuts of one tree."
                )
            chosen[rows[node]] = True
    for index in range(len(nodes) - 1, -1, -1):
        parent = nodes[index]["parent"]
        if parent is not None and rows.get(int(parent), index) >= index:
            raise InputError(
                f"node {nodes[index]['id']} of the tree does not follow its parent {parent}; pass "
                "the nodes as describe_tree returns them."
            )
        if parent is not None and chosen[index]:
            chosen[rows[int(parent)]] = True
    return [dict(node) for node, kept in zip(nodes, chosen, strict=True) if kept]


def check_cuts(cuts: Sequence[Cut], count: int) -> None:
    """Check that cuts fit into a file of Gaussians.

    Args:
        cuts: Cuts to write.
        count: Number of Gaussians.

    Raises:
        InputError: If there are too many, two have the same label, a label has other characters
            than glTF allows, or a cut is of another number of Gaussians.
    """
    if len(cuts) > MOST_CUTS:
        raise InputError(f"there are {len(cuts)} cuts; a .glb holds {MOST_CUTS} at most.")
    labels = [cut.label for cut in cuts]
    for cut in cuts:
        if not _LABEL.fullmatch(cut.label):
            raise InputError(
                f"{cut.label!r} cannot be the label of a cut; expected letters, digits and "
                "underscores, no digit first."
            )
        if labels.count(cut.label) > 1:
            raise InputError(f"two cuts have the label {cut.label}; give each its own.")
        if len(cut.nodes) != count:
            raise InputError(
                f"cut {cut.label} is of {len(cut.nodes)} Gaussians, and there are {count}; pass "
                "the node of each."
            )


def feature_rows(
    nodes: Sequence[Mapping[str, Any]], cut: Cut
) -> tuple[Int[np.ndarray, "N"], int, int]:
    """Feature ids of a cut.

    Args:
        nodes: Rows of the table, from `prune_nodes`.
        cut: Cut to which the ids belong.

    Returns:
        Row of each Gaussian's segment; the number of segments; and the component type of glTF for
        rows: UNSIGNED_SHORT if they fit, else FLOAT, since attributes have no integers of 32 bits.
    """
    segments, which = np.unique(cut.nodes, return_inverse=True)
    row_of = {int(node["id"]): row for row, node in enumerate(nodes)}
    rows = np.array([row_of[node] for node in segments.tolist()])[which]
    return rows, len(segments), 5123 if len(nodes) <= 2**16 else 5126


def table_columns(
    nodes: Sequence[Mapping[str, Any]], colours: Float[np.ndarray, "T 3"] | None
) -> dict[str, tuple[np.ndarray, ...]]:
    """Columns of the table as they are stored, by the name of their property.

    Args:
        nodes: Rows of the table, from `prune_nodes`.
        colours: sRGB colours in [0, 1] of all nodes of the tree, by node.

    Returns:
        Arrays of each column: its values, and for names also their offsets. Columns that would
        hold nothing, such as names if no node has one, are left out.
    """
    ids = np.array([node["id"] for node in nodes], "<u4")
    row_of = {int(node["id"]): row for row, node in enumerate(nodes)}
    parents = [node["parent"] for node in nodes]
    columns: dict[str, tuple[np.ndarray, ...]] = {
        "id": (ids,),
        "parent": (
            np.array([NO_PARENT if each is None else row_of[each] for each in parents], "<i4"),
        ),
        "height": (np.array([node["height"] for node in nodes], "<f8"),),
        "size": (np.array([node["size"] for node in nodes], "<u4"),),
    }
    if any("support" in node for node in nodes):
        supports = [node.get("support", NO_SUPPORT) for node in nodes]
        columns["support"] = (np.array(supports, "<f4"),)
    names = [str(node["name"]).encode(errors="replace") for node in nodes]
    if any(names):
        offsets = np.concatenate([[0], np.cumsum([len(name) for name in names])])
        columns["name"] = (np.frombuffer(b"".join(names), np.uint8), offsets.astype("<u4"))
    if colours is not None:
        columns["colour"] = (np.rint(np.clip(colours[ids], 0, 1) * 255).astype(np.uint8),)
    return columns


def describe_table(count: int, views: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Extension object of a glTF file with one table.

    Args:
        count: Number of rows.
        views: Buffer views of each column's arrays, as in `table_columns`.
    """
    properties = {
        name: {"values": each[0]}
        | ({"stringOffsets": each[1], "stringOffsetType": "UINT32"} if each[1:] else {})
        for name, each in views.items()
    }
    return {
        "schema": _schema(),
        "propertyTables": [
            {"name": "nodes", "class": _CLASS, "count": count, "properties": properties}
        ],
    }


def _schema() -> dict[str, Any]:
    """Schema of the table, the same in every file; only `id` to `size` are in all of them."""

    def scalar(kind: str, description: str, **others: Any) -> dict[str, Any]:
        return {"type": "SCALAR", "componentType": kind, "description": description} | others

    properties = {
        "id": scalar("UINT32", "Number of the node in the dendrogram.", required=True),
        "parent": scalar("INT32", "Row of the parent; none at the root.", noData=NO_PARENT),
        "height": scalar("FLOAT64", "Height at which the node forms, unitless.", required=True),
        "size": scalar("UINT32", "Number of Gaussians below the node.", required=True),
        "support": scalar("FLOAT32", "Support of the node by the masks.", noData=NO_SUPPORT),
        "name": {"type": "STRING", "description": "Name of the node.", "semantic": "NAME"},
        "colour": {
            "type": "VEC3",
            "componentType": "UINT8",
            "normalized": True,
            "description": "Colour of the node, sRGB.",
        },
    }
    description = "A node of the hierarchy of segments; the root is row 0."
    tree = {"name": "Node", "description": description, "properties": properties}
    return {"id": "splat_uff_tree", "version": "1.0.0", "classes": {_CLASS: tree}}
