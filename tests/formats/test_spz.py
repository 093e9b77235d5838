"""Niantic's `.spz`."""

import gzip
import json
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import zstandard

from splat_uff.formats.quantised import fields_of
from splat_uff.formats.spz import read_spz
from splat_uff.system.progress import console
from tests.formats.hostile import cuts, refused, survives
from tests.formats.reading import (
    ROUNDING,
    as_others_read,
    assert_near,
    assert_same,
    random_splats,
    write_3dgs,
)
from tests.programs import require_node, run_node, splat_transform

SCRIPT = Path(__file__).parents[1] / "node" / "spz.mjs"
NINE_BITS = 0.5**0.5 / 511
"""Step of a rotation's components in versions 3 and 4."""


def steps(*, quats, centres=2.0**-13, first=0.5 / 128, higher=0.5 / 128, degree=1):
    """Half steps of each field; the component that is left out gathers the errors of three."""
    rest = np.r_[np.full(3, first), np.full((degree + 1) ** 2 - 4, higher)] if degree else 0
    return {
        "centres": centres, "alphas": 0.5 / 255, "dc": 0.5 / 255 / 0.15, "log_scales": 0.5 / 16,
        "rest": rest, "quats": 3.1 * quats,
    }  # fmt: skip


def by_reference(folder, source, version, *, antialiased=False, axes="RDF"):
    """Path of an `.spz` that the reference implementation writes."""
    require_node("@adobe/spz")
    fields = fields_of(source)
    cloud = {
        "numPoints": len(source), "shDegree": round((fields.rest.shape[2] + 1) ** 0.5) - 1,
        "antialiased": antialiased, "positions": fields.centres, "scales": fields.log_scales,
        "rotations": fields.quats[:, [1, 2, 3, 0]], "alphas": fields.opacity_logits,
        "colors": fields.dc, "sh": fields.rest.transpose(0, 2, 1),
    }  # fmt: skip
    listed = {
        name: value.ravel().tolist() if isinstance(value, np.ndarray) else value
        for name, value in cloud.items()
    }
    given, path = folder / "given.json", folder / f"{version}.spz"
    given.write_text(json.dumps({"cloud": listed, "version": version, "axes": axes}))
    run_node(SCRIPT, "write", given, path)
    return path


def as_reference_reads(path):
    """Columns as the reference implementation decodes them, and its flag."""
    require_node("@adobe/spz")
    cloud = json.loads(run_node(SCRIPT, "read", path))
    count, number = len(cloud["alphas"]), (cloud["shDegree"] + 1) ** 2 - 1
    table = random_splats(count, cloud["shDegree"])
    fields = fields_of(table)
    fields.centres[:] = np.reshape(cloud["positions"], (-1, 3))
    fields.log_scales[:] = np.reshape(cloud["scales"], (-1, 3))
    fields.quats[:] = np.reshape(cloud["rotations"], (-1, 4))[:, [3, 0, 1, 2]]
    fields.opacity_logits[:] = cloud["alphas"]
    fields.dc[:] = np.reshape(cloud["colors"], (-1, 3))
    fields.rest[:] = np.reshape(cloud["sh"], (count, number, 3)).transpose(0, 2, 1)
    return table, cloud["antialiased"]


@pytest.mark.parametrize(("version", "degree"), [(2, 3), (3, 2), (4, 3), (4, 0)])
def test_read_spz_returns_what_the_reference_wrote(tmp_path, version, degree):
    source = random_splats(degree=degree, opaque=True)
    path = by_reference(tmp_path, source, version, antialiased=version != 3)
    read = read_spz(path)
    assert read.antialiased == (version != 3)
    if version == 2:  # Its component w is only as exact as it is large, and in sign.
        large = np.abs(source["rot_0"]) > 0.5
        near = steps(quats=1 / 255 / 0.5, degree=degree)
        assert_near(read.table[large], source[large], **near)
        return
    assert_near(read.table, source, **steps(quats=NINE_BITS / 2, degree=degree))


def test_read_spz_agrees_with_the_reference(tmp_path):
    source = random_splats(degree=3, opaque=True)
    for version in (1, 2, 4):
        path = by_reference(tmp_path, source, max(version, 2), antialiased=True)
        if version == 1:
            path.write_bytes(first_version(source))
        read = read_spz(path)
        theirs, antialiased = as_reference_reads(path)
        w_of_float32 = np.finfo("f4").eps ** 0.5  # The root of a difference of rounded numbers.
        assert_same(read.table, theirs, quats=w_of_float32 if version < 3 else ROUNDING)
        assert read.antialiased == antialiased == (version != 1)


