"""The `.ksplat` of GaussianSplats3D."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from splat_uff.formats.ksplat import HEADER, SECTION, read_ksplat
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
from tests.programs import require_node, run_node

SCRIPT = Path(__file__).parents[1] / "node" / "ksplat.mjs"
BLOCK = 0.5
"""Side of a bucket, in world units."""
CASES = [(0, 1), (1, 2), (2, 1), (2, 0)]
"""Levels and degrees that are tried."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Function that makes a `.ksplat` with the package of the format, and returns its centres."""
    require_node("@mkkellogg/gaussian-splats-3d")
    folder, made = tmp_path_factory.mktemp("ksplat"), {}

    def write(level, degree, sections=1):
        key = (level, degree, sections)
        if key not in made:
            source = random_splats(degree=degree, opaque=True, seed=level)
            path = folder / f"{level}-{degree}-{sections}.ksplat"
            ply = write_3dgs(path.with_suffix(".ply"), source)
            shown = run_node(SCRIPT, ply, path, level, degree, BLOCK, 8, sections)
            made[key] = source, path, np.array(json.loads(shown))
        return made[key]

    return write


@pytest.mark.parametrize(("level", "degree"), CASES)
def test_read_ksplat_returns_what_the_package_wrote(written, level, degree):
    """It rounds colours, opacities and harmonics of 8 bits down, so by up to a whole step."""
    source, path, centres = written(level, degree, 3)
    read = read_ksplat(path).table
    np.testing.assert_allclose(fields_of(read).centres, centres, rtol=2e-6, atol=2e-7)
    step = 2**-10  # Relative step of float16, whose last bits three.js cuts off.
    fields = fields_of(source)
    harmonics = fields.rest
    rest = (0, step, np.ptp(harmonics) / 255 if harmonics.size else 0)[level]
    assert_near(
        read, matched(source, read), rest=rest, alphas=1 / 255, dc=1 / 255 / SH_C0,
        centres=BLOCK / 2 / 32767 * bool(level), quats=step * bool(level),
        log_scales=step * bool(level) * (1 + step),
    )  # fmt: skip


@pytest.mark.parametrize(("level", "degree"), CASES)
def test_read_ksplat_agrees_with_splat_transform(written, tmp_path, level, degree):
    _, path, _ = written(level, degree, 3)
    assert_same(read_ksplat(path).table, as_others_read(path, tmp_path / "a.ply"))


def row(level, rest):
    """One Gaussian by hand: centre 8 steps right of the bucket's, scales 1, 0.5 and 0."""
    half = np.array([1, 0.5, 0, 0, 1, 0, 0], "<f2").tobytes()
    colour = bytes([255, 0, 51, 102])
    if level == 0:
        return struct.pack("<10f", 1, 2, 3, 1, 0.5, 0, 0, 1, 0, 0) + colour + rest
    return struct.pack("<3H", 32767 + 8, 32767, 32767 - 8) + half + colour + rest


