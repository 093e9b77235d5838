"""Blend weights of a view as a sparse matrix: once geometry is fixed, blending is W F."""

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from splat_uff.geometry.cameras import Camera
from splat_uff.render.cpu import pixel_weights
from splat_uff.render.cuda import pixel_weights_on_cuda
from splat_uff.render.fineness import Fineness
from splat_uff.render.records import Gaussians


def blend_weights(gaussians: Gaussians, camera: Camera) -> csr_matrix:
    """Blend weights W [H * W, N] of one view; a blended image of values F is `W @ F`.

    Pixels are row-major, and each row sums to the accumulated opacity. Gaussians appear as they
    were fitted, whatever the size of the camera's pixels (`Fineness`): if these are larger than the
    fitted ones, weights are means over the pixels of a finer image; otherwise the weights in a row
    are ordered front to back. They are computed where the Gaussians are, by gsplat on CUDA, and are
    returned to the CPU, where those of many views have room.
    """
    fineness = Fineness.of(gaussians, camera)
    starts, indices, weights = _rows(gaussians, fineness)
    if starts[-1] <= np.iinfo(np.int32).max:
        starts = starts.astype(np.int32)  # If the index types differ, SciPy widens the larger.
    shape = (fineness.camera.height * fineness.camera.width, len(gaussians))
    matrix = csr_matrix((weights, indices, starts), shape=shape, copy=False)
    return matrix if fineness.factor == 1 else csr_matrix(fineness.averaging() @ matrix)


def _rows(
    gaussians: Gaussians, fineness: Fineness
) -> tuple[Int[np.ndarray, "R"], Int[np.ndarray, "E"], Float[np.ndarray, "E"]]:
    """Row starts, Gaussians and weights of the finer image: by numba, or by gsplat on CUDA."""
    if not gaussians.means.is_cuda:
        return pixel_weights(gaussians, fineness.camera, eps2d=fineness.eps2d)
    rows = pixel_weights_on_cuda(gaussians, fineness.camera, eps2d=fineness.eps2d)
    starts, indices, weights = (each.cpu().numpy() for each in rows)
    return starts, indices, weights