def first_version(source):
    """An `.spz` of version 1, which was never released: centres are float16."""
    fields = fields_of(source)
    rng = np.random.default_rng(0)
    rest = rng.integers(0, 256, fields.rest.size, np.uint8)
    rows = rng.integers(0, 256, (len(source), 10), np.uint8)
    head = struct.pack("<4s2I4B", b"NGSP", 1, len(source), 3, 12, 0, 0)
    return gzip.compress(
        head + fields.centres.astype("<f2").tobytes() + rows.tobytes() + rest.tobytes()
    )


@pytest.mark.parametrize("version", [3, 4])
def test_read_spz_equals_the_ply_that_splat_transform_converted(tmp_path, version):
    """It keeps the order, 5 bits of harmonics of degree 1, and 4 of the others."""
    source = random_splats(degree=3)
    path = tmp_path / "a.spz"
    splat_transform(write_3dgs(tmp_path / "a.ply", source), "--spz-version", version, path)
    read = read_spz(path).table
    five, four = 4.5 / 128, 8.5 / 128
    near = steps(quats=NINE_BITS / 2, first=five, higher=four, degree=3)
    assert_near(read, source, **near)
    assert_same(read, as_others_read(path, tmp_path / "b.ply"))


def test_read_spz_returns_what_gsply_wrote(tmp_path):
    """It writes numbers as they are, without turning them into the format's own axes."""
    import gsply

    source = random_splats(degree=2)
    fields = fields_of(source)
    data = gsply.GSData.from_arrays(
        *(fields.centres, fields.log_scales, fields.quats, fields.opacity_logits, fields.dc),
        fields.rest.transpose(0, 2, 1).copy(),
        format="ply",
    )
    for version in (3, 4):
        path = tmp_path / f"{version}.spz"
        gsply.write_spz(path, data, version=version)
        read = read_spz(path).table
        signs = {"y": -1, "z": -1, "rot_2": -1, "rot_3": -1}
        odd = (-1, -1, 1, -1, 1, 1, -1, 1)  # Products of the signs of y, z, x, xy, yz, zz, xz, xx.
        signs |= {f"f_rest_{8 * c + k}": sign for c in range(3) for k, sign in enumerate(odd)}
        for name, sign in signs.items():
            read[name] *= sign
        assert_near(read, source, **steps(quats=NINE_BITS / 2, degree=2))


def number(value):
    """A fixed-point number of 24 bits."""
    return struct.pack("<i", value)[:3]


def by_hand(version=3, *, degree=1, bits=8, flags=0, count=1, extra=b""):
    """One Gaussian: centre (1, 2, -3) in RUB, log scales -10, -9 and 0, w largest."""
    head = struct.pack("<4s2I3B", b"NGSP", version, count, degree, bits, flags)
    sections = [
        b"".join(number(value << 8) for value in (1, 2, -3)),
        bytes([51]),
        bytes([0, 255, 51]),
        bytes([0, 16, 160]),
        struct.pack("<I", 3 << 30 | 511 << 20 | (512 | 255) << 10 | 0),
        bytes(range(128, 128 + 9)) + bytes(3 * ((degree + 1) ** 2 - 4)),
    ]
    if version < 4:
        return gzip.compress(head + b"\0" + b"".join(sections) + extra)
    packed = [zstandard.compress(section) for section in sections]
    listed = b"".join(
        struct.pack("<2Q", *map(len, pair)) for pair in zip(packed, sections, strict=True)
    )
    start = struct.pack("<BI12x", 6, 32 + len(extra))
    return head + start + extra + listed + b"".join(packed)


@pytest.mark.parametrize("version", [3, 4])
def test_read_spz_reads_a_row_written_by_hand(tmp_path, version):
    path = tmp_path / "a.spz"
    path.write_bytes(by_hand(version, flags=1))
    read = read_spz(path)
    assert read.antialiased
    table = read.table
    assert table[["x", "y", "z"]].item() == (1, -2, 3)
    assert table[["scale_0", "scale_1", "scale_2"]].item() == (-10, -9, 0)
    np.testing.assert_allclose(table["opacity"], np.log(0.2 / 0.8), rtol=1e-6)
    np.testing.assert_allclose(table["f_dc_0"], -0.5 / 0.15, rtol=1e-6)
    np.testing.assert_allclose(table["f_dc_1"], 0.5 / 0.15, rtol=1e-6)
    side = np.array([511, -255, 0]) / 511 / 2**0.5
    turned = [np.sqrt(1 - side @ side), side[0], -side[1], -side[2]]
    np.testing.assert_allclose(table[[f"rot_{i}" for i in range(4)]].item(), turned, atol=1e-6)
    for channel in range(3):  # Bytes are coefficient by coefficient; y and z change sign.
        for k, sign in enumerate((-1, -1, 1)):
            value = table[f"f_rest_{3 * channel + k}"].item()
            assert value == sign * (3 * k + channel) / 128


