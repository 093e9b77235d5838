# The public interface: lazy_loader and type checkers read these imports.
# When a public name moves or changes, update it here and in __all__, and nowhere else.

from .capture import Capture, read_capture
from .capture.rotated import read_rotated
from .evaluate.config import EvaluateConfig
from .export.camera_path import turntable_cameras
from .export.config import Export
from .export.run import export_run
from .export.turntable import Film, write_turntable
from .features.config import FeaturesConfig
from .gaussians.config import GaussiansConfig
from .geometry.cameras import Camera
from .hierarchy.build import build_hierarchy
from .hierarchy.config import HierarchyConfig
from .hierarchy.dendrogram import Dendrogram, cut
from .hierarchy.labels import label_map
from .render import Gaussians, rasterization
from .run.open import Run, open_run
from .scenes.builtin import find_scene
from .settings import TrainConfig
from .system.errors import InputError
from .training.inputs import TrainOptions
from .training.train import train
from .view.app import show
from .virtual.config import VirtualConfig

__version__: str
__all__ = [
    "Camera",
    "Capture",
    "Dendrogram",
    "EvaluateConfig",
    "Export",
    "FeaturesConfig",
    "Film",
    "Gaussians",
    "GaussiansConfig",
    "HierarchyConfig",
    "InputError",
    "Run",
    "TrainConfig",
    "TrainOptions",
    "VirtualConfig",
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
