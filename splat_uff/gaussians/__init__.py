"""The Gaussians record, its initialisation, photometric fit and files."""
