"""Splats from elsewhere fit the photos, or are refused in one line that says why."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from splat_uff.capture.records import Capture, View
from splat_uff.gaussians.agreement import make_probes, measure
from splat_uff.gaussians.placed import place_source
from splat_uff.gaussians.ply import save_ply
from splat_uff.gaussians.readings import frame_readings
from splat_uff.gaussians.similarity import move_gaussians
from splat_uff.gaussians.source import read_source
from splat_uff.gaussians.turn import turn_gaussians
from splat_uff.render import Gaussians, render_colours
from splat_uff.render.fineness import Fineness
from splat_uff.render.harmonics import C0
from splat_uff.system.errors import InputError
from tests.gaussians.scenes import look_at_origin

SOURCE_FROM_WORLD = np.diag([2.5, 2.5, 2.5, 1.0])
SOURCE_FROM_WORLD[:3, 3] = [1, -2, 0.5]
SIMILARITY = np.eye(4)
SIMILARITY[:3, :3] = 0.3 * Rotation.from_euler("xyz", [-60, 20, 100], degrees=True).as_matrix()
SIMILARITY[:3, 3] = [0.3, -0.2, 0.5]
SIZE = 48


def make_gaussians(count=900, seed=0):
    """Long, turned Gaussians of many colours on a slab, in our world."""
    rng = np.random.default_rng(seed)
    means = rng.uniform([-0.5, -0.35, -0.12], [0.5, 0.35, 0.12], (count, 3))
    colours = 0.5 + 0.45 * np.sin(means @ rng.normal(0, 6, (3, 3)) + [0, 2, 4])
    scales = np.log(rng.uniform([0.05, 0.008, 0.008], [0.08, 0.012, 0.012], (count, 3)))

    def floats(values):
        return torch.from_numpy(np.asarray(values, np.float32))

    return Gaussians(
        means=floats(means),
        quats=floats(rng.normal(size=(count, 4))),
        log_scales=floats(scales),
        opacity_logits=floats(rng.normal(3, 1, count)),
        sh0=floats((colours - 0.5) / C0)[:, None],
        shN=floats(rng.normal(0, 0.1, (count, 3, 3))),
    )


def photograph(gaussians, *, background=None, exposures=(1.0,) * 10):
    """A capture whose photos show some Gaussians, cut out or before a background."""
    views = []
    for k, exposure in enumerate(exposures):
        camera = look_at_origin(2.4 * k, 0.9 * np.sin(1.7 * k), SIZE)
        fineness = Fineness.of(gaussians, camera)
        with torch.no_grad():
            render = render_colours(gaussians, fineness.camera, eps2d=fineness.eps2d)
        alpha = fineness.average(render.alpha.numpy())[..., None]
        colours = np.clip(exposure * fineness.average(render.values.numpy()), 0, 1)
        if background is not None:
            colours, alpha = colours + (1 - alpha) * background, np.ones_like(alpha)
        image = np.concatenate([np.minimum(colours, 1), alpha], axis=2).astype(np.float32)
        views.append(View(f"r_{k}", camera, image))
    cut_out = background is None
    return Capture("slab", Path(), tuple(views), (), cut_out, SOURCE_FROM_WORLD, "none")


@pytest.fixture(scope="module")
def ours():
    return make_gaussians()


@pytest.fixture(scope="module")
def shot(ours):
    return photograph(ours)


@pytest.fixture
def capture(shot, tmp_path):
    (tmp_path / "capture").mkdir()
    return replace(shot, folder=tmp_path / "capture")


def place(tmp_path, gaussians, capture, **options):
    """Write Gaussians of our world in the capture's frame and bring them back."""
    return place_file(tmp_path, move_gaussians(gaussians, SOURCE_FROM_WORLD), capture, **options)


def place_file(tmp_path, gaussians, capture, **options):
    path = tmp_path / "fit" / "export" / "splats.ply"
    save_ply(path, gaussians)
    return place_source(read_source(path), path, capture, **options)


def notices(capsys):
    """Lines that were said, without those about progress on a slow machine."""
    lines = capsys.readouterr().err.splitlines()
    return [line for line in lines if not line.startswith("other readings: ")]


def changed(gaussians, **tensors):
    return Gaussians(**(gaussians.tensors() | tensors))


def test_place_source_takes_gaussians_that_fit_without_a_word(ours, capture, tmp_path, capsys):
    placed = place(tmp_path, ours, capture)
    assert notices(capsys) == []
    np.testing.assert_array_equal(placed.original_from_source, np.eye(4))
    for name, tensor in ours.tensors().items():
        np.testing.assert_allclose(getattr(placed.gaussians, name), tensor, atol=1e-5)


