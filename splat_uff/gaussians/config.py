"""Settings of the photometric fit."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GaussiansConfig:
    """Settings of the photometric fit."""

    steps: int = 3000
    """Optimisation steps, one photo each."""
    start: int = 6000
    """Gaussians at the start."""
    most: int = 16000
    """Cap on the number of Gaussians."""
    sh_degree: int = 1
    """Degree of the spherical harmonics, 0 to 3."""
    ssim_weight: float = 0.2
    """Weight of 1 - SSIM against L1."""
    means_lr: float = 4e-4
    """Learning rate of the centres at the start, in scene extents; falls a hundredfold."""
    scales_lr: float = 1e-2
    quats_lr: float = 2e-3
    opacities_lr: float = 5e-2
    sh0_lr: float = 5e-3
    shN_lr: float = 5e-4
    refine_start: int = 300
    """First step that may add or remove Gaussians."""
    refine_stop: float = 0.6
    """Share of the steps after which their number stays."""
    refine_every: int = 100
    grow_grad2d: float = 1e-4
    """Mean gradient of a projected centre above which a Gaussian is cloned or split."""
    depth_weight: float = 0.0
    """Weight of the depth-continuity loss inside leaf masks."""
    depth_start: float = 0.25
    """Share of the steps after which it is switched on."""
