"""Clean borders: Gaussians that show in one segment only, so that parts can be taken away.

A fit to photos does not care which object a Gaussian belongs to, and some lie across borders. Given
segments of a tree, each round finds the segments' borders in the photos (`segment_map`), splits the
Gaussians across them (`split_straddlers`), and fits all for a few steps to the photos and to the
borders. For the latter each segment has a random unit vector, a code; blended codes equal a pixel's
own code where no Gaussian of another segment shows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from splat_uff.capture.records import View
from splat_uff.gaussians.config import BordersConfig, GaussiansConfig
from splat_uff.gaussians.losses import photometric_loss
from splat_uff.gaussians.segment_maps import segment_map
from splat_uff.gaussians.straddlers import count_votes, find_straddlers, split_straddlers
from splat_uff.gaussians.windows import look_at
from splat_uff.geometry.cameras import Camera
from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.render import Gaussians, rasterize
from splat_uff.render.fineness import Fineness
from splat_uff.render.frozen import FrozenViews
from splat_uff.render.harmonics import C0, basis_values
from splat_uff.system.memory import GIGABYTE, MEMORY_GB, Memory
from splat_uff.system.progress import progress_bar
from splat_uff.system.records import array_record

STAGE = 6
"""Number of this stage's random stream."""
CODE = 5
"""Numbers in a code."""
MARGIN = 0.5
"""Distance of a pixel's blended codes from its own that costs nothing: a third of the pixel may
show another segment, as pixels on a border do."""
COUNTED = 4
"""One of so many photos shows how much straddles in the end."""
MEANS = 0.05
"""Learning rate of the means at the start of a round, as a share of that at the start of a fit;
others start as they are at the end of a fit."""


@array_record
class Cleaned:
    """Gaussians with clean borders, and what they were made of."""

    gaussians: Gaussians
    """M Gaussians: the N that were given, in order, then the second pieces of those that were
    split."""
    labels: Int[np.ndarray, "M"]
    """Segment of each."""
    parents: Int[np.ndarray, "M"]
    """Index of the given Gaussian that each is, or is a piece of."""
    straddling: tuple[float, float]
    """Share of blend weight outside of the Gaussians' own segments, before and after."""


@dataclass(frozen=True)
class BorderCleaner:
    """Settings by which borders are cleaned, and where."""

    config: BordersConfig
    rates: GaussiansConfig
    """Settings of the fit, for the learning rates and the weight of SSIM."""
    seed: int
    device: str = "cpu"
    """Device of the optimisation: `cpu` or `cuda`."""
    most_bytes: float = MEMORY_GB * GIGABYTE
    """Memory budget in bytes, of which blend weights may take half; others are computed again when
    needed. Results do not depend on it."""

    def clean(
        self,
        gaussians: Gaussians,
        views: Sequence[View],
        bags: Sequence[tuple[MaskSet, MaskTree]],
        labels: Int[np.ndarray, "N"],
    ) -> Cleaned:
        """Split the Gaussians across borders of segments, and fit all to photos and borders.

        Args:
            gaussians: The N Gaussians, on the CPU.
            views: Photos with cameras.
            bags: Masks of each photo.
            labels: Segment of each Gaussian, from 1.
        """
        config = self.config
        cleaned = Cleaned(gaussians, labels, np.arange(len(gaussians)), (0.0, 0.0))
        with progress_bar("borders", config.rounds * config.steps) as bar:
            for number in range(config.rounds):
                maps, cleaned = self._split(cleaned, views, bags, number)
                rng = np.random.default_rng([self.seed, STAGE, number])
                fit = _Fit(cleaned, views, maps, self, rng)
                fitted = fit.run(lambda figures: bar.advance(1, **figures))
                cleaned = replace(cleaned, gaussians=fitted)
                if number == config.rounds - 1:
                    some = [view.camera for view in views[::COUNTED]]
                    after = count_votes(
                        FrozenViews(fitted.to(self.device), some, Memory(0)), maps[::COUNTED]
                    )
                    cleaned = replace(cleaned, straddling=(cleaned.straddling[0], after.straddling))
        return cleaned

    def _split(
        self,
        cleaned: Cleaned,
        views: Sequence[View],
        bags: Sequence[tuple[MaskSet, MaskTree]],
        number: int,
    ) -> tuple[list[Int[np.ndarray, "H W"]], Cleaned]:
        """Borders in the photos, and the Gaussians of round `number` split along them."""
        gaussians, parents = cleaned.gaussians, cleaned.parents
        cameras = [view.camera for view in views]
        seen = FrozenViews(gaussians.to(self.device), cameras, Memory(self.most_bytes))
        maps = [
            segment_map(seen.matrix(index), bags[index][0], cleaned.labels, view.image)
            for index, view in enumerate(views)
        ]
        votes = count_votes(seen, maps)
        straddling = cleaned.straddling if number else (votes.straddling, votes.straddling)
        votes = votes.among_neighbours(gaussians.means.double().numpy(), cleaned.labels)
        labels = cleaned.labels.copy()
        most = int(self.config.most_split * len(gaussians) / 2**number)
        found = find_straddlers(gaussians, seen, maps, votes, most=most)
        labels[found.indices] = np.where(found.first > 0, found.first, labels[found.indices])
        second = np.where(found.second > 0, found.second, labels[found.indices])
        return maps, Cleaned(
            split_straddlers(gaussians, found),
            np.concatenate([labels, second]),
            np.concatenate([parents, parents[found.indices]]),
            straddling,
        )


