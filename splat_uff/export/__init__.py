"""Export of a run to standard files, in the frame of the capture."""
