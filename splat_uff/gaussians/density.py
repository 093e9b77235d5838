"""Adding and removing Gaussians while they are fitted: gsplat's `DefaultStrategy`, with a cap."""

from dataclasses import dataclass, field
from typing import Any

import torch
from gsplat import DefaultStrategy

from splat_uff.render import Render


@dataclass
class CappedStrategy(DefaultStrategy):
    """Raises `grow_grad2d` so that the number of Gaussians rises evenly up to a cap."""

    most: int = 0
    """Cap on the number of Gaussians; refinements share what is left below it evenly."""
    least_gradient: float = 0.0
    """Weaker gradients never grow a Gaussian."""

    def _grow_gs(self, params, optimizers, state, step):
        # Here, since only here the step's own gradients are counted in and nothing has grown yet.
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
    """Grows Gaussians where the picture pulls at them and prunes those that fade."""

    strategy: CappedStrategy
    state: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(
        *, start: int, stop: int, every: int, grow_grad2d: float, most: int, scale: float
    ) -> "Density":
        """Refine between steps `start` and `stop`.

        Opacities are not reset: the short schedules of a CPU have no time to recover, and in
        gsplat 1.5.3 `DefaultStrategy` never does it either.

        Args:
            start: First step that may refine.
            stop: Refinement ends before this step.
            every: Steps between refinements.
            grow_grad2d: Mean gradient of the projected centre, in half images, above which to grow.
            most: Cap on the number of Gaussians.
            scale: Extent of the scene, world units.
        """
        strategy = CappedStrategy(
            refine_start_iter=start,
            refine_stop_iter=stop,
            refine_every=every,
            reset_every=stop + 1,
            most=most,
            least_gradient=grow_grad2d,
        )
        return Density(strategy, strategy.initialize_state(scene_scale=scale))

    def step(
        self,
        params: dict[str, torch.nn.Parameter],
        optimizers: dict[str, torch.optim.Optimizer],
        step: int,
        render: Render,
        seed: int,
    ) -> None:
        """Take note of one step's gradients and refine when it is time.

        Args:
            params: gsplat's names: means, quats, scales (log), opacities (logits), sh0, shN.
            optimizers: One per parameter.
            step: Number of the step, from 0.
            render: Of this step, after `backward`, with `means2d.grad` kept.
            seed: Seeds what this step draws; gsplat draws from the global generator.
        """
        if step >= self.strategy.refine_stop_iter:
            return
        grad = render.means2d.grad
        assert grad is not None, "retain_grad() was not called on means2d."
        height, width = render.alpha.shape
        meta = {
            "means2d": render.means2d,
            "radii": render.radii,
            "width": width,
            "height": height,
            "n_cameras": 1,
            "gaussian_ids": None,
        }
        with torch.random.fork_rng(devices=[grad.device] if grad.is_cuda else []):
            torch.manual_seed(seed)  # noqa: TID251 - gsplat takes no generator.
            self.strategy.step_post_backward(params, optimizers, self.state, step, meta)
