"""Judgement of the masks of a capture, with or without Gaussians, and of a run's."""

from collections.abc import Sequence

from splat_uff.capture.records import Capture
from splat_uff.masks.judge import judge_views, with_agreement
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.masks.verdict import WORST, MaskJudgement, judgement_of
from splat_uff.render.records import Gaussians
from splat_uff.run.open import Run
from splat_uff.system.memory import Memory


def judge_capture(
    capture: Capture,
    bags: Sequence[tuple[MaskSet, MaskTree]],
    gaussians: Gaussians | None = None,
    *,
    count: int = WORST,
    memory: Memory | None = None,
) -> MaskJudgement:
    """Judge the masks of the training views.

    Args:
        capture: Capture with the views.
        bags: Masks of its training views and their trees, for example from `gather_masks`.
        gaussians: Gaussians in the capture's normalised world, by which neighbouring views are
            compared; without any, each view is judged by itself.
        count: Most views to name as the worst.
        memory: Budget that what is kept of each view counts towards.

    Raises:
        InputError: If the numbers of views and of bags differ, or masks do not fit their photo.
    """
    figures = judge_views(capture.train, bags, has_alpha=capture.has_alpha)
    if gaussians is not None:
        from splat_uff.gaussians.mask_agreement import compare_masks

        cameras = [view.camera for view in capture.train]
        compared = compare_masks(gaussians, cameras, bags, memory=memory)
        figures = with_agreement(figures, compared.found, compared.kept)
    return judgement_of(figures, count=count)


def judge_run(run: Run, *, count: int = WORST, memory: Memory | None = None) -> MaskJudgement:
    """Judge the masks from which a run was trained, by its own Gaussians.

    Args:
        run: Run whose capture and masks are still in place.
        count: Most views to name as the worst.
        memory: Budget towards which masks count, too.

    Raises:
        InputError: If the capture or its masks have moved or are damaged.
    """
    from splat_uff.run.masks import training_masks

    bags = training_masks(run, memory)
    return judge_capture(run.capture, bags, run.gaussians, count=count, memory=memory)
