"""The photometric fit: Gaussians that reproduce the training photos (Kerbl et al. 2023)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from splat_uff.capture import Capture, View
from splat_uff.gaussians.config import GaussiansConfig
from splat_uff.gaussians.density import Density
from splat_uff.gaussians.depth import Runs, depth_continuity_loss, find_runs
from splat_uff.gaussians.initial import initial_gaussians
from splat_uff.gaussians.losses import Compared, photometric_loss
from splat_uff.gaussians.windows import Looked, look_at
from splat_uff.geometry.cameras import Camera
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.render import Gaussians, Render, render_colours, render_colours_and_depth
from splat_uff.render.direct import Drawn
from splat_uff.system import kernels
from splat_uff.system.hooks import Hooks
from splat_uff.system.optimizers import load_state, save_state, step_adams
from splat_uff.system.progress import progress_bar

Figures = Callable[[], dict[str, float]]
"""Computes the figures of a step: `loss`, `psnr` and `num_gaussians`."""
STAGE = 1
"""Number of this stage's random stream."""
LOG_EVERY = 50


def fit_gaussians(
    capture: Capture,
    config: GaussiansConfig,
    bags: Sequence[tuple[MaskSet, MaskTree]] | None = None,
    *,
    seed: int,
    device: str = "cpu",
    hooks: Hooks = Hooks(),
) -> Gaussians:
    """Fit Gaussians to the training photos.

    The same seed gives the same Gaussians, even if the fit is interrupted and resumed from a
    checkpoint: every step draws from a stream of its own.

    Args:
        capture: Photos and cameras.
        config: Settings of the fit.
        bags: Masks and mask tree of each training view, for the depth-continuity loss.
        seed: Seed of all draws of the stage.
        device: Device of the tensors: `cpu` or `cuda`.
        hooks: Checkpoint, log of `loss`, `psnr` and `num_gaussians`, and observer.
    """
    fit = _Fit(capture, config, bags, seed, device)
    fit.restore(hooks.checkpoint.restore(fit.state()))
    with progress_bar("gaussians", config.steps, done=fit.step) as bar:
        while fit.step < config.steps:
            figures = fit.advance()
            if fit.step % LOG_EVERY == 0 or fit.step == config.steps:
                hooks.log(fit.step, **figures())
                bar.advance(LOG_EVERY if fit.step % LOG_EVERY == 0 else 1, **figures())
            hooks.checkpoint.keep(fit.state, now=hooks.observer.holding)
            hooks.observer.after_step("gaussians", fit.step, config.steps, fit.gaussians)
    return fit.gaussians().detach()


