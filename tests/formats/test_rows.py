"""Splats with infinite and odd numbers: what can be drawn is read, the rest is counted."""

import numpy as np
import pytest
import torch

from splat_uff.formats.rows import usable_rows
from splat_uff.gaussians.ply import gaussians_of, load_ply, table_of
from splat_uff.gaussians.source import read_given, read_source
from splat_uff.render import render_colours
from splat_uff.system.errors import InputError
from tests.features.scenes import tiny_scene
from tests.formats.splats import COLUMNS, make_table, read_table, write_ply

ODD = [
    *((name, np.nan) for name in ("x", "f_dc_1", "rot_2", "opacity", "scale_0")),
    *((name, np.inf) for name in ("x", "f_dc_1", "rot_2", "scale_0")),
    *((name, -np.inf) for name in ("x", "f_dc_1", "rot_2")),
]


def test_infinite_opacities_and_flat_scales_are_drawn_as_what_they_are():
    table = make_table(4)
    table["opacity"] = [np.inf, -np.inf, 1.5, -np.inf]
    table["scale_1"] = [0.5, -np.inf, -np.inf, 0.25]
    assert usable_rows(table).kept.all()
    gaussians = gaussians_of(table)
    assert all(torch.isfinite(tensor).all() for tensor in gaussians.tensors().values())
    assert gaussians.opacities.tolist() == pytest.approx([1, 0, 0.8175745, 0], abs=1e-6)
    assert gaussians.opacity_logits[2] == 1.5
    assert gaussians.log_scales[[0, 3], 1].tolist() == [0.5, 0.25]
    others = gaussians.scales[[1, 2]][:, [0, 2]].min(dim=1).values
    assert (gaussians.scales[[1, 2], 1] < 1e-4 * others).all()


def test_infinite_opacity_looks_like_a_very_large_one():
    scene = tiny_scene()

    def seen(logit):
        table = table_of(scene.gaussians)
        table["opacity"][::2] = logit
        with torch.no_grad():
            return render_colours(gaussians_of(table), scene.cameras[0]).values.numpy()

    np.testing.assert_allclose(seen(np.inf), seen(30.0), atol=1e-6)
    np.testing.assert_allclose(seen(-np.inf), seen(-30.0), atol=1e-6)
    assert np.abs(seen(np.inf) - seen(-np.inf)).max() > 0.1


@pytest.mark.parametrize(("name", "value"), ODD)
def test_usable_rows_leaves_out_exactly_the_rows_that_cannot_be_drawn(name, value):
    table = make_table(6)
    table[name][[1, 4]] = value
    rows = usable_rows(table)
    assert rows.kept.tolist() == [True, False, True, True, False, True]
    assert (rows.nan, rows.infinite) == ((2, 0) if np.isnan(value) else (0, 2))
    assert rows.dropped == 2


def test_rotations_of_length_0_are_left_out_and_tiny_ones_are_not():
    table = make_table(3)
    for i in range(4):
        table[f"rot_{i}"][0] = 0
        table[f"rot_{i}"][1] *= 1e-30
    rows = usable_rows(table)
    assert rows.kept.tolist() == [False, True, True]
    assert str(rows) == "1 with rotations of length 0"
    lengths = gaussians_of(table[1:]).quats.norm(dim=1)
    assert lengths[0].item() == pytest.approx(1, abs=1e-5)


def test_a_file_without_a_row_that_can_be_drawn_is_refused(tmp_path):
    table = make_table(3)
    table["y"] = np.nan
    path = write_ply(tmp_path / "splats.ply", table)
    with pytest.raises(InputError, match=r"no Gaussian that can be drawn \(3 with NaN\)"):
        read_table(path)


def test_read_given_counts_what_it_leaves_out_in_one_line(tmp_path, capsys):
    table = make_table(9)
    table["z"][3], table["scale_2"][5] = np.nan, np.inf
    path = write_ply(tmp_path / "splats.ply", table)
    source = read_given(path)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "2 of 9 Gaussians cannot be drawn (1 with NaN, 1 with infinite numbers)" in said
    assert source.table.tobytes() == table.tobytes()
    assert len(source.drawn) == 7
    with pytest.raises(InputError, match="2 Gaussians that cannot be drawn"):
        load_ply(path)


def test_two_scales_are_flat_gaussians(tmp_path, capsys):
    table = make_table(4, columns=[name for name in COLUMNS if name != "scale_2"])
    source = read_given(write_ply(tmp_path / "splats.ply", table))
    assert "2DGS" in capsys.readouterr().err
    assert source.table.dtype == table.dtype
    scales = gaussians_of(source.drawn).scales
    assert (scales[:, 2] < 1e-4 * scales[:, :2].min(dim=1).values).all()


def test_harmonics_of_degree_4_are_read_up_to_degree_3(tmp_path, capsys):
    table = make_table(2, columns=[*COLUMNS, *(f"f_rest_{i}" for i in range(72))])
    table["f_rest_20"] = np.nan  # Of degree 4, which is not looked at.
    source = read_given(write_ply(tmp_path / "splats.ply", table))
    assert "degree 4" in capsys.readouterr().err
    gaussians = gaussians_of(source.drawn)
    assert gaussians.sh_degree == 3
    for channel in range(3):
        for k in range(15):
            expected = table[f"f_rest_{24 * channel + k}"]
            assert (gaussians.shN[:, k, channel].numpy() == expected).all()


@pytest.mark.parametrize("style", [{"byte_order": ">"}, {"text": True}])
def test_infinite_numbers_are_read_in_every_kind_of_ply(tmp_path, style):
    table = make_table(4)
    table["opacity"] = [np.inf, -np.inf, 0.5, np.nan]
    source = read_source(write_ply(tmp_path / "splats.ply", table, **style))
    for name in COLUMNS:
        np.testing.assert_array_equal(source.table[name], table[name])
    assert source.kept.tolist() == [True, True, True, False]


def test_64_bit_centres_stay_64_bit(tmp_path):
    table = make_table(3, kinds=dict.fromkeys("xyz", "<f8"))
    table["x"] += 4.2e6
    source = read_source(write_ply(tmp_path / "splats.ply", table))
    means = gaussians_of(source.drawn).means
    assert means.dtype == torch.float64
    assert (means[:, 0].numpy() == table["x"]).all()
    assert load_ply(tmp_path / "splats.ply").means.dtype == torch.float32


def test_centres_rounded_far_from_the_origin_are_told(tmp_path, capsys):
    near, far = make_table(50), make_table(50)
    far["y"] += 5e6
    exact = make_table(50, kinds=dict.fromkeys("xyz", "<f8"))
    exact["y"] += 5e6
    for table in (near, exact):
        read_given(write_ply(tmp_path / "splats.ply", table))
        assert capsys.readouterr().err == ""
    read_given(write_ply(tmp_path / "splats.ply", far))
    said = capsys.readouterr().err
    assert "5e+06 units from the origin, where 32 bits round centres by up to 0.25" in said
