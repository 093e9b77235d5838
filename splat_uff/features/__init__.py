"""One feature vector per Gaussian, fitted to the masks with contrastive losses."""
