"""Colours and gradients without autograd against those of `render_colours`."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from splat_uff.render import Gaussians, render_colours
from splat_uff.render.direct import Drawn
from tests.render.scenes import camera, random_gaussians


def by_autograd(gaussians, view, degree, v_image, v_alphas):
    tensors = {name: each.clone().requires_grad_() for name, each in gaussians.tensors().items()}
    leaves = replace(Gaussians.of(tensors), antialiased=gaussians.antialiased)
    render = render_colours(leaves, view, degree=degree)
    render.means2d.retain_grad()
    pulled = (render.values * torch.from_numpy(v_image)).sum()
    (pulled + (render.alpha * torch.from_numpy(v_alphas)).sum()).backward()
    return render, {name: each.grad for name, each in tensors.items()}


@pytest.mark.parametrize("antialiased", [False, True])
@pytest.mark.parametrize(("stored", "degree"), [(0, 0), (1, 0), (1, 1), (3, 2), (3, 3)])
def test_drawn_equals_render_colours_with_all_gradients(stored, degree, antialiased):
    gaussians = replace(random_gaussians(degree=stored), antialiased=antialiased)
    gaussians.means[:20, 2] *= -1  # Behind the camera.
    view, rng = camera(), np.random.default_rng(0)
    v_image = rng.normal(size=(view.height, view.width, 3)).astype(np.float32)
    v_alphas = rng.normal(size=(view.height, view.width)).astype(np.float32)
    render, expected = by_autograd(gaussians, view, degree, v_image, v_alphas)
    drawn = Drawn.of(gaussians, view, degree=degree)
    # A camera's centre is inverted once by torch and once by numpy.
    np.testing.assert_allclose(drawn.image, render.values.detach(), atol=1e-5)
    np.testing.assert_array_equal(drawn.alphas, render.alpha.detach())
    np.testing.assert_array_equal(drawn.radii, render.radii[0])
    gradients, v_means2d = drawn.pull_back(v_image, v_alphas)
    np.testing.assert_allclose(v_means2d, render.means2d.grad[0], atol=1e-4)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        scale = float(expected[name].abs().max()) if expected[name].numel() else 0.0
        assert gradient.shape == expected[name].shape
        np.testing.assert_allclose(gradient, expected[name], atol=1e-5 * scale, err_msg=name)
        assert not gradient[:20].any()
