"""The metrics: what a run is worth on its held-out views, and what any label maps are worth."""
