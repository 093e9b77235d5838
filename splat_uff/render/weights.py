"""Blend weights of a view as a sparse matrix: once geometry is fixed, blending is W F."""

import numpy as np
from scipy.sparse import csr_matrix

from splat_uff.cameras import Camera
from splat_uff.render.cpu import pixel_weights
from splat_uff.render.records import Gaussians


def blend_weights(gaussians: Gaussians, camera: Camera) -> csr_matrix:
    """Blend weights W [H * W, N] of one view; a blended image of values F is `W @ F`.

    Row-major pixels; rows sum to the accumulated opacity. The numba kernel makes them wherever the
    Gaussians live: it is done once a view, and gsplat has no documented call for it.
    """
    on_cpu = Gaussians(**{name: tensor.cpu() for name, tensor in gaussians.tensors().items()})
    starts, indices, weights = pixel_weights(on_cpu, camera)
    if starts[-1] <= np.iinfo(np.int32).max:
        starts = starts.astype(np.int32)  # One index type for both, or SciPy widens the larger.
    shape = (camera.height * camera.width, len(gaussians))
    return csr_matrix((weights, indices, starts), shape=shape, copy=False)
