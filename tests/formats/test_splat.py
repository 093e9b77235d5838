"""antimatter15's `.splat`."""

import struct

import numpy as np
import pytest
import torch

from splat_uff.formats.quantised import fields_of
from splat_uff.formats.records import SH_C0
from splat_uff.formats.splat import read_splat
from splat_uff.system.errors import InputError
from tests.formats.reading import (
    as_others_read,
    assert_near,
    assert_same,
    matched,
    random_splats,
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Splats, and the `.splat` that gsplat makes of them."""
    from gsplat import export_splats

    source = random_splats(degree=0, opaque=True)
    fields = fields_of(source)
    tensors = {
        "means": fields.centres,
        "scales": fields.log_scales,
        "quats": fields.quats,
        "opacities": fields.opacity_logits,
        "sh0": fields.dc[:, None],
        "shN": np.zeros((len(source), 0, 3), np.float32),
    }
    path = tmp_path_factory.mktemp("splat") / "a.splat"
    made = {name: torch.from_numpy(values.copy()) for name, values in tensors.items()}
    export_splats(**made, format="splat", save_to=str(path))
    return source, path


def test_read_splat_reads_a_row_written_by_hand(tmp_path):
    path = tmp_path / "a.splat"
    row = struct.pack("<6f8B", 1, 2, 3, 1, 0.5, 0, 255, 0, 51, 102, 128, 64, 128, 128)
    path.write_bytes(row)
    table = read_splat(path).table
    assert table[["x", "y", "z"]].item() == (1, 2, 3)
    assert table["scale_0"] == 0
    np.testing.assert_allclose(table["scale_1"], np.log(0.5), rtol=1e-6)
    assert table["scale_2"] == -np.inf
    np.testing.assert_allclose(table["f_dc_0"], 0.5 / SH_C0, rtol=1e-6)
    np.testing.assert_allclose(table["f_dc_1"], -0.5 / SH_C0, rtol=1e-6)
    np.testing.assert_allclose(table["f_dc_2"], -0.3 / SH_C0, rtol=1e-6)
    np.testing.assert_allclose(table["opacity"], np.log(0.4 / 0.6), rtol=1e-6)
    assert table[[f"rot_{i}" for i in range(4)]].item() == (0, -1, 0, 0)


def test_read_splat_returns_what_gsplat_wrote(exported):
    """gsplat rounds bytes down: a full step of each, two steps for all of a turn."""
    source, path = exported
    read = read_splat(path).table
    assert_near(
        read, matched(source, read), centres=0, log_scales=0, rest=0,
        alphas=1 / 255, dc=1 / 255 / SH_C0, quats=4 / 128,
    )  # fmt: skip


def test_read_splat_agrees_with_splat_transform(exported, tmp_path):
    """It takes bytes of rotations as shares of 255, which is up to a step of 128 apart."""
    _, path = exported
    theirs = as_others_read(path, tmp_path / "a.ply")
    assert_same(read_splat(path).table, theirs, quats=2 / 128)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "empty"), (bytes(33), "multiple of 32"), (bytes(31), "multiple of 32")],
)
def test_read_splat_refuses_what_has_no_whole_rows(tmp_path, content, said):
    path = tmp_path / "a.splat"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_splat(path)


def test_read_splat_keeps_rows_that_cannot_be_drawn(tmp_path):
    path = tmp_path / "a.splat"
    path.write_bytes(struct.pack("<6f8B", np.nan, np.inf, 0, -1, 1, 1, *[128] * 8))
    table = read_splat(path).table
    assert np.isnan(table["x"][0])
    assert np.isnan(table["scale_0"][0])
    assert table["rot_0"][0] == 0


def test_read_splat_refuses_a_folder_and_nothing(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        read_splat(tmp_path)
    with pytest.raises(InputError, match="is not there"):
        read_splat(tmp_path / "a.splat")
