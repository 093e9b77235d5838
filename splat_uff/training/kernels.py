"""Compiling kernels ahead: processes of their own do it while a scene is made and photos are read.

numba compiles a kernel when it is first called and keeps it on disk, so a first training on a
machine would stand still for half a minute in all. Two processes train on a scene of a few
Gaussians at the same time as the first training reads its input, one for the fit, the other for
what follows it; a stage waits for its process. Once both are through, a note among the user's
cached files says so, and later trainings start none.
"""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import platformdirs

import splat_uff

if TYPE_CHECKING:
    from splat_uff.capture import Capture
    from splat_uff.render import Gaussians

FIT, REST = "fit", "rest"
"""What the processes compile: the kernels of the photometric fit, and those of later stages."""
SIZE = 24
"""Width and height of the photos that the processes train on."""


@runtime_checkable
class Process(Protocol):
    """A running process."""

    def wait(self) -> Any:
        """Wait until it ends."""

    def kill(self) -> None:
        """End it."""


@dataclass(frozen=True, eq=False)
class Kernels:
    """Processes that compile kernels ahead; none by default."""

    _processes: dict[str, Process] = field(default_factory=dict)

    @staticmethod
    def ahead(*parts: str) -> "Kernels":
        """Start to compile the given parts, unless they were compiled before.

        Args:
            parts: `FIT`, `REST`, or both.
        """
        return Kernels({part: _start(part) for part in parts if not note_of(part).exists()})

    def wait(self, part: str) -> None:
        """Wait until a part is compiled; if that fails, calling its kernels compiles them."""
        process = self._processes.pop(part, None)
        if process is not None:
            process.wait()

    def stop(self) -> None:
        """Stop compiling."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._processes.clear()


def note_of(part: str) -> Path:
    """File that exists once a part is compiled by this Python, these packages and this code."""
    import llvmlite.binding as llvm  # Takes a moment.

    folder = Path(splat_uff.__file__).parent
    known = [sys.version, version("numba"), version("llvmlite"), str(folder)]
    known += [os.environ.get("NUMBA_CACHE_DIR", ""), llvm.get_host_cpu_name()]
    known += [llvm.get_host_cpu_features().flatten()]
    for path in sorted(folder.rglob("*.py")):
        about = path.stat()
        known += [str(path.relative_to(folder)), f"{about.st_size} {about.st_mtime_ns}"]
    digest = hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]
    return Path(platformdirs.user_cache_dir("splat-uff")) / "kernels" / f"{part}-{digest}"


def _start(part: str) -> Process:
    nothing = subprocess.DEVNULL
    command = [sys.executable, "-m", "splat_uff.training.kernels", part]
    # With -m, Python imports from the working folder first, and that may be anybody's.
    where = Path(splat_uff.__file__).parents[1]
    return subprocess.Popen(command, cwd=where, stdin=nothing, stdout=nothing, stderr=nothing)


def compile_fit() -> None:
    """Compile what the photometric fit calls."""
    from splat_uff.gaussians.config import GaussiansConfig
    from splat_uff.gaussians.fit import fit_gaussians

    _, capture = _scene()
    fit_gaussians(capture, GaussiansConfig(steps=2, start=40, most=50), seed=0)


def compile_rest() -> None:
    """Compile what blend weights, consensus, contrastive fit, tree and label maps call."""
    from splat_uff.evaluate.score import label_view, make_cuts
    from splat_uff.masks.bags import Bags
    from splat_uff.masks.records import MaskSet
    from splat_uff.settings import TrainConfig
    from splat_uff.training.frozen import FrozenScene, refit

    gaussians, capture = _scene()
    masks = np.zeros((3, SIZE, SIZE), dtype=bool)
    masks[0], masks[1, :, : SIZE // 2], masks[2, :, SIZE // 2 :] = True, True, True
    bags = Bags.of(capture.train, lambda view: MaskSet.of(masks))
    scene = FrozenScene(gaussians, capture, bags)
    settings = TrainConfig()
    features = replace(settings.features, steps=2, pixels=128)
    settings = replace(
        settings, features=features, hierarchy=replace(settings.hierarchy, superpoints=40)
    )
    _, hierarchy, _ = refit(scene, settings)
    cuts = make_cuts(hierarchy, settings.evaluate)
    label_view(gaussians, hierarchy, capture.train[0].camera, cuts, settings.evaluate)


def _scene() -> "tuple[Gaussians, Capture]":
    """Two clusters of Gaussians and three photos of noise."""
    import torch

    from splat_uff.capture import Capture, View
    from splat_uff.geometry.cameras import Camera
    from splat_uff.render import Gaussians

    rng = np.random.default_rng(0)
    count = 120

    def floats(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array.astype(np.float32))

    means = rng.normal(0, 0.15, (count, 3))
    means[:, 0] += np.where(np.arange(count) < count // 2, -0.3, 0.3)
    gaussians = Gaussians(
        means=floats(means),
        quats=floats(rng.normal(size=(count, 4))),
        log_scales=floats(np.full((count, 3), -2.5)),
        opacity_logits=floats(np.ones(count)),
        sh0=floats(rng.random((count, 1, 3))),
        shN=floats(0.1 * rng.random((count, 3, 3))),
    )
    pose = np.eye(4)
    pose[2, 3] = -1.5
    K = np.array([[SIZE, 0, SIZE / 2], [0, SIZE, SIZE / 2], [0, 0, 1.0]])
    camera = Camera(pose, K, SIZE, SIZE)
    views = tuple(
        View(str(index), camera, rng.random((SIZE, SIZE, 4)).astype(np.float32))
        for index in range(3)
    )
    return gaussians, Capture("kernels", Path(), views, views[:1], True, np.eye(4), "none")


def main(part: str) -> None:
    """Compile a part, and leave a note that it is done."""
    {FIT: compile_fit, REST: compile_rest}[part]()
    note = note_of(part)
    note.parent.mkdir(parents=True, exist_ok=True)
    note.touch()


if __name__ == "__main__":
    main(sys.argv[1])
