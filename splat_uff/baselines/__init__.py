"""The methods that the paper compares with, on the same Gaussians: SAM, SAM3D, LSeg, DFF, LeRF."""
