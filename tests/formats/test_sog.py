"""PlayCanvas' SOG."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from splat_uff.formats.quantised import fields_of
from splat_uff.formats.sog import read_sog
from tests.formats.hostile import cuts, refused, survives
from tests.formats.reading import (
    as_others_read,
    assert_same,
    differences,
    matched,
    random_splats,
    write_3dgs,
)
from tests.programs import splat_transform


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Splats, and the `.sog` and the folder that splat-transform makes of them."""
    folder = tmp_path_factory.mktemp("sog")
    source = random_splats(400, 2, opaque=True)
    ply = write_3dgs(folder / "a.ply", source)
    splat_transform(ply, folder / "a.sog")
    with zipfile.ZipFile(folder / "a.sog") as archive:
        archive.extractall(folder / "unpacked")
    return source, folder / "a.sog", folder / "unpacked"


def test_read_sog_equals_what_splat_transform_wrote(written, tmp_path):
    source, path, _ = written
    read = read_sog(path).table
    assert_same(read, as_others_read(path, tmp_path / "b.ply"))
    source = matched(source, read)
    logs = np.log1p(np.abs(fields_of(source).centres))
    step = np.ptp(np.sign(fields_of(source).centres) * logs) / 65535  # It rounds down.
    far = differences(fields_of(read), fields_of(source))
    assert (far["centres"] <= step * 1.01 * np.exp(logs) + 2e-7).all()
    assert far["alphas"].max() <= 1 / 255 * 1.001  # It rounds down here, too.
    assert far["quats"].max() <= 3.1 * 2**0.5 / 255 / 2
    for name, spread in (("dc", 3), ("log_scales", 5)):  # Of 256 numbers, fitted to the data.
        assert far[name].mean() < spread / 256
    assert far["rest"].mean() < 0.5  # Entries of a palette; chance gives 0.6.


def test_read_sog_reads_a_folder_and_its_meta(written):
    _, path, folder = written
    packed = read_sog(path).table
    for place in (folder, folder / "meta.json"):
        assert (read_sog(place).table == packed).all()


def webp(pixels) -> bytes:
    """Pixels [H, W, 4] as a lossless WebP."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, "WEBP", lossless=True, exact=True)
    return file.getvalue()


def image(*rows, size=(4, 4)):
    """Image whose first pixels are given."""
    pixels = np.zeros((size[0] * size[1], 4), np.uint8)
    pixels[:, 3] = 255
    pixels[: len(rows)] = np.reshape(rows, (-1, 4))
    return webp(pixels.reshape(*size, 4))


def by_hand(kind=2, **changes):
    """Members of a SOG of 3 Gaussians, some of the meta's entries changed."""
    ramp = (np.arange(256) / 64 - 2).tolist()
    palette = np.zeros((1, 192, 4), np.uint8)
    palette[0, :, 3] = 255
    palette[0, 3:6, :3] = [[64, 128, 192], [0, 255, 32], [96, 160, 224]]  # Of label 1.
    files = {
        "l.webp": image([0, 255, 0, 255], [255, 255, 0, 255], [0, 0, 128, 255]),
        "u.webp": image([0, 255, 0, 255], [255, 255, 0, 255], [0, 0, 128, 255]),
        "q.webp": image([255, 0, 51, 252], [51, 255, 0, 254], [1, 2, 3, 9]),
        "s.webp": image([128, 192, 0, 255], [64, 64, 64, 255], [255, 0, 1, 255]),
        "c.webp": image([128, 192, 0, 51], [64, 64, 64, 0], [255, 0, 1, 255]),
        "p.webp": webp(palette),
        "i.webp": image([1, 0, 0, 255], [0, 0, 0, 255], [1, 0, 0, 255]),
    }
    means = {"files": ["l.webp", "u.webp"], "mins": [-1, -2, 0], "maxs": [1, 2, 3]}
    meta = {
        "version": 2, "count": 3, "antialias": True, "means": means,
        "scales": {"files": ["s.webp"], "codebook": ramp}, "quats": {"files": ["q.webp"]},
        "sh0": {"files": ["c.webp"], "codebook": ramp},
        "shN": {"files": ["p.webp", "i.webp"], "codebook": ramp, "count": 2, "bands": 1},
    }  # fmt: skip
    if kind == 1:
        meta = {
            "means": means | {"shape": [3, 3], "dtype": "float32"},
            "scales": {"files": ["s.webp"], "mins": [-2, -4, -8], "maxs": [2, 4, 8]},
            "quats": {"files": ["q.webp"], "encoding": "quaternion_packed"},
            "sh0": {"files": ["c.webp"], "mins": [-1, -1, -1, -5], "maxs": [1, 2, 3, 5]},
            "shN": {"files": ["p.webp", "i.webp"], "mins": -2.0, "maxs": 2.0},
        }
    for name, value in changes.items():
        if name in files or isinstance(value, bytes):
            files[name] = value
            continue
        at = meta
        *parents, last = name.split("__")
        for parent in parents:
            at = at[parent]
        if value is None:
            del at[last]
        else:
            at[last] = value
    return {"meta.json": json.dumps(meta).encode()} | files


