"""Training from end to end: what goes in, the stages one after the other, and their clock."""
