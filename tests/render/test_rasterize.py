"""The CPU rasterizer against float64 autograd, and the laws of blending."""

import numpy as np
import pytest
import torch

from splat_uff.cameras import Camera
from splat_uff.render import Gaussians, blend_weights, rasterize, render_colours
from splat_uff.render.harmonics import colours_seen
from tests.render.reference import reference_render


def random_gaussians(count=300, *, seed=0, degree=0):
    """Gaussians of a few pixels in front of `camera()`."""
    rng = torch.Generator().manual_seed(seed)
    depth = 2 + 4 * torch.rand(count, generator=rng)
    offsets = (torch.rand(count, 2, generator=rng) - 0.5) * 1.4 * depth[:, None]
    return Gaussians(
        means=torch.cat([offsets, depth[:, None]], 1),
        quats=torch.randn(count, 4, generator=rng),
        log_scales=torch.log(0.03 + 0.1 * torch.rand(count, 3, generator=rng)),
        opacity_logits=torch.randn(count, generator=rng),
        sh0=torch.randn(count, 1, 3, generator=rng),
        shN=torch.randn(count, (degree + 1) ** 2 - 1, 3, generator=rng) * 0.3,
    )


def camera(width=37, height=29):
    angle = 0.2
    pose = np.eye(4)
    pose[:3, :3] = [
        [np.cos(angle), 0, np.sin(angle)],
        [0, 1, 0],
        [-np.sin(angle), 0, np.cos(angle)],
    ]
    K = np.array([[width * 0.9, 0, width / 2 + 1], [0, width * 0.9, height / 2], [0, 0, 1.0]])
    return Camera(pose, K, width, height)


def with_gradients(gaussians):
    return Gaussians(**{k: v.clone().requires_grad_() for k, v in gaussians.tensors().items()})


def loss_of(values, alpha):
    rng = torch.Generator().manual_seed(1)
    weights = torch.randn(values.shape, generator=rng, dtype=torch.float64)
    return (values * weights).sum() + (alpha * weights[..., 0]).sum()


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 16, 33])
def test_rasterize_equals_float64_autograd(channels):
    given = random_gaussians()
    values = torch.randn(len(given), channels, generator=torch.Generator().manual_seed(2))
    results = []
    for render in (rasterize, reference_render):
        gaussians, features = with_gradients(given), values.clone().requires_grad_()
        out = render(gaussians, camera(), features)
        image, alpha = (out.values, out.alpha) if render is rasterize else out
        loss_of(image, alpha).backward()
        names = ("means", "quats", "log_scales", "opacity_logits")
        gradients = [getattr(gaussians, name).grad for name in names] + [features.grad]
        results.append([image.detach(), alpha.detach(), *gradients])
    for ours, truth in zip(*results, strict=True):
        assert (ours - truth).abs().max() <= 1e-5 * truth.abs().max()


def test_reference_gradient_equals_finite_differences():
    given = random_gaussians(6, seed=3)
    values = torch.randn(6, 2, generator=torch.Generator().manual_seed(2))
    view = camera(8, 8)
    gaussians = with_gradients(given)
    loss_of(*reference_render(gaussians, view, values)).backward()
    step = 1e-5
    for name in ("means", "quats", "log_scales", "opacity_logits"):
        tensor = getattr(given, name).double()
        flat, gradient = tensor.flatten(), getattr(gaussians, name).grad.flatten()
        for index in range(len(flat)):
            losses = []
            for sign in (-1, 1):
                moved = flat.clone()
                moved[index] += sign * step
                changed = {**given.tensors(), name: moved.reshape(tensor.shape)}
                doubled = {key: value.double() for key, value in changed.items()}
                plain = reference_render(_Record(**doubled), view, values)
                losses.append(loss_of(*plain).item())
            slope = (losses[1] - losses[0]) / (2 * step)
            assert slope == pytest.approx(gradient[index].item(), rel=2e-3, abs=2e-4)


