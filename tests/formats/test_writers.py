"""Writers of splats: what splat-transform reads from their files is what was written."""

import gzip
import io
import json
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splat_uff.formats.packing import morton_order
from splat_uff.formats.records import SH_C0, needed_columns
from splat_uff.formats.write_compressed_ply import chunk_order, write_compressed_ply
from splat_uff.formats.write_sog import write_sog
from splat_uff.formats.write_splat import write_splat
from splat_uff.formats.write_spz import write_spz
from splat_uff.system.errors import InputError
from tests.programs import require_node, run_node

TO_PLY = Path(__file__).parents[1] / "node" / "to_ply.mjs"
SMALL = 1e-6
"""Relative error of float32 and of the logarithms that others take."""


def make_splats(count, degree, seed=0, centre="<f4", **columns):
    """Random Gaussians within the ranges of all formats; `columns` replaces values."""
    rng = np.random.default_rng(seed)
    names = needed_columns(3 * ((degree + 1) ** 2 - 1))
    kinds = [(name, centre if name in "xyz" else "<f4") for name in names]
    table = np.empty(count, [*kinds, ("label", "<i4")])
    table["label"] = 7
    for name in names:
        spread, middle = (0.3, 0) if "rest" in name else (1, -4) if "scale" in name else (1, 0)
        table[name] = columns.get(name, rng.normal(size=count) * spread + middle)
    return table


def extreme():
    """Gaussians beyond what some formats hold."""
    table = make_splats(300, 2)
    steps = np.linspace(-1, 1, 300)
    for name in table.dtype.names[:-1]:
        reach = {"o": 50, "f": 20, "s": 60, "r": 1e-3}.get(name[0], 900)
        table[name] = np.roll(steps, 7 * len(name) + ord(name[-1])) * reach
    return table


def far_away():
    """Gaussians a kilometre from the origin, with centres of 64 bits."""
    table = make_splats(300, 1, centre="<f8")
    table["x"] += 1000
    return table


CASES = {
    **{f"degree {degree}": lambda degree=degree: make_splats(700, degree) for degree in range(4)},
    "one": lambda: make_splats(1, 3),
    "equal": lambda: np.repeat(make_splats(1, 1), 300),
    "extreme": extreme,
    "far": far_away,
}
WRITERS = {
    "3.spz": write_spz,
    "4.spz": lambda path, table: write_spz(path, table, version=4),
    "splat": write_splat,
    "compressed.ply": write_compressed_ply,
    "sog": write_sog,
}


