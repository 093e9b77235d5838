"""Splats from elsewhere, moved into our world or refused if they do not fit the photos."""

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
from splat_uff.render import Gaussians
from splat_uff.system.errors import InputError, argument
from splat_uff.system.progress import notice, track
from splat_uff.system.records import array_record

MARGIN = 2.0
"""dB by which another reading must be better to be accepted."""
VISIBLE = 1e-3
"""Rounding of centres, in scene extents, that becomes visible in renderings."""
MOST_DOUBLES = 3
SIZE_MARGIN = 0.1
"""dB by which another size must be better to be accepted."""
SEARCH_VIEWS = 3
SEARCH_SIDE = 100
"""Longer side, in pixels, of the photos on which readings are compared."""
MOST_READINGS = 3
"""Most readings that are combined, such as x y z w in a frame with y up."""


@array_record
class Placed:
    """Gaussians from elsewhere in our world."""

    gaussians: Gaussians
    original_from_source: Float[np.ndarray, "4 4"]
    """Similarity from the frame of the capture's files to that of the splats' file."""


def place_source(
    source: SourceSplats, path: Path, capture: Capture, *, force: bool = False, device: str = "cpu"
) -> Placed:
    """Move splats into our world and check, by the rule of `agreement`, that they fit the photos.

    If they fit only, or better, after undoing a known normalised frame, it is undone with a notice.
    Other readings that fit better are reported but not applied: the file itself should be right.

    Args:
        source: Splats read from `path`.
        path: File of the splats, for messages and to find other programs' frames beside it.
        capture: Photos and cameras.
        force: Whether to accept Gaussians that do not fit, with a notice.
        device: Device that renders: `cpu` or `cuda`.

    Raises:
        InputError: If the splats do not fit, or fit better when read in another way.
    """
    gaussians = gaussians_of(source.drawn, source.content)
    probes = make_probes(capture)
    if not probes:  # Photos without an opaque pixel allow no comparison.
        return Placed(_to_world(gaussians, capture, np.eye(4)), np.eye(4))
    # Probes are smaller than the photos, where the blur of a pixel would thicken all Gaussians.
    seen = replace(gaussians, fitted_focal=gaussians.fitted_focal or capture.focal)
    frame, agreed = _choose_frame(seen, path, capture, probes, device)
    few = make_probes(capture, most=SEARCH_VIEWS, side=SEARCH_SIDE) or probes
    readings = _search(Trial(seen, capture, frame, few, device))
    read = _to_world(read_as(seen, readings), capture, frame)
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


def place_as_it_is(source: SourceSplats, capture: Capture) -> Placed:
    """Move splats into the world of virtual photos, which were rendered from them."""
    gaussians = gaussians_of(source.drawn, source.content)
    return Placed(_to_world(gaussians, capture, np.eye(4)), np.eye(4))


def _with_fitted_focal(
    gaussians: Gaussians, path: Path, capture: Capture, probes: Sequence[Probe], device: str
) -> Gaussians:
    """Set the size of photos to which the Gaussians were fitted: the one that they fit best.

    The candidates are the size that is trained on and its doubles, up to the size of the files.
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
    """Precision of centres stored in 32 bits, if their rounding is visible."""
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
    """Choose the capture's frame, or a known one in which the Gaussians fit better."""

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
    """Input on which other readings are tried."""

    gaussians: Gaussians
    """Gaussians in the frame of their file."""
    capture: Capture
    original_from_source: Float[np.ndarray, "4 4"]
    few: Sequence[Probe]
    device: str


def _search(trial: Trial) -> list[Reading]:
    """Find readings that together reproduce the photos clearly better; empty if there are none.

    Readings are added one at a time. If both values and axes differ, neither alone helps, so the
    search is repeated from the reading that the ranges of the columns suggest.
    """
    agreed = _agree(trial, [])
    taken = _improve(trial, [], agreed)
    if taken or agreed.fits:
        return taken
    start = value_readings(trial.gaussians)[-1:]
    return _improve(trial, start, _agree(trial, start))


def _improve(trial: Trial, taken: list[Reading], agreed: Agreement) -> list[Reading]:
    """Add readings for as long as each one makes the agreement clearly better."""
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
    """Describe what is wrong and what to do, without the sentence's end; empty if all is well."""
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
