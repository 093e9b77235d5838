"""Training from end to end: what goes in is read and judged before anything heavy is imported."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from splat_uff.capture import Capture, read_capture
from splat_uff.capture.rotated import read_depths
from splat_uff.checkpoints import SECONDS, Checkpoint
from splat_uff.clock import Clock
from splat_uff.errors import InputError, argument
from splat_uff.gaussians.source import read_given
from splat_uff.lock import require_unlocked
from splat_uff.masks.bags import Bags
from splat_uff.masks.gather import (
    CLASSICAL,
    OWN,
    gather_held_out,
    gather_masks,
    lacks_masks,
    mask_origin_of,
)
from splat_uff.memory import GIGABYTE, MEMORY_GB, Memory
from splat_uff.progress import notice
from splat_uff.run import (
    Provenance,
    claim_folder,
    digest_of,
    fingerprint_of,
    read_metrics,
    start_run,
)
from splat_uff.settings import TrainConfig, check_settings
from splat_uff.watch import NOBODY, Watch


def train(
    folder: Path,
    output: Path,
    settings: TrainConfig,
    *,
    scene: str | None = None,
    masks: str = OWN,
    splats: Path | None = None,
    make_masks: Callable[[Capture], None] | None = None,
    force: bool = False,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    checkpoint_seconds: float = SECONDS,
    memory_gb: float = MEMORY_GB,
    watch: Watch = NOBODY,
) -> dict[str, Any]:
    """Take a scene apart: from photos and masks to a tree over Gaussians, scored and pictured.

    Args:
        folder: Of the capture.
        output: Run folder; see `splat_uff.run` for what ends up in it.
        settings: Settings of all stages.
        scene: Name of the scene; the folder's unless given.
        masks: `classical`, or a folder of masks of any tool; the capture's own unless given.
        splats: Gaussians fitted elsewhere to the same capture, a 3DGS `.ply` in its own frame.
        make_masks: Called where the capture's folder has no masks, or those that were being made
            there are not all made, to put the missing ones there.
        force: Take them also where they do not fit the photos.
        device: Where tensors live, `cpu`, `cuda`, or `auto`: `cuda` where torch finds it.
        resume: Go on with a run that was cut off; a finished one is left as it is.
        overwrite: Begin again where a run stands already.
        checkpoint_seconds: Most work that a kill can lose; does not change the result.
        memory_gb: Gigabytes of photos, masks and blend weights that are held; more wait on disk,
            beside the run. Does not change the result either.
        watch: Looks on, and may pause or stop the training.

    Returns:
        The content of `metrics.json`.

    Raises:
        InputError: If the capture is bad, has no masks, the splats do not fit it, or the output
            must not be replaced.
    """
    check_settings(settings)
    run = claim_folder(output, resume=resume, overwrite=overwrite)
    clock = Clock()

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        watch.stage(name)
        with clock.stage(name):
            yield
            clock.leave_out(watch.take_pauses())

    with stage("capture"):
        memory = Memory(memory_gb * GIGABYTE, output.parent)
        capture = read_capture(folder, size=settings.size, memory=memory)
        watch.cameras([view.camera for view in capture.train])
        scene = scene or capture.name
        read_depths(capture)  # It is scored at the very end; what is damaged is said now.
    if masks not in (OWN, CLASSICAL):
        masks = str(Path(masks).resolve())
    gaussians_source, source = "", None
    if splats is not None:  # What is damaged is said before anything is made.
        if overwrite and splats.resolve().parent == output.resolve():
            raise InputError(
                f"{splats} is in the run that {argument('overwrite', True)} removes; copy it "
                "elsewhere."
            )
        source = read_given(splats)
        gaussians_source = f"{splats.resolve()} {digest_of(splats)}"
    if make_masks is not None and masks == OWN and lacks_masks(capture):
        require_unlocked(output)  # It may take hours.
        with stage("masks"):
            make_masks(capture)
            capture = replace(capture, masks="imported")
    origin = mask_origin_of(capture, masks)
    with stage("masks"):  # Before anything is written: masks are the likeliest to be bad.
        unneeded = run.finished and not overwrite
        bags = Bags([]) if unneeded else gather_masks(capture, masks, memory=memory)
        held_out = Bags([]) if unneeded else gather_held_out(capture, masks, memory=memory)
    if not capture.val:
        notice("no photo is held out, so nothing is scored.")
    # Only now, as it takes seconds: everything above answers without torch.
    from splat_uff.gaussians.placed import place_source
    from splat_uff.stages import (
        choose_device,
        evaluate_stage,
        features_stage,
        finish,
        gaussians_stage,
        hierarchy_stage,
        keep_placed,
        opinions_of,
        views_of,
    )

    device = choose_device(device)
    placed = None
    if splats is not None and source is not None and (overwrite or not run.gaussians.exists()):
        with stage("gaussians"):  # Before anything is written: splats of another frame are common.
            placed = place_source(source, splats, capture, force=force, device=device)
    provenance = Provenance(
        scene,
        str(folder.resolve()),
        origin,
        fingerprint_of(folder, output),
        settings,
        mask_source=masks,
        gaussians_source=gaussians_source,
    )
    with start_run(run, provenance, resume=resume, overwrite=overwrite):
        if run.finished or unneeded:  # The latter where another process began it again since.
            metrics = read_metrics(run)
            notice(f"{output} is finished already.")
            return metrics

        def checkpoint(stage: str) -> Checkpoint:
            return Checkpoint(run.checkpoints / f"{stage}.npz", checkpoint_seconds, clock.save)

        clock.keep_in(run.checkpoints / "seconds.json")
        with stage("gaussians"):
            if splats is not None and placed is not None:
                keep_placed(run, splats, placed)
            gaussians = gaussians_stage(
                capture, bags, run, settings, device, checkpoint("gaussians"), watch
            )
        views = views_of(capture, gaussians, memory)
        opinions = opinions_of(capture, bags, gaussians, memory, views)
        with stage("features"):
            features, largest = features_stage(
                capture,
                bags,
                gaussians,
                run,
                provenance,
                device,
                memory,
                checkpoint("features"),
                views,
                opinions,
                watch,
            )
        with stage("hierarchy"):
            hierarchy = hierarchy_stage(
                gaussians, features, largest, run, provenance, capture, opinions
            )
        del views, opinions  # Makes room.
        with stage("evaluate"):
            evaluation = evaluate_stage(capture, held_out, gaussians, hierarchy, provenance)
        return finish(
            run, provenance, capture, gaussians, features, hierarchy, evaluation, clock.seconds
        )
