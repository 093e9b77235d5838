"""Masks of a run, read or made again as its training had them."""

from splat_uff.gaussians.classical import gather_seen, gather_seen_held_out
from splat_uff.masks.bags import Bags
from splat_uff.run.open import Run
from splat_uff.system.memory import Memory


def training_masks(run: Run, memory: Memory | None = None) -> Bags:
    """Masks of the training photos from which the run's features and tree were made.

    Raises:
        InputError: If the capture or its masks have moved or are damaged.
    """
    return gather_seen(run.gaussians, run.capture, run.provenance.mask_source, memory=memory)


def held_out_masks(run: Run, memory: Memory | None = None) -> Bags:
    """Masks of the held-out photos, which the run has never used; empty if there are none.

    Raises:
        InputError: If the capture or its masks have moved or are damaged.
    """
    source = run.provenance.mask_source
    return gather_seen_held_out(run.gaussians, run.capture, source, memory=memory)
