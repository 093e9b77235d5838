"""Settings of the photometric fit."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from splat_uff.system.setting_types import Count, Natural, Positive, Share, Weight


@dataclass(frozen=True)
class GaussiansConfig:
    """Settings of the photometric fit."""

    steps: Count = 4000
    """Steps of the optimiser, one photo each; time grows with them."""
    start: Count = 6000
    """Gaussians to start from."""
    most: Count = 60000
    """Most Gaussians; more show finer detail and take longer."""
    sh_degree: Annotated[int, Meta(ge=0, le=3)] = 1
    """Degree of the spherical harmonics: 0 (same colour from everywhere) to 3 (shiny)."""
    ssim_weight: Share = 0.2
    """Weight of structural dissimilarity (1 - SSIM); the absolute error (L1) has the rest of 1."""
    means_lr: Positive = 4e-4
    """Learning rate of the centres at the start, in scene extents; falls a hundredfold."""
    scales_lr: Positive = 1e-2
    """Learning rate of the logarithms of the three radii."""
    quats_lr: Positive = 2e-3
    """Learning rate of the rotations (quaternions)."""
    opacities_lr: Positive = 5e-2
    """Learning rate of the opacities (logits)."""
    sh0_lr: Positive = 5e-3
    """Learning rate of the colours."""
    shN_lr: Positive = 5e-4
    """Learning rate of what changes in the colours with the direction of view."""
    density: Literal["default", "mcmc"] = "default"
    """What adds and removes Gaussians: 3DGS's cloning, splitting and pruning, or MCMC's moves."""
    refine_start: Natural = 300
    """First step that may clone, split or prune Gaussians."""
    refine_stop: Share = 0.6
    """Share of the steps after which their number stays as it is."""
    refine_every: Count = 100
    """Steps from one such refinement to the next."""
    grow_grad2d: Positive = 1e-4
    """Mean gradient of its centre, in half images, from which a Gaussian is cloned or split."""
    reset_every: Natural = 0
    """Steps from one reset of all opacities to the next, for the default density; 0 for none."""
    mcmc_noise: Weight = 5e5
    """Noise of MCMC, in learning rates of the centres."""
    mcmc_opacity_weight: Weight = 1e-3
    """Weight of mean opacity in the loss, for MCMC: what is not needed fades and is moved."""
    mcmc_scale_weight: Weight = 1e-3
    """Weight of mean radius in the loss, for MCMC."""
    depth_weight: Weight = 0.0
    """Weight of the loss that keeps depth smooth inside the smallest masks; 0 leaves it out."""
    depth_start: Share = 0.25
    """Share of the steps after which it is switched on."""
