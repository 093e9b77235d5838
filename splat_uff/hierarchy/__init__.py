"""From features to one tree over the Gaussians, its cuts, and labels in a view."""

from splat_uff.hierarchy.build import Hierarchy, HierarchyConfig, build_hierarchy
from splat_uff.hierarchy.dendrogram import Dendrogram, cut, cut_into, segment_counts
from splat_uff.hierarchy.labels import Votes, blended_votes, label_maps, nearest_votes

__all__ = [
    "Dendrogram",
    "Hierarchy",
    "HierarchyConfig",
    "Votes",
    "blended_votes",
    "build_hierarchy",
    "cut",
    "cut_into",
    "label_maps",
    "nearest_votes",
    "segment_counts",
]