def rows_of(path):
    """Rows of a `.ply` of float columns."""
    header, _, body = path.read_bytes().partition(b"end_header\n")
    count = int(re.search(rb"element vertex (\d+)", header)[1])
    names = re.findall(r"property float (\w+)", header.decode())
    return np.frombuffer(body, [(name, "<f4") for name in names], count)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Each case in each format, and as splat-transform reads it."""
    require_node("@playcanvas/splat-transform")
    folder, paths = tmp_path_factory.mktemp("written"), {}
    for case, make in CASES.items():
        for ending, write in WRITERS.items():
            paths[case, ending] = folder / f"{case}.{ending}"
            write(paths[case, ending], make())
    run_node(TO_PLY, *paths.values())
    return {key: (path, rows_of(path.with_name(path.name + ".ply"))) for key, path in paths.items()}


def stacked(table, *names):
    return np.stack([table[name].astype(np.float64) for name in names], axis=1)


def alphas(table):
    return 1 / (1 + np.exp(-table["opacity"].astype(np.float64)))


def rest_of(table):
    names = [name for name in table.dtype.names if name.startswith("f_rest")]
    return stacked(table, *names) if names else np.zeros((len(table), 0))


def chunk_spans(values):
    """Difference between the greatest and least value of the 256 of each row."""
    starts = np.arange(0, len(values), 256)
    spans = np.maximum.reduceat(values, starts) - np.minimum.reduceat(values, starts)
    return spans[np.arange(len(values)) // 256]


def near(found, wanted, half_step):
    """Whether numbers differ by half a step at most, but for the last bits of float32."""
    slack = half_step + SMALL * (1 + np.abs(wanted))
    return (np.abs(found - wanted) <= slack).all()


def same_turns(found, wanted, half_step):
    """Whether rotations agree; the largest component follows from the others, with their errors."""
    a = stacked(found, "rot_0", "rot_1", "rot_2", "rot_3")
    b = stacked(wanted, "rot_0", "rot_1", "rot_2", "rot_3")
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    b *= np.where((a * b).sum(axis=1, keepdims=True) < 0, -1, 1)
    return np.abs(a - b).max() <= 4 * half_step


def read_back(written, case, ending, sort=None):
    path, found = written[case, ending]
    wanted = CASES[case]()
    if sort:
        wanted = wanted[sort(stacked(wanted, "x", "y", "z"))]
    assert len(found) == len(wanted)
    return path, found, wanted


@pytest.mark.parametrize("case", CASES)
def test_write_splat_rounds_as_the_format_does(written, case):
    _, found, wanted = read_back(written, case, "splat")
    for name in "xyz":
        assert (found[name] == wanted[name].astype(np.float32)).all()
    scales = stacked(wanted, "scale_0", "scale_1", "scale_2")
    assert near(stacked(found, "scale_0", "scale_1", "scale_2"), scales, 0)
    colours = np.clip(0.5 + SH_C0 * stacked(wanted, "f_dc_0", "f_dc_1", "f_dc_2"), 0, 1)
    dc = stacked(found, "f_dc_0", "f_dc_1", "f_dc_2")
    assert near(0.5 + SH_C0 * dc, colours, 0.5 / 255)
    assert near(alphas(found), alphas(wanted), 0.5 / 255)
    # Rounding, and splat-transform counts from 127.5 what the format's own viewer does from 128.
    assert same_turns(found, wanted, (0.5 + 0.5) / 128)


@pytest.mark.parametrize("case", CASES)
def test_write_compressed_ply_rounds_as_the_format_does(written, case):
    _, found, wanted = read_back(written, case, "compressed.ply", chunk_order)
    steps = np.array([2047, 1023, 2047])
    for names in (("x", "y", "z"), ("scale_0", "scale_1", "scale_2")):
        values = stacked(wanted, *names)
        assert near(stacked(found, *names), values, chunk_spans(values) / steps / 2)
    colours = 0.5 + SH_C0 * stacked(wanted, "f_dc_0", "f_dc_1", "f_dc_2")
    dc = stacked(found, "f_dc_0", "f_dc_1", "f_dc_2")
    assert near(0.5 + SH_C0 * dc, colours, chunk_spans(colours) / 255 / 2)
    assert near(alphas(found), alphas(wanted), 0.5 / 255)
    assert same_turns(found, wanted, np.sqrt(2) / 1023 / 2)
    assert near(rest_of(found), np.clip(rest_of(wanted), -4, 4), 1 / 32)


def test_chunk_order_makes_smaller_chunks_than_a_curve():
    points = np.random.default_rng(0).normal(size=(5000, 3))
    order = chunk_order(points)
    assert np.array_equal(np.sort(order), np.arange(5000))
    curve = chunk_spans(points[morton_order(points)]).prod(axis=1)
    assert chunk_spans(points[order]).prod(axis=1).mean() < 0.5 * curve.mean()


def test_write_compressed_ply_rounds_zeros_up_and_down(written):
    path = written["one", "compressed.ply"][0].with_name("zeros.compressed.ply")
    write_compressed_ply(path, make_splats(400, 1, **{f"f_rest_{i}": 0 for i in range(9)}))
    run_node(TO_PLY, path)
    rest = rest_of(rows_of(path.with_name(path.name + ".ply")))
    assert (np.abs(rest) == 1 / 64).all()
    assert np.abs(rest.mean(axis=0)).max() < 1e-9


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("case", CASES)
def test_write_spz_rounds_as_the_format_does(written, case, version):
    _, found, wanted = read_back(written, case, f"{version}.spz")
    centres = stacked(wanted, "x", "y", "z")
    bits = min(24, np.floor(23 - np.log2(np.abs(centres).max())))
    assert near(stacked(found, "x", "y", "z"), centres, 2**-bits / 2)
    scales = np.clip(stacked(wanted, "scale_0", "scale_1", "scale_2"), -10, 255 / 16 - 10)
    assert near(stacked(found, "scale_0", "scale_1", "scale_2"), scales, 1 / 32)
    dc = np.clip(stacked(wanted, "f_dc_0", "f_dc_1", "f_dc_2"), -0.5 / 0.15, 0.5 / 0.15)
    assert near(stacked(found, "f_dc_0", "f_dc_1", "f_dc_2"), dc, 0.5 / 255 / 0.15)
    assert near(alphas(found), alphas(wanted), 0.5 / 255)
    assert same_turns(found, wanted, np.sqrt(0.5) / 511 / 2)
    rest = np.clip(rest_of(wanted), -1, 1)  # At one end, or the other for those turned, 127/128.
    assert near(rest_of(found), rest, np.where(np.abs(rest) > 127 / 128, 1 / 128, 1 / 256))


@pytest.mark.parametrize("case", CASES)
def test_write_sog_rounds_as_the_format_does(written, case):
    path, found, wanted = read_back(written, case, "sog", morton_order)
    with zipfile.ZipFile(path) as archive:
        meta = json.loads(archive.read("meta.json"))
    centres = stacked(wanted, "x", "y", "z")
    logs, got = (np.sign(a) * np.log1p(np.abs(a)) for a in (centres, stacked(found, "x", "y", "z")))
    assert near(got, logs, (logs.max(axis=0) - logs.min(axis=0)) / 65535 / 2)
    for key, names in (("scales", "scale_{}"), ("sh0", "f_dc_{}")):
        values = stacked(wanted, *(names.format(i) for i in range(3)))
        book = np.array(meta[key]["codebook"])
        nearest = np.abs(values[:, :, None] - book).min(axis=2)
        assert near(stacked(found, *(names.format(i) for i in range(3))), values, nearest)
        # No finer than 256 even steps, if nothing is known.
        assert np.sqrt((nearest**2).mean()) <= np.ptp(values) / 255 / np.sqrt(12) + SMALL
    assert near(alphas(found), alphas(wanted), 0.5 / 255)
    assert same_turns(found, wanted, np.sqrt(2) / 255 / 2)
    rest, got = rest_of(wanted), rest_of(found)
    assert got.shape == rest.shape
    apart = np.sqrt(((got - rest) ** 2).sum() / max(((rest - rest.mean(axis=0)) ** 2).sum(), SMALL))
    assert apart < 0.5 if len(np.unique(rest, axis=0)) > 1 else near(got, rest, 0)


def identity(**columns):
    """One Gaussian at 1, 2, 3 without rotation, half opaque and grey."""
    values = {"x": 1, "y": 2, "z": 3, "rot_0": 2, **columns}
    zeros = dict.fromkeys(needed_columns(9), 0)
    return make_splats(1, 1, **(zeros | values))


def test_write_splat_has_the_bytes_of_the_format(tmp_path):
    write_splat(tmp_path / "a.splat", identity(f_dc_0=9, f_dc_1=-9, scale_1=np.log(2)))
    wanted = struct.pack("<6f8B", 1, 2, 3, 1, 2, 1, 255, 0, 128, 128, 255, 128, 128, 128)
    assert (tmp_path / "a.splat").read_bytes() == wanted


def test_write_compressed_ply_has_the_bytes_of_the_format(tmp_path):
    write_compressed_ply(tmp_path / "a.ply", identity(f_rest_4=-9), antialiased=True)
    header, _, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    assert b"\ncomment SplatRenderMode: mip\n" in header
    bounds = (1, 2, 3, 1, 2, 3, *[0] * 6, *[0.5] * 6)
    middle = 512 << 20 | 512 << 10 | 512
    rest = [128, 127, 128, 127, 0, 127, 128, 127, 128]  # Zeros lie between 127 and 128.
    assert body == struct.pack("<18f4I9B", *bounds, 0, middle, 0, 128, *rest)
    write_compressed_ply(tmp_path / "b.ply", identity())
    assert b"comment" not in (tmp_path / "b.ply").read_bytes()


def test_write_spz_has_the_bytes_of_the_format(tmp_path):
    table = identity(scale_0=-10, f_rest_0=0.5, f_rest_1=0.25, f_rest_2=0.25)
    write_spz(tmp_path / "a.spz", table, antialiased=True)
    content = gzip.decompress((tmp_path / "a.spz").read_bytes())
    assert content[:16] == struct.pack("<4sIIBBBB", b"NGSP", 3, 1, 1, 21, 1, 0)
    centre = b"".join((v << 21).to_bytes(3, "little", signed=True) for v in (1, -2, -3))
    turn = (3 << 30).to_bytes(4, "little")  # The last of x, y, z, w is largest.
    # Of the harmonics y, z and x, the first two change signs with the axes.
    rest = bytes([64, 128, 128, 96, 128, 128, 160, 128, 128])
    assert content[16:] == centre + bytes([128] * 4 + [0, 160, 160]) + turn + rest
    write_spz(tmp_path / "b.spz", table)
    assert gzip.decompress((tmp_path / "b.spz").read_bytes())[14] == 0
    write_spz(tmp_path / "c.spz", table, antialiased=True, version=4)
    header = (tmp_path / "c.spz").read_bytes()[:32]
    assert header == struct.pack("<4sIIBBBBI12x", b"NGSP", 4, 1, 1, 21, 1, 6, 32)


def test_write_sog_has_the_images_of_the_format(tmp_path):
    write_sog(tmp_path / "a.sog", identity(opacity=-99), antialiased=True)
    with zipfile.ZipFile(tmp_path / "a.sog") as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        meta = json.loads(archive.read("meta.json"))
        images = {
            name: np.array(Image.open(io.BytesIO(archive.read(name))).convert("RGBA"))
            for name in archive.namelist()[1:]
        }
    assert (meta["version"], meta["count"], meta["antialias"]) == (2, 1, True)
    assert meta["means"]["mins"] == meta["means"]["maxs"] == pytest.approx(np.log([2, 3, 4]))
    assert meta["scales"]["codebook"] == meta["sh0"]["codebook"] == [0.0] * 256
    assert (meta["shN"]["count"], meta["shN"]["bands"]) == (1, 1)
    assert images["quats.webp"].shape == (4, 4, 4)
    assert images["quats.webp"][0, 0].tolist() == [128, 128, 128, 252]
    assert images["sh0.webp"][0, 0].tolist() == [0, 0, 0, 0]
    assert images["shN_centroids.webp"].shape == (1, 192, 4)
    assert {path for part in meta.values() if isinstance(part, dict)
            for path in part.get("files", [])} == set(images)  # fmt: skip


def test_write_sog_keeps_colours_of_transparent_gaussians(tmp_path):
    write_sog(tmp_path / "a.sog", make_splats(64, 0, opacity=-99, f_dc_0=3, f_dc_1=2, f_dc_2=1))
    with zipfile.ZipFile(tmp_path / "a.sog") as archive:
        pixels = np.array(Image.open(io.BytesIO(archive.read("sh0.webp"))))
    assert (pixels == [2, 1, 0, 0]).all()


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_writers_write_the_same_bytes_again(tmp_path, write):
    for name in "ab":
        write(tmp_path / name, make_splats(500, 3))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize(
    ("table", "message"),
    [
        (make_splats(0, 0), "^0 Gaussians"),
        (make_splats(3, 0)[["x", "y", "z"]], "no column opacity"),
        (make_splats(3, 1)[needed_columns(6)], "6 f_rest columns; expected 0, 9, 24"),
        (make_splats(3, 0, scale_1=[0, -np.inf, 0]), "^scale_1 of row 1 is -inf"),
        (make_splats(3, 0, opacity=[0, 0, np.nan]), "^opacity of row 2 is nan"),
    ],
    ids=["empty", "column", "rest", "infinite", "nan"],
)
def test_writers_refuse_what_they_cannot_write(tmp_path, write, table, message):
    (tmp_path / "a").write_text("before")
    with pytest.raises(InputError, match=message):
        write(tmp_path / "a", table)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_writers_take_infinite_opacities_and_rotations_of_any_length(tmp_path, write):
    opaque = {"opacity": np.inf, "rot_0": 1e38, "rot_1": 0, "rot_2": 0, "rot_3": 1e38}
    finite = {"opacity": 99, "rot_0": 1e-30, "rot_1": 0, "rot_2": 0, "rot_3": 1e-30}
    write(tmp_path / "a", make_splats(9, 0, **opaque))
    write(tmp_path / "b", make_splats(9, 0, **finite))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_write_spz_refuses_centres_that_are_too_far(tmp_path):
    write_spz(tmp_path / "a.spz", make_splats(2, 0, x=4e6))
    with pytest.raises(InputError, match=r"up to 5e\+06 from the origin; spz holds up to 4.19"):
        write_spz(tmp_path / "b.spz", make_splats(2, 0, z=-5e6))


def test_writers_leave_out_harmonics_of_degree_4(tmp_path):
    table, short = make_splats(20, 4), make_splats(20, 3)
    for name in short.dtype.names:
        index = int(name[7:]) if "rest" in name else 0
        wide = f"f_rest_{index // 15 * 24 + index % 15}" if "rest" in name else name
        short[name] = table[wide]
    write_spz(tmp_path / "a", table)
    write_spz(tmp_path / "b", short)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