FAIR = {
    "white behind": {"background": 1.0},
    "black behind": {"background": 0.0},
    "exposures that change": {"exposures": tuple(0.5 + 0.08 * k for k in range(10))},
}


@pytest.mark.parametrize("kind", FAIR)
def test_place_source_takes_gaussians_of_photos_taken_otherwise(ours, kind, tmp_path, capsys):
    capture = replace(photograph(ours, **FAIR[kind]), folder=tmp_path)
    place(tmp_path, ours, capture)
    assert notices(capsys) == []


def test_place_source_takes_one_object_of_the_scene(ours, capture, tmp_path, capsys):
    for kept in (ours.means[:, 0] > 0.2, ours.means[:, 2] < -0.02):  # Some stand behind others.
        place(tmp_path, ours.subset(kept), capture)
    assert all("fit the photos only roughly" in line for line in notices(capsys))


def test_place_source_takes_fits_that_are_no_better_than_20_db(ours, capture, tmp_path):
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(ours.sh0.shape, generator=rng) * 0.9
    rough = changed(ours, sh0=ours.sh0 + noise)
    assert 17 < measure(rough, make_probes(capture)).psnr < 23
    place(tmp_path, rough, capture)


def test_place_source_says_how_well_gaussians_fit_that_are_a_little_out_of_place(
    ours, capture, tmp_path, capsys
):  # fmt: skip
    shifted = changed(ours, means=ours.means + torch.tensor([0.05, 0.0, 0.0]))
    place(tmp_path, shifted, capture)
    [line] = notices(capsys)
    assert re.search(r"fit the photos only roughly: \d+\.\d dB where .*out of place", line)


def activated(gaussians):
    return {
        "opacity_logits": gaussians.opacities,
        "log_scales": gaussians.scales,
        "sh0": 0.5 + C0 * gaussians.sh0,
    }


MISREAD = {
    "xyzw": (lambda g: {"quats": g.quats[:, [1, 2, 3, 0]]}, "rot_0 to rot_3 are read as x y z w"),
    "opacity": (
        lambda g: {"opacity_logits": g.opacities},
        "opacity is read as 0 to 1",
    ),
    "scales": (lambda g: {"log_scales": g.scales}, "scale_0 to scale_2 are read as lengths"),
    "colours": (lambda g: {"sh0": 0.5 + C0 * g.sh0}, "read as colours of 0 to 1"),
    "bytes": (lambda g: {"sh0": 255 * (0.5 + C0 * g.sh0)}, "read as colours of 0 to 255"),
    "all": (activated, "opacity is read as 0 to 1 and scale_0 to scale_2 .* and f_dc_0"),
    "all, xyzw": (
        lambda g: activated(g) | {"quats": g.quats[:, [1, 2, 3, 0]]},
        "opacity .* and scale_0 .* and f_dc_0 .* and rot_0 to rot_3 are read as x y z w",
    ),
}


@pytest.mark.parametrize("kind", MISREAD)
def test_place_source_names_values_that_are_stored_otherwise(ours, capture, tmp_path, kind):
    change, words = MISREAD[kind]
    given = move_gaussians(ours, SOURCE_FROM_WORLD)
    with pytest.raises(InputError, match=words) as caught:
        place_file(tmp_path, changed(given, **change(given)), capture)
    assert re.search(r"\d\d\.\d dB", str(caught.value))
    assert "force=True" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("turn", "words"),
    [
        (np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]), "about x, as between y up and z up"),
        (np.diag([1.0, -1, -1]), "180 degrees about x, as between the axes of OpenGL and OpenCV"),
        (np.diag([1.0, 1, -1]), "mirrored in z"),
        (np.eye(3)[[0, 2, 1]], "mirrored, with y and z swapped"),
        (np.eye(3)[[1, 2, 0]], "turned by 120 degrees"),
    ],
)
def test_place_source_names_axes_that_are_called_otherwise(ours, capture, tmp_path, turn, words):
    turned = turn_gaussians(move_gaussians(ours, SOURCE_FROM_WORLD), turn)
    with pytest.raises(InputError, match=f"do not fit .* they fit .* when .*{words}"):
        place_file(tmp_path, turned, capture)


def test_place_source_names_values_and_axes_at_once(ours, capture, tmp_path):
    given = move_gaussians(ours, SOURCE_FROM_WORLD)
    turned = turn_gaussians(given, np.diag([1.0, -1, -1]))
    wrong = changed(turned, **activated(given))
    with pytest.raises(InputError, match=r"they fit .* when opacity .* and turned by 180 degrees"):
        place_file(tmp_path, wrong, capture)


