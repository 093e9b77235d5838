"""SuperSplat's compressed `.ply`."""

import struct

import numpy as np
import pytest
import torch

from splat_uff.formats.compressed_ply import RANGES, read_compressed_ply
from splat_uff.formats.quantised import fields_of
from splat_uff.formats.records import SH_C0
from tests.formats.hostile import cuts, refused, survives
from tests.formats.reading import (
    as_others_read,
    assert_near,
    assert_same,
    matched,
    random_splats,
    write_3dgs,
)
from tests.programs import splat_transform

STEPS = {
    "centres": [1 / 2047, 1 / 1023, 1 / 2047],
    "log_scales": [2.5 / 2047, 2.5 / 1023, 2.5 / 2047],
    "dc": 1.5 / 255,
    "alphas": 0.5 / 255,
    "rest": 1 / 64,
    "quats": 3.1 * 2**0.5 / 1023 / 2,
}
"""Half steps for numbers as `random_splats` makes them, in a single range at most that large."""
COLUMNS = ("packed_position", "packed_rotation", "packed_scale", "packed_color")


@pytest.mark.parametrize("degree", [0, 3])
def test_read_compressed_ply_equals_what_splat_transform_wrote(tmp_path, degree):
    source = random_splats(600, degree, opaque=True)
    path = tmp_path / "a.compressed.ply"
    splat_transform(write_3dgs(tmp_path / "a.ply", source), path)
    read = read_compressed_ply(path)
    assert "splat-transform" in " ".join(read.comments)
    assert_same(read.table, as_others_read(path, tmp_path / "b.ply"))
    assert_near(read.table, matched(source, read.table), **STEPS)


@pytest.mark.parametrize("degree", [0, 2])
def test_read_compressed_ply_equals_what_gsplat_wrote(tmp_path, degree):
    """It leaves out Gaussians of alpha 1/255 and below, and sorts the others."""
    from gsplat import export_splats

    source = random_splats(600, degree)
    fields = fields_of(source)
    path = tmp_path / "a.ply"
    made = {
        "means": fields.centres, "scales": fields.log_scales, "quats": fields.quats,
        "opacities": fields.opacity_logits, "sh0": fields.dc[:, None],
        "shN": fields.rest.transpose(0, 2, 1),
    }  # fmt: skip
    tensors = {name: torch.from_numpy(values.copy()) for name, values in made.items()}
    export_splats(**tensors, format="ply_compressed", save_to=str(path))
    read = read_compressed_ply(path).table
    assert_near(read, matched(source, read), **STEPS)


def by_hand(*, chunks=1, rows=1, sh=1, coloured=True, degree=1, form="binary_little_endian"):
    """One Gaussian of alpha 51/255, at the end of x, the start of y and the middle of z."""
    colours = tuple(f"{end}_{c}" for end in ("min", "max") for c in "rgb") if coloured else ()
    names = [f"property float {name}" for name in RANGES + colours]
    packed = [f"property uint {name}" for name in COLUMNS]
    harmonics = [f"property uchar f_rest_{i}" for i in range((0, 9)[degree])]
    lines = [
        *("ply", f"format {form} 1.0", "comment made by hand", f"element chunk {chunks}", *names),
        *(f"element vertex {rows}", *packed, f"element sh {sh}", *harmonics, "end_header", ""),
    ]
    ranges = [-1, -2, -4, 3, 8, 2043, -9, -8, -7, -1, 0, 0]
    ranges += [0, 0, 0, 1, 2, 4] if coloured else []
    vertex = struct.pack(
        "<4I", 2047 << 21 | 1024, 1 << 30 | 1023 << 20 | 0 << 10 | 512, 2047 << 21, 0x00FFFF33
    )
    return "\n".join(lines).encode() + struct.pack(f"<{len(ranges)}f", *ranges) + vertex + bytes(
        [0, 255, 127, 128, 1, 2, 3, 4, 5]
    )  # fmt: skip


@pytest.mark.parametrize("coloured", [True, False])
def test_read_compressed_ply_reads_a_row_written_by_hand(tmp_path, coloured):
    path = tmp_path / "a.ply"
    path.write_bytes(by_hand(coloured=coloured))
    read = read_compressed_ply(path)
    assert read.comments == ("made by hand",)
    table = read.table
    np.testing.assert_allclose(table[["x", "y", "z"]].item(), (3, -2, 1020), rtol=1e-6)
    assert table[["scale_0", "scale_1", "scale_2"]].item() == (-1, -8, -7)
    np.testing.assert_allclose(table["opacity"], np.log(0.2 / 0.8), rtol=1e-6)
    shown = (0, 2, 4) if coloured else (0, 1, 1)
    for channel, value in enumerate(shown):
        np.testing.assert_allclose(table[f"f_dc_{channel}"], (value - 0.5) / SH_C0, rtol=1e-6)
    a, b, c = 0.5**0.5, -(0.5**0.5), (512 / 1023 - 0.5) * 2**0.5
    np.testing.assert_allclose(
        table[[f"rot_{i}" for i in range(4)]].item(), (a, 0, b, c), atol=1e-6
    )
    harmonics = [table[f"f_rest_{i}"].item() for i in range(4)]
    assert harmonics == [-4, 4, -1 / 64, 1 / 64]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not start with ply"),
        (b"plx", "not start with ply"),
        (b"ply\n" + bytes(70000), "no end_header"),
        (by_hand(form="ascii"), "columns"),
        (by_hand(rows=2**63), "rows announced"),
        (by_hand(rows=0), "0 Gaussians|chunks"),
        (by_hand(chunks=2**63), "rows announced"),
        (by_hand(chunks=0), "0 chunks"),
        (by_hand(sh=0), "0 rows of 9 harmonics"),
        (by_hand(sh=10**30), "rows announced"),
        (by_hand().replace(b"uint packed_scale", b"int packed_scale"), "column packed_scale"),
        (by_hand().replace(b"packed_scale", b"packed_color"), "more than once"),
        (by_hand().replace(b"element chunk", b"element trunk"), "no element chunk"),
        (by_hand().replace(b"float min_x", b"list uchar int x"), "no element chunk"),
        (by_hand().replace(b"float min_b", b"float min_q"), "column min_b"),
        (by_hand().replace(b"f_rest_3", b"f_rest_9"), "column f_rest_3"),
        (by_hand().replace(b"element vertex 1", b"element vertex -1"), "line of its header"),
    ],
)
def test_read_compressed_ply_refuses_what_lies(tmp_path, content, said):
    refused(read_compressed_ply, tmp_path / "a.ply", content, said)


def test_read_compressed_ply_refuses_files_that_are_cut_off(tmp_path):
    content = by_hand()
    for part in cuts(content):
        refused(read_compressed_ply, tmp_path / "a.ply", part)
    assert "refused" in survives(read_compressed_ply, tmp_path / "a.ply", content)
    rows = content.index(b"end_header\n") + 11
    assert survives(read_compressed_ply, tmp_path / "a.ply", content, start=rows) == {"read"}


def test_read_compressed_ply_keeps_rows_that_cannot_be_drawn(tmp_path):
    head, end, numbers = by_hand().partition(b"end_header\n")
    path = tmp_path / "a.ply"
    path.write_bytes(head + end + struct.pack("<2f", np.nan, np.inf) + numbers[8:])
    table = read_compressed_ply(path).table
    assert np.isnan(table["x"][0])
    assert table["y"][0] == np.inf or np.isnan(table["y"][0])
    assert np.isfinite(table["z"][0])
