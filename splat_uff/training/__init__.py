"""Training from end to end: its inputs, its stages in order, and their clock."""