def by_hand(level=1, rest=b"", degree=0, *, count=1, header=(), section=()):
    """A `.ksplat` of one section, with some numbers (place, type, value) changed."""
    head = bytearray(HEADER + SECTION)
    struct.pack_into("<BB2xIIIIHxx3f2f", head, 0, 0, 1, 1, 1, 1, count, level, 0, 0, 0, 0, 0)
    buckets = b""
    if level:
        buckets = struct.pack("<I3f", 1, 10, 20, 30)
        numbers = (1, 1, 256, 1, 65534.0, 12, 32767, 0, 0, 1, degree)
        struct.pack_into("<4IfHxxI4xI2IH".replace("4xI2I", "I2I"), head, HEADER, *numbers)
    else:
        struct.pack_into("<II", head, HEADER, 1, 1)
        struct.pack_into("<H", head, HEADER + 40, degree)
    for place, kind, value in (*header, *((HEADER + at, *other) for at, *other in section)):
        struct.pack_into(kind, head, place, value)
    return bytes(head) + buckets + row(level, rest)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_read_ksplat_reads_a_row_written_by_hand(tmp_path, level):
    path = tmp_path / "a.ksplat"
    rest = {0: "<f4", 1: "<f2", 2: "u1"}[level]
    values = np.array([0, 51, 255, 102, 102, 102, 204, 204, 204])
    coded = values if level == 2 else values / 85 - 1.5
    path.write_bytes(by_hand(level, coded.astype(rest).tobytes(), 1))
    table = read_ksplat(path).table
    expected = (18, 20, 22) if level else (1, 2, 3)
    assert table[["x", "y", "z"]].item() == expected
    assert table[["scale_0", "scale_2"]].item() == (0, -np.inf)
    np.testing.assert_allclose(table["scale_1"], np.log(0.5), rtol=1e-6)
    assert table[[f"rot_{i}" for i in range(4)]].item() == (0, 1, 0, 0)
    np.testing.assert_allclose(table["f_dc_0"], 0.5 / SH_C0, rtol=1e-6)
    np.testing.assert_allclose(table["opacity"], np.log(0.4 / 0.6), rtol=1e-6)
    harmonics = [table[f"f_rest_{i}"].item() for i in range(9)]
    np.testing.assert_allclose(harmonics, values / 85 - 1.5, atol=1e-3 if level == 1 else 1e-6)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"header": [(1, "B", 0)]}, "version 0.0"),
        ({"header": [(0, "B", 1)]}, "version 1.1"),
        ({"header": [(20, "<H", 3)]}, "compression level 3"),
        ({"header": [(4, "<I", 2**32 - 1)]}, "sections announced"),
        ({"header": [(36, "<f", np.nan)]}, "no finite range"),
        ({"count": 2**32 - 1}, "4,294,967,295 Gaussians"),
        ({"count": 0}, "0 Gaussians"),
        ({"count": 2}, "1 Gaussians in its sections, 2 announced"),
        ({"section": [(0, "<I", 0)]}, "no section with Gaussians"),
        ({"section": [(0, "<I", 2)]}, "overfull"),
        ({"section": [(4, "<I", 2**32 - 1)]}, "behind the file"),
        ({"section": [(12, "<I", 2**32 - 1)]}, "behind the file"),
        ({"section": [(36, "<I", 2**32 - 1)]}, "behind the file"),
        ({"section": [(40, "<H", 3)]}, "degree 3"),
        ({"section": [(20, "<H", 0)]}, "contradict each other"),
        ({"section": [(16, "<f", np.inf)]}, "no finite size"),
        ({"section": [(32, "<I", 1)]}, "contradict each other"),
    ],
)
def test_read_ksplat_refuses_counts_that_lie(tmp_path, changed, said):
    refused(read_ksplat, tmp_path / "a.ksplat", by_hand(**changed), said)


def test_read_ksplat_refuses_buckets_that_are_too_small(tmp_path):
    content = bytearray(by_hand())
    struct.pack_into("<I", content, HEADER + SECTION, 0)
    refused(read_ksplat, tmp_path / "a.ksplat", bytes(content), "buckets of 0 Gaussians")


def test_read_ksplat_ignores_buckets_of_level_0(tmp_path):
    path = tmp_path / "a.ksplat"
    path.write_bytes(by_hand(0, section=[(12, "<I", 2**31)]))
    assert read_ksplat(path).table[["x", "y", "z"]].item() == (1, 2, 3)


def test_read_ksplat_keeps_rows_that_cannot_be_drawn(tmp_path):
    content = bytearray(by_hand(section=[(16, "<f", 3e38)]))
    struct.pack_into("<2f", content, HEADER + SECTION + 4, np.inf, np.nan)
    path = tmp_path / "a.ksplat"
    path.write_bytes(content)
    table = read_ksplat(path).table
    assert table["x"][0] == np.inf
    assert np.isnan(table["y"][0])


def test_read_ksplat_refuses_files_that_are_cut_off(written, tmp_path):
    content = written(1, 1, 3)[1].read_bytes()
    for part in cuts(content):
        refused(read_ksplat, tmp_path / "a.ksplat", part)


def test_read_ksplat_survives_changed_headers(written, tmp_path):
    content = written(2, 1, 3)[1].read_bytes()
    assert "refused" in survives(read_ksplat, tmp_path / "a.ksplat", content, within=44)
    survives(read_ksplat, tmp_path / "a.ksplat", content, start=HEADER, within=44)
