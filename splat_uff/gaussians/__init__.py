"""The Gaussians: their initialisation, photometric fit and files."""
