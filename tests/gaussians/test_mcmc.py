"""Relocation and noise against the equations of Kheradmand et al. 2024."""

import math

import numpy as np
import pytest
import torch

from splat_uff.gaussians.config import GaussiansConfig
from splat_uff.gaussians.density import Density
from splat_uff.gaussians.mcmc import (
    McmcStrategy,
    add_noise,
    add_to_the_living,
    move_to_the_living,
    relocated,
)
from splat_uff.geometry.cameras import Camera
from splat_uff.render import Render

SHAPES = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (), "sh0": (1, 3)}


def some_gaussians(opacities):
    """Parameters and optimizers with one step behind them; the first mean tells them apart."""
    rng, count = torch.Generator().manual_seed(0), len(opacities)
    params = {
        name: torch.nn.Parameter(torch.randn(count, *shape, generator=rng))
        for name, shape in SHAPES.items()
    }
    with torch.no_grad():
        params["means"][:, 0] = torch.arange(count)
        params["scales"][:] -= 4
        params["opacities"][:] = torch.tensor(opacities).logit()
    optimizers = {name: torch.optim.Adam([param], lr=0.0) for name, param in params.items()}
    for name, param in params.items():
        param.grad = torch.ones_like(param)
        optimizers[name].step()
    return params, optimizers


def moments(params, optimizers, name):
    return optimizers[name].state[params[name]]["exp_avg"]


@pytest.mark.parametrize("copies", [1, 2, 3, 7, 20, 51])
@pytest.mark.parametrize("opacity", [0.01, 0.3, 0.9, 0.999])
def test_relocated_follows_equation_9_as_printed(opacity, copies):
    new = 1 - (1 - opacity) ** (1 / copies)
    total = sum(
        math.comb(i - 1, k) * (-1) ** k / math.sqrt(k + 1) * new ** (k + 1)
        for i in range(1, copies + 1)
        for k in range(i)
    )
    double = {"dtype": torch.float64}
    given = torch.tensor([opacity], **double), torch.tensor([[1.0, 2, 3]], **double)
    opacities, scales = relocated(*given, torch.tensor([copies]))
    assert opacities.item() == pytest.approx(new)
    np.testing.assert_allclose(scales[0], np.array([1, 2, 3]) * opacity / total, rtol=1e-7)


@pytest.mark.parametrize("copies", [2, 5, 17])
def test_relocated_copies_look_like_the_one_they_replace(copies):
    opacity, scale = 0.8, 1.3
    given = torch.tensor([opacity]), torch.tensor([[scale] * 3])
    opacities, scales = relocated(*given, torch.tensor([copies]))
    x = np.linspace(-12, 12, 20_001)
    one = opacity * np.exp(-(x**2) / (2 * scale**2))
    each = opacities.item() * np.exp(-(x**2) / (2 * scales[0, 0].item() ** 2))
    together = 1 - (1 - each) ** copies
    assert together.max() == pytest.approx(one.max(), rel=1e-6)  # At the centre they are the same,
    assert together.sum() == pytest.approx(one.sum(), rel=1e-5)  # and over all of the line.


def test_relocated_counts_no_more_copies_than_it_can():
    given = torch.tensor([0.5]), torch.ones(1, 3)
    many, most = (relocated(*given, torch.tensor([n])) for n in (900, 51))
    assert torch.equal(many[0], most[0])
    assert torch.equal(many[1], most[1])


def test_noise_has_the_shape_of_the_gaussian_and_the_strength_of_equation_8():
    count = 40_000
    params, _ = some_gaussians([0.001] * count)
    with torch.no_grad():
        params["quats"][:] = torch.tensor([0.3, -0.5, 0.7, 0.2])
        params["scales"][:] = torch.tensor([0.3, 0.1, 0.05]).log()
    before = params["means"].detach().clone()
    torch.manual_seed(0)  # noqa: TID251 - the noise comes from the global generator.
    add_noise(params, 2.0, min_opacity=0.005)
    moved = (params["means"] - before).detach().double().numpy()
    w, x, y, z = np.array([0.3, -0.5, 0.7, 0.2]) / np.linalg.norm([0.3, -0.5, 0.7, 0.2])
    rotation = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    covariance = rotation @ np.diag([0.3, 0.1, 0.05]) ** 2 @ rotation.T
    strength = 2.0 / (1 + np.exp(100 * (0.001 - 0.005)))
    expected = strength**2 * covariance @ covariance
    error = np.abs(np.cov(moved.T) - expected).max() / np.abs(expected).max()
    assert error < 0.03


