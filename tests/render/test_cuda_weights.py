"""Blend weights by gsplat: the arithmetic against numba's, and the calls against gsplat's own.

Without a GPU, gsplat's CUDA functions are replaced by its reference in torch, and by a loop over
pixels for the one that has none; every call is bound to the real signature.
"""

import inspect
from dataclasses import replace

import gsplat
import numpy as np
import pytest
import torch
from gsplat.cuda import _torch_impl as reference

from splat_uff.render import blend_weights, cuda
from splat_uff.render.cpu import pixel_weights
from splat_uff.render.cuda import pixel_weights_on_cuda, weights_of_pairs
from splat_uff.render.projection import project_forward
from tests.devices import DEVICES, ON_CUDA
from tests.render.scenes import camera, random_gaussians


def projected(gaussians, view):
    """Centres, conics, depths and opacities in the image."""
    arrays = (t.numpy() for t in (gaussians.means, gaussians.quats, gaussians.scales))
    return project_forward(
        *arrays, gaussians.opacities.numpy(), view.cam_from_world[None], view.K[None], 1,
        view.width, view.height, 0.3, 0.01, 1e10, 0.0, gaussians.antialiased,
    )  # fmt: skip


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_weights_of_known_pairs_agree(device, antialiased):
    gaussians, view = replace(random_gaussians(), antialiased=antialiased), camera()
    starts, indices, weights = pixel_weights(gaussians, view)
    means2d, conics, _, opacities, _ = projected(gaussians, view)
    pixels = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    given = means2d, conics, opacities, indices.astype(np.int64), pixels, starts
    tensors = (torch.from_numpy(each).to(device) for each in given)
    found = weights_of_pairs(*tensors, view.width).cpu()
    assert len(found) > 1000
    np.testing.assert_allclose(found, weights, rtol=1e-4, atol=1e-6)


def listed(start, end, light, means2d, conics, opacities, width, height, tile, offsets, entries):
    """What gsplat's kernel does: a loop over the pixels and the Gaussians of each one's tile."""
    bounds = [*offsets.flatten().tolist(), len(entries)]
    found = []
    for y in range(height):
        for x in range(width):
            at = y // tile * offsets.shape[-1] + x // tile
            first = bounds[at] + start * tile**2
            through = float(light[0, y, x])
            for g in entries[first : min(bounds[at + 1], bounds[at] + end * tile**2)].tolist():
                dx, dy = (means2d[0, g] - torch.tensor([x + 0.5, y + 0.5])).tolist()
                xx, xy, yy = conics[0, g].tolist()
                sigma = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
                alpha = min(0.999, float(opacities[0, g]) * np.exp(-sigma))
                if sigma < 0 or alpha < 1 / 255:
                    continue
                if through * (1 - alpha) <= 1e-4:
                    break
                through *= 1 - alpha
                found.append((g, y * width + x))
    ids, pixels = torch.tensor(found, dtype=torch.int64).reshape(-1, 2).unbind(1)
    return ids, pixels, torch.zeros_like(ids)


@pytest.fixture
def in_torch(monkeypatch):
    """Replace gsplat's CUDA functions; each call has to fit the real one's signature."""
    calls = []

    def project(means, covars, quats, scales, viewmats, Ks, width, height, **settings):
        covars, _ = reference._quat_scale_to_covar_preci(quats, scales, compute_preci=False)
        settings.pop("opacities")
        return reference._fully_fused_projection(
            means, covars, viewmats, Ks, width, height, **settings
        )

    sides = {
        "fully_fused_projection": project,
        "isect_tiles": reference._isect_tiles,
        "isect_offset_encode": reference._isect_offset_encode,
        "rasterize_to_indices_in_range": listed,
    }
    for name, side in sides.items():
        monkeypatch.setattr(gsplat, name, bound(name, side, calls))
    return calls


def bound(name, side, calls):
    """A function that notes its call and refuses what the real function would refuse."""
    signature = inspect.signature(getattr(gsplat, name))

    def call(*args, **settings):
        signature.bind(*args, **settings)
        calls.append(name)
        return side(*args, **settings)

    return call


@pytest.mark.parametrize("strip", [2**18, 1])
@pytest.mark.parametrize("antialiased", [False, True])
def test_weights_by_gsplats_reference_agree(in_torch, antialiased, strip, monkeypatch):
    monkeypatch.setattr(cuda, "STRIP", strip)
    gaussians, view = replace(random_gaussians(80), antialiased=antialiased), camera()
    ours = pixel_weights(gaussians, view)
    theirs = [each.numpy() for each in pixel_weights_on_cuda(gaussians, view)]
    strips = -(-view.height // 16) if strip == 1 else 1
    assert in_torch.count("rasterize_to_indices_in_range") == strips
    assert_same_weights(ours, theirs)
    assert [each.dtype for each in ours] == [each.dtype for each in theirs]


def assert_same_weights(ours, theirs):
    """The same Gaussians in the same order, but for a few at the threshold of visibility."""
    assert np.abs(np.diff(ours[0]) - np.diff(theirs[0])).mean() < 0.01
    if len(ours[1]) == len(theirs[1]):
        assert (ours[1] == theirs[1]).mean() > 0.99
    dense = [np.zeros((len(ours[0]) - 1, 1 + max(ours[1].max(), theirs[1].max()))) for _ in "ab"]
    for table, (starts, indices, weights) in zip(dense, (ours, theirs), strict=True):
        table[np.repeat(np.arange(len(table)), np.diff(starts)), indices] = weights
    assert dense[0].sum() > 40
    np.testing.assert_allclose(*dense, atol=5e-3)  # One Gaussian at 1/255 may be in one alone.
    assert np.abs(dense[0] - dense[1]).mean() < 1e-5


def test_a_view_of_nothing_has_no_weights(in_torch):
    away = random_gaussians(20)
    away = replace(away, means=away.means * torch.tensor([1.0, 1.0, -1.0]))
    starts, indices, weights = pixel_weights_on_cuda(away, camera())
    assert starts.tolist() == [0] * (37 * 29 + 1)
    assert len(indices) == len(weights) == 0


@pytest.mark.gpu
@pytest.mark.parametrize("fitted_focal", [0.0, 70.0, 15.0])
@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=ON_CUDA)])
def test_blend_weights_agree_on_the_card(device, antialiased, fitted_focal, monkeypatch):
    gaussians = replace(random_gaussians(), antialiased=antialiased, fitted_focal=fitted_focal)
    ours, theirs = (blend_weights(gaussians.to(each), camera()) for each in ("cpu", device))
    assert ours.sum() > 40
    assert abs(ours - theirs).max() < 5e-3
    assert abs(ours - theirs).mean() < 1e-5
    monkeypatch.setattr(cuda, "STRIP", 1)
    again = blend_weights(gaussians.to(device), camera())
    assert abs(theirs - again).max() < 1e-4
