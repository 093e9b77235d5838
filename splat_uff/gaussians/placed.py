"""Splats from elsewhere brought into our world, or refused where they do not fit the photos."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from splat_uff.capture.records import Capture
from splat_uff.gaussians.agreement import CLEAR_GAIN, Agreement, Probe, make_probes, measure
from splat_uff.gaussians.frames import KnownFrame, find_frames
from splat_uff.gaussians.ply import gaussians_of
from splat_uff.gaussians.precision import Precision, judge_precision
from splat_uff.gaussians.readings import Reading, frame_readings, read_as, value_readings
from splat_uff.gaussians.similarity import move_gaussians
from splat_uff.gaussians.source import SourceSplats, centres_of
from splat_uff.gaussians.table import read_fitted_focal
from splat_uff.render import Gaussians
from splat_uff.system.errors import InputError, argument
from splat_uff.system.progress import notice, track
from splat_uff.system.records import array_record

MARGIN = 2.0
"""dB by which another reading must be better to be believed."""
VISIBLE = 1e-3
"""Rounding of centres, in extents of the scene, that shows in pictures of it."""
MOST_DOUBLES = 3
SIZE_MARGIN = 0.1
"""dB by which another size must be better to be believed."""
SEARCH_VIEWS = 3
SEARCH_SIDE = 100
"""Pixels of the longer side of the photos by which readings are told apart."""
MOST_READINGS = 3
"""Readings that are taken one after the other, as x y z w in a frame whose y is up."""


@array_record
class Placed:
    """Gaussians from elsewhere in our world."""

    gaussians: Gaussians
    original_from_source: Float[np.ndarray, "4 4"]
    """Similarity from the frame of the capture's files to that of the splats' file."""


def place_source(
    source: SourceSplats, path: Path, capture: Capture, *, force: bool = False, device: str = "cpu"
) -> Placed:
    """Bring splats into our world and see, by the rule of `agreement`, that they fit the photos.

    Where they fit only, or better, with a known normalised frame undone, it is undone, and a line
    says so. Other readings that fit better are named, not followed: the file should say what it is.

    Args:
        source: Of `path`.
        path: For the messages, and to look beside it for frames that other programs fit in.
        capture: Photos and cameras.
        force: Whether Gaussians that do not fit are taken all the same, with a notice.
        device: Where to render.

    Raises:
        InputError: If they do not fit, or fit better when read in another way.
    """
    gaussians = gaussians_of(source.drawn)
    probes = make_probes(capture)
    if not probes:  # Photos without an opaque pixel say nothing.
        return Placed(_to_world(gaussians, capture, np.eye(4)), np.eye(4))
    gaussians = replace(gaussians, fitted_focal=read_fitted_focal(path))
    frame, agreed = _choose_frame(gaussians, path, capture, probes, device)
    few = make_probes(capture, most=SEARCH_VIEWS, side=SEARCH_SIDE) or probes
    readings = _search(Trial(gaussians, capture, frame, few, device))
    read = _to_world(read_as(gaussians, readings), capture, frame)
    better = measure(read, probes, device=device) if readings else agreed
    trouble = _describe(path, capture, agreed, readings, better, _rounding_of(source))
    if trouble and not force:
        raise InputError(f"{trouble}, or pass {argument('force', True)} to take them as they are.")
    if trouble:
        notice(f"{trouble}; taken as they are, as {argument('force', True)} says.")
    elif agreed.is_rough:
        notice(
            f"the Gaussians of {path} fit the photos only roughly: {agreed}; see that they are "
            "finished, and not a little out of place."
        )
    placed = _to_world(gaussians, capture, frame)
    if not trouble:
        placed = _with_fitted_focal(placed, path, capture, probes, device)
    return Placed(placed, frame)


def _with_fitted_focal(
    gaussians: Gaussians, path: Path, capture: Capture, probes: Sequence[Probe], device: str
) -> Gaussians:
    """Gaussians that know to what size of photos they were fitted: the one that they fit best.

    Tried are the size that is trained on, and its doubles up to that of the files.
    """
    if gaussians.fitted_focal:
        return gaussians
    doubles = min(int(np.log2(max(capture.reduction, 1)) + 0.5), MOST_DOUBLES)
    sizes = [
        replace(gaussians, fitted_focal=capture.focal * 2**double) for double in range(doubles + 1)
    ]
    best, most = sizes[0], measure(sizes[0], probes, device=device).psnr
    for sized in sizes[1:]:
        psnr = measure(sized, probes, device=device).psnr
        if psnr > most + SIZE_MARGIN:
            best, most = sized, psnr
    ratio = round(best.fitted_focal / capture.focal)
    if ratio > 1:
        height, width = (ratio * side for side in capture.size)
        notice(
            f"the Gaussians of {path} fit photos of about {width}x{height} best, and are seen as "
            "there whatever the size of an image."
        )
    return best


def _rounding_of(source: SourceSplats) -> Precision | None:
    """How far 32 bits have moved centres, if one sees it."""
    precision = judge_precision(centres_of(source.drawn))
    is_seen = precision.rounding > VISIBLE * precision.extent
    return precision if is_seen and source.table.dtype["x"].itemsize <= 4 else None


def _to_world(
    gaussians: Gaussians, capture: Capture, original_from_source: Float[np.ndarray, "4 4"]
) -> Gaussians:
    original_from_world = original_from_source @ capture.source_from_world
    return move_gaussians(gaussians, np.linalg.inv(original_from_world))


def _choose_frame(
    gaussians: Gaussians, path: Path, capture: Capture, probes: Sequence[Probe], device: str
) -> tuple[Float[np.ndarray, "4 4"], Agreement]:
    """The capture's frame, or the known one in which the Gaussians fit better."""

    def agree(frame: Float[np.ndarray, "4 4"]) -> Agreement:
        return measure(_to_world(gaussians, capture, frame), probes, device=device)

    given = best = agree(np.eye(4))
    chosen: KnownFrame | None = None
    for frame in find_frames(path, capture):
        agreed = agree(frame.frame_from_source)
        if agreed.fits and agreed.is_better(best, MARGIN):
            chosen, best = frame, agreed
    if chosen is None:
        return np.eye(4), given
    notice(
        f"the Gaussians of {path} are in the frame that {chosen.path} tells of, and were moved "
        f"back to that of the photos: {best.psnr:.1f} dB."
    )
    return chosen.frame_from_source, best


