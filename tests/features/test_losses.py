"""The losses against values worked by hand and finite differences."""

import math

import pytest
import torch

from splat_uff.features.losses import contrastive_loss, norm_loss


def doubles(*shape, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=rng, dtype=torch.float64).requires_grad_()


def test_contrastive_loss_by_hand():
    # e^(0.2/0.1) against e^(0.1/0.1) and e^0: -log(e^2 / (e^2 + e + 1)).
    loss = contrastive_loss(torch.tensor([0.2]), torch.tensor([[0.1, 0.0]]), tau=0.1)
    assert loss.item() == pytest.approx(-math.log(math.e**2 / (math.e**2 + math.e + 1)))


def test_contrastive_loss_of_equals_is_the_log_of_their_number():
    loss = contrastive_loss(torch.full((5,), 0.3), torch.full((5, 4), 0.3), tau=0.1)
    assert loss.item() == pytest.approx(math.log(5))


def test_contrastive_loss_is_the_mean_over_pairs():
    positive, negative = doubles(6), doubles(6, 3, seed=1)
    each = [
        contrastive_loss(positive[i : i + 1], negative[i : i + 1], tau=0.1).item() for i in range(6)
    ]
    whole = contrastive_loss(positive, negative, tau=0.1)
    assert whole.item() == pytest.approx(sum(each) / 6)


def test_contrastive_loss_vanishes_only_where_positives_are_closer():
    near, far = torch.tensor([1.0]), torch.tensor([[-1.0]])
    assert contrastive_loss(near, far, tau=0.1).item() < 1e-6
    assert contrastive_loss(far[0], near[None], tau=0.1).item() == pytest.approx(20)


def test_contrastive_loss_stays_finite_at_a_low_temperature():
    positive = torch.tensor([-1.0], requires_grad=True)
    loss = contrastive_loss(positive, torch.tensor([[1.0]]), tau=1e-4)
    loss.backward()
    assert loss.item() == pytest.approx(2e4)
    assert torch.isfinite(positive.grad).all()


def test_contrastive_loss_gradient_equals_finite_differences():
    def loss(positive, negative):
        return contrastive_loss(positive, negative, tau=0.1)

    assert torch.autograd.gradcheck(loss, (doubles(4), doubles(4, 3, seed=1)))


def test_norm_loss_by_hand():
    blended = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.5]])
    assert norm_loss(blended).item() == pytest.approx((16 + 0 + 0.25) / 3)


def test_norm_loss_gradient_equals_finite_differences():
    assert torch.autograd.gradcheck(norm_loss, (doubles(5, 3),))
