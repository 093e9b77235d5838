"""The colours that a camera sees and their gradients on the CPU, without autograd.

Results are those of `render_colours` and its backward pass to rounding. Autograd's bookkeeping,
concatenated harmonics and gradients that nobody reads take a third of the time of a view of 200 x
200 pixels, so the photometric fit calls the kernels itself.
"""

# pyright: reportCallIssue=false
# Tuples of arrays are unpacked into the parameters of kernels, and pyright cannot count them.

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from splat_uff.geometry.cameras import Camera
from splat_uff.render import blending, harmonics, listing, projection
from splat_uff.render.cpu import EPS2D, FAR, NEAR, TILE, float_array, follow_torch_threads
from splat_uff.render.records import Gaussians
from splat_uff.render.tiles import bin_into_tiles, drop_unfinite
from splat_uff.system.records import array_record


@array_record
class Stored:
    """Arrays of the Gaussians as the kernels read them."""

    means: Float[np.ndarray, "N 3"]
    quats: Float[np.ndarray, "N 4"]
    scales: Float[np.ndarray, "N 3"]
    opacities: Float[np.ndarray, "N"]
    sh0: Float[np.ndarray, "N 1 3"]
    shN: Float[np.ndarray, "N K 3"]
    antialiased: bool

    @staticmethod
    def of(gaussians: Gaussians) -> "Stored":
        """Arrays of the Gaussians; scales and opacities are computed, others are shared."""
        with torch.no_grad():
            scales, opacities = gaussians.scales, gaussians.opacities
        tensors = gaussians.means, gaussians.quats, scales, opacities, gaussians.sh0, gaussians.shN
        return Stored(*map(float_array, tensors), gaussians.antialiased)

    @property
    def solids(self) -> tuple[np.ndarray, ...]:
        """What is projected."""
        return self.means, self.quats, self.scales, self.opacities


@array_record
class Drawn:
    """The colours that a camera sees, and what their gradients are computed from."""

    image: Float[np.ndarray, "H W 3"]
    """Blended colours, not divided by `alphas` and without a background."""
    alphas: Float[np.ndarray, "H W"]
    """Accumulated opacity."""
    radii: Int[np.ndarray, "N 2"]
    """Half extents of each Gaussian as drawn, in pixels; 0 for invisible ones."""
    camera: Camera
    degree: int
    threads: int
    stored: Stored
    shapes: tuple[np.ndarray, ...]
    """Projected centres, conics, opacities and extents of the Gaussians."""
    colours: Float[np.ndarray, "N 3"]
    rows: Int[np.ndarray, "N"]
    """Index of each visible Gaussian, -1 for invisible ones."""
    tiles: tuple[np.ndarray, ...]
    """Results of `bin_into_tiles`."""
    hits: tuple[np.ndarray, np.ndarray]
    """Bits that say which Gaussians each block of pixels blends."""

    @staticmethod
    def of(gaussians: Gaussians, camera: Camera, *, degree: int) -> "Drawn":
        """Draw Gaussians on the CPU.

        Args:
            gaussians: Gaussians to draw.
            camera: Camera of the view; the image has its size.
            degree: Highest degree of the harmonics to use, at most that of the Gaussians.
        """
        threads, stored = follow_torch_threads(), Stored.of(gaussians)
        width, height, everyone = camera.width, camera.height, np.arange(len(gaussians))
        pose, K, centre = _matrices(camera)
        means2d, conics, depths, dimmed, extents = projection.project_forward(
            *stored.solids, pose, K, 1, width, height, EPS2D, NEAR, FAR, 0.0, stored.antialiased
        )
        rows = np.where(extents[:, 0] > 0, everyone, -1).astype(np.int32)
        colours = harmonics.harmonics_forward(
            stored.means, stored.sh0, stored.shN, 0, centre, degree, 1, everyone, rows
        )
        boxes = drop_unfinite(extents, colours, everyone)
        tiles = bin_into_tiles(means2d, boxes, depths, width, height, TILE, threads)
        hits = listing.room_for_bits(tiles[0], TILE)
        image = np.empty((height, width, 3), np.float32)
        alphas = np.empty((height, width), np.float32)
        shapes = means2d, conics, dimmed, boxes
        blending.blend_forward(
            *shapes, colours, everyone, *tiles[:2], *hits, TILE, image, alphas, threads
        )
        radii = np.ceil(np.minimum(extents, 2.0**30)).astype(np.int32)
        return Drawn(
            image, alphas, radii, camera, degree, threads, stored, shapes, colours, rows, tiles,
            hits,
        )  # fmt: skip

    def pull_back(
        self, v_image: Float[np.ndarray, "H W 3"], v_alphas: Float[np.ndarray, "H W"]
    ) -> tuple[dict[str, Tensor], Float[np.ndarray, "N 2"]]:
        """Gradients of what is stored, by the names of `Gaussians`, and of the projected centres.

        Args:
            v_image: Gradient of the image.
            v_alphas: Gradient of the accumulated opacities.
        """
        stored, camera, count = self.stored, self.camera, len(self.rows)
        pose, K, centre = _matrices(camera)
        v_colours = np.zeros_like(self.colours)
        v_means2d, v_conics, v_dimmed, _ = blending.blend_backward(
            *self.shapes, self.colours, np.arange(count), *self.tiles, *self.hits, TILE,
            v_image, v_alphas, False, v_colours, self.threads,
        )  # fmt: skip
        v_means, v_quats, v_scales, v_opacities, _ = projection.project_backward(
            *stored.solids, pose, K, 1, camera.width, camera.height, EPS2D, stored.antialiased,
            self.rows, v_means2d, v_conics, np.zeros(count, np.float32), v_dimmed, False,
        )  # fmt: skip
        v_sh0, v_shN = np.zeros_like(stored.sh0), np.zeros_like(stored.shN)
        harmonics.harmonics_backward(
            stored.means, stored.shN, 0, centre, self.degree, 1, self.rows,
            self.colours, v_colours, v_means, v_sh0, v_shN,
        )  # fmt: skip
        v_scales *= stored.scales
        v_opacities *= 1 - stored.opacities
        v_opacities *= stored.opacities
        gradients = {
            "means": v_means, "quats": v_quats, "log_scales": v_scales,
            "opacity_logits": v_opacities, "sh0": v_sh0, "shN": v_shN,
        }  # fmt: skip
        return {name: torch.from_numpy(each) for name, each in gradients.items()}, v_means2d


def _matrices(camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pose, intrinsics and centre of a camera, with an axis of images."""
    matrices = camera.cam_from_world, camera.K, camera.centre
    pose, K, centre = (np.ascontiguousarray(each, np.float64)[None] for each in matrices)
    return pose, K, centre
