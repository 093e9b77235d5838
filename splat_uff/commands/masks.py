"""`masks`: make the masks of a capture with a model that answers clicks, show and judge them."""

import dataclasses
from dataclasses import dataclass, replace
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from splat_uff.commands.arguments import (
    SAM_VARIABLE,
    File,
    Folder,
    Switch,
    given_checkpoint,
    make_masks,
)
from splat_uff.masks.config import Prompting, SamModel, SamSettings
from splat_uff.system.errors import InputError

if TYPE_CHECKING:
    from splat_uff.capture import Capture
    from splat_uff.masks.segmenter import Guide, Segmenter
    from splat_uff.render import Gaussians
    from splat_uff.system.memory import Memory

PICTURES = (".png",)


@dataclass(frozen=True)
class Looking:
    """A look at the masks that are there."""

    show: File = None
    """Picture to write: photos and their masks, coarse and fine (.png)."""
    judge: Switch = False
    """Print coverage, overlap and crossings of the masks, and the ten worst views."""
    json: Switch = False
    """Print the judgement as JSON."""

    @property
    def wanted(self) -> bool:
        """Whether masks are to be looked at."""
        return self.judge or self.show is not None

    def check(self) -> None:
        """Check the flags.

        Raises:
            InputError: If they do not go together, or the picture has another ending.
        """
        if self.show is not None and self.show.suffix.lower() not in PICTURES:
            raise InputError(f"--show is {self.show}; expected a file that ends in .png.")
        if self.json and not self.judge:
            raise InputError("--json goes with --judge; add it.")


@dataclass(frozen=True)
class Answering:
    """The model that answers clicks, and what guides them."""

    model: Annotated[str | None, tyro.conf.arg(metavar="PATH|NAME")] = None
    """Folder of a model of transformers (SAM, SAM-HQ, SAM 2, EdgeTAM, SAM 3) or its name on the
    Hugging Face hub, a pair of ONNX files, or a checkpoint of Segment Anything."""
    sam_checkpoint: File = None
    """Weights of Segment Anything, which its own generator then uses with a whole grid of clicks;
    the default is the environment variable SPLAT_UFF_SAM_CHECKPOINT."""
    sam_model: SamModel = "vit_h"
    """Model that a checkpoint of Segment Anything belongs to."""
    gaussians: Annotated[Path | None, tyro.conf.arg(metavar="FILE|RUN")] = None
    """Splats of the capture, or a run of it: adaptive clicks then fall on the scene, first on what
    the masks of earlier photos show; and how well neighbouring views agree through the splats is
    judged, too."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto is cuda if torch finds it, else cpu."""


def masks(
    settings: Annotated[SamSettings, tyro.conf.arg(name="")] = SamSettings(),
    prompting: Annotated[Prompting, tyro.conf.arg(name="")] = Prompting(),
    looking: Annotated[Looking, tyro.conf.arg(name="")] = Looking(),
    answering: Annotated[Answering, tyro.conf.arg(name="")] = Answering(),
    *,
    data: Annotated[Path, tyro.conf.arg(metavar="DIR")],
    size: Annotated[int, tyro.conf.arg(aliases=("--max-size",))] = 400,
    output: Folder = None,
) -> None:
    """Make the masks of a capture with a model that answers clicks, one photo at a time.

    If interrupted, run the same command again; finished photos are kept. Masks are made anew only
    when their photo, the weights or the settings change. With --show or --judge and no model, masks
    that are there already are looked at.

    Args:
        settings: Settings of SAM's automatic mask generator.
        prompting: Settings of where the clicks fall.
        looking: Settings of a look at the masks.
        answering: Model that answers clicks.
        data: Capture, in any supported layout.
        size: Longer side of the photos to segment, in pixels; use the same size for train.
        output: Folder for NAME/000.png ..., to pass to train --masks; the default is train_seg and
            val_seg in the capture, where train looks for masks.
    """
    from splat_uff.capture import read_capture
    from splat_uff.masks.generate import write_masks_of
    from splat_uff.system.memory import GIGABYTE, MEMORY_GB, Memory

    _check(settings, prompting, size)
    looking.check()
    checkpoint = _checkpoint(answering, prompting, looking)
    memory = Memory(MEMORY_GB * GIGABYTE, output or data)
    # Before the photos are read, which takes longer than to say that there is no such model.
    segmenter = _segmenter(answering) if answering.model is not None and data.is_dir() else None
    capture = read_capture(data, size=size, memory=memory)
    given, made = answering.gaussians, None
    seen = None if given is None else _gaussians_of(given, capture)
    if segmenter is not None:
        guide = None if given is None or seen is None else _guide(seen, given)
        made = write_masks_of(capture, segmenter, settings, prompting, folder=output, guide=guide)
    elif checkpoint is not None:
        how = answering.sam_model, settings, output, answering.device
        made = make_masks(capture, checkpoint, *how)
    if made is not None:
        print(f"masks of {made} views made, in {output or data}")
    if looking.wanted:
        _look(capture, output, looking, seen, memory)


