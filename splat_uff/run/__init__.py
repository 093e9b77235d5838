"""The run folder: its files, the settings it was made with, and how to begin and open a run."""
