"""The CUDA side: our calls fit gsplat's signatures, and on a GPU both kernels agree."""

import inspect

import gsplat
import numpy as np
import pytest
import torch

from splat_uff.render import Gaussians, rasterize, render_colours
from splat_uff.render.cuda import rasterize_gsplat
from tests.render.test_rasterize import camera, loss_of, random_gaussians, with_gradients


def test_rasterize_gsplat_calls_what_gsplat_documents(monkeypatch):
    signature, seen = inspect.signature(gsplat.rasterization), {}

    def record(*args, **kwargs):
        seen.update(signature.bind(*args, **kwargs).arguments)
        size = seen["height"], seen["width"]
        meta = {"means2d": torch.zeros(1, 300, 2), "radii": torch.zeros(1, 300, 2).int()}
        return torch.zeros(1, *size, 5), torch.zeros(1, *size, 1), meta

    monkeypatch.setattr(gsplat, "rasterization", record)
    given = random_gaussians()
    render = rasterize_gsplat(given, camera(), torch.zeros(300, 5))
    assert render.values.shape == (29, 37, 5)
    assert render.alpha.shape == (29, 37)
    assert seen["viewmats"].shape == (1, 4, 4)
    assert seen["Ks"].shape == (1, 3, 3)
    assert seen["viewmats"].dtype == torch.float32
    assert (seen["scales"] > 0).all()
    assert ((seen["opacities"] > 0) & (seen["opacities"] < 1)).all()


def test_spherical_harmonics_of_gsplat_take_what_we_pass():
    signature = inspect.signature(gsplat.spherical_harmonics)
    assert list(signature.parameters)[:3] == ["degrees_to_use", "dirs", "coeffs"]


def test_density_schedule_of_gsplat_takes_what_we_pass():
    signature = inspect.signature(gsplat.DefaultStrategy)
    signature.bind(refine_start_iter=1, refine_stop_iter=2, refine_every=1, reset_every=3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_both_kernels_agree():
    given, view = random_gaussians(degree=2), camera(64, 48)
    results = []
    for device in ("cpu", "cuda"):
        tensors = {name: tensor.to(device) for name, tensor in given.tensors().items()}
        gaussians = with_gradients(Gaussians(**tensors))
        render = render_colours(gaussians, view)
        values = rasterize(gaussians, view, gaussians.means)
        loss_of(render.values.cpu(), render.alpha.cpu()).backward()
        gradients = [tensor.grad.cpu() for tensor in gaussians.tensors().values()]
        results.append([render.values.cpu(), render.alpha.cpu(), values.values.cpu(), *gradients])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(
            ours.detach().numpy(), theirs.detach().numpy(), atol=1e-3 * float(theirs.abs().max())
        )
