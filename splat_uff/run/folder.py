"""Paths of the files of a run."""

from dataclasses import dataclass
from pathlib import Path

from splat_uff.formats.detect import ENDINGS

CAPTURE = "capture"
"""Folder of a run that holds its virtual photos; also their path in the run's provenance."""

COMMON_STEMS = {"gaussians", "point_cloud", "splat", "splats", "scene", "model", "output"}
"""Names of files of splats that do not tell which scene they hold."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run's files, whether or not they exist."""

    path: Path

    @property
    def config(self) -> Path:
        """Provenance of the run, as TOML."""
        return self.path / "config.toml"

    @property
    def capture(self) -> Path:
        """Capture made for splats without photos: rendered photos and their virtual cameras."""
        return self.path / CAPTURE

    @property
    def gaussians(self) -> Path:
        """Gaussians in standard 3DGS columns, in our normalised world."""
        return self.path / "gaussians.ply"

    @property
    def original(self) -> Path:
        """Unchanged file of Gaussians fitted elsewhere, if one was passed."""
        return next((path for path in self.originals if path.is_file()), self.originals[0])

    @property
    def originals(self) -> list[Path]:
        """Paths that `original` may have, one for each format."""
        return [self.path / f"original{ending}" for ending in ENDINGS.values()]

    @property
    def features(self) -> Path:
        """Arrays `features` [N, D] and `largest_weights` [N]."""
        return self.path / "features.npz"

    @property
    def hierarchy(self) -> Path:
        """Arrays `parents`, `altitudes`, `num_leaves`, `shaping`, `source_from_world` and, if
        computed, `support`."""
        return self.path / "hierarchy.npz"

    @property
    def names(self) -> Path:
        """Names that people gave to nodes of the tree, if any."""
        return self.path / "names.json"

    @property
    def metrics(self) -> Path:
        """Scores; written last, so a run with this file is finished."""
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        """Report of the run, as an HTML page."""
        return self.path / "report.html"

    @property
    def overview(self) -> Path:
        """Overview of the run, as one picture."""
        return self.path / "overview.png"

    @property
    def parts(self) -> Path:
        """Scores of the true objects alone, if they were asked for."""
        return self.path / "parts.json"

    @property
    def parts_sheet(self) -> Path:
        """Pictures of some objects alone, beside the true ones."""
        return self.path / "parts.png"

    @property
    def borders_sheet(self) -> Path:
        """Pictures of some parts before and after their borders were cleaned, if they were."""
        return self.path / "borders.png"

    @property
    def log(self) -> Path:
        """Training log, with one JSON object per line: stage, step and figures."""
        return self.path / "log.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of the stages' saved states, until the run is finished."""
        return self.path / "checkpoint"

    @property
    def finished(self) -> bool:
        """Whether the run is finished."""
        return self.metrics.is_file()


def name_of_splats(path: Path) -> str:
    """Name of a run of splats alone: that of their file, with its folder's if it says nothing."""
    if path.is_dir() or path.name == "meta.json":  # An unpacked SOG.
        return (path if path.is_dir() else path.parent).resolve().name or "splats"
    parent, stem = path.resolve().parent.name, path.stem.removesuffix(".compressed")
    return f"{parent}-{stem}" if stem in COMMON_STEMS and parent else stem