@array_record
class Trial:
    """What other readings are tried on."""

    gaussians: Gaussians
    """In the frame of their file."""
    capture: Capture
    original_from_source: Float[np.ndarray, "4 4"]
    few: Sequence[Probe]
    device: str


def _search(trial: Trial) -> list[Reading]:
    """Readings that together show the photos clearly better; none where there are none.

    One is added after the other. Where both values and axes are other ones, neither alone helps; so
    the search begins a second time with what the ranges of the columns suggest.
    """
    agreed = _agree(trial, [])
    taken = _improve(trial, [], agreed)
    if taken or agreed.fits:
        return taken
    start = value_readings(trial.gaussians)[-1:]
    return _improve(trial, start, _agree(trial, start))


def _improve(trial: Trial, taken: list[Reading], agreed: Agreement) -> list[Reading]:
    """Readings to which others are added as long as each is clearly better than without it."""
    for _ in range(MOST_READINGS):
        values = [reading for reading in taken if not reading.is_frame]
        candidates = value_readings(read_as(trial.gaussians, values))
        if agreed.gain < CLEAR_GAIN and len(values) == len(taken):
            candidates += frame_readings()
        found = [
            (_agree(trial, [*taken, reading]), reading)
            for reading in track(candidates, "other readings", len(candidates))
        ]
        best, reading = max(found, key=lambda pair: pair[0].explained)
        if not best.is_better(agreed, MARGIN):
            break
        taken, agreed = [*taken, reading], best
    return taken


def _agree(trial: Trial, readings: Sequence[Reading]) -> Agreement:
    read = read_as(trial.gaussians, readings)
    world = _to_world(read, trial.capture, trial.original_from_source)
    return measure(world, trial.few, device=trial.device)


def _describe(
    path: Path,
    capture: Capture,
    agreed: Agreement,
    readings: Sequence[Reading],
    better: Agreement,
    rounding: Precision | None,
) -> str:
    """What is wrong and what to do, without its end; empty where all is well."""
    when = " and ".join(reading.words for reading in readings)
    remedy = " and ".join(dict.fromkeys(reading.remedy for reading in readings))
    found = better.is_clear and better.is_better(agreed, MARGIN)
    if agreed.fits and found:
        return (
            f"the Gaussians of {path} fit the photos better when {when}: {better.psnr:.1f} dB "
            f"instead of {agreed.psnr:.1f} dB; {remedy}"
        )
    if agreed.fits:
        return ""
    trouble = f"the Gaussians of {path} do not fit the photos of {capture.folder}: {agreed}"
    if found:
        return f"{trouble}; they fit ({better.psnr:.1f} dB) when {when}; {remedy}"
    if rounding is not None:
        return (
            f"{trouble}; the scene lies {rounding}, which is the likely reason; write x, y, z of "
            "64 bits, or move splats and poses nearer to the origin"
        )
    return (
        f"{trouble}; they are likely in another frame, such as the normalised ones that nerfstudio "
        "and gsplat fit in; export them in the frame of the capture's poses, put the fit's "
        "dataparser_transforms.json beside them"
    )
