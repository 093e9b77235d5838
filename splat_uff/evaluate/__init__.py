"""The metrics: scores of a run on its held-out views, and of the label maps of any method."""
