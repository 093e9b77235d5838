"""One feature vector per Gaussian, fitted to the masks by contrastive losses."""

from splat_uff.features.blend import FrozenViews
from splat_uff.features.fit import FeaturesConfig, fit_features

__all__ = ["FeaturesConfig", "FrozenViews", "fit_features"]
