"""PLY files: exact there and back, and one line of answer to anything malformed."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from splat_uff.formats.ply import read_elements
from splat_uff.gaussians.ply import load_ply, save_ply
from splat_uff.render import Gaussians
from splat_uff.system.errors import InputError
from tests.formats.splats import write_ply

COLUMNS = [
    *("x", "y", "z", "opacity", "f_dc_0", "f_dc_1", "f_dc_2"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
]
ROW = np.ones(len(COLUMNS), "<f4").tobytes()


def random_gaussians(degree, count=17):
    rng = torch.Generator().manual_seed(degree)
    return Gaussians(
        means=torch.randn(count, 3, generator=rng),
        quats=torch.randn(count, 4, generator=rng),
        log_scales=torch.randn(count, 3, generator=rng) * 20,
        opacity_logits=torch.randn(count, generator=rng),
        sh0=torch.randn(count, 1, 3, generator=rng),
        shN=torch.randn(count, (degree + 1) ** 2 - 1, 3, generator=rng),
    )


def header(count, *, columns=COLUMNS, style="binary_little_endian", kind="float", more=""):
    properties = "".join(f"property {kind} {name}\n" for name in columns)
    start = f"ply\nformat {style} 1.0\nelement vertex {count}\n"
    return (start + properties + more + "end_header\n").encode()


def with_rest(count):
    return header(1, columns=[*COLUMNS, *(f"f_rest_{i}" for i in range(count))])


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_save_ply_and_load_ply_are_inverse_to_the_bit(degree, tmp_path):
    gaussians = random_gaussians(degree)
    save_ply(tmp_path / "splats.ply", gaussians)
    loaded = load_ply(tmp_path / "splats.ply")
    assert loaded.sh_degree == degree
    for name, tensor in gaussians.tensors().items():
        assert torch.equal(getattr(loaded, name), tensor)


def test_save_ply_writes_the_columns_of_3dgs(tmp_path):
    gaussians = random_gaussians(1)
    save_ply(tmp_path / "splats.ply", gaussians)
    table = read_elements(tmp_path / "splats.ply")["vertex"]
    expected = [
        *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"),
        *(f"f_rest_{i}" for i in range(9)),
        *("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
    ]
    assert list(table.dtype.names) == expected
    # Channel by channel: red has the first three columns.
    for i in range(9):
        assert (table[f"f_rest_{i}"] == gaussians.shN[:, i % 3, i // 3].numpy()).all()


def test_save_ply_replaces_the_file_it_was_loaded_from(tmp_path):
    path = tmp_path / "splats.ply"
    save_ply(path, random_gaussians(1))
    loaded = load_ply(path)
    save_ply(path, loaded.subset(torch.arange(3)))
    assert len(load_ply(path)) == 3
    assert torch.equal(loaded.means, random_gaussians(1).means)


@pytest.mark.parametrize(
    "encoded",
    [
        header(1) + ROW,
        header(1, style="binary_big_endian") + np.ones(14, ">f4").tobytes(),
        header(1, style="ascii") + b"1 " * 14 + b"\n",
        header(1, kind="double") + np.ones(14, "<f8").tobytes(),
        header(1, columns=[*COLUMNS, "segment"]) + ROW + ROW[:4],
        header(1, more="element face 0\nproperty list uchar int vertex_indices\n") + ROW,
    ],
)
def test_load_ply_reads_what_others_write(encoded, tmp_path):
    path = tmp_path / "splats.ply"
    path.write_bytes(encoded)
    assert all((tensor == 1).all() for tensor in load_ply(path).tensors().values())


MALFORMED = {
    "empty": (b"", "is empty"),
    "of another kind": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a 3DGS .ply"),
    "cut off in its header": (header(1)[:70], "not a 3DGS .ply"),
    "cut off in its rows": (header(3) + ROW, "not a 3DGS .ply"),
    "of few rows, as text": (header(2, style="ascii") + b"1 " * 14 + b"\n", "not a 3DGS .ply"),
    "of words": (header(1, style="ascii") + b"a " * 14 + b"\n", "not a 3DGS .ply"),
    "of no Gaussians": (header(0), "has 0 Gaussians"),
    "of fewer than none": (header(-1) + ROW, "not a 3DGS .ply"),
    "without a column": (header(1, columns=COLUMNS[1:]) + ROW, "not a 3DGS .ply .*column x"),
    "with a column twice": (header(1, columns=["x", *COLUMNS]) + ROW + ROW, "not a 3DGS .ply"),
    "without vertices": (header(1).replace(b"vertex", b"corner") + ROW, "not a 3DGS .ply"),
    "with 8 of the higher columns": (with_rest(8) + 9 * ROW, "8 f_rest columns"),
    "of degree 5": (with_rest(105) + 9 * ROW, "105 f_rest columns"),
    "with a list for a column": (
        header(1).replace(b"float x", b"list uchar float x") + b"\x01" + ROW,
        "not a 3DGS .ply",
    ),
    "with NaN": (header(1) + ROW[:-4] + np.float32(np.nan).tobytes(), "1 with NaN"),
    "too large for float32": (
        header(1, kind="double") + np.full(14, 1e300).tobytes(),
        "1 with infinite numbers",
    ),
    "without rotations": (header(1) + ROW[:-16] + bytes(16), "rotations of length 0"),
    "that never ends its header": (b"ply\ncomment " + b"x" * 200_000, "no end_header"),
}


@pytest.mark.parametrize("kind", MALFORMED)
def test_load_ply_answers_a_malformed_file_with_one_line(kind, tmp_path):
    encoded, message = MALFORMED[kind]
    path = tmp_path / "splats.ply"
    path.write_bytes(encoded)
    with pytest.raises(InputError, match=message) as caught:
        load_ply(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_load_ply_answers_no_file_with_one_line(tmp_path):
    with pytest.raises(InputError, match="no file"):
        load_ply(tmp_path / "missing.ply")


@pytest.mark.parametrize(
    "encoded",
    [
        header(10**9) + ROW,
        header(10**9, style="ascii") + b"1 " * 14,
        header(49_000_000, style="ascii") + b"1 " * 14,
        header(1, more="element face 999999999\nproperty list uchar int vertex_indices\n") + ROW,
        header(10**9).replace(b"float x", b"list uchar float x") + ROW,
    ],
)
def test_load_ply_refuses_rows_the_file_cannot_hold_before_it_takes_memory(encoded, tmp_path):
    path = tmp_path / "splats.ply"
    path.write_bytes(encoded)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="rows announced in"):
            load_ply(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_load_ply_reads_the_table_wherever_it_stands(tmp_path):
    table = np.ones(2, [(name, "<f4") for name in COLUMNS])
    path = write_ply(tmp_path / "splats.ply", table)
    start, vertices, rows = path.read_bytes().partition(b"element vertex")
    start += b"element face 2\nproperty list uchar int vertex_indices\nproperty uchar mark\n"
    header, end, rows = rows.partition(b"end_header\n")
    faces = bytes([2, *bytes(8), 7]) + bytes([0, 7])
    path.write_bytes(start + vertices + header + end + faces + rows)
    assert len(load_ply(path)) == 2


def test_save_ply_keeps_the_size_that_gaussians_were_fitted_at(tmp_path):
    path = tmp_path / "splats.ply"
    save_ply(path, replace(random_gaussians(3), fitted_focal=277.125))
    assert load_ply(path).fitted_focal == 277.125
    save_ply(path, random_gaussians(3))
    assert load_ply(path).fitted_focal == 0


@pytest.mark.parametrize("stated", ["1e999", "0", "nan", "-3", "e", "7e8", "1 2", ""])
def test_load_ply_takes_no_odd_size_for_one(stated, tmp_path):
    path = tmp_path / "splats.ply"
    save_ply(path, replace(random_gaussians(3), fitted_focal=277.125))
    path.write_bytes(path.read_bytes().replace(b"277.125", stated.encode()))
    assert load_ply(path).fitted_focal == 0
