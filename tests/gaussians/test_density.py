"""Growth and pruning: under the cap, in step with the optimizers, and by the seed alone."""

import numpy as np
import pytest
import torch
from gsplat import DefaultStrategy

from splat_uff.gaussians.config import GaussiansConfig
from splat_uff.gaussians.density import Density
from splat_uff.geometry.cameras import Camera
from splat_uff.render import Render, rasterization
from tests.render.scenes import loss_of, random_inputs

SHAPES = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (), "sh0": (1, 3)}


class Fit:
    """N Gaussians with one Adam step behind them; every number tells which Gaussian it is of."""

    def __init__(self, count, *, most, start=0, stop=100, every=10, scale=1.0, reset=0):
        config = GaussiansConfig(
            steps=stop,
            refine_start=start,
            refine_stop=1.0,
            refine_every=every,
            grow_grad2d=1e-4,
            most=most,
            reset_every=reset,
        )
        self.density = Density.of(config, scale=scale)
        names = torch.arange(count, dtype=torch.float32)
        self.params = {
            name: torch.nn.Parameter(
                names.reshape(-1, *[1] * len(shape)).expand(count, *shape).clone()
            )
            for name, shape in SHAPES.items()
        }
        with torch.no_grad():
            self.params["scales"][:] = -6.0  # Small enough to be cloned, not split.
            self.params["opacities"][:] = 1.0
        self.optimizers = {
            name: torch.optim.Adam([param], lr=0.0, fused=True)
            for name, param in self.params.items()
        }
        for name, param in self.params.items():
            param.grad = (names + 1).reshape(-1, *[1] * (param.dim() - 1)).expand_as(param).clone()
            self.optimizers[name].step()

    def __len__(self):
        return len(self.params["means"])

    def step(self, step, pull, *, seen=True, seed=0):
        """One step in which each centre is pulled by `pull`, in half images."""
        count = len(self)
        means2d = torch.zeros(1, count, 2, requires_grad=True)
        means2d.grad = torch.zeros(1, count, 2)
        means2d.grad[0, :, 0] = torch.as_tensor(pull, dtype=torch.float32) / 8  # 16 pixels wide.
        radii = torch.full((1, count, 2), int(seen), dtype=torch.int32)
        render = Render(torch.zeros(16, 16, 3), torch.zeros(16, 16), means2d, radii)
        camera = Camera(np.eye(4), np.eye(3), 16, 16)
        self.density.step(self.params, self.optimizers, step, render, camera, seed)

    def moments(self, name):
        return self.optimizers[name].state[self.params[name]]["exp_avg"]

    def assert_aligned(self):
        for name, param in self.params.items():
            group = self.optimizers[name].param_groups[0]
            assert len(group["params"]) == 1
            assert group["params"][0] is param
            state = self.optimizers[name].state
            assert list(state) == [param]
            assert state[param]["exp_avg"].shape == param.shape == state[param]["exp_avg_sq"].shape
            assert len(param) == len(self)
        for value in self.density.state.values():
            if isinstance(value, torch.Tensor):
                assert len(value) == len(self)


