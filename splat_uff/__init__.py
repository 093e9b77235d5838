"""Hierarchical, view-consistent 3D segmentation of Gaussian splats.

`__init__.pyi` lists the public names and the modules that define them. They are imported on first
use, and torch with them, so `import splat_uff` and `splat-uff --help` stay fast.
"""

import os

import lazy_loader

# By default, GNU OpenMP's threads spin 300 000 times before they sleep. With other programs
# competing for the cores, that made the photometric fit take 17 times as long; this setting brings
# it down to 3 times, at no cost on an idle machine. It must be set before torch and numba load the
# library.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
