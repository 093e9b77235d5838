"""Several optimizers in one step against torch's own steps, and their state."""

import pytest
import torch

from splat_uff.system import kernels
from splat_uff.system.optimizers import load_state, save_state, step_adams

SHAPES = ((70, 3), (70,), (70, 1, 3), (70, 0, 3), (5, 4))


def fresh():
    rng = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape, generator=rng)) for shape in SHAPES]
    adams = [
        torch.optim.Adam([param], lr=0.01 * (1 + k), betas=(0.8, 0.99), eps=1e-15, fused=True)
        for k, param in enumerate(params)
    ]
    return params, adams


def give_gradients(params, step):
    rng = torch.Generator().manual_seed(step)
    for k, param in enumerate(params):
        param.grad = torch.randn(param.shape, generator=rng) * 0.1**k


@pytest.mark.parametrize("numba", [True, False])
def test_step_adams_equals_torchs_steps(numba, monkeypatch):
    monkeypatch.setattr(kernels, "numba_computes", lambda device: numba)
    (ours, our_adams), (theirs, their_adams) = fresh(), fresh()
    for step in range(30):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        if step == 10:  # Other code may set rates at any time.
            our_adams[0].param_groups[0]["lr"] = their_adams[0].param_groups[0]["lr"] = 0.5
        step_adams(our_adams)
        assert all(param.grad is None for param in ours)
        for adam in their_adams:
            adam.step()
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def test_step_adams_leaves_what_has_no_gradient():
    params, adams = fresh()
    before = params[1].detach().clone()
    give_gradients(params, 0)
    params[1].grad = None
    step_adams(adams)
    assert torch.equal(params[1], before)
    assert not adams[1].state[params[1]]


def test_torch_and_step_adams_go_on_from_each_others_state():
    """Also through arrays, as after an interrupted training."""
    (ours, our_adams), (theirs, their_adams) = fresh(), fresh()
    for step in range(6):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        for adam in their_adams:
            adam.step()
        if step % 2:
            step_adams(our_adams)
        else:
            for adam, param in zip(our_adams, ours, strict=True):
                adam.step()
                load_state(adam, param, save_state(adam, param, "x."), "x.")
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)


def test_step_adams_moves_a_parameter_whose_memory_has_gaps():
    rng = torch.Generator().manual_seed(0)
    start, gradient = torch.randn(4, 9, generator=rng), torch.randn(9, 4, generator=rng)
    ours, theirs = (torch.nn.Parameter(start.clone().T) for _ in range(2))
    adams = [torch.optim.Adam([param], lr=0.1, fused=True) for param in (ours, theirs)]
    ours.grad, theirs.grad = gradient.clone(), gradient.clone()
    assert not ours.is_contiguous()
    step_adams(adams[:1])
    adams[1].step()
    torch.testing.assert_close(ours, theirs)
    assert not torch.equal(ours, start.T)
