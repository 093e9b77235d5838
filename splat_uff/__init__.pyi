# The public face: lazy_loader reads these imports, and type checkers do.
# A name that moves or changes is mended here, and in __all__, and nowhere else.

from .builtin import find_scene
from .cameras import Camera
from .capture import Capture, read_capture
from .capture.rotated import read_rotated
from .errors import InputError
from .evaluate.config import EvaluateConfig
from .features.config import FeaturesConfig
from .gaussians.config import GaussiansConfig
from .hierarchy.build import build_hierarchy
from .hierarchy.config import HierarchyConfig
from .hierarchy.dendrogram import Dendrogram, cut
from .hierarchy.labels import label_map
from .opened import OpenedRun, export_run, open_run  # `Run`, once the record is called that.
from .orbit import turntable_cameras
from .pipeline import train
from .render import Gaussians, rasterization
from .settings import TrainConfig
from .turntable import write_turntable
from .view.pages import show

__version__: str
__all__ = [
    "Camera",
    "Capture",
    "Dendrogram",
    "EvaluateConfig",
    "FeaturesConfig",
    "Gaussians",
    "GaussiansConfig",
    "HierarchyConfig",
    "InputError",
    "OpenedRun",
    "TrainConfig",
    "__version__",
    "build_hierarchy",
    "cut",
    "export_run",
    "find_scene",
    "label_map",
    "open_run",
    "rasterization",
    "read_capture",
    "read_rotated",
    "show",
    "train",
    "turntable_cameras",
    "write_turntable",
]
