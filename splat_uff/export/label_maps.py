"""Label maps of held-out views at every granularity, in the layout of the published scripts."""

from pathlib import Path

from splat_uff.capture.rotated import read_rotated
from splat_uff.evaluate.layout import PUBLISHED_ANGLE, write_layout
from splat_uff.evaluate.score import cut_heights, label_view, make_cuts, scored_camera
from splat_uff.hierarchy.labels import Parties
from splat_uff.run.open import open_run
from splat_uff.system.errors import InputError
from splat_uff.system.progress import track


def write_labels(path: Path, output: Path) -> int:
    """Write the label maps of a finished run in the layout of the published scripts.

    The held-out views come first, followed by those rotated by 10 degrees if the capture has them.

    Args:
        path: Run folder.
        output: Folder to create.

    Returns:
        Number of views written.

    Raises:
        InputError: If there is no finished run, nothing is held out, or `output` already exists.
    """
    run = open_run(path, finished=True)
    config = run.provenance.settings.evaluate
    if not run.capture.val:
        raise InputError(f"{run.capture.folder} holds out no views, so there is none to label.")
    cameras = [scored_camera(view) for view in run.capture.val]
    cameras += [view.camera for view in read_rotated(run.capture, PUBLISHED_ANGLE) or []]
    cuts = make_cuts(run.hierarchy, config)
    parties = Parties.of(cuts)
    maps = [
        label_view(run.gaussians, run.hierarchy, camera, parties, config)
        for camera in track(cameras, "labels", len(cameras))
    ]
    write_layout(output, maps, cut_heights(run.hierarchy, config))
    return len(maps)