def axes(code):
    """A record that names the axes, behind one that is not known."""
    return struct.pack("<2I5s2II", 0x12340001, 5, b"hello", 0xADBE0003, 4, code)


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize(
    ("code", "centre"),
    [(0, (1, -2, 3)), (4, (1, -2, 3)), (6, (1, 2, -3)), (1, (-1, 2, 3)), (7, (-1, -2, -3))],
)
def test_read_spz_follows_the_axes_that_a_file_names(tmp_path, version, code, centre):
    path = tmp_path / "a.spz"
    path.write_bytes(by_hand(version, flags=2, extra=axes(code)))
    assert read_spz(path).table[["x", "y", "z"]].item() == centre


def test_read_spz_follows_axes_as_the_reference_does(tmp_path):
    path = tmp_path / "a.spz"
    for version, code in ((3, 7), (4, 8)):
        path.write_bytes(by_hand(version, degree=3, flags=2, extra=axes(code)))
        assert_same(read_spz(path).table, as_reference_reads(path)[0])


def test_read_spz_keeps_three_degrees_of_four(tmp_path, capsys):
    path = tmp_path / "a.spz"
    path.write_bytes(by_hand(4, degree=4))
    console.quiet = False
    table = read_spz(path).table
    assert len(fields_of(table).rest[0, 0]) == 15
    assert "degree 4; those up to 3 are used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"NGSX" + bytes(40), "neither as gzip nor as NGSP"),
        (gzip.compress(b"hello"), "no NGSP header"),
        (by_hand(5), "without gzip|version 5"),
        (gzip.compress(struct.pack("<4s2I4B", b"NGSP", 4, 1, 0, 8, 0, 0)), "in a gzip stream"),
        (by_hand(3, count=0), "0 Gaussians"),
        (by_hand(3, count=2), "cut off"),
        (by_hand(3, count=2**32 - 1), "4,294,967,295 Gaussians"),
        (by_hand(3, count=50_000_000), "announced in"),
        (by_hand(4, count=2), "its header explains"),
        (by_hand(4, count=50_000_000), "announced in"),
        (by_hand(3, degree=5), "degree 5"),
        (by_hand(3, bits=25), "25 fractional bits"),
        (by_hand(4, flags=2, extra=axes(9)), "axes of number 9"),
        (by_hand(3, extra=bytes(2 << 20)), "more than the"),
    ],
)
def test_read_spz_refuses_what_lies(tmp_path, content, said):
    refused(read_spz, tmp_path / "a.spz", content, said)


def test_read_spz_takes_no_memory_for_bombs(tmp_path):
    zeros = zlib.compressobj(9, wbits=31)
    bomb = zeros.compress(struct.pack("<4s2I4B", b"NGSP", 3, 1, 0, 8, 0, 0))
    bomb += b"".join(zeros.compress(bytes(1 << 20)) for _ in range(64)) + zeros.flush()
    refused(read_spz, tmp_path / "a.spz", bomb, "more than the")
    content = bytearray(by_hand(4))
    stream = zstandard.compress(bytes(1 << 26))
    struct.pack_into("<Q", content, 32, len(stream))
    content = content[:128] + stream
    refused(read_spz, tmp_path / "a.spz", bytes(content), "does not unpack to the 9 bytes")


def test_read_spz_names_the_package_that_version_4_needs(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    refused(read_spz, tmp_path / "a.spz", by_hand(4), "pip install zstandard")
    (tmp_path / "a.spz").write_bytes(by_hand(3))
    assert len(read_spz(tmp_path / "a.spz").table) == 1


@pytest.mark.parametrize("version", [3, 4])
def test_read_spz_refuses_files_that_are_cut_off(tmp_path, version):
    content = by_hand(version)
    for part in cuts(content):
        refused(read_spz, tmp_path / "a.spz", part)
    assert "refused" in survives(read_spz, tmp_path / "a.spz", content)
