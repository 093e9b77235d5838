"""Arguments that several commands share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from splat_uff.masks.config import SamSettings
from splat_uff.system.errors import InputError

if TYPE_CHECKING:
    from splat_uff.capture import Capture

SAM_VARIABLE = "SPLAT_UFF_SAM_CHECKPOINT"
"""Environment variable used when --sam-checkpoint is not given."""

Name = Annotated[str | None, tyro.conf.arg(metavar="NAME")]
Folder = Annotated[Path | None, tyro.conf.arg(metavar="DIR")]
File = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff]


def find_capture(
    scene: str | None, data: Path | None, data_root: Path | None
) -> tuple[Path, str, str]:
    """Folder and name of the capture to work on, and one line on its origin.

    Raises:
        InputError: If both or neither of `scene` and `data` are given, or no such scene exists.
    """
    if (scene is None) == (data is None):
        raise InputError("give either --scene NAME or --data DIR, and not both.")
    if scene is not None:
        from splat_uff.scenes.builtin import find_scene

        found = find_scene(scene, data_root=data_root)
        return found.folder, scene, found.origin
    assert data is not None
    return data, data.resolve().name, f"capture {data}"


def given_checkpoint(given: Path | None) -> Path | None:
    """Weights of Segment Anything: the given file, or else the one named in the environment."""
    return given or (Path(os.environ[SAM_VARIABLE]) if os.environ.get(SAM_VARIABLE) else None)


def make_masks(
    capture: "Capture",
    checkpoint: Path,
    model: Literal["vit_h", "vit_l", "vit_b"],
    settings: SamSettings,
    output: Path | None,
    device: str,
    *,
    keep: bool = False,
) -> int:
    """Make the masks of a capture with Segment Anything, as `write_sam_masks` does."""
    from splat_uff.masks.generate import write_sam_masks
    from splat_uff.masks.sam import load_sam
    from splat_uff.system.machine import choose_device

    sam = load_sam(checkpoint, model, device=choose_device(device))
    return write_sam_masks(capture, sam, checkpoint, settings, folder=output, keep=keep)
