"""One feature vector per Gaussian, fitted to the masks by contrastive losses."""
