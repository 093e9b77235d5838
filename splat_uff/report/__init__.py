"""The report of a run: tables, curves and pictures, on one page and in one overview image."""
