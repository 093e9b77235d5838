"""The files of a run."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFolder:
    """Where each file of a run is, whether it is there or not."""

    path: Path

    @property
    def config(self) -> Path:
        """Provenance as TOML."""
        return self.path / "config.toml"

    @property
    def gaussians(self) -> Path:
        """Standard 3DGS columns, in our normalised world."""
        return self.path / "gaussians.ply"

    @property
    def original(self) -> Path:
        """The file of Gaussians fitted elsewhere, as it was given, where one was."""
        return self.path / "original.ply"

    @property
    def features(self) -> Path:
        """`features` [N, D] and `largest_weights` [N]."""
        return self.path / "features.npz"

    @property
    def hierarchy(self) -> Path:
        """`parents`, `altitudes`, `num_leaves`, `shaping`, `source_from_world`, and where it was
        computed `support`."""
        return self.path / "hierarchy.npz"

    @property
    def names(self) -> Path:
        """Names that people gave to nodes of the tree, where they did."""
        return self.path / "names.json"

    @property
    def metrics(self) -> Path:
        """Scores; written last, so a run that has it is finished."""
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        """One page to look at."""
        return self.path / "report.html"

    @property
    def overview(self) -> Path:
        """One picture to look at."""
        return self.path / "overview.png"

    @property
    def log(self) -> Path:
        """One JSON object per line: stage, step and figures."""
        return self.path / "log.jsonl"

    @property
    def checkpoints(self) -> Path:
        """States of stages, while the run is not finished."""
        return self.path / "checkpoint"

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.metrics.is_file()
