"""Hierarchical, view-consistent 3D segmentation of Gaussian splats."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splat_uff.export.run import export_run
    from splat_uff.run.open import Run, open_run
    from splat_uff.turntable import write_turntable

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "export_run", "open_run", "write_turntable"]

# By default GNU OpenMP's threads spin 300 000 times before they sleep. Where other programs want
# the cores too, that made the photometric fit 17 times as long; so it is 3 times, at no cost where
# they do not. Has to be set before torch and numba load the library.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

_MODULES = {
    "Run": "splat_uff.run.open",
    "export_run": "splat_uff.export.run",
    "open_run": "splat_uff.run.open",
    "write_turntable": "splat_uff.turntable",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, and torch with it, only now: `splat-uff --help` needs neither."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
