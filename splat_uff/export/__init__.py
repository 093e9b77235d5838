"""What can be taken away from a run: standard files, in the frame of the capture."""
