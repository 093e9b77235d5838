"""The page for exploring the hierarchy, and the page that follows a training (viser)."""
