"""Inputs of a training, read and checked before anything slow is imported or written."""

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
from splat_uff.run.folder import CAPTURE, RunFolder
from splat_uff.run.provenance import Provenance, digest_of, fingerprint_of, read_provenance
from splat_uff.settings import TrainConfig
from splat_uff.system.checkpoints import SECONDS
from splat_uff.system.errors import InputError, argument, worded
from splat_uff.system.lock import require_unlocked
from splat_uff.system.memory import GIGABYTE, MEMORY_GB, Memory
from splat_uff.system.progress import notice
from splat_uff.training.clock import Clock
from splat_uff.training.kernels import Kernels

MaskMaker = Callable[[Capture], None]
"""Function that makes the masks missing from a capture's folder."""


@dataclass(frozen=True)
class TrainOptions:
    """Options that control how a training runs, not its results."""

    scene: str = ""
    """Name of the scene in tables and titles; by default, that of the capture's folder."""
    device: str = "cpu"
    """Device that computes: `cpu`, `cuda`, or `auto` for `cuda` if torch finds it."""
    resume: bool = False
    """Continue an interrupted run; a finished run is left unchanged."""
    overwrite: bool = False
    """Replace a run that is already in the output folder."""
    force: bool = False
    """Accept splats from elsewhere even if they do not fit the photos."""
    checkpoint_seconds: Annotated[float, msgspec.Meta(ge=0)] = SECONDS
    """Most work, in seconds, that is lost if the training is interrupted; 0 or more."""
    memory_gb: Annotated[float, msgspec.Meta(ge=0)] = MEMORY_GB
    """Most gigabytes of photos, masks and blend weights held in memory; the rest is kept on disk,
    beside the run."""
    kernels: Kernels = Kernels()
    """Processes that compile kernels ahead, for whose parts the stages wait."""


@dataclass(frozen=True, eq=False)
class TrainInput:
    """Inputs of a training."""

    capture: Capture
    bags: Bags
    """Masks of the training photos, `CLASSICAL` ones by colour alone; empty if the run is already
    finished, or if nothing needs them before the Gaussians stand."""
    held_out: Bags
    """Masks of the held-out photos; empty if the run is already finished or they are `CLASSICAL`,
    which are made once the Gaussians stand."""
    provenance: Provenance
    memory: Memory
    """Budget for photos, masks and blend weights in memory."""
    splats: tuple[Path, SourceSplats] | None
    """File and rows of Gaussians fitted elsewhere; None if they are fitted here."""
    finished: bool
    """Whether the run is already finished and will not be changed."""


def read_input(
    data: Path | None,
    run: RunFolder,
    settings: TrainConfig,
    clock: Clock,
    *,
    masks: str | MaskMaker,
    splats: Path | None,
    options: TrainOptions,
) -> TrainInput:
    """Read the capture, the masks, and the splats if any are given.

    Args:
        data: Folder of the capture; None to make virtual photos of the splats.
        run: Run folder from `claim_folder`.
        settings: Settings of all stages.
        clock: Clock that times the stages `capture` and `masks`.
        masks: Masks as for `train`: the capture's own, `classical`, a folder, or a function that
            makes them.
        splats: `.ply` of Gaussians fitted elsewhere; None to fit them here.
        options: Options of the training.

    Raises:
        InputError: If the capture is invalid or has no masks, or the splats are damaged.
    """
    source = _read_splats(splats, run, overwrite=options.overwrite)
    made = data is None
    if data is None:
        data = _make_photos(splats, source, run, settings, clock, options)
    with clock.stage("capture"):
        memory = Memory(options.memory_gb * GIGABYTE, run.path.parent)
        capture = read_capture(data, size=settings.size, memory=memory)
        clock.observer.cameras([view.camera for view in capture.train])
        read_depths(capture)  # Depth is scored only at the end, but damage is reported now.
    if made and masks == OWN and lacks_masks(capture):
        notice("there are no masks: classical ones are made, by colour and shape.")
        masks = CLASSICAL
    if callable(masks):
        capture, masks = _with_masks(capture, masks, run, clock), OWN
    elif masks not in (OWN, CLASSICAL):
        masks = str(Path(masks).resolve())
    origin = mask_origin_of(capture, masks)
    finished = run.finished and not options.overwrite
    bags = held_out = Bags([])
    if not finished:
        with clock.stage("masks"):  # Before anything is written: they are likeliest to be invalid.
            fits = settings.gaussians.depth_weight > 0 and splats is None
            bags, held_out = _read_masks(capture, masks, memory, fits=fits)
    if not capture.val:
        notice("no photo is held out, so nothing is scored.")
    provenance = Provenance(
        options.scene or capture.name,
        CAPTURE if made else str(data.resolve()),
        origin,
        fingerprint_of(data, run.path),
        settings,
        mask_source=masks,
        gaussians_source="" if splats is None else f"{splats.resolve()} {digest_of(splats)}",
    )
    return TrainInput(capture, bags, held_out, provenance, memory, source, finished)


def _read_masks(capture: Capture, masks: str, memory: Memory, *, fits: bool) -> tuple[Bags, Bags]:
    """Masks of the training and held-out photos; classical ones are made later.

    Only the fit of Gaussians, if it uses masks, needs classical ones before: by colour alone.
    """
    if masks != CLASSICAL:
        held_out = gather_held_out(capture, masks, memory=memory)
        return gather_masks(capture, masks, memory=memory), held_out
    return gather_masks(capture, masks, memory=memory) if fits else Bags([]), Bags([])


def _read_splats(
    splats: Path | None, run: RunFolder, *, overwrite: bool
) -> tuple[Path, SourceSplats] | None:
    """Read splats from elsewhere, reporting damage before anything is computed."""
    if splats is None:
        return None
    if overwrite and splats.resolve().parent == run.path.resolve():
        raise InputError(
            f"{splats} is in the run that {argument('overwrite', True)} removes; copy it elsewhere."
        )
    return splats, read_given(splats)


def _make_photos(
    splats: Path | None,
    source: tuple[Path, SourceSplats] | None,
    run: RunFolder,
    settings: TrainConfig,
    clock: Clock,
    options: TrainOptions,
) -> Path:
    """Make virtual photos of splats in the run's folder; those of an interrupted run are kept."""
    if splats is None or source is None:
        raise InputError(
            "there are neither photos nor Gaussians; "
            + worded("pass data or splats.", command="give --scene, --data or --gaussians.")
        )
    digest = digest_of(splats)
    if run.config.is_file() and not options.overwrite:
        began = read_provenance(run)
        if not began.gaussians_source.endswith(f" {digest}") or began.data != CAPTURE:
            raise InputError(
                f"the run in {run.path} was made from other inputs than {splats} alone; pass "
                f"{argument('overwrite', True)} or another {argument('output')}."
            )
    require_unlocked(run.path)
    from splat_uff.virtual.photos import virtual_capture  # Imports torch, which takes seconds.

    with clock.stage("capture"):
        words = virtual_capture(
            run.capture, source[1], splats, settings.views,
            size=settings.size, digest=digest, force=options.force,
        )  # fmt: skip
    notice(words)
    return run.capture


def _with_masks(capture: Capture, make: MaskMaker, run: RunFolder, clock: Clock) -> Capture:
    """Make masks if the capture's folder lacks them, and return the capture with masks."""
    if not lacks_masks(capture):
        return capture
    require_unlocked(run.path)  # Making masks may take hours.
    with clock.stage("masks"):
        make(capture)
    return replace(capture, masks="imported")
