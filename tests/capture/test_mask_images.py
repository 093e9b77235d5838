"""What pictures mean as masks and as label maps, however they are drawn."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from splat_uff.capture.mask_images import (
    as_photo,
    has_shape,
    has_two_values,
    read_label_map,
    read_mask,
    states_negative,
    turned,
    turned_back,
)
from splat_uff.system.errors import InputError

MASK = np.zeros((12, 16), bool)
MASK[3:9, 4:13] = True
GREY = MASK.astype(np.uint8) * 255


def colour(red, green, blue):
    return MASK[..., None] * np.array([red, green, blue], np.uint8)


def with_palette(indices, *colours):
    picture = Image.fromarray(indices.astype(np.uint8), mode="P")
    picture.putpalette([value for each in colours for value in each])
    return picture


def with_alpha(colours, alpha):
    stacked = np.concatenate([np.broadcast_to(colours, (*MASK.shape, 3)), alpha[..., None]], axis=2)
    return Image.fromarray(stacked.astype(np.uint8), mode="RGBA")


def soft(picture):
    """With edges as an editor draws them: three times as large, and reduced."""
    large = picture.resize((48, 36), Image.Resampling.NEAREST)
    return large.resize((16, 12), Image.Resampling.BOX)


WHITE, BLACK, RED, NAVY = (255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 0, 60)
DRAWN = {
    "0 and 255": Image.fromarray(GREY),
    "0 and 1": Image.fromarray(MASK.astype(np.uint8)),
    "one bit": Image.fromarray(GREY).convert("1"),
    "16 bits, 0 and 65535": Image.fromarray(MASK.astype(np.uint16) * 65535),
    "16 bits, 0 and 1": Image.fromarray(MASK.astype(np.uint16)),
    "32 bits": Image.fromarray(MASK.astype(np.int32) * 255),
    "floats": Image.fromarray(MASK.astype(np.float32)),
    "grey with full alpha": Image.fromarray(np.stack([GREY, GREY * 0 + 255], axis=2), mode="LA"),
    "grey in three channels": Image.fromarray(colour(255, 255, 255)),
    "green": Image.fromarray(colour(0, 255, 0)),
    "blue": Image.fromarray(colour(0, 0, 255)),
    "dark blue": Image.fromarray(colour(*NAVY)),
    "green with full alpha": Image.fromarray(colour(0, 255, 0)).convert("RGBA"),
    "alpha over white": with_alpha(WHITE, GREY),
    "alpha over black": with_alpha(BLACK, GREY),
    "alpha over a photo": with_alpha(np.arange(12 * 16 * 3).reshape(12, 16, 3) % 256, GREY),
    "palette, red": with_palette(MASK, BLACK, RED),
    "palette, black": with_palette(MASK, BLACK, BLACK),
    "palette, nearly black": with_palette(MASK, BLACK, (1, 1, 1)),
    "palette, white first": with_palette(~MASK, WHITE, BLACK),
    "palette, colour first": with_palette(~MASK, RED, BLACK),
    "palette, two colours": with_palette(MASK, NAVY, RED),
    "soft, grey": soft(Image.fromarray(GREY)),
    "soft, green": soft(Image.fromarray(colour(0, 255, 0))),
    "soft, alpha": soft(with_alpha(RED, GREY)),
}


@pytest.mark.parametrize("kind", DRAWN)
def test_read_mask_sees_the_same_however_it_is_drawn(tmp_path, kind):
    path = tmp_path / ("mask.tif" if DRAWN[kind].mode in ("I", "F") else "mask.png")
    DRAWN[kind].save(path)
    np.testing.assert_array_equal(read_mask(path), MASK)


@pytest.mark.parametrize("ending", ["png", "PNG", "bmp", "tif", "gif", "webp", "tga", "ppm"])
def test_read_mask_reads_every_format(tmp_path, ending):
    options = {"lossless": True} if ending == "webp" else {}
    Image.fromarray(GREY).convert("RGB").save(tmp_path / f"mask.{ending}", **options)
    np.testing.assert_array_equal(read_mask(tmp_path / f"mask.{ending}"), MASK)


@pytest.mark.parametrize("picture", [Image.fromarray(GREY), Image.fromarray(colour(0, 255, 0))])
def test_read_mask_takes_lossy_pictures_at_half(tmp_path, picture):
    large = picture.resize((160, 120), Image.Resampling.NEAREST)
    large.save(tmp_path / "mask.jpg", quality=80)
    wrong = read_mask(tmp_path / "mask.jpg") != MASK.repeat(10, 0).repeat(10, 1)
    assert wrong.mean() < 0.01


def test_read_mask_of_nothing_is_empty_and_of_everything_is_full(tmp_path):
    for value, expected in ((0, False), (1, True), (255, True)):
        Image.new("L", (9, 7), value).save(tmp_path / "mask.png")
        assert (read_mask(tmp_path / "mask.png") == expected).all()
    for mode in ("RGB", "RGBA", "P", "I;16", "LA"):
        Image.new(mode, (9, 7)).save(tmp_path / "mask.png")
        assert not read_mask(tmp_path / "mask.png").any()
    Image.new("L", (9, 7), 3).save(tmp_path / "mask.jpg")
    assert not read_mask(tmp_path / "mask.jpg").any()  # No mask, but traces of the compression.


def test_read_mask_keeps_every_colour_that_is_drawn(tmp_path):
    picture = colour(255, 0, 0)
    picture[3:6, 4:13] = NAVY
    Image.fromarray(picture).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), MASK)


LABELS = np.zeros((12, 16), np.int64)
LABELS[2:6, 3:12], LABELS[6:9, 3:8], LABELS[9:11, 10:14] = 1, 2, 3


def lookup(*colours):
    return np.array(colours, np.uint8)[LABELS]


MAPS = {
    "8 bits": Image.fromarray(LABELS.astype(np.uint8)),
    "16 bits": Image.fromarray((LABELS * 300).astype(np.uint16)),
    "32 bits": Image.fromarray((LABELS * 70000).astype(np.int32)),
    "floats": Image.fromarray((LABELS * 2).astype(np.float32)),
    "32 bits, -1": Image.fromarray((LABELS - 1).astype(np.int32)),
    "16 bits, -1": Image.fromarray((LABELS - 1).astype(np.uint16)),
    "palette": with_palette(LABELS, BLACK, RED, RED, WHITE),
    "palette in grey": with_palette(LABELS, BLACK, (9, 9, 9), (3, 3, 3), WHITE),
    "colours": Image.fromarray(lookup(BLACK, RED, NAVY, WHITE)),
    "grey in three channels": Image.fromarray(LABELS.astype(np.uint8)).convert("RGB"),
    "colours with full alpha": Image.fromarray(lookup(BLACK, RED, NAVY, WHITE)).convert("RGBA"),
    "alpha": with_alpha(lookup(WHITE, RED, NAVY, (7, 7, 7)), (LABELS > 0) * 255),
}


@pytest.mark.parametrize("kind", MAPS)
def test_read_label_map_tells_the_same_segments_apart(tmp_path, kind):
    path = tmp_path / ("map.tif" if MAPS[kind].mode in ("I", "F") else "map.png")
    MAPS[kind].save(path)
    found = read_label_map(path)
    assert ((found > 0) == (LABELS > 0)).all()
    assert len(set(zip(found.ravel().tolist(), LABELS.ravel().tolist(), strict=True))) == 4


def test_read_label_map_takes_a_soft_mask_for_one_mask(tmp_path):
    disc = np.hypot(*(np.mgrid[:100, :100] - 49.5)) < 30
    large = Image.fromarray(disc.astype(np.uint8) * 255).resize((700, 700))
    large.resize((100, 100), Image.Resampling.BOX).save(tmp_path / "map.png")
    found = read_label_map(tmp_path / "map.png")
    assert set(np.unique(found)) == {0, 1}
    assert (found.astype(bool) != disc).mean() < 0.01


def test_read_label_map_refuses_what_compression_has_changed(tmp_path):
    MAPS["8 bits"].save(tmp_path / "map.jpg")
    with pytest.raises(InputError, match=r"map\.jpg is a JPEG, whose compression changes labels"):
        read_label_map(tmp_path / "map.jpg")


def test_read_label_map_wants_whole_numbers(tmp_path):
    Image.fromarray(LABELS.astype(np.float32) / 3).save(tmp_path / "map.tif")
    with pytest.raises(InputError, match="not whole"):
        read_label_map(tmp_path / "map.tif")


def test_read_label_map_takes_minus_one_as_others_do(tmp_path):
    MAPS["8 bits"].save(tmp_path / "map.png")
    lifted = read_label_map(tmp_path / "map.png", lifts=True)
    np.testing.assert_array_equal(lifted, LABELS + 1)
    wrapped = np.where(LABELS == 0, 65535, LABELS - 1).astype(np.uint16)
    Image.fromarray(wrapped).save(tmp_path / "wrapped.png")
    kept = read_label_map(tmp_path / "wrapped.png", lifts=False)
    np.testing.assert_array_equal(kept, wrapped)


def test_a_mask_of_16_bits_is_no_map_with_minus_one(tmp_path):
    DRAWN["16 bits, 0 and 65535"].save(tmp_path / "mask.png")
    assert not states_negative(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "mask.png") > 0, MASK)
    MAPS["16 bits, -1"].save(tmp_path / "map.png")
    assert states_negative(tmp_path / "map.png")


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_read_label_map_takes_a_reduced_mask_for_one_mask(tmp_path, factor):
    disc = np.hypot(*(np.mgrid[: 60 * factor, : 60 * factor] - 29.5 * factor)) < 20 * factor
    large = Image.fromarray(disc.astype(np.uint8) * 255)
    large.resize((60, 60), Image.Resampling.BOX).save(tmp_path / "map.png")
    assert set(np.unique(read_label_map(tmp_path / "map.png"))) == {0, 1}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_largest_number_stands_for_minus_one_beside_other_labels(tmp_path, dtype):
    most = np.iinfo(dtype).max
    Image.fromarray(np.where(LABELS == 0, most, LABELS - 1).astype(dtype)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "a.png"), LABELS)
    used = np.where(LABELS == 3, most, np.where(LABELS == 2, most - 1, LABELS)).astype(dtype)
    Image.fromarray(used).save(tmp_path / "b.png")  # A map of very many labels.
    np.testing.assert_array_equal(read_label_map(tmp_path / "b.png"), used)


def test_void_of_voc_is_nothing(tmp_path):
    indices = np.where(LABELS == 3, 255, LABELS)
    picture = with_palette(indices, *[(i, 255 - i, i // 2) for i in range(256)])
    picture.save(tmp_path / "map.png")
    found = read_label_map(tmp_path / "map.png")
    np.testing.assert_array_equal(found, np.where(LABELS == 3, 0, LABELS))


def test_soft_edges_of_colours_go_to_the_nearest(tmp_path):
    picture = Image.fromarray(lookup(BLACK, RED, (0, 200, 0), WHITE)).resize((160, 120), 0)
    picture.resize((53, 40), Image.Resampling.BOX).save(tmp_path / "map.png")
    found = read_label_map(tmp_path / "map.png")
    assert len(np.unique(found)) == 4


@pytest.mark.parametrize(("name", "form"), [("map.webp", "WEBP"), ("map.jp2", "JPEG2000")])
def test_read_label_map_refuses_every_lossy_format(tmp_path, name, form):
    MAPS["colours"].save(tmp_path / name)
    with pytest.raises(InputError, match=f"is a {form}, whose compression changes labels"):
        read_label_map(tmp_path / name)
    if form == "WEBP":
        MAPS["colours"].save(tmp_path / name, lossless=True)
        assert len(np.unique(read_label_map(tmp_path / name))) == 4


def test_has_two_values_tells_masks_from_label_maps(tmp_path):
    for name, picture, expected in (
        ("mask.png", DRAWN["0 and 255"], True),
        ("soft.png", DRAWN["green"], True),
        ("photo.jpg", DRAWN["0 and 255"], True),
        ("map.png", MAPS["8 bits"], False),
        ("colours.png", MAPS["colours"], False),
    ):
        picture.save(tmp_path / name)
        assert has_two_values(tmp_path / name) == expected


@pytest.mark.parametrize("long_side", [16, 64, 107, 512, 1024, 1333, 4000, 6016])
@pytest.mark.parametrize("rounding", [np.floor, np.round, np.ceil])
def test_has_shape_takes_every_size_that_a_photo_is_reduced_to(long_side, rounding):
    photo = (4016, 6016)
    short = int(rounding(photo[0] * long_side / photo[1]))
    assert has_shape((short, long_side), photo)
    assert not has_shape((short + max(3, round(0.02 * short)), long_side), photo)
    assert not has_shape((long_side, short), photo)


@pytest.mark.parametrize(
    ("mask", "photo"),
    [((3361, 5187), (840, 1297)), ((202, 300), (50, 75)), ((840, 1297), (3361, 5187))],
)
def test_has_shape_takes_masks_of_a_photo_whose_twin_is_read(mask, photo):
    assert has_shape(mask, photo)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_is_what_exif_says(orientation):
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = Image.fromarray(picture)
    image.getexif()[274] = orientation
    np.testing.assert_array_equal(turned(picture, orientation), ImageOps.exif_transpose(image))
    back = turned(turned(picture, orientation), turned_back(orientation))
    np.testing.assert_array_equal(back, picture)


def test_as_photo_turns_only_where_the_shape_says_so(tmp_path):
    path = tmp_path / "mask.png"
    sideways = turned(MASK, 6)
    same = as_photo(sideways, path, shapes=[MASK.shape], other_turn=8)
    np.testing.assert_array_equal(same, MASK)
    assert as_photo(MASK, path, shapes=[MASK.shape], other_turn=8) is MASK
    for other_turn in (1, 3):
        with pytest.raises(InputError, match=r"mask\.png is 12x16, its photo 16x12"):
            as_photo(sideways, path, shapes=[MASK.shape], other_turn=other_turn)
