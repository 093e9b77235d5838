"""Settings of the photometric fit."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from splat_uff.system.setting_types import Count, Natural, Positive, Share, Weight


@dataclass(frozen=True)
class GaussiansConfig:
    """Settings of the photometric fit."""

    steps: Count = 2000
    """Optimiser steps, one photo each; the running time grows with them."""
    step_pixels: Annotated[int, Meta(ge=1024)] = 250000
    """Most pixels that one step looks at, so that its time hardly grows with --size. Of a larger
    photo, the first steps see a reduced copy, and later ones see windows at full size. With the
    depth loss, all steps see whole photos at full size."""
    coarse: Share = 0.5
    """Share of the steps that see a reduced copy of photos with more than step_pixels pixels; 0
    fits them in windows from the first step on."""
    start: Count = 6000
    """Number of Gaussians at the start."""
    most: Count = 60000
    """Most Gaussians allowed; more show finer detail and take longer."""
    sh_degree: Annotated[int, Meta(ge=0, le=3)] = 1
    """Degree of the spherical harmonics, 0 (same colour from every direction) to 3 (shiny)."""
    ssim_weight: Share = 0.2
    """Weight w of structural dissimilarity (1 - SSIM); the absolute error (L1) has weight 1 - w."""
    means_lr: Positive = 8e-4
    """Initial learning rate of the means, in scene extents; it falls a hundredfold."""
    scales_lr: Positive = 3e-2
    """Learning rate of the scales (logarithms of the three radii)."""
    quats_lr: Positive = 6e-3
    """Learning rate of the quats (rotations)."""
    opacities_lr: Positive = 7.5e-2
    """Learning rate of the opacities (logits)."""
    sh0_lr: Positive = 1.5e-2
    """Learning rate of the view-independent colour (SH of degree 0)."""
    shN_lr: Positive = 1.5e-3
    """Learning rate of the view-dependent colour (SH above degree 0)."""
    decay_start: Share = 0.7
    """Share of the steps after which the learning rates begin to fall, except that of the means,
    which falls from the first step on."""
    decay: Annotated[float, Meta(gt=0, le=1)] = 0.3
    """What these learning rates are multiplied by at the end; 1 keeps them as they are."""
    density: Literal["default", "mcmc"] = "default"
    """Method that adds and removes Gaussians: `default` clones, splits and prunes as in 3DGS;
    `mcmc` relocates Gaussians and adds noise."""
    refine_start: Natural = 300
    """First step that may clone, split or prune Gaussians."""
    refine_stop: Share = 0.6
    """Share of the steps after which the number of Gaussians no longer changes."""
    refine_every: Count = 100
    """Steps between refinements."""
    grow_grad2d: Positive = 3e-5
    """Mean gradient of the projected mean, in half images, above which a Gaussian is cloned or
    split."""
    reset_every: Natural = 0
    """Steps between resets of all opacities, for the default density; 0 never resets them."""
    mcmc_noise: Weight = 5e5
    """MCMC noise, as a multiple of the means' learning rate."""
    mcmc_opacity_weight: Weight = 1e-3
    """Weight of the mean opacity in the loss, for MCMC: unneeded Gaussians fade and are moved."""
    mcmc_scale_weight: Weight = 1e-3
    """Weight of the mean radius in the loss, for MCMC."""
    depth_weight: Weight = 0.0
    """Weight of the loss that keeps depth smooth inside the smallest masks; 0 leaves it out."""
    depth_start: Share = 0.25
    """Share of the steps after which the depth loss is switched on."""


@dataclass(frozen=True)
class BordersConfig:
    """Settings of the clean borders: splitting Gaussians across borders, and fitting them again."""

    rounds: Natural = 0
    """Rounds of splitting and fitting, usually 1; 0 leaves the Gaussians as they are fitted to the
    photos."""
    steps: Count = 200
    """Optimiser steps of a round, one photo each."""
    segments: Count = 200
    """Number of segments whose borders are kept clean, of a tree by the masks alone."""
    most_split: Share = 0.15
    """Most Gaussians split in the first round, as a share of all; each further round may split half
    as many."""
    weight: Weight = 0.5
    """Weight of the loss of Gaussians that show in pixels of other segments."""
    rate: Positive = 3.0
    """Learning rates as a multiple of those at the end of the fit."""
