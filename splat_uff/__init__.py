"""Hierarchical, view-consistent 3D segmentation of Gaussian splats.

What a notebook needs is here; `__init__.pyi` lists it, each name from the module that has it. It is
imported when first asked for, and torch with it: `import splat_uff` and `splat-uff --help` need
neither.
"""

import os

import lazy_loader

# By default GNU OpenMP's threads spin 300 000 times before they sleep. Where other programs want
# the cores too, that made the photometric fit 17 times as long; so it is 3 times, at no cost where
# they do not. Has to be set before torch and numba load the library.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]