def test_place_source_refuses_any_other_frame_unless_forced(ours, capture, tmp_path, capsys):
    moved = move_gaussians(ours, SIMILARITY)
    with pytest.raises(InputError, match=r"do not fit the photos .* likely in another frame"):
        place_file(tmp_path, moved, capture)
    capsys.readouterr()
    placed = place_file(tmp_path, moved, capture, force=True)
    said = notices(capsys)
    assert len(said) == 1
    assert "do not fit the photos" in said[0]
    np.testing.assert_array_equal(placed.original_from_source, np.eye(4))


def test_place_source_refuses_gaussians_that_no_photo_shows(ours, capture, tmp_path):
    away = ours.moved(ours.means + torch.tensor([0.0, 0.0, 400.0]))
    with pytest.raises(InputError, match=r"they cover 0\.00% of the photos"):
        place(tmp_path, away, capture)


def test_place_source_undoes_the_frame_of_nerfstudio(ours, capture, tmp_path, capsys):
    """View-dependent colours are turned back as well."""
    scale = np.cbrt(np.linalg.det(SIMILARITY[:3, :3]))
    record = {"transform": (SIMILARITY[:3] / scale).tolist(), "scale": scale}
    (tmp_path / "fit").mkdir()
    (tmp_path / "fit" / "dataparser_transforms.json").write_text(json.dumps(record))
    fitted = move_gaussians(move_gaussians(ours, SOURCE_FROM_WORLD), SIMILARITY)
    placed = place_file(tmp_path, fitted, capture)
    assert "dataparser_transforms.json tells of" in capsys.readouterr().err
    np.testing.assert_allclose(placed.original_from_source, SIMILARITY, atol=1e-9)
    agreed = measure(placed.gaussians, make_probes(capture))
    assert agreed.psnr > 50
    np.testing.assert_allclose(placed.gaussians.shN, ours.shN, atol=1e-5)


def test_place_source_leaves_gaussians_that_fit_where_they_are(ours, capture, tmp_path, capsys):
    (tmp_path / "fit").mkdir()
    record = {"transform": np.eye(4)[:3].tolist(), "scale": 0.5}
    (tmp_path / "fit" / "dataparser_transforms.json").write_text(json.dumps(record))
    placed = place(tmp_path, ours, capture)
    np.testing.assert_array_equal(placed.original_from_source, np.eye(4))
    assert notices(capsys) == []


def test_frame_readings_are_all_other_ways_to_name_the_axes(ours):
    readings = frame_readings()
    assert len(readings) == 47
    assert len({reading.words for reading in readings}) == 47
    corner = ours.subset(torch.arange(1))
    places = {tuple(reading.apply(corner).means[0].tolist()) for reading in readings}
    assert len(places) == 47
    assert tuple(corner.means[0].tolist()) not in places


def test_place_source_names_the_rounding_of_centres_that_are_far_away(ours, capture, tmp_path):
    far = SOURCE_FROM_WORLD.copy()
    far[:3] = np.concatenate([0.5 * np.eye(3), [[4.2e6], [1.7e5], [4.78e6]]], axis=1)
    given = replace(capture, source_from_world=far)
    rounded = move_gaussians(ours, far)  # Its means are of 32 bits.
    with pytest.raises(InputError, match=r"32 bits round centres by up to 0\.25, .* likely reason"):
        place_file(tmp_path, rounded, given)


def test_place_source_finds_out_at_what_size_gaussians_were_fitted(ours, tmp_path, capsys):
    """The photos in their files are 4 times as large as those that are trained on."""
    shot = photograph(replace(ours, fitted_focal=4 * look_at_origin(0, 0, SIZE).focal))
    large = [replace(view, source_size=(4 * SIZE, 4 * SIZE)) for view in shot.train]
    capture = replace(shot, folder=tmp_path, train=tuple(large))
    placed = place(tmp_path, ours, capture)
    assert placed.gaussians.fitted_focal == pytest.approx(4 * capture.focal)
    assert "fit photos of about 192x192 best" in capsys.readouterr().err
    small = place(tmp_path, ours, replace(capture, train=shot.train))
    assert small.gaussians.fitted_focal == pytest.approx(capture.focal)


def test_place_source_believes_a_file_that_says_at_what_size_it_was_fitted(ours, capture, tmp_path):
    placed = place(tmp_path, replace(ours, fitted_focal=123.5), capture)
    assert placed.gaussians.fitted_focal == 123.5
