"""The Gaussians: initialisation, photometric fit and files."""
