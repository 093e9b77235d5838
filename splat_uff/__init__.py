"""Hierarchical, view-consistent 3D segmentation of Gaussian splats."""

__version__ = "0.1.0"
