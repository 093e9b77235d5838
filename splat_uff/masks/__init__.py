"""Bags of 2D masks, one per image, and their inclusion trees."""