class _Fit:
    """State of the fit between two steps: parameters, optimizers and the density schedule."""

    def __init__(
        self,
        capture: Capture,
        config: GaussiansConfig,
        bags: Sequence[tuple[MaskSet, MaskTree]] | None,
        seed: int,
        device: str,
    ) -> None:
        self.config, self.seed, self.device, self.step = config, seed, device, 0
        self.bags = bags if config.depth_weight > 0 else None
        self.by_autograd = not kernels.numba_computes(device) or bool(self.bags)
        self.by_autograd |= config.density == "mcmc"
        self.runs: dict[int, Runs] = {}
        self.views = capture.train
        self.extent = 1.1 * max(float(np.linalg.norm(v.camera.centre)) for v in capture.train)
        count, rng = min(config.start, config.most), np.random.default_rng([seed, STAGE])
        start = initial_gaussians(capture, count, config.sh_degree, rng=rng)
        self._set_params({_OURS[name]: tensor for name, tensor in start.tensors().items()})
        self.density = Density.of(config, scale=self.extent)

    def gaussians(self) -> Gaussians:
        """Current Gaussians, attached to the parameters."""
        return Gaussians.of({ours: self.params[theirs] for ours, theirs in _OURS.items()})

    def advance(self) -> Figures:
        """Take one step; returns a function that computes its figures, most of which go unread."""
        index = self._next_view()
        looked = self._look(self.views[index])
        self._set_rates()
        if self.by_autograd:
            render, figures = self._pull_back_by_autograd(index, looked)
        else:
            render, figures = self._pull_back(looked)
        # A window's loss is a mean over fewer pixels, so the density would see larger gradients.
        assert render.means2d.grad is not None
        render.means2d.grad *= looked.share
        self._apply(render, looked.photo)
        self.step += 1
        return figures

    def _pull_back(self, looked: Looked) -> tuple[Render, Figures]:
        """Compute the gradients of the step's loss on the CPU, in a few calls of kernels."""
        drawn = Drawn.of(self.gaussians(), looked.camera, degree=self._degree())
        background = self._background().numpy()
        compared = Compared.of(
            drawn.image, drawn.alphas, looked.image, background, ssim_weight=self.config.ssim_weight
        )
        gradients, v_means2d = drawn.pull_back(compared.v_image, compared.v_alphas)
        for ours, theirs in _OURS.items():
            self.params[theirs].grad = gradients[ours]
        means2d, radii = torch.from_numpy(drawn.shapes[0]), torch.from_numpy(drawn.radii)
        render = Render(
            torch.from_numpy(drawn.image),
            torch.from_numpy(drawn.alphas),
            means2d[None],
            radii[None],
        )
        render.means2d.grad = torch.from_numpy(v_means2d)[None]

        def figures() -> dict[str, float]:
            count = len(self.params["means"])
            return {"loss": compared.loss, "psnr": compared.psnr, "num_gaussians": count}

        return render, figures

    def _pull_back_by_autograd(self, index: int, looked: Looked) -> tuple[Render, Figures]:
        """Compute the gradients of the step's loss on any device, and with any of its terms."""
        photo, camera = torch.from_numpy(looked.image).to(self.device), looked.camera
        degree, gaussians = self._degree(), self.gaussians()
        with_depth = self.bags and self.step >= self.config.depth_start * self.config.steps
        if with_depth:
            render = render_colours_and_depth(gaussians, camera, degree=degree)
        else:
            render = render_colours(gaussians, camera, degree=degree)
        render.means2d.retain_grad()
        background, truth = self._background(), photo[..., :3]
        image = render.values[..., :3]
        # Also for opaque photos: letting the background through is as wrong as a wrong colour.
        image = image + (1 - render.alpha[..., None]) * background
        truth = truth + (1 - photo[..., 3:]) * background
        loss = photometric_loss(image, truth, ssim_weight=self.config.ssim_weight)
        if with_depth:
            loss = loss + self.config.depth_weight * self._depth_loss(index, render)
        if self.config.density == "mcmc":
            loss = loss + self.config.mcmc_opacity_weight * gaussians.opacities.mean()
            loss = loss + self.config.mcmc_scale_weight * gaussians.scales.mean()
        loss.backward()

        def figures() -> dict[str, float]:
            error = (image.detach() - truth).square().mean().clamp_min(1e-10)
            psnr = -10 * float(torch.log10(error))
            return {"loss": loss.item(), "psnr": psnr, "num_gaussians": len(self.params["means"])}

        return render, figures

    def _degree(self) -> int:
        """Degree of the harmonics in this step; it rises by one every 500 steps."""
        return min(self.config.sh_degree, self.step // 500)

    def _set_rates(self) -> None:
        """Set the learning rates of this step: the means' falls all the time, others at the end."""
        config, done = self.config, self.step / self.config.steps
        late = max(0.0, done - config.decay_start) / max(1e-9, 1 - config.decay_start)
        factors = {"means": 0.01**done}
        for name, optimizer in self.optimizers.items():
            factor = factors.get(name, config.decay**late)
            for group in optimizer.param_groups:
                group["lr"] = self.rates[name] * factor

    def _next_view(self) -> int:
        """Next view in an order of the photos that is reshuffled every epoch."""
        epoch, index = divmod(self.step, len(self.views))
        order = np.random.default_rng([self.seed, STAGE, 1, epoch]).permutation(len(self.views))
        return int(order[index])

    def _look(self, view: View) -> Looked:
        """What the step looks at; the whole photo if its masks smooth the depth."""
        rng = np.random.default_rng([self.seed, STAGE, 5, self.step])
        if self.bags:
            return look_at(view, view.camera.width * view.camera.height, rng)
        coarse = self.step < self.config.coarse * self.config.steps
        return look_at(view, self.config.step_pixels, rng, coarse=coarse)

    def _depth_loss(self, index: int, render: Render) -> Float[Tensor, ""]:
        assert self.bags is not None
        if index not in self.runs:
            self.runs[index] = find_runs(*self.bags[index])
        rng = np.random.default_rng([self.seed, STAGE, 4, self.step])
        camera, depth = self.views[index].camera, render.values[..., 3]
        return depth_continuity_loss(depth, render.alpha, camera, self.runs[index], rng=rng)

    def _background(self) -> Float[Tensor, "3"]:
        """Draw a new colour every step, so that nothing opaque can pass for the background."""
        colour = np.random.default_rng([self.seed, STAGE, 2, self.step]).random(3)
        return torch.as_tensor(colour, dtype=torch.float32, device=self.device)

    def _apply(self, render: Render, camera: Camera) -> None:
        step_adams(self.optimizers.values())
        draws = int(np.random.default_rng([self.seed, STAGE, 3, self.step]).integers(2**31))
        self.density.step(self.params, self.optimizers, self.step, render, camera, draws)

    def state(self) -> dict[str, np.ndarray]:
        """Everything on which the next step depends, as arrays."""
        arrays = {"step": np.array(self.step)}
        for name, param in self.params.items():
            arrays[f"param.{name}"] = param.detach().cpu().numpy()
            arrays |= save_state(self.optimizers[name], param, f"adam.{name}.")
        for name, value in self.density.state.items():
            if isinstance(value, Tensor):
                arrays[f"density.{name}"] = value.cpu().numpy()
        return arrays

    def restore(self, arrays: dict[str, np.ndarray] | None) -> None:
        """Restore a saved `state`."""
        if arrays is None:
            return
        self.step = int(arrays["step"])
        self._set_params({name: torch.from_numpy(arrays[f"param.{name}"]) for name in self.params})
        for name, param in self.params.items():
            load_state(self.optimizers[name], param, arrays, f"adam.{name}.")
        for key, array in arrays.items():
            if key.startswith("density."):
                name = key.removeprefix("density.")
                self.density.state[name] = torch.from_numpy(array).to(self.device)

    def _set_params(self, tensors: dict[str, Tensor]) -> None:
        self.params = {
            name: torch.nn.Parameter(tensor.to(self.device)) for name, tensor in tensors.items()
        }
        self.rates = {
            "means": self.config.means_lr * self.extent,
            "quats": self.config.quats_lr,
            "scales": self.config.scales_lr,
            "opacities": self.config.opacities_lr,
            "sh0": self.config.sh0_lr,
            "shN": self.config.shN_lr,
        }
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            name: torch.optim.Adam([param], lr=self.rates[name], eps=1e-15, fused=True)
            for name, param in self.params.items()
        }


_OURS = {
    "means": "means",
    "quats": "quats",
    "log_scales": "scales",
    "opacity_logits": "opacities",
    "sh0": "sh0",
    "shN": "shN",
}
"""gsplat's name for each of our fields."""
