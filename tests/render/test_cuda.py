"""The CUDA side: our calls fit gsplat's signatures, and on a GPU both kernels agree."""

import inspect
from types import SimpleNamespace

import gsplat
import numpy as np
import pytest
import torch

from splat_uff.render import rasterization, rasterize, render_colours_and_depth
from tests.render.scenes import camera, loss_of, random_gaussians, random_inputs, with_gradients


@pytest.fixture
def calls(monkeypatch):
    """What would reach gsplat, each call bound to its signature, if our tensors were on CUDA."""
    signature, seen = inspect.signature(gsplat.rasterization), []

    def record(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        seen.append(SimpleNamespace(**bound.arguments))
        call, cameras = seen[-1], len(bound.arguments["viewmats"])
        channels = 3 if call.sh_degree is not None else call.colors.shape[-1]
        channels = {"RGB": channels, "D": 1, "ED": 1}.get(call.render_mode, channels + 1)
        count = call.means.shape[0]
        meta = {
            "means2d": torch.zeros(cameras, count, 2),
            "radii": torch.zeros(cameras, count, 2).int(),
        }
        size = cameras, call.height, call.width
        return torch.zeros(*size, channels), torch.zeros(*size, 1), meta

    monkeypatch.setattr(gsplat, "rasterization", record)
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda self: True))
    return seen


def test_rasterization_passes_everything_on_to_gsplat(calls):
    tensors = random_inputs(cameras=2, degree=1)
    settings = {
        "near_plane": 0.2, "far_plane": 50.0, "radius_clip": 1.0, "eps2d": 0.1, "sh_degree": 1,
        "packed": False, "tile_size": 8, "backgrounds": torch.ones(2, 3), "render_mode": "RGB+ED",
        "sparse_grad": False, "absgrad": True, "rasterize_mode": "antialiased",
        "channel_chunk": 16, "camera_model": "fisheye", "segmented": True,
    }  # fmt: skip
    rasterization(**tensors, width=9, height=7, **settings)
    (call,) = calls
    assert (call.width, call.height) == (9, 7)
    assert all(getattr(call, name) is tensor for name, tensor in tensors.items())
    assert all(getattr(call, name) is value for name, value in settings.items())


def test_the_seam_calls_gsplat_as_it_documents(calls):
    given = random_gaussians(degree=1)
    render = rasterize(given, camera(), torch.zeros(300, 5))
    assert render.values.shape == (29, 37, 5)
    assert render.alpha.shape == (29, 37)
    assert render_colours_and_depth(given, camera()).values.shape == (29, 37, 4)
    for call in calls:
        assert call.viewmats.shape == (1, 4, 4)
        assert call.Ks.shape == (1, 3, 3)
        assert call.viewmats.dtype == call.Ks.dtype == torch.float32
        assert not call.packed
        assert (call.scales > 0).all()
        assert ((call.opacities > 0) & (call.opacities < 1)).all()


CASES = [
    {"channels": 3},
    {"channels": 33},
    {"channels": 4, "rasterize_mode": "antialiased", "render_mode": "RGB+ED"},
    {"degree": 3, "render_mode": "RGB+D", "absgrad": True},
    {"channels": 3, "packed": False, "render_mode": "D"},
]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("case", CASES, ids=str)
def test_both_kernels_agree(case):
    settings, results = dict(case), []
    degree, channels = settings.pop("degree", None), settings.pop("channels", 3)
    tensors = random_inputs(channels=channels, degree=degree, cameras=2, width=64)
    for device in ("cpu", "cuda"):
        leaves = with_gradients({name: tensor.to(device) for name, tensor in tensors.items()})
        image, alphas, meta = rasterization(
            **leaves, width=64, height=48, sh_degree=degree, **settings
        )
        meta["means2d"].retain_grad()
        loss_of(image.cpu(), alphas.cpu()).backward()
        gradients = [leaf.grad.cpu() for leaf in leaves.values() if leaf.grad is not None]
        centres = [meta["means2d"].grad.cpu()]
        if settings.get("absgrad"):
            centres.append(meta["means2d"].absgrad.cpu())
        results.append([image.detach().cpu(), alphas.detach().cpu(), *gradients, *centres])
    # Both sum in 32 bits, in other orders (gsplat's gradients by atomic additions), and a Gaussian
    # whose alpha lies at 1/255 may count in one kernel and not in the other.
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3 * float(theirs.abs().max()))