class _Fit:
    """One round's fit to photos and borders."""

    def __init__(
        self,
        cleaned: Cleaned,
        views: Sequence[View],
        maps: Sequence[Int[np.ndarray, "H W"]],
        how: BorderCleaner,
        rng: np.random.Generator,
    ) -> None:
        self.like, self.views, self.maps, self.rng = cleaned.gaussians, views, maps, rng
        self.config, self.rates, self.device = how.config, how.rates, how.device
        device, rates, labels = how.device, how.rates, cleaned.labels
        count = 1 + max(int(labels.max()), *(int(each.max()) for each in maps))
        codes = rng.normal(size=(count, CODE))
        codes /= np.linalg.norm(codes, axis=1, keepdims=True)
        self.codes = torch.from_numpy(codes).float().to(device)
        self.own = self.codes[torch.from_numpy(labels.astype(np.int64)).to(device)]
        self.params = {
            name: torch.nn.Parameter(each.detach().clone().to(device))
            for name, each in self.like.tensors().items()
        }
        extent = 1.1 * max(float(np.linalg.norm(view.camera.centre)) for view in views)
        rate = {
            "means": MEANS * rates.means_lr * extent,
            "quats": rates.decay * rates.quats_lr,
            "log_scales": rates.decay * rates.scales_lr,
            "opacity_logits": rates.decay * rates.opacities_lr,
            "sh0": rates.decay * rates.sh0_lr,
            "shN": rates.decay * rates.shN_lr,
        }
        self.optimizer = torch.optim.Adam(
            [
                {"params": [param], "lr": self.config.rate * rate[name]}
                for name, param in self.params.items()
                if param.numel()
            ],
            eps=1e-15,
            fused=True,
        )
        self.starts = [group["lr"] for group in self.optimizer.param_groups]

    def run(self, done: Callable[[dict[str, float]], None]) -> Gaussians:
        """Take all steps; `done` is called after each, with its figures."""
        order: list[int] = []
        for step in range(self.config.steps):
            order = order or self.rng.permutation(len(self.views)).tolist()
            for group, start in zip(self.optimizer.param_groups, self.starts, strict=True):
                group["lr"] = start * 0.1 ** (step / self.config.steps)
            photo, border = self._losses(order.pop())
            (photo + self.config.weight * border).backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            done({"photo": photo.item(), "border": border.item()})
        tensors = {name: param.detach().cpu() for name, param in self.params.items()}
        fitted = Gaussians.of(tensors)
        return replace(
            fitted, fitted_focal=self.like.fitted_focal, antialiased=self.like.antialiased
        )

    def _losses(self, index: int) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Losses of a photo or a window of it: by its colours, and by Gaussians in pixels of other
        segments."""
        looked = look_at(self.views[index], self.rates.step_pixels, self.rng)
        photo = torch.from_numpy(looked.image).to(self.device)
        gaussians = replace(self.like, **self.params)
        colours = view_colours(gaussians, looked.camera)
        fineness = Fineness.of(self.like, looked.camera)
        shown = torch.cat([colours, self.own], dim=1)
        render = rasterize(gaussians, fineness.camera, shown, eps2d=fineness.eps2d)
        values, alpha = (_averaged(each, fineness.factor) for each in (render.values, render.alpha))
        background = torch.from_numpy(self.rng.random(3)).float().to(self.device)
        image = values[..., :3] + (1 - alpha[..., None]) * background
        truth = photo[..., :3] + (1 - photo[..., 3:]) * background
        segments = torch.from_numpy(self.maps[index][looked.place].astype(np.int64)).to(self.device)
        off = values[..., 3:] - alpha[..., None] * self.codes[segments]
        distance = (off.square().sum(dim=-1) + 1e-8).sqrt()
        border = torch.relu(distance - MARGIN).mean()
        return photometric_loss(image, truth, ssim_weight=self.rates.ssim_weight), border


def _averaged(image: Tensor, factor: int) -> Tensor:
    """Mean of each block of so many rows and columns."""
    if factor == 1:
        return image
    height, width = image.shape[0] // factor, image.shape[1] // factor
    return image.reshape(height, factor, width, factor, *image.shape[2:]).mean(dim=(1, 3))


def view_colours(gaussians: Gaussians, camera: Camera) -> Float[Tensor, "N 3"]:
    """Colours of the Gaussians as a camera sees them, differentiable in the harmonics alone."""
    colours = 0.5 + C0 * gaussians.sh0[:, 0]
    if gaussians.sh_degree:
        means = gaussians.means.detach().cpu().double().numpy()
        directions = means - camera.centre
        lengths = np.linalg.norm(directions, axis=1, keepdims=True)
        basis = basis_values(directions / np.maximum(lengths, 1e-12), gaussians.sh_degree)
        weights = torch.from_numpy(basis).to(colours)
        colours = colours + torch.einsum("nk,nkc->nc", weights, gaussians.shN)
    return colours.clamp_min(0)
