"""All that goes into a training, read and judged before anything heavy is imported or written."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import msgspec

from splat_uff.capture import Capture, read_capture
from splat_uff.capture.rotated import read_depths
from splat_uff.gaussians.source import SourceSplats, read_given
from splat_uff.masks.bags import Bags
from splat_uff.masks.gather import (
    CLASSICAL,
    OWN,
    gather_held_out,
    gather_masks,
    lacks_masks,
    mask_origin_of,
)
from splat_uff.run.folder import RunFolder
from splat_uff.run.provenance import Provenance, digest_of, fingerprint_of
from splat_uff.settings import TrainConfig
from splat_uff.system.checkpoints import SECONDS
from splat_uff.system.errors import InputError, argument
from splat_uff.system.lock import require_unlocked
from splat_uff.system.memory import GIGABYTE, MEMORY_GB, Memory
from splat_uff.system.progress import notice
from splat_uff.training.clock import Clock

MaskMaker = Callable[[Capture], None]
"""Puts the masks that a capture's folder lacks there."""


@dataclass(frozen=True)
class TrainOptions:
    """How a training is run, rather than what comes out of it."""

    scene: str = ""
    """Name of the scene in tables and titles; the name of the capture's folder unless given."""
    device: str = "cpu"
    """`cpu`, `cuda`, or `auto`: `cuda` where torch finds it."""
    resume: bool = False
    """Go on with a run that was cut off; a finished one is left as it is."""
    overwrite: bool = False
    """Begin again where a run stands already."""
    force: bool = False
    """Take splats from elsewhere also where they do not fit the photos."""
    checkpoint_seconds: Annotated[float, msgspec.Meta(ge=0)] = SECONDS
    """Most work, in seconds, that is lost when the training is cut off; 0 or more."""
    memory_gb: Annotated[float, msgspec.Meta(ge=0)] = MEMORY_GB
    """Gigabytes of photos, masks and blend weights that are held at most; more wait on disk, beside
    the run."""


@dataclass(frozen=True, eq=False)
class TrainInput:
    """What a training is made from."""

    capture: Capture
    bags: Bags
    """Masks of the training photos; none where the run is finished already."""
    held_out: Bags
    """Masks of the held-out photos, likewise."""
    provenance: Provenance
    memory: Memory
    """Budget of what is held."""
    splats: tuple[Path, SourceSplats] | None
    """Gaussians fitted elsewhere: their file, and its rows."""
    finished: bool
    """Whether the run is finished, and stays as it is."""


def read_input(
    data: Path,
    run: RunFolder,
    settings: TrainConfig,
    clock: Clock,
    *,
    masks: str | MaskMaker,
    splats: Path | None,
    options: TrainOptions,
) -> TrainInput:
    """Read the capture, the masks, and the splats where some are given.

    Args:
        data: Folder of the capture.
        run: As `claim_folder` returns it.
        settings: Settings of all stages.
        clock: Times the stages `capture` and `masks`.
        masks: As for `train`.
        splats: As for `train`.
        options: As for `train`.

    Raises:
        InputError: If the capture is bad or has no masks, or the splats are damaged.
    """
    with clock.stage("capture"):
        memory = Memory(options.memory_gb * GIGABYTE, run.path.parent)
        capture = read_capture(data, size=settings.size, memory=memory)
        clock.observer.cameras([view.camera for view in capture.train])
        read_depths(capture)  # It is scored at the very end; what is damaged is said now.
    source = _read_splats(splats, run, overwrite=options.overwrite)
    if callable(masks):
        capture, masks = _with_masks(capture, masks, run, clock), OWN
    elif masks not in (OWN, CLASSICAL):
        masks = str(Path(masks).resolve())
    origin = mask_origin_of(capture, masks)
    finished = run.finished and not options.overwrite
    with clock.stage("masks"):  # Before anything is written: masks are the likeliest to be bad.
        bags = Bags([]) if finished else gather_masks(capture, masks, memory=memory)
        held_out = Bags([]) if finished else gather_held_out(capture, masks, memory=memory)
    if not capture.val:
        notice("no photo is held out, so nothing is scored.")
    provenance = Provenance(
        options.scene or capture.name,
        str(data.resolve()),
        origin,
        fingerprint_of(data, run.path),
        settings,
        mask_source=masks,
        gaussians_source="" if splats is None else f"{splats.resolve()} {digest_of(splats)}",
    )
    return TrainInput(capture, bags, held_out, provenance, memory, source, finished)


def _read_splats(
    splats: Path | None, run: RunFolder, *, overwrite: bool
) -> tuple[Path, SourceSplats] | None:
    """Splats from elsewhere; what is damaged is said before anything is made."""
    if splats is None:
        return None
    if overwrite and splats.resolve().parent == run.path.resolve():
        raise InputError(
            f"{splats} is in the run that {argument('overwrite', True)} removes; copy it elsewhere."
        )
    return splats, read_given(splats)


def _with_masks(capture: Capture, make: MaskMaker, run: RunFolder, clock: Clock) -> Capture:
    """The capture once its folder has masks, which are made where they are missing."""
    if not lacks_masks(capture):
        return capture
    require_unlocked(run.path)  # It may take hours.
    with clock.stage("masks"):
        make(capture)
    return replace(capture, masks="imported")
