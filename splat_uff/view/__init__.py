"""The page on which one plays with the hierarchy, and the one that watches a training (viser)."""
