"""From features to one tree over the Gaussians, its cuts, and labels in a view."""
