"""Adding, moving and removing Gaussians during the fit, with a cap on their number."""

from dataclasses import dataclass, field
from typing import Any

import torch
from gsplat import DefaultStrategy
from gsplat.strategy.ops import reset_opa

from splat_uff.gaussians.config import GaussiansConfig
from splat_uff.gaussians.mcmc import McmcStrategy
from splat_uff.geometry.cameras import Camera
from splat_uff.render import Render


@dataclass
class CappedStrategy(DefaultStrategy):
    """gsplat's `DefaultStrategy` with `grow_grad2d` set for an even rise to a cap."""

    most: int = 0
    """Cap on the number of Gaussians; the room left below it is shared evenly by refinements."""
    least_gradient: float = 0.0
    """Smallest mean gradient for which a Gaussian is ever cloned or split."""

    def step_post_backward(self, params, optimizers, state, step, info, packed=False):
        super().step_post_backward(params, optimizers, state, step, info, packed)
        # gsplat 1.5 never does this: it tests `step % self.reset_every == 0 & step > 0`, which
        # Python reads as 0 == (0 & step) and (0 & step) > 0.
        if 0 < step < self.refine_stop_iter and step % self.reset_every == 0:
            reset_opa(params, optimizers, state, value=2 * self.prune_opa)

    def _update_state(self, params, state, info, packed=False):
        # gsplat's own looks up who is visible and adds row by row, several times as slow on a CPU.
        assert not packed
        assert not self.absgrad
        assert not self.refine_scale2d_stop_iter
        gradient, seen = info["means2d"].grad[0], info["radii"][0, :, 0] > 0
        if state["grad2d"] is None:
            state["grad2d"] = torch.zeros(len(seen), device=seen.device)
            state["count"] = torch.zeros(len(seen), device=seen.device)
        # In units of half an image.
        x, y = gradient[:, 0] * (info["width"] / 2), gradient[:, 1] * (info["height"] / 2)
        state["grad2d"] += torch.hypot(x, y) * seen
        state["count"] += seen

    def _grow_gs(self, params, optimizers, state, step):
        # Only at this point are the step's own gradients included and has nothing grown yet.
        remaining = max(1, (self.refine_stop_iter - 1 - step) // self.refine_every + 1)
        gradients = state["grad2d"] / state["count"].clamp_min(1)
        share = max(0, self.most - len(gradients)) // remaining
        if share == 0:
            self.grow_grad2d = float("inf")
        elif share < len(gradients):
            strongest = torch.topk(gradients, share + 1).values[-1].item()
            self.grow_grad2d = max(self.least_gradient, strongest)
        else:
            self.grow_grad2d = self.least_gradient
        return super()._grow_gs(params, optimizers, state, step)


@dataclass
class Density:
    """One of the two strategies and its state between steps."""

    strategy: CappedStrategy | McmcStrategy
    state: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(config: GaussiansConfig, *, scale: float) -> "Density":
        """Create the strategy that the settings name.

        Args:
            config: Settings of the fit.
            scale: Extent of the scene, in world units.
        """
        stop = int(config.refine_stop * config.steps)
        when: dict[str, Any] = {
            "refine_start_iter": config.refine_start,
            "refine_stop_iter": stop,
            "refine_every": config.refine_every,
        }
        if config.density == "mcmc":
            noise = config.mcmc_noise
            return Density(McmcStrategy(**when, cap_max=config.most, noise_lr=noise))
        strategy = CappedStrategy(
            **when,
            reset_every=config.reset_every or stop + 1,
            most=config.most,
            least_gradient=config.grow_grad2d,
        )
        return Density(strategy, strategy.initialize_state(scene_scale=scale))

    def step(
        self,
        params: dict[str, torch.nn.Parameter],
        optimizers: dict[str, torch.optim.Optimizer],
        step: int,
        render: Render,
        camera: Camera,
        seed: int,
    ) -> None:
        """Record one step, and refine if a refinement is due.

        Args:
            params: Tensors by gsplat's names: means, quats, scales (log), opacities (logits), sh0,
                shN.
            optimizers: Optimizer of each parameter.
            step: Number of the step, from 0.
            render: Render of this step, after `backward`, with `means2d.grad` kept.
            camera: Camera of the whole photo, of which `render` may show a window.
            seed: Seed of this step's draws; gsplat draws from the global generator.
        """
        if isinstance(self.strategy, CappedStrategy) and step >= self.strategy.refine_stop_iter:
            return
        device = params["means"].device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)  # noqa: TID251 - gsplat takes no generator.
            if isinstance(self.strategy, McmcStrategy):
                rate = optimizers["means"].param_groups[0]["lr"]
                self.strategy.step_post_backward(params, optimizers, self.state, step, {}, rate)
            else:
                info = _info(render, camera)
                self.strategy.step_post_backward(params, optimizers, self.state, step, info)


def _info(render: Render, camera: Camera) -> dict[str, Any]:
    """Entries of a rasterization's `meta` that `DefaultStrategy` reads."""
    assert render.means2d.grad is not None, "retain_grad() was not called on means2d."
    return {
        "means2d": render.means2d,
        "radii": render.radii,
        "width": camera.width,
        "height": camera.height,
        "n_cameras": 1,
        "gaussian_ids": None,
    }
