"""Blend weights of a view as a sparse matrix: once geometry is fixed, blending is W F."""

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_matrix

from splat_uff.geometry.cameras import Camera
from splat_uff.render.cpu import pixel_weights
from splat_uff.render.fineness import Fineness
from splat_uff.render.records import Gaussians


def blend_weights(gaussians: Gaussians, camera: Camera) -> csr_matrix:
    """Blend weights W [H * W, N] of one view; a blended image of values F is `W @ F`.

    Pixels are row-major, and each row sums to the accumulated opacity. Gaussians appear as they
    were fitted, whatever the size of the camera's pixels (`Fineness`): if these are larger than the
    fitted ones, weights are means over the pixels of a finer image; otherwise the weights in a row
    are ordered front to back. The numba kernel computes them on any device: this is done once per
    view, and gsplat has no documented call for it.
    """
    on_cpu = replace(gaussians, **{name: each.cpu() for name, each in gaussians.tensors().items()})
    fineness = Fineness.of(gaussians, camera)
    starts, indices, weights = pixel_weights(on_cpu, fineness.camera, eps2d=fineness.eps2d)
    if starts[-1] <= np.iinfo(np.int32).max:
        starts = starts.astype(np.int32)  # If the index types differ, SciPy widens the larger.
    shape = (fineness.camera.height * fineness.camera.width, len(gaussians))
    matrix = csr_matrix((weights, indices, starts), shape=shape, copy=False)
    return matrix if fineness.factor == 1 else csr_matrix(fineness.averaging() @ matrix)
