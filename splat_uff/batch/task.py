"""A task: all that a process needs to train one capture, as it is handed over."""

from dataclasses import dataclass

from splat_uff.settings import TrainConfig


@dataclass(frozen=True)
class Task:
    """The training of one capture; its paths are absolute, and the same on every machine."""

    name: str
    token: str
    """Random name of the batch that hands it out."""
    output: str
    """Folder of the run."""
    notes: str
    """Folder of its notes."""
    settings: TrainConfig
    data: str | None = None
    splats: str | None = None
    masks: str = ""
    force: bool = False
    device: str = "auto"
    cores: int = 1
    """Number of threads that compute."""
    memory_gb: float = 2.0
    """Memory for photos, masks and blend weights, in gigabytes."""
    checkpoint_seconds: float = 15.0
    """Most work, in seconds, that is lost if the process is killed."""
