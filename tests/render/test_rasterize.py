"""The seam: renders of our own records, and blend weights as a matrix."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from splat_uff.render import (
    Gaussians,
    blend_weights,
    rasterize,
    render_colours,
    render_colours_and_depth,
)
from tests.render.reference import reference_rasterization
from tests.render.scenes import camera, loss_of, random_gaussians, with_gradients


def reference_render(gaussians, view, colors, **settings):
    """The slow reference, for the records of the seam."""
    fields = gaussians.means, gaussians.quats, gaussians.log_scales.double().exp()
    opacities = gaussians.opacity_logits.double().sigmoid()
    pose, K = torch.as_tensor(view.cam_from_world)[None], torch.as_tensor(view.K)[None]
    image, alphas = reference_rasterization(
        *fields, opacities, colors, pose, K, view.width, view.height, **settings
    )
    return image[0], alphas[0, ..., 0]


def test_rasterize_equals_float64_autograd():
    given, results = random_gaussians(), []
    values = torch.randn(len(given), 5, generator=torch.Generator().manual_seed(2))
    for render in (rasterize, reference_render):
        leaves = with_gradients({**given.tensors(), "values": values})
        features = leaves.pop("values")
        out = render(Gaussians(**leaves), camera(), features)
        image, alpha = (out.values, out.alpha) if render is rasterize else out
        loss_of(image, alpha[..., None]).backward()
        names = ("means", "quats", "log_scales", "opacity_logits")
        gradients = [leaves[name].grad for name in names] + [features.grad]
        results.append([image.detach(), alpha.detach(), *gradients])
    for ours, truth in zip(*results, strict=True):
        assert (ours - truth).abs().max() <= 1e-5 * truth.abs().max()


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_render_colours_equals_float64(degree):
    gaussians, view = random_gaussians(degree=2), camera()
    colors = torch.cat([gaussians.sh0, gaussians.shN], 1)
    truth, alpha = reference_render(gaussians, view, colors, sh_degree=degree, render_mode="RGB+D")
    with_depth = render_colours_and_depth(gaussians, view, degree=degree)
    np.testing.assert_allclose(with_depth.values, truth, atol=2e-5)
    np.testing.assert_allclose(with_depth.alpha, alpha, atol=2e-6)
    colours = render_colours(gaussians, view, degree=degree).values
    np.testing.assert_allclose(colours, with_depth.values[..., :3], atol=1e-6)


def test_render_colours_refuses_a_degree_that_is_not_stored():
    with pytest.raises(ValueError, match="sh_degree 2 needs 9"):
        render_colours(random_gaussians(degree=1), camera(), degree=2)


def test_blend_weights_repeat_the_rasterizer():
    gaussians, view = random_gaussians(), camera()
    values = torch.randn(len(gaussians), 7, generator=torch.Generator().manual_seed(2))
    weights = blend_weights(gaussians, view)
    render = rasterize(gaussians, view, values)
    blended = (weights @ values.numpy()).reshape(view.height, view.width, 7)
    np.testing.assert_allclose(blended, render.values.numpy(), atol=1e-6)
    alpha = np.asarray(weights.sum(axis=1)).reshape(view.height, view.width)
    np.testing.assert_allclose(alpha, render.alpha.numpy(), atol=1e-6)


@pytest.mark.parametrize("antialiased", [False, True])
def test_gaussians_are_drawn_as_they_were_fitted(antialiased):
    gaussians = replace(random_gaussians(), antialiased=antialiased)
    gaussians = replace(gaussians, log_scales=gaussians.log_scales - 3)  # Smaller than a pixel.
    view = camera(24, 20)
    mode = "antialiased" if antialiased else "classic"
    expected = reference_render(gaussians, view, gaussians.sh0[:, 0], rasterize_mode=mode)
    render = rasterize(gaussians, view, gaussians.sh0[:, 0])
    np.testing.assert_allclose(render.values, expected[0], atol=1e-5)
    weights = blend_weights(gaussians, view)
    np.testing.assert_allclose(weights.sum(axis=1).reshape(20, 24), render.alpha, atol=1e-5)


def test_rasterize_nothing_gives_an_empty_image():
    nothing = random_gaussians().subset(torch.arange(0))
    render = render_colours(nothing, camera(1, 1))
    assert render.values.sum() == 0
    assert render.alpha.sum() == 0
    assert blend_weights(nothing, camera(1, 1)).nnz == 0


def test_means2d_keep_gradients_for_the_density_schedule():
    gaussians = Gaussians(**with_gradients(random_gaussians().tensors()))
    render = render_colours(gaussians, camera())
    render.means2d.retain_grad()
    loss_of(render.values, render.alpha[..., None]).backward()
    assert render.means2d.grad.shape == (1, 300, 2)
    assert (render.means2d.grad[render.radii.eq(0)] == 0).all()
    assert render.means2d.grad.abs().sum() > 0
