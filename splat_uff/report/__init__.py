"""The report of a run: one page and one picture to look at."""
