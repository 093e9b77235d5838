"""`rasterization` against float64 autograd and gsplat's torch reference, and its contract."""

import inspect

import numpy as np
import pytest
import torch

from splat_uff.render import rasterization
from tests.render.reference import reference_rasterization
from tests.render.scenes import HEIGHT, WIDTH, loss_of, random_inputs, with_gradients

TOLERANCE = 1e-5
"""Of the largest value: what the rasterizer promises of its image and of every gradient."""


def outcome(rasterize, tensors, *, names=None, **settings):
    """Image, alphas and the gradients of all tensors."""
    leaves = with_gradients(tensors)
    extra = {k: leaves.pop(k) for k in ("backgrounds",) if k in leaves}
    image, alphas, *_ = rasterize(**leaves, width=WIDTH, height=HEIGHT, **extra, **settings)
    loss_of(image, alphas).backward()
    gradients = {k: v.grad for k, v in {**leaves, **extra}.items() if v.grad is not None}
    return {"image": image.detach(), "alphas": alphas.detach(), **gradients}


def assert_equal(ours, truth):
    assert ours.keys() == truth.keys()
    for name, value in truth.items():
        error = (ours[name] - value).abs().max() / value.abs().max().clamp_min(1e-12)
        assert error <= TOLERANCE, f"{name} is off by {error:.1e}"


@pytest.mark.parametrize("channels", [1, 3, 4, 5, 16, 33, 128])
def test_rasterization_equals_float64_autograd(channels):
    tensors = random_inputs(channels=channels)
    assert_equal(outcome(rasterization, tensors), outcome(reference_rasterization, tensors))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("rasterize_mode", ["classic", "antialiased"])
@pytest.mark.parametrize("render_mode", ["RGB", "D", "ED", "RGB+D", "RGB+ED"])
def test_modes_equal_float64_autograd(render_mode, rasterize_mode, packed):
    tensors = random_inputs(200, cameras=2)
    tensors["scales"] = 0.4 * tensors["scales"]  # So that antialiasing matters.
    tensors["backgrounds"] = torch.tensor([[0.3, 0.1, 0.9], [0.2, 0.8, 0.5]])
    settings = {"render_mode": render_mode, "rasterize_mode": rasterize_mode}
    ours = outcome(rasterization, tensors, packed=packed, **settings)
    truth = outcome(reference_rasterization, tensors, **settings)
    for name in ("colors", "backgrounds"):  # Depth alone does not depend on them.
        if render_mode in ("D", "ED"):
            assert ours.pop(name, torch.zeros(1)).abs().max() == 0
            truth.pop(name, None)
    assert_equal(ours, truth)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("own", [True, False], ids=["own colours", "shared colours"])
@pytest.mark.parametrize("degree", [None, 0, 1, 2, 3])
def test_colours_of_several_cameras_equal_float64_autograd(degree, own, packed):
    tensors = random_inputs(100, cameras=3, degree=3 if degree is not None else None)
    if own:
        shifts = torch.tensor([0.0, 0.3, -0.2])
        axes = (3, *[1] * tensors["colors"].dim())
        tensors["colors"] = tensors["colors"] + shifts.reshape(axes)
    ours = outcome(rasterization, tensors, sh_degree=degree, packed=packed)
    assert_equal(ours, outcome(reference_rasterization, tensors, sh_degree=degree))


def test_settings_of_the_frame_equal_float64_autograd():
    settings = {"near_plane": 3.0, "far_plane": 5.0, "eps2d": 0.1}
    tensors = random_inputs()
    ours = outcome(rasterization, tensors, tile_size=8, channel_chunk=2, **settings)
    assert_equal(ours, outcome(reference_rasterization, tensors, **settings))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("degree", [None, 1])
