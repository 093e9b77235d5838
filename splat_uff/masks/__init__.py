"""Bags of 2D masks, one per image, and their inclusion trees."""

from splat_uff.masks.folders import read_masks, write_masks
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.masks.simulated import simulate_masks
from splat_uff.masks.tree import build_tree, minimal_parents

__all__ = [
    "MaskSet",
    "MaskTree",
    "build_tree",
    "minimal_parents",
    "read_masks",
    "simulate_masks",
    "write_masks",
]
