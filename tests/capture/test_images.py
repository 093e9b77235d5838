"""Photos are read whole or refused, and averaging keeps the mean."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from splat_uff.capture import images
from splat_uff.capture.images import (
    area_resize,
    read_ids,
    read_image,
    read_image_size,
    reduced_size,
)
from splat_uff.system.errors import InputError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def save(path, array, mode=None):
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(path)
    return path


def test_read_image_multiplies_colour_by_alpha(tmp_path):
    path = save(tmp_path / "a.png", np.array([[[200, 100, 50, 0], [200, 100, 50, 51]]], np.uint8))
    expected = [[[0, 0, 0, 0], [200 * 0.2 / 255, 100 * 0.2 / 255, 50 * 0.2 / 255, 0.2]]]
    np.testing.assert_allclose(read_image(path), expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_read_image_gives_white_in_every_mode(tmp_path, mode):
    path = save(tmp_path / "white.png", np.full((3, 4, 3), 255, np.uint8), mode)
    image = read_image(path)
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, np.ones((3, 4, 4)))


def test_read_image_keeps_16_bit_grey(tmp_path):
    path = save(tmp_path / "deep.png", np.array([[0, 257, 65535]], np.uint16))
    np.testing.assert_allclose(read_image(path)[0, :, 0], [0, 257 / 65535, 1], atol=1e-6)


def test_read_image_refuses_truncated_files(tmp_path, rng):
    path = save(tmp_path / "cut.png", rng.integers(0, 255, (40, 40, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"cut\.png is not a whole image"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"not an image", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_read_image_refuses_other_files(tmp_path, content):
    path = tmp_path / "other.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.png"):
        read_image(path)


def test_read_image_refuses_by_the_header(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 11)
    path = save(tmp_path / "large.png", np.zeros((3, 4), np.uint8))
    with pytest.raises(InputError, match="4x3 pixels"):
        read_image(path)
    with pytest.raises(InputError, match="4x3 pixels"):
        read_image_size(path)


def test_read_image_refuses_decompression_bombs(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    path = save(tmp_path / "bomb.png", np.zeros((3, 4), np.uint8))
    with pytest.raises(InputError, match=r"bomb\.png"):
        read_image(path)


def test_read_image_names_a_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"no image .*gone\.png"):
        read_image(tmp_path / "gone.png")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [None, 3])
def test_read_ids_takes_channel_0(tmp_path, rng, dtype, channels):
    ids = rng.integers(0, np.iinfo(dtype).max, (6, 5)).astype(dtype)
    stored = ids if channels is None else np.stack([ids, 0 * ids, 0 * ids], axis=-1)
    tifffile.imwrite(tmp_path / "ids.tif", stored, photometric="rgb" if channels else "minisblack")
    np.testing.assert_array_equal(read_ids(tmp_path / "ids.tif"), ids)


def test_read_ids_knows_compressed_files(tmp_path, rng):
    ids = rng.integers(0, 255, (6, 5, 3), dtype=np.uint8)
    Image.fromarray(ids).save(tmp_path / "ids.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read_ids(tmp_path / "ids.tif"), ids[..., 0])


@pytest.mark.parametrize("ids", [np.zeros((6, 5), np.float32), np.zeros((2, 6, 5), np.int32)])
def test_read_ids_refuses_other_numbers(tmp_path, ids):
    tifffile.imwrite(tmp_path / "ids.tif", ids, photometric="minisblack")
    with pytest.raises(InputError, match="8 or 16"):
        read_ids(tmp_path / "ids.tif")


def test_read_ids_refuses_damaged_files(tmp_path):
    (tmp_path / "ids.tif").write_bytes(b"II*\0broken")
    with pytest.raises(InputError, match=r"ids\.tif"):
        read_ids(tmp_path / "ids.tif")


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 7), (1, 1), (12, 18), (20, 30)])
def test_area_resize_keeps_the_mean(rng, height, width):
    image = rng.random((12, 18, 4))
    small = area_resize(image, height, width)
    assert small.shape == (height, width, 4)
    np.testing.assert_allclose(small.mean((0, 1)), image.mean((0, 1)))


def test_area_resize_averages_whole_blocks(rng):
    image = rng.random((8, 12, 3)).astype(np.float32)
    blocks = image.reshape(2, 4, 3, 4, 3).mean((1, 3))
    np.testing.assert_allclose(area_resize(image, 2, 3), blocks, atol=1e-6)


def test_area_resize_shares_cut_pixels_by_area():
    np.testing.assert_allclose(area_resize(np.array([[0.0, 3.0, 9.0]]), 1, 2), [[1.0, 7.0]])


def test_area_resize_agrees_between_whole_and_fractional(rng):
    image = rng.random((12, 12))
    twice = area_resize(area_resize(image, 6, 6), 3, 3)
    np.testing.assert_allclose(area_resize(image, 3, 3), twice)
    weights = images._row_weights(12, 3)
    np.testing.assert_allclose(weights @ image @ weights.T, twice)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((800, 800), (200, 200)),
        ((64, 64), (64, 64)),
        ((1280, 720), (200, 112)),
        ((1, 900), (1, 200)),
    ],
)
def test_reduced_size_never_enlarges(shape, expected):
    assert reduced_size(*shape, 200) == expected
