"""`masks`: make the masks of a capture with Segment Anything."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from splat_uff.commands.arguments import SAM_VARIABLE, File, Folder, given_checkpoint, make_masks
from splat_uff.masks.config import SamSettings
from splat_uff.system.errors import InputError


def masks(
    settings: Annotated[SamSettings, tyro.conf.arg(name="")] = SamSettings(),
    *,
    data: Annotated[Path, tyro.conf.arg(metavar="DIR")],
    sam_checkpoint: File = None,
    sam_model: Literal["vit_h", "vit_l", "vit_b"] = "vit_h",
    size: Annotated[int, tyro.conf.arg(aliases=("--max-size",))] = 400,
    output: Folder = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Make the masks of a capture with Segment Anything, one photo at a time.

    If interrupted, run the same command again; finished photos are kept. Masks are made anew only
    when their photo, the weights or the settings change.

    Args:
        settings: Settings of SAM's automatic mask generator.
        data: Capture, in any supported layout.
        sam_checkpoint: Weights of Segment Anything; the default is the environment variable
            SPLAT_UFF_SAM_CHECKPOINT.
        sam_model: Model that the weights belong to.
        size: Longer side of the photos to segment, in pixels; use the same size for train.
        output: Folder for NAME/000.png ..., to pass to train --masks; the default is train_seg and
            val_seg in the capture, where train looks for masks.
        device: Device to compute on; auto is cuda if torch finds it, else cpu.
    """
    from splat_uff.capture import read_capture
    from splat_uff.settings import convert
    from splat_uff.system.memory import GIGABYTE, MEMORY_GB, Memory

    convert(dataclasses.asdict(settings), SamSettings, source="")
    checkpoint = given_checkpoint(sam_checkpoint)
    if checkpoint is None:
        raise InputError(
            f"no weights; pass --sam-checkpoint FILE or set {SAM_VARIABLE}. Without any, splat-uff "
            "train --masks classical segments by colour and geometry."
        )
    if size < 16:
        raise InputError(f"--size is {size}; expected at least 16 pixels.")
    memory = Memory(MEMORY_GB * GIGABYTE, output or data)
    capture = read_capture(data, size=size, memory=memory)
    made = make_masks(capture, checkpoint, sam_model, settings, output, device)
    print(f"masks of {made} views made, in {output or data}")
