"""The tree built over the Gaussians from their features, its cuts, and labels in a view."""
