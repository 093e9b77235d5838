"""Foundations of all rooms: errors, files, memory, progress, checkpoints and observers."""
