"""Hierarchical, view-consistent 3D segmentation of Gaussian splats."""

import os

__version__ = "0.1.0"

# OpenMP's threads spin while they wait for each other, by default; where another program wants a
# core too, that made the photometric fit 17 times as long. Read when torch and numba load it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