def _check(settings: SamSettings, prompting: Prompting, size: int) -> None:
    from splat_uff.settings import convert

    for given in (settings, prompting):
        convert(dataclasses.asdict(given), type(given), source="")
    if size < 16:
        raise InputError(f"--size is {size}; expected at least 16 pixels.")


def _checkpoint(answering: Answering, prompting: Prompting, looking: Looking) -> Path | None:
    """Weights for Segment Anything's own generator; None if another model makes masks, or none."""
    model, given = answering.model, answering.sam_checkpoint
    if answering.gaussians is not None and not (looking.judge or model is not None):
        raise InputError("--gaussians goes with --model or --judge; add one.")
    if model is not None and given is not None:
        raise InputError("give either --model or --sam-checkpoint, and not both.")
    if model is not None or (looking.wanted and given is None):
        return None
    checkpoint = given_checkpoint(given)
    if checkpoint is None:
        raise InputError(
            f"no weights; pass --model, --sam-checkpoint FILE or set {SAM_VARIABLE}. Without any, "
            "splat-uff train --masks classical segments by colour and geometry."
        )
    if prompting != Prompting():
        raise InputError(
            "Segment Anything's own generator clicks on its whole grid; to choose the clicks, give "
            "the weights as --model FILE."
        )
    return checkpoint


def _segmenter(answering: Answering) -> "Segmenter":
    from splat_uff.masks.models import load_segmenter
    from splat_uff.system.machine import choose_device

    assert answering.model is not None
    device = choose_device(answering.device)
    return load_segmenter(answering.model, sam_model=answering.sam_model, device=device)


def _guide(gaussians: "Gaussians", path: Path) -> "Guide":
    from splat_uff.gaussians.click_guide import ClickGuide
    from splat_uff.run.folder import RunFolder
    from splat_uff.run.provenance import digest_of

    is_run = (path / "config.toml").is_file()
    return ClickGuide(gaussians, digest_of(RunFolder(path).gaussians if is_run else path))


def _look(
    capture: "Capture",
    folder: Path | None,
    looking: Looking,
    gaussians: "Gaussians | None",
    memory: "Memory",
) -> None:
    """Show and judge the masks of the training views, from the folder or the capture's own."""
    from splat_uff.masks.gather import OWN, gather_masks, lacks_masks
    from splat_uff.report.judgement import judgement_table
    from splat_uff.report.mask_sheet import write_mask_sheet
    from splat_uff.run.judge_masks import judge_capture
    from splat_uff.system.progress import notice, print_result

    if folder is None and lacks_masks(capture):
        raise InputError(
            f"{capture.folder} has no masks to look at; make some with --model, or say with "
            "--output DIR where they are."
        )
    bags = gather_masks(capture, OWN if folder is None else str(folder), memory=memory)
    has_masks = [len(bags[index][0]) > 0 for index in range(len(bags))]
    if not all(has_masks):
        notice(
            f"{has_masks.count(False)} of {len(has_masks)} photos have no masks and are left out."
        )
        views = [view for view, has in zip(capture.train, has_masks, strict=True) if has]
        capture = replace(capture, train=tuple(views))
        bags = [bags[index] for index, has in enumerate(has_masks) if has]
    judgement = judge_capture(capture, bags, gaussians, memory=memory) if looking.judge else None
    if looking.show is not None:
        write_mask_sheet(looking.show, capture, bags, judgement=judgement)
        notice(f"picture: {looking.show}")
    if judgement is not None and looking.json:
        print(dumps(judgement.record(), indent=2, allow_nan=False))
    elif judgement is not None:
        print_result(judgement_table(judgement))


def _gaussians_of(path: Path, capture: "Capture") -> "Gaussians":
    """Gaussians of a run of the capture, or of a file in the frame of its poses."""
    if (path / "config.toml").is_file():
        from splat_uff.run.open import open_run
        from splat_uff.run.provenance import fingerprint_of

        run = open_run(path, capture=capture)
        if run.provenance.fingerprint != fingerprint_of(capture.folder, path):
            raise InputError(
                f"{path} is not a run of {capture.folder}, or the capture has changed since; pass "
                "a run of it, or splats in its frame."
            )
        return run.gaussians
    from splat_uff.gaussians.placed import place_source
    from splat_uff.gaussians.source import read_given

    return place_source(read_given(path), path, capture).gaussians
