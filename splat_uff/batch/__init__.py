"""Batches: many captures, each trained by a process of its own, here or on a Ray cluster."""
