"""Adding and removing Gaussians while they are fitted: gsplat's `DefaultStrategy`, with a cap."""

from dataclasses import dataclass, field
from typing import Any

import torch
from gsplat import DefaultStrategy

from splat_uff.render import Render


@dataclass
class Density:
    """Grows Gaussians where the picture pulls at them and prunes those that fade."""

    strategy: DefaultStrategy
    most: int
    """Cap on the number of Gaussians; refinements share what is left below it evenly."""
    least_gradient: float
    """Weaker gradients never grow a Gaussian."""
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
        strategy = DefaultStrategy(
            refine_start_iter=start,
            refine_stop_iter=stop,
            refine_every=every,
            reset_every=stop + 1,
            grow_grad2d=grow_grad2d,
        )
        return Density(strategy, most, grow_grad2d, strategy.initialize_state(scene_scale=scale))

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
        means2d = render.means2d.detach()[None]
        means2d.grad = grad[None]
        height, width = render.alpha.shape
        meta = {
            "means2d": means2d,
            "radii": render.radii[None],
            "width": width,
            "height": height,
            "n_cameras": 1,
            "gaussian_ids": None,
        }
        self._spend_evenly(step)
        with torch.random.fork_rng(devices=[grad.device] if grad.is_cuda else []):
            torch.manual_seed(seed)  # noqa: TID251 - gsplat takes no generator.
            self.strategy.step_post_backward(params, optimizers, self.state, step, meta)

    def _spend_evenly(self, step: int) -> None:
        """Set the threshold so that the number of Gaussians rises evenly up to the cap."""
        strategy, sums = self.strategy, self.state["grad2d"]
        if sums is None or step % strategy.refine_every or step <= strategy.refine_start_iter:
            return
        remaining = max(1, (strategy.refine_stop_iter - 1 - step) // strategy.refine_every + 1)
        share = max(0, self.most - len(sums)) // remaining
        gradients = sums / self.state["count"].clamp_min(1)
        if share == 0:
            strategy.grow_grad2d = float("inf")
        elif share < len(gradients):
            strongest = torch.topk(gradients, share + 1).values[-1].item()
            strategy.grow_grad2d = max(self.least_gradient, strongest)
        else:
            strategy.grow_grad2d = self.least_gradient
