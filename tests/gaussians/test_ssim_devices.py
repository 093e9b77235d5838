"""SSIM by torch's convolutions against numba's loops: value and gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splat_uff.gaussians.losses import photometric_loss
from splat_uff.gaussians.ssim import mean_ssim, mean_ssim_by_torch
from splat_uff.system import kernels
from tests.devices import DEVICES


def image_pair(seed, height, width):
    rng = np.random.default_rng(seed)
    photo = rng.random((height, width, 3)).astype(np.float32)
    noise = rng.normal(0, 0.1, photo.shape).astype(np.float32)
    return torch.from_numpy(photo), torch.from_numpy(np.clip(photo + noise, 0, 1))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 9999), height=st.integers(1, 40), width=st.integers(1, 40))
@pytest.mark.parametrize("device", DEVICES)
def test_ssim_agrees(device, seed, height, width):
    first, second = image_pair(seed, height, width)
    ours, theirs = (first.clone().to(where).requires_grad_() for where in ("cpu", device))
    value, other = mean_ssim(ours, second), mean_ssim_by_torch(theirs, second.to(device))
    value.backward()
    other.backward()
    torch.testing.assert_close(value, other.cpu(), rtol=1e-5, atol=1e-5)
    bound = 1e-4 * float(ours.grad.abs().max())
    torch.testing.assert_close(ours.grad, theirs.grad.cpu(), rtol=1e-3, atol=bound)


@pytest.mark.parametrize("device", DEVICES)
def test_the_photometric_loss_takes_the_side_of_its_device(device, monkeypatch):
    first, second = image_pair(0, 20, 30)
    ours = photometric_loss(first, second, ssim_weight=0.2)
    monkeypatch.setattr(kernels, "numba_computes", lambda device: False)
    monkeypatch.setattr("splat_uff.gaussians.ssim._MeanSsim", None)
    theirs = photometric_loss(first.to(device), second.to(device), ssim_weight=0.2)
    assert theirs.device.type == device
    torch.testing.assert_close(ours, theirs.cpu(), rtol=1e-5, atol=1e-6)
