"""Scores, tables and the report."""