def random_pulls(fit, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(len(fit), generator=rng)


@pytest.mark.parametrize("most", [40, 41, 57, 100, 10_000])
def test_density_never_exceeds_its_cap(most):
    fit = Fit(40, most=most)
    for step in range(1, 100):
        fit.step(step, random_pulls(fit, step))
        assert len(fit) <= most
        fit.assert_aligned()
    # Each of nine refinements at most doubles them; short of that, the cap is used up.
    assert len(fit) >= min(most, 40 * 2**8) - 9


def test_density_counts_the_pull_of_the_very_step_that_refines():
    fit = Fit(40, most=45, stop=11)
    for step in range(1, 10):
        fit.step(step, 0.0)
    fit.step(10, random_pulls(fit) + 1)  # Strong and new: of the cap's five places, all are used.
    assert len(fit) == 45


def test_density_spends_evenly():
    fit = Fit(50, most=140)
    counts = []
    for step in range(1, 100):
        fit.step(step, random_pulls(fit, step))
        if step % 10 == 0:
            counts.append(len(fit))
    assert counts == [60, 70, 80, 90, 100, 110, 120, 130, 140]


def test_density_grows_those_that_are_pulled_most():
    fit = Fit(20, most=24, stop=11)
    for step in range(1, 11):
        fit.step(step, torch.arange(20.0))
    added = fit.params["means"][20:, 0]
    assert added.tolist() == [16, 17, 18, 19]


def test_density_grows_nothing_that_is_pulled_weakly_or_not_seen():
    fit = Fit(20, most=100)
    for step in range(1, 100):
        fit.step(step, 0.9e-4)
        fit.step(step, 1.0, seen=False)
    assert len(fit) == 20


def test_density_refines_between_start_and_stop_only():
    fit = Fit(20, most=1000, start=20, stop=40)
    counts = {}
    for step in range(1, 60):
        fit.step(step, random_pulls(fit, step))
        counts[step] = len(fit)
    assert {counts[step] for step in range(1, 30)} == {20}
    assert counts[30] > 20
    assert counts[59] == counts[30]


def test_density_clones_with_moments_of_zero_and_keeps_the_others():
    fit = Fit(20, most=25, stop=11)
    before = {name: fit.moments(name).clone() for name in SHAPES}
    for step in range(1, 11):
        fit.step(step, torch.arange(20.0))
    assert len(fit) == 25
    for name in SHAPES:
        assert torch.equal(fit.moments(name)[:20], before[name])
        assert not fit.moments(name)[20:].any()


def test_density_splits_the_large_in_two_and_keeps_the_others_aligned():
    fit = Fit(20, most=23, stop=11)
    with torch.no_grad():
        fit.params["scales"][:] = -2.0
    before = fit.moments("sh0").clone()
    for step in range(1, 11):
        fit.step(step, torch.arange(20.0))
    fit.assert_aligned()
    names = fit.params["sh0"][:, 0, 0].tolist()
    assert names == [*range(17), 17, 18, 19, 17, 18, 19]
    assert torch.equal(fit.moments("sh0")[:17], before[:17])
    assert not fit.moments("sh0")[17:].any()
    assert (fit.params["scales"][:17] == -2).all()
    assert (fit.params["scales"][17:] < -2).all()
    moved = fit.params["means"][17:, 0] - fit.params["sh0"][17:, 0, 0]
    assert (moved != 0).all()


def test_density_prunes_the_faint_and_keeps_the_others_aligned():
    fit = Fit(20, most=20)
    with torch.no_grad():
        fit.params["opacities"][3:8] = -6.0
    before = fit.moments("means").clone()
    for step in range(1, 11):
        fit.step(step, 0.0)
    fit.assert_aligned()
    kept = [*range(3), *range(8, 20)]
    assert fit.params["means"][:, 0].tolist() == kept
    assert torch.equal(fit.moments("means"), before[kept])


def test_density_draws_from_its_seed_and_leaves_the_global_generator_alone():
    found = []
    for seed in (1, 1, 2):
        fit = Fit(20, most=30, stop=11)
        with torch.no_grad():
            fit.params["scales"][:] = -2.0
        before = torch.get_rng_state()
        for step in range(1, 11):
            fit.step(step, torch.arange(20.0), seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        found.append(fit.params["means"].detach())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_density_resets_opacities_where_gsplat_forgets_to():
    fit = Fit(20, most=20, reset=30)
    logits = []
    for step in range(1, 100):
        with torch.no_grad():
            fit.params["opacities"][:] = 2.0
        fit.step(step, 0.0)
        logits.append(fit.params["opacities"].detach().sigmoid().max().item())
    reset = [step for step, opacity in enumerate(logits, 1) if opacity < 0.5]
    assert reset == [30, 60, 90]
    assert logits[29] == pytest.approx(2 * 0.005)
    fit.assert_aligned()
    assert not fit.moments("opacities").any()


def test_density_resets_nothing_unasked():
    fit = Fit(20, most=20)
    for step in range(1, 100):
        fit.step(step, 0.0)
    assert (fit.params["opacities"] == 1.0).all()


@pytest.mark.parametrize("absgrad", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_gsplats_default_strategy_works_with_our_meta(packed, absgrad):
    from gsplat import DefaultStrategy

    tensors = random_inputs(60)
    cameras = {name: tensors.pop(name) for name in ("viewmats", "Ks")}
    tensors["scales"], tensors["opacities"] = tensors["scales"].log(), tensors["opacities"].logit()
    params = {name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()}
    optimizers = {name: torch.optim.Adam([p], lr=1e-3) for name, p in params.items()}
    strategy = DefaultStrategy(
        refine_start_iter=1, refine_every=5, grow_grad2d=1e-9, absgrad=absgrad
    )
    strategy.check_sanity(params, optimizers)
    state = strategy.initialize_state()
    for step in range(6):
        image, alphas, meta = rasterization(
            params["means"],
            params["quats"],
            params["scales"].exp(),
            params["opacities"].sigmoid(),
            params["colors"],
            **cameras,
            width=37,
            height=29,
            packed=packed,
            absgrad=absgrad,
        )
        strategy.step_pre_backward(params, optimizers, state, step, meta)
        loss_of(image, alphas).backward()
        if step == 4:
            seen = state["count"] > 0
            assert (state["grad2d"][seen] > 0).any()
            assert not state["grad2d"][~seen].any()
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
        strategy.step_post_backward(params, optimizers, state, step, meta, packed=packed)
    assert len(params["means"]) > 60


def test_records_are_those_of_gsplat():
    """Our sums of gradients, of two steps with some Gaussians out of sight, beside gsplat's."""
    rng = torch.Generator().manual_seed(0)
    ours = Density.of(GaussiansConfig(most=60), scale=1.0).strategy
    states = [ours.initialize_state(), ours.initialize_state()]
    for _ in range(2):
        means2d = torch.zeros(1, 50, 2)
        radii = torch.randint(0, 2, (1, 50, 1), generator=rng, dtype=torch.int32).expand(1, 50, 2)
        means2d.grad = torch.randn(1, 50, 2, generator=rng) * (radii > 0)
        info = {"means2d": means2d, "radii": radii, "width": 30, "height": 20, "n_cameras": 1}
        info["gaussian_ids"] = None
        ours._update_state({"means": means2d[0]}, states[0], info)
        DefaultStrategy._update_state(ours, {"means": means2d[0]}, states[1], info)
    for name in ("grad2d", "count"):
        torch.testing.assert_close(states[0][name], states[1][name])