def zipped(files, method=zipfile.ZIP_STORED) -> bytes:
    """Members as a zip."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.mark.parametrize("version", [1, 2])
def test_read_sog_reads_numbers_written_by_hand(tmp_path, version):
    path = tmp_path / "a.sog"
    path.write_bytes(zipped(by_hand(version), zipfile.ZIP_DEFLATED))
    read = read_sog(path)
    assert read.antialiased == (version == 2)
    fields = fields_of(read.table)
    np.testing.assert_allclose(fields.centres[0], [1 - np.e, np.exp(2) - 1, 0], rtol=1e-6)
    np.testing.assert_allclose(fields.centres[1, 0], np.e - 1, rtol=1e-6)
    np.testing.assert_allclose(fields.centres[2, 2], np.exp(3 * 32896 / 65535) - 1, rtol=1e-6)
    a, b, c = 0.5**0.5, -(0.5**0.5), -0.6 * 0.5**0.5
    np.testing.assert_allclose(fields.quats[0], [0, a, b, c], atol=1e-6)
    np.testing.assert_allclose(fields.quats[1], [c, a, 0, b], atol=1e-6)
    assert fields.quats[2].tolist() == [1, 0, 0, 0]
    if version == 2:
        assert fields.log_scales[0].tolist() == fields.dc[0].tolist() == [0, 1, -2]
        np.testing.assert_allclose(fields.opacity_logits[0], np.log(0.2 / 0.8), rtol=1e-6)
        assert fields.rest[0].tolist() == [[-1, -2, -0.5], [0, 2 - 1 / 64, 0.5], [1, -1.5, 1.5]]
    else:
        shares = np.array([128, 192, 0]) / 255
        expected = [-2, -4, -8] + shares * [4, 8, 16]
        np.testing.assert_allclose(fields.log_scales[0], expected, rtol=1e-6)
        np.testing.assert_allclose(fields.dc[0], -1 + shares * [2, 3, 4], rtol=1e-5)
        np.testing.assert_allclose(fields.opacity_logits, [-3, -5, 5], rtol=1e-6)
        np.testing.assert_allclose(fields.rest[0, 0], np.array([64, 0, 96]) / 63.75 - 2, rtol=1e-6)
    assert (fields.rest[2] == fields.rest[0]).all()
    assert_same(read.table, as_others_read(path, tmp_path / "b.ply"))


def test_read_sog_reads_splats_without_harmonics(tmp_path):
    path = tmp_path / "a.sog"
    path.write_bytes(zipped(by_hand(shN=None)))
    assert fields_of(read_sog(path).table).rest.size == 0


HUGE = 10**9


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 3}, "version 3"),
        ({"version": "2"}, "meta.json"),
        ({"count": 0}, "0 Gaussians"),
        ({"count": HUGE}, "1,000,000,000 Gaussians"),
        ({"count": 50_000_000}, "announced in|pixels"),
        ({"count": 17}, "4 x 4 pixels"),
        ({"means": None}, "means"),
        ({"means__mins": [0, 0]}, "mins"),
        ({"means__mins": [0, 0, 1e300]}, "beyond float32"),
        ({"means__mins": [0, 0, float("nan")]}, "meta.json"),
        ({"means__files": ["l.webp"]}, "files"),
        ({"means__files": ["l.webp", "../u.webp"]}, "elsewhere"),
        ({"means__files": ["l.webp", "/etc/passwd"]}, "elsewhere"),
        ({"means__files": ["l.webp", "a\\u.webp"]}, "elsewhere"),
        ({"means__files": ["l.webp", ".."]}, "elsewhere"),
        ({"means__files": ["l.webp", ""]}, "elsewhere"),
        ({"means__files": ["l.webp", "x.webp"]}, "no file x.webp"),
        ({"scales__codebook": [0.0] * 255}, "code above the 255"),
        ({"scales__codebook": []}, "codebook"),
        ({"sh0__codebook": [0.0] * 257}, "codebook"),
        ({"shN__count": 1}, "label above the 1 "),
        ({"shN__count": 65}, "palette of 65"),
        ({"shN__bands": 2}, "192 pixels wide"),
        ({"shN__bands": 4}, "bands"),
        ({"q.webp": b"RIFF" + bytes(40)}, "no WebP"),
        ({"q.webp": image(size=(400, 400))}, "400 x 400 pixels"),
        ({"q.webp": bytes(3 << 20)}, "at most"),
        ({"p.webp": image(size=(1, 100))}, "100 pixels wide"),
        ({"meta.json": b"{"}, "meta.json"),
        ({"meta.json": b"[" * 10**6}, "meta.json"),
        ({"meta.json": b"\xff\xfe"}, "meta.json"),
        ({"meta.json": bytes((1 << 24) + 1)}, "at most"),
    ],
)
def test_read_sog_refuses_what_lies(tmp_path, changes, said):
    refused(read_sog, tmp_path / "a.sog", zipped(by_hand(**changes)), said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"means__shape": []}, "0 Gaussians"),
        ({"means__shape": [HUGE, 3]}, "1,000,000,000 Gaussians"),
        ({"sh0__mins": [0, 0, 0]}, "mins"),
        ({"shN__maxs": 1e39}, "beyond float32"),
        ({"p.webp": image(size=(1, 128))}, "128 pixels wide"),
    ],
)
def test_read_sog_refuses_what_lies_in_version_1(tmp_path, changes, said):
    refused(read_sog, tmp_path / "a.sog", zipped(by_hand(1, **changes)), said)


def test_read_sog_takes_no_memory_for_images_that_say_they_are_large(tmp_path):
    """16383 x 16383 pixels, in the header of each kind of WebP."""
    huge = bytearray(image())
    huge[21:25] = (16382 | 16382 << 14).to_bytes(4, "little")
    extended = b"RIFF" + bytes(4) + b"WEBPVP8X" + (10).to_bytes(4, "little") + bytes(4)
    extended += (16382).to_bytes(3, "little") * 2 + bytes(huge[12:])
    for content in (bytes(huge), extended):
        files = by_hand(**{"q.webp": content})
        refused(read_sog, tmp_path / "a.sog", zipped(files), "16383 x 16383 pixels")


def test_read_sog_takes_no_memory_for_members_that_unpack_to_much(tmp_path):
    files = by_hand(**{"q.webp": bytes(1 << 26)})
    refused(read_sog, tmp_path / "a.sog", zipped(files, zipfile.ZIP_DEFLATED), "at most")


def test_read_sog_refuses_names_that_lead_out_of_its_folder(tmp_path):
    for name, content in by_hand(means__files=["l.webp", "../u.webp"]).items():
        place = tmp_path / "scene" / name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(content)
    (tmp_path / "u.webp").write_bytes((tmp_path / "scene" / "u.webp").read_bytes())
    with pytest.raises(ValueError, match="elsewhere"):
        read_sog(tmp_path / "scene")


def test_read_sog_refuses_files_that_are_cut_off(written, tmp_path):
    content = written[1].read_bytes()
    for part in cuts(content, 15):
        refused(read_sog, tmp_path / "a.sog", part)
    for name in ("l.webp", "p.webp", "q.webp"):
        for part in cuts(by_hand()[name], 8):
            refused(read_sog, tmp_path / "a.sog", zipped(by_hand(**{name: part})))


def test_read_sog_survives_changed_bytes(tmp_path):
    assert "refused" in survives(read_sog, tmp_path / "a.sog", zipped(by_hand()))
    for name, content in by_hand().items():
        (tmp_path / "scene").mkdir(exist_ok=True)
        (tmp_path / "scene" / name).write_bytes(content)
    for name in ("meta.json", "q.webp", "p.webp"):
        path = tmp_path / "scene" / name
        whole = path.read_bytes()
        assert "refused" in survives(lambda path: read_sog(path.parent), path, whole, count=40)
        path.write_bytes(whole)
    read_sog(tmp_path / "scene")
    with pytest.raises(ValueError, match="is not there"):
        read_sog(tmp_path / "b.sog")
    with pytest.raises(ValueError, match=r"no file meta\.json"):
        read_sog(tmp_path)
