"""The Gaussians: their initialisation, photometric fit and files."""

from splat_uff.gaussians.fit import GaussiansConfig, fit_gaussians
from splat_uff.gaussians.ply import load_ply, save_ply

__all__ = ["GaussiansConfig", "fit_gaussians", "load_ply", "save_ply"]