def test_noise_leaves_what_is_opaque_where_it_is():
    params, _ = some_gaussians([0.5, 0.001])
    before = params["means"].detach().clone()
    add_noise(params, 1.0, min_opacity=0.005)
    moved = (params["means"] - before).norm(dim=1)
    assert moved[0] < 1e-12
    assert moved[1] > 1e-8


def test_the_dead_are_moved_to_the_living_and_their_moments_begin_anew():
    params, optimizers = some_gaussians([0.001, 0.9, 0.002, 0.001])
    dead = torch.tensor([True, False, True, True])
    before = {name: param.detach().clone() for name, param in params.items()}
    move_to_the_living(params, optimizers, dead, min_opacity=0.005)
    assert params["means"][:, 0].tolist() == [1, 1, 1, 1]
    for name in ("means", "quats", "sh0"):
        assert torch.equal(params[name][1], before[name][1])
    four = relocated(torch.tensor([0.9]), before["scales"][1:2].exp(), torch.tensor([4]))
    torch.testing.assert_close(params["opacities"].detach().sigmoid(), four[0].expand(4))
    torch.testing.assert_close(params["scales"].detach().exp(), four[1].expand(4, 3))
    for name in SHAPES:
        kept = moments(params, optimizers, name)
        assert not kept[1].any()
        assert kept[[0, 2, 3]].any()


def test_with_nobody_alive_or_dead_nothing_moves():
    for opacities in ([0.001, 0.001], [0.9, 0.9]):
        params, optimizers = some_gaussians(opacities)
        before = params["means"].detach().clone()
        dead = params["opacities"].sigmoid() < 0.005
        move_to_the_living(params, optimizers, dead, min_opacity=0.005)
        assert torch.equal(params["means"], before)


def test_new_ones_come_where_opacity_is():
    params, optimizers = some_gaussians([0.0006, 0.6, 0.3])
    torch.manual_seed(0)  # noqa: TID251
    add_to_the_living(params, optimizers, 600, min_opacity=0.005)
    drawn = torch.bincount(params["means"][3:, 0].long(), minlength=3)
    assert drawn[0] < 10
    assert drawn[1] == pytest.approx(400, abs=50)
    for name, param in params.items():
        assert optimizers[name].param_groups[0]["params"] == [param]
        assert list(optimizers[name].state) == [param]
        kept = moments(params, optimizers, name)
        assert kept.shape == param.shape == (603, *SHAPES[name])
        assert kept[:3].any()
        assert not kept[3:].any()


@pytest.mark.parametrize("most", [40, 55, 400])
def test_mcmc_rises_evenly_to_its_cap_by_the_seed_alone(most):
    found = []
    for seed in (1, 1, 2):
        config = GaussiansConfig(
            steps=100, density="mcmc", refine_start=0, refine_stop=1.0, refine_every=10, most=most
        )
        density = Density.of(config, scale=1.0)
        params, optimizers = some_gaussians([0.3] * 40)

        camera = Camera(np.eye(4), np.eye(3), 2, 2)
        render = Render(
            torch.zeros(2, 2, 3), torch.zeros(2, 2), torch.zeros(1, 40, 2),
            torch.zeros(1, 40, 2).int(),
        )  # fmt: skip
        counts, before = [], torch.get_rng_state()
        for step in range(1, 100):
            density.step(params, optimizers, step, render, camera, seed)
            counts.append(len(params["means"]))
        assert torch.equal(torch.get_rng_state(), before)
        assert counts[-1] == most
        assert max(np.diff(counts)) <= (most - 40) / 9 + 1
        found.append(params["means"].detach())
    assert torch.equal(found[0], found[1])
    assert most == 40 or not torch.equal(found[0], found[2])


def test_the_base_class_takes_what_we_pass():
    import inspect

    from gsplat import MCMCStrategy

    ours = inspect.signature(McmcStrategy.step_post_backward)
    assert list(ours.parameters) == list(
        inspect.signature(MCMCStrategy.step_post_backward).parameters
    )
    inspect.signature(MCMCStrategy).bind(
        cap_max=1, noise_lr=1.0, refine_start_iter=1, refine_stop_iter=2, refine_every=1
    )
