"""Frame of exported files: as the splats have it, or turned upright and scaled."""

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from splat_uff.export.camera_path import shared_up
from splat_uff.export.config import Export
from splat_uff.gaussians.source import centres_of
from splat_uff.run.open import Run
from splat_uff.system.errors import InputError, argument

OUTERMOST = 1.0
"""Percentage of the Gaussians on either side of an axis that do not count as the scene's extent."""
SHORTEST = 1e-9
UP_IN_FILES = np.array([0.0, -1.0, 0.0])
"""Direction that is up in an upright `.ply`, as in captures of COLMAP; SuperSplat and others turn
it upwards."""
DOWN_IS_Y = np.diag([1.0, -1.0, -1.0])
"""Rotation from axes with y down, as of an OpenCV camera, to those of glTF and OpenUSD: y up."""


def export_frame(run: Run, wanted: Export) -> Float[np.ndarray, "4 4"]:
    """Similarity from the frame of the run's splats to that of the exported files.

    Raises:
        InputError: If the length is negative or not finite, or the scene has no extent.
    """
    similarity = np.eye(4)
    if wanted.up != "as it is":
        similarity[:3, :3] = rotation_between(_up_of(run, wanted.up), UP_IN_FILES)
    length = wanted.scale_to
    if not (length == 0 or SHORTEST <= length <= 1 / SHORTEST):
        raise InputError(
            f"{argument('scale_to')} is {length}; expected a length above 0, from {SHORTEST:g} to "
            f"{1 / SHORTEST:g}."
        )
    if length:
        turned = centres_of(run.table) @ similarity[:3, :3].T
        low, high = np.percentile(turned, [OUTERMOST, 100 - OUTERMOST], axis=0)
        extent = float((high - low).max())
        if not extent > 0:
            raise InputError(f"the scene has no extent to scale; leave {argument('scale_to')} out.")
        similarity[:3, :3] *= length / extent
    return similarity


def rotation_between(
    given: Float[np.ndarray, "3"], wanted: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3 3"]:
    """Shortest rotation from one unit vector to another; entries of -1, 0 and 1 are exact."""
    turn = Rotation.align_vectors(wanted, given)[0].as_matrix()
    rounded = np.round(turn) + 0.0
    return rounded if np.allclose(rounded, turn, rtol=0, atol=1e-9) else turn


def _up_of(run: Run, up: str) -> Float[np.ndarray, "3"]:
    """Unit vector that points up in the frame of the run's splats."""
    if up != "auto":
        axis = np.eye(3)["xyz".index(up[-1])]
        return -axis if up.startswith("-") else axis
    rotations = np.stack([view.camera.world_from_cam[:3, :3] for view in run.capture.train])
    turned = run.files_from_world[:3, :3] @ shared_up(rotations)
    return turned / np.linalg.norm(turned)
