"""The run folder: what is where, what it was made with, how it is begun and opened."""
