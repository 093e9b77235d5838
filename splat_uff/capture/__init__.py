"""Captures: posed images, read from the layouts people have."""