def test_batches_are_calls_of_their_own(degree, packed):
    parts = [random_inputs(80, cameras=2, degree=degree, seed=seed) for seed in (0, 5)]
    stacked = {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
    settings = {"sh_degree": degree, "packed": packed}
    leaves = with_gradients(stacked)
    image, alphas, meta = rasterization(**leaves, width=WIDTH, height=HEIGHT, **settings)
    assert meta["n_batches"] == 2
    sum(loss_of(*pair) for pair in zip(image, alphas, strict=True)).backward()
    for index, part in enumerate(parts):
        alone = outcome(rasterization, part, **settings)
        torch.testing.assert_close(image[index], alone.pop("image"))
        torch.testing.assert_close(alphas[index], alone.pop("alphas"))
        for name, gradient in alone.items():
            torch.testing.assert_close(leaves[name].grad[index], gradient)


def test_reference_gradient_equals_finite_differences():
    tensors = {name: t.double() for name, t in random_inputs(6, seed=3, degree=2).items()}
    tensors["backgrounds"] = torch.tensor([[0.3, 0.1, 0.9]], dtype=torch.float64)
    settings = {"sh_degree": 2, "render_mode": "RGB+D", "rasterize_mode": "antialiased"}

    def loss(**changed):
        given = {**tensors, **changed}
        return loss_of(*reference_rasterization(**given, width=8, height=8, **settings))

    leaves = with_gradients(tensors)
    loss(**leaves).backward()
    step = 1e-6
    for name, leaf in leaves.items():
        if leaf.grad is None:
            continue
        for index in range(leaf.numel()):
            values = []
            for sign in (-1, 1):
                moved = tensors[name].clone()
                moved.view(-1)[index] += sign * step
                values.append(loss(**{name: moved}).item())
            slope = (values[1] - values[0]) / (2 * step)
            assert slope == pytest.approx(leaf.grad.view(-1)[index].item(), rel=1e-3, abs=1e-4)


def test_projection_equals_gsplats_torch_reference():
    from gsplat.cuda._torch_impl import _fully_fused_projection, _quat_scale_to_covar_preci

    tensors, results = random_inputs(cameras=2), []
    for ours in (True, False):
        leaves = with_gradients(tensors)
        if ours:
            *_, meta = rasterization(
                **leaves, width=WIDTH, height=HEIGHT, packed=False, rasterize_mode="antialiased"
            )
            radii, fading = meta["radii"], meta["opacities"] / leaves["opacities"].detach()
            outputs = meta["means2d"], meta["conics"], meta["depths"], fading
        else:
            covars, _ = _quat_scale_to_covar_preci(leaves["quats"], leaves["scales"])
            cameras = leaves["viewmats"], leaves["Ks"]
            projected = _fully_fused_projection(
                leaves["means"], covars, *cameras, WIDTH, HEIGHT, calc_compensations=True
            )
            outputs = projected[1], projected[3], projected[2], projected[4]
        seen = (radii > 0).all(-1)
        assert seen.sum() > 300
        outputs = [output[seen] for output in outputs]
        weights = [torch.linspace(-1, 1, o.numel()).reshape(o.shape) for o in outputs]
        sum((o * w).sum() for o, w in zip(outputs, weights, strict=True)).backward()
        names = ("means", "quats", "scales", "viewmats")
        results.append([*outputs, *(leaves[name].grad for name in names)])
    for mine, theirs in zip(*results, strict=True):
        error = (mine - theirs).abs().max() / theirs.abs().max()
        assert error <= TOLERANCE


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_colours_equal_gsplats_torch_reference(degree):
    from gsplat.cuda._torch_impl import _spherical_harmonics

    from splat_uff.render.cpu import _Harmonics

    tensors, results = random_inputs(50, degree=3), []
    for ours in (True, False):
        leaves = with_gradients(tensors)
        centre = torch.linalg.inv(leaves["viewmats"])[0, :3, 3]
        if ours:
            ids, rows = torch.arange(50), torch.arange(50, dtype=torch.int32)
            colours = _Harmonics.apply(
                leaves["means"], leaves["colors"], centre[None], degree, 1, ids, rows
            )
        else:
            directions = torch.nn.functional.normalize(leaves["means"] - centre, dim=1)
            colours = _spherical_harmonics(degree, directions, leaves["colors"])
            colours = (colours + 0.5).clamp_min(0)
        (colours * torch.arange(1.0, 4.0)).sum().backward()
        names = ("colors", "means", "viewmats")[: 3 if degree else 1]
        gradients = [leaves[name].grad for name in names]
        results.append([colours.detach(), *gradients])
    for mine, theirs in zip(*results, strict=True):
        assert (mine - theirs).abs().max() <= TOLERANCE * theirs.abs().max()


def test_rasterization_takes_gsplats_parameters_in_gsplats_order():
    from gsplat import rasterization as theirs

    ours = [p for p in inspect.signature(rasterization).parameters.values() if p.name != "others"]
    for mine, its in zip(ours, inspect.signature(theirs).parameters.values(), strict=False):
        assert mine.name == its.name
        assert mine.default == its.default


UNSUPPORTED = {
    "sparse_grad": True, "distributed": True, "camera_model": "fisheye", "segmented": True,
    "covars": torch.eye(3).expand(300, 3, 3), "with_ut": True, "with_eval3d": True,
    "radial_coeffs": torch.zeros(1, 6), "tangential_coeffs": torch.zeros(1, 2),
    "thin_prism_coeffs": torch.zeros(1, 4), "ftheta_coeffs": object(), "rolling_shutter": 1,
    "viewmats_rs": torch.eye(4)[None], "tile_size": 10, "sh_degree": 4,
}  # fmt: skip


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_the_cpu_cannot_do_is_named_with_an_alternative(name):
    with pytest.raises(NotImplementedError, match=f"^{name} is .*[;:] .+") as caught:
        rasterization(**random_inputs(), width=9, height=9, **{name: UNSUPPORTED[name]})
    assert "\n" not in str(caught.value)


def test_every_parameter_of_gsplat_is_taken_or_named():
    from gsplat import rasterization as theirs

    ours = inspect.signature(rasterization).parameters
    for name in inspect.signature(theirs).parameters:
        assert name in ours or name in UNSUPPORTED


def test_gsplats_defaults_of_what_the_cpu_cannot_do_are_taken():
    from gsplat import rasterization as theirs

    parameters = inspect.signature(theirs).parameters
    defaults = {name: parameters[name].default for name in UNSUPPORTED}
    rasterization(**random_inputs(), width=9, height=9, **defaults)


def test_unknown_parameters_are_no_parameters():
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        rasterization(**random_inputs(), width=9, height=9, colour=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quats": torch.zeros(299, 4)}, r"quats is \[299, 4\]; expected \[300, 4\]"),
        ({"means": torch.zeros(300)}, r"means is \[300\]"),
        ({"colors": torch.zeros(2, 300, 3)}, r"colors is \[2, 300, 3\]; expected \[1, 300, 3\]"),
        ({"colors": torch.zeros(300, 0)}, "at least one channel"),
        ({"sh_degree": 1}, "colors is"),
        ({"colors": torch.zeros(300, 1, 3), "sh_degree": 1}, "sh_degree 1 needs 4"),
        ({"viewmats": torch.zeros(0, 4, 4), "Ks": torch.zeros(0, 3, 3)}, "at least one camera"),
        ({"backgrounds": torch.zeros(3)}, r"backgrounds is \[3\]; expected \[1, 3\]"),
        ({"opacities": torch.ones(300).int()}, "opacities has dtype torch.int32"),
        ({"render_mode": "rgb"}, "render_mode is 'rgb'; expected one of RGB, D"),
        ({"rasterize_mode": "fast"}, "rasterize_mode is 'fast'"),
        ({"width": 0}, "width is 0"),
        ({"quats": torch.zeros(300, 4, device="meta")}, "quats is on meta, means on cpu"),
        ({name: t.to("meta") for name, t in random_inputs().items()}, "means is on meta"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    given = {**random_inputs(), "width": 9, "height": 9, **change}
    with pytest.raises(ValueError, match=message):
        rasterization(**given)


def test_meta_holds_what_users_of_gsplat_read():
    tensors = random_inputs(cameras=2)
    *_, dense = rasterization(**tensors, width=WIDTH, height=HEIGHT, packed=False)
    *_, packed = rasterization(**tensors, width=WIDTH, height=HEIGHT)
    seen = (dense["radii"] > 0).all(-1)
    cameras, gaussians = torch.where(seen)
    assert torch.equal(packed["camera_ids"], cameras)
    assert torch.equal(packed["gaussian_ids"], gaussians)
    assert packed["batch_ids"].abs().sum() == 0
    for name in ("means2d", "radii", "depths", "conics", "opacities", "tiles_per_gauss"):
        assert torch.equal(packed[name], dense[name][seen]), name
    for meta in (dense, packed):
        assert [meta[k] for k in ("width", "height", "tile_size")] == [WIDTH, HEIGHT, 16]
        assert [meta[k] for k in ("tile_width", "tile_height")] == [3, 2]
        assert [meta[k] for k in ("n_cameras", "n_batches")] == [2, 1]
        assert meta["isect_offsets"].shape == (2, 2, 3)
        assert meta["tiles_per_gauss"].sum() == len(meta["flatten_ids"])
        depths = meta["depths"].flatten()[meta["flatten_ids"].long()]
        for tile in torch.tensor_split(depths, meta["isect_offsets"].flatten()[1:].tolist()):
            assert (tile.diff() >= 0).all()


def test_radii_reach_as_far_as_gsplats():
    tensors = random_inputs()
    *_, meta = rasterization(**tensors, width=WIDTH, height=HEIGHT)
    variance = torch.linalg.inv(_matrices(meta["conics"]))[:, [0, 1], [0, 1]]
    reach = (2 * torch.log(255 * meta["opacities"])).sqrt().clamp(max=3.33)
    expected = torch.ceil(reach[:, None] * variance.sqrt())
    assert (meta["radii"] - expected).abs().max() <= 1  # Rounding of what is a hair from whole.
    assert (meta["radii"] == expected).float().mean() > 0.99


def _matrices(conics):
    xx, xy, yy = conics.unbind(-1)
    return torch.stack([xx, xy, xy, yy], -1).reshape(-1, 2, 2)


@pytest.mark.parametrize("packed", [True, False])
def test_absgrad_bounds_the_gradient_of_the_centres(packed):
    leaves = with_gradients(random_inputs())
    image, alphas, meta = rasterization(
        **leaves, width=WIDTH, height=HEIGHT, packed=packed, absgrad=True
    )
    meta["means2d"].retain_grad()
    loss_of(image, alphas).backward()
    signed, absolute = meta["means2d"].grad.abs(), meta["means2d"].absgrad
    assert (signed <= absolute + 1e-4 * absolute.max()).all()
    assert signed.sum() > 0


def test_absgrad_is_the_sum_of_the_gradients_of_single_pixels():
    given, size = random_inputs(5, width=6), {"width": 6, "height": 4}
    total = 0
    for row in range(4):
        for column in range(6):
            image, _, meta = rasterization(**with_gradients(given), **size)
            meta["means2d"].retain_grad()
            image[0, row, column].sum().backward()
            total = total + meta["means2d"].grad.abs()
    image, _, meta = rasterization(**with_gradients(given), **size, absgrad=True)
    image.sum().backward()
    torch.testing.assert_close(meta["means2d"].absgrad, total, rtol=1e-4, atol=1e-5)


def test_radius_clip_leaves_out_the_small():
    tensors = random_inputs()
    *_, whole = rasterization(**tensors, width=WIDTH, height=HEIGHT)
    *_, clipped = rasterization(**tensors, width=WIDTH, height=HEIGHT, radius_clip=6)
    large = (whole["radii"] > 6).any(-1)
    assert 0 < large.sum() < len(large)
    assert torch.equal(clipped["gaussian_ids"], whole["gaussian_ids"][large])


def test_doubles_are_taken_and_get_gradients_of_their_own_kind():
    tensors = {name: tensor.double() for name, tensor in random_inputs().items()}
    ours = outcome(rasterization, tensors)
    assert_equal(ours, outcome(reference_rasterization, tensors))
    assert ours["means"].dtype == torch.float64


def test_blending_is_a_partition_of_unity_with_the_transmittance():
    tensors = random_inputs()
    tensors["colors"] = torch.ones(300, 1)
    image, alphas, _ = rasterization(**tensors, width=WIDTH, height=HEIGHT)
    torch.testing.assert_close(image, alphas)
    ones = torch.ones(1, 1)
    image, _, _ = rasterization(**tensors, width=WIDTH, height=HEIGHT, backgrounds=ones)
    torch.testing.assert_close(image, torch.ones_like(image))


def test_channels_do_not_see_each_other():
    tensors = random_inputs(channels=128)
    whole, alphas, _ = rasterization(**tensors, width=WIDTH, height=HEIGHT)
    for channels in (1, 3, 4, 16, 33):
        part = {**tensors, "colors": tensors["colors"][:, :channels]}
        image, same, _ = rasterization(**part, width=WIDTH, height=HEIGHT)
        torch.testing.assert_close(image, whole[..., :channels], rtol=0, atol=2e-6)
        assert torch.equal(same, alphas)


@pytest.mark.parametrize("where", ["behind", "off-screen"])
def test_what_is_not_seen_gets_no_gradient(where):
    tensors = random_inputs()
    tensors["means"][:7] = torch.tensor([0.0, 0, -3] if where == "behind" else [90.0, 0, 3])
    found = outcome(rasterization, tensors)
    for name in ("means", "quats", "scales", "opacities", "colors"):
        assert found[name][:7].abs().sum() == 0, name
        assert found[name][7:].abs().sum() > 0, name


DEGENERATE = {
    "flat": {"scales": 0.0},
    "a needle": {"scales": torch.tensor([0.0, 0.0, 9.0])},
    "transparent": {"opacities": 0.0},
    "opaque": {"opacities": 1.0},
    "everywhere": {"scales": 1e4},
    "beyond all bounds": {"scales": 1e30},
    "without direction": {"quats": 0.0},
    "at the camera": {"means": 0.0},
    "infinitely far": {"means": torch.tensor([0.0, 0.0, float("inf")])},
    **{f"NaN {name}": {name: float("nan")} for name in ("means", "quats", "scales", "opacities")},
    "NaN colors": {"colors": float("nan")},
    "infinite colors": {"colors": float("inf")},
    "infinite scales": {"scales": float("inf")},
}
INVISIBLE = ("transparent", "at the camera", "infinitely far", "NaN", "infinite")


@pytest.mark.parametrize("degree", [None, 1])
@pytest.mark.parametrize("kind", DEGENERATE)
def test_one_degenerate_gaussian_does_not_spoil_the_others(kind, degree):
    tensors = random_inputs(degree=degree)
    for name, value in DEGENERATE[kind].items():
        tensors[name][3] = value
    found = outcome(rasterization, tensors, sh_degree=degree)
    for name, value in found.items():
        rest = value if name in ("image", "alphas", "viewmats") else value[torch.arange(300) != 3]
        assert torch.isfinite(rest).all(), name
        assert torch.isfinite(value).all(), name
    if kind.startswith(INVISIBLE):
        kept = torch.arange(300) != 3
        others = {n: t if n in ("viewmats", "Ks") else t[kept] for n, t in tensors.items()}
        alone = outcome(rasterization, others, sh_degree=degree)
        torch.testing.assert_close(found["image"], alone["image"])
        torch.testing.assert_close(found["means"][kept], alone["means"])
        assert found["means"][3].abs().sum() == 0


def test_equal_depths_keep_the_order_of_their_indices():
    tensors = random_inputs(2)
    tensors["means"][:] = torch.tensor([0.0, 0.0, 3.0])
    tensors["viewmats"] = torch.eye(4)[None]
    tensors["opacities"][:], tensors["scales"][:] = 0.9, 0.5
    tensors["colors"] = torch.tensor([[1.0], [0.0]])
    image, _, _ = rasterization(**tensors, width=WIDTH, height=HEIGHT)
    assert image.max() > 0.85


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGB+ED"])
def test_nothing_gives_an_empty_image(mode, packed):
    tensors = {k: v if k in ("viewmats", "Ks") else v[:0] for k, v in random_inputs().items()}
    leaves = with_gradients(tensors)
    image, alphas, meta = rasterization(
        **leaves, width=1, height=1, packed=packed, render_mode=mode
    )
    (image.sum() + alphas.sum()).backward()
    assert image.abs().sum() == alphas.sum() == 0
    assert meta["means2d"].shape == ((0, 2) if packed else (1, 0, 2))
    assert leaves["means"].grad.shape == (0, 3)


def test_a_gaussian_over_all_tiles_covers_all_pixels():
    tensors = {k: v if k in ("viewmats", "Ks") else v[:1] for k, v in random_inputs().items()}
    tensors["scales"], tensors["opacities"] = torch.full((1, 3), 1e3), torch.ones(1)
    tensors["means"] = torch.tensor([[0.0, 0.0, 3.0]])
    _, alphas, meta = rasterization(**tensors, width=100, height=70)
    assert alphas.min() > 0.99
    assert meta["tiles_per_gauss"].item() == 7 * 5


@pytest.mark.parametrize("channels", [3, 16])
def test_rasterization_repeats_to_the_bit_for_any_number_of_threads(channels):
    tensors = random_inputs(2000, channels=channels, cameras=2)
    threads, outcomes = torch.get_num_threads(), []
    try:
        for count in (1, 2, 2):
            torch.set_num_threads(count)
            outcomes.append(outcome(rasterization, tensors))
    finally:
        torch.set_num_threads(threads)
    for again in outcomes[1:]:
        assert all(torch.equal(outcomes[0][name], again[name]) for name in again)


def test_permuting_the_gaussians_changes_nothing():
    tensors = random_inputs()
    order = torch.randperm(300, generator=torch.Generator().manual_seed(5))
    shuffled = {k: v if k in ("viewmats", "Ks") else v[order] for k, v in tensors.items()}
    found, again = outcome(rasterization, tensors), outcome(rasterization, shuffled)
    for name, value in again.items():
        same = found[name] if name in ("image", "alphas", "viewmats") else found[name][order]
        np.testing.assert_allclose(value, same, atol=1e-6 * float(same.abs().max()))


def test_inputs_changed_between_forward_and_backward_are_noticed():
    leaves = with_gradients(random_inputs())
    image, _, _ = rasterization(**leaves, width=WIDTH, height=HEIGHT)
    with torch.no_grad():
        leaves["means"] += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        image.sum().backward()


def test_second_derivatives_are_refused():
    leaves = with_gradients(random_inputs())
    image, _, _ = rasterization(**leaves, width=WIDTH, height=HEIGHT)
    (gradient,) = torch.autograd.grad(image.square().sum(), leaves["means"], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_rasterization_needs_no_gradients():
    with torch.inference_mode():
        image, _, meta = rasterization(**random_inputs(), width=WIDTH, height=HEIGHT)
    assert image.sum() != 0
    assert not meta["means2d"].requires_grad