class _Record:
    """Gaussians in float64, which the record itself does not hold."""

    def __init__(self, **fields):
        self.__dict__.update(fields)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_colours_equal_gsplats_torch_reference(degree):
    from gsplat.cuda._torch_impl import _spherical_harmonics

    given = random_gaussians(50, degree=3)
    centre = np.array([0.3, -0.2, 0.1])
    results = []
    for ours in (True, False):
        gaussians = with_gradients(given)
        if ours:
            parts = gaussians.means, gaussians.sh0, gaussians.shN
            colours = colours_seen(*parts, centre, degree)
        else:
            offsets = gaussians.means - torch.tensor(centre, dtype=torch.float32)
            coefficients = torch.cat([gaussians.sh0, gaussians.shN], 1)
            directions = torch.nn.functional.normalize(offsets, dim=1)
            colours = (_spherical_harmonics(degree, directions, coefficients) + 0.5).clamp_min(0)
        (colours * torch.arange(1.0, 4.0)).sum().backward()
        results.append(
            [colours.detach(), gaussians.means.grad, gaussians.sh0.grad, gaussians.shN.grad]
        )
    for mine, theirs in zip(*results, strict=True):
        assert (mine - theirs).abs().max() <= 2e-6 * max(1, theirs.abs().max())


def test_blend_weights_repeat_the_rasterizer():
    gaussians, view = random_gaussians(), camera()
    values = torch.randn(len(gaussians), 7, generator=torch.Generator().manual_seed(2))
    weights = blend_weights(gaussians, view)
    render = rasterize(gaussians, view, values)
    blended = (weights @ values.numpy()).reshape(view.height, view.width, 7)
    np.testing.assert_allclose(blended, render.values.numpy(), atol=1e-6)
    alpha = np.asarray(weights.sum(axis=1)).reshape(view.height, view.width)
    np.testing.assert_allclose(alpha, render.alpha.numpy(), atol=1e-6)


def test_rasterize_does_not_depend_on_order():
    gaussians, view = random_gaussians(degree=1), camera()
    shuffled = gaussians.subset(torch.randperm(300, generator=torch.Generator().manual_seed(5)))
    first, second = render_colours(gaussians, view), render_colours(shuffled, view)
    assert (first.values - second.values).abs().max() <= 1e-6


def test_rasterize_repeats_to_the_bit_for_any_number_of_threads():
    gaussians, view = random_gaussians(), camera(64, 64)
    threads, outputs = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            copy = with_gradients(gaussians)
            render = rasterize(copy, view, copy.sh0[:, 0])
            loss_of(render.values, render.alpha).backward()
            outputs.append([render.values, copy.means.grad, copy.quats.grad, copy.sh0.grad])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, two) for one, two in zip(*outputs, strict=True))


@pytest.mark.parametrize("spoil", ["behind", "nan", "flat", "transparent"])
def test_rasterize_leaves_the_others_alone(spoil):
    gaussians, view = random_gaussians(), camera()
    rest = gaussians.subset(torch.arange(1, 300))
    copy = {name: tensor.clone() for name, tensor in gaussians.tensors().items()}
    if spoil == "behind":
        copy["means"][0, 2] = -3
    elif spoil == "nan":
        copy["means"][0, 0] = float("nan")
    elif spoil == "flat":
        copy["log_scales"][0], copy["opacity_logits"][0] = -float("inf"), -9
    else:
        copy["opacity_logits"][0] = -30
    spoiled = with_gradients(Gaussians(**copy))
    render = render_colours(spoiled, view)
    loss_of(render.values, render.alpha).backward()
    assert (render.values - render_colours(rest, view).values).abs().max() <= 1e-6
    assert spoiled.means.grad[0].abs().sum() == 0
    assert torch.isfinite(spoiled.means.grad[1:]).all()


def test_rasterize_nothing_gives_an_empty_image():
    nothing = random_gaussians().subset(torch.arange(0))
    render = render_colours(nothing, camera(1, 1))
    assert render.values.sum() == 0
    assert render.alpha.sum() == 0


def test_means2d_keep_gradients_for_the_density_schedule():
    gaussians = with_gradients(random_gaussians())
    render = render_colours(gaussians, camera())
    render.means2d.retain_grad()
    loss_of(render.values, render.alpha).backward()
    signed, absolute = render.means2d.grad.abs(), render.means2d.absgrad
    assert (signed <= absolute + 1e-4 * absolute.max()).all()
    assert signed.sum() > 0
