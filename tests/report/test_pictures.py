import base64
import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from splat_uff.report.pictures import (
    GAP,
    MARGIN,
    TILE,
    TITLE_HEIGHT,
    Picture,
    data_uri,
    view_pictures,
    write_overview,
    write_sheet,
)
from splat_uff.system.errors import InputError


def test_write_overview_has_a_titled_column_for_each_picture(tmp_path, report):
    path = tmp_path / "overview.png"
    write_overview(path, report)
    with Image.open(path) as opened:
        image = np.asarray(opened)
    rows = view_pictures(report)
    assert [picture.title for picture in rows[0]] == [
        "photo",
        "rendering",
        "features (PCA)",
        "coarse, 2 segments",
        "medium, 14 segments",
        "fine, 40 segments",
        "true objects",
    ]
    assert image.shape[1] > 7 * 200
    assert image.shape[0] > 2 * 200
    assert (image[:60] < 100).any()  # The titles.


def test_write_overview_takes_wide_views_and_refuses_none(tmp_path, report):
    wide = [
        dataclasses.replace(
            view, photo=view.photo[:20], rendering=view.rendering[:20],
            features=view.features[:20], labels=view.labels[:, :20], objects=None,
        )
        for view in report.views
    ]  # fmt: skip
    write_overview(tmp_path / "wide.png", dataclasses.replace(report, views=tuple(wide)))
    with Image.open(tmp_path / "wide.png") as image:
        assert image.height < 2 * 200
    with pytest.raises(InputError, match="no views"):
        write_overview(tmp_path / "none.png", dataclasses.replace(report, views=()))


@pytest.mark.parametrize(
    ("count", "places"), [(1, [0]), (2, [1, 0]), (3, [2, 1, 0]), (4, [3, 1, 0]), (50, [40, 24, 9])]
)
def test_report_shows_up_to_three_different_granularities(report, count, places):
    views = tuple(
        dataclasses.replace(view, labels=view.labels[:1].repeat(count, axis=0))
        for view in report.views
    )
    many = dataclasses.replace(report, views=views, colours=report.colours[:1] * count)
    assert list(many.shown.values()) == places


def test_report_refuses_labels_without_colours(report):
    with pytest.raises(InputError, match="view r_0 has 4 granularities"):
        dataclasses.replace(report, colours=report.colours[:2])


@pytest.mark.parametrize("num_colours", [2, 256, 2000])
def test_data_uri_keeps_every_pixel(num_colours):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (num_colours, 3))[rng.integers(0, num_colours, (40, 60))] / 255
    data = base64.b64decode(data_uri(picture).split(",", 1)[1])
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(shown, np.round(picture * 255))


@pytest.mark.parametrize("numbers", [(2, 14, 40), (1234, 23456, 65535)])
def test_write_sheet_keeps_every_title_over_its_own_column(tmp_path, numbers):
    grey = np.full((20, 20, 3), 0.5)
    words = ("coarse", "medium", "fine")
    titles = [f"{word}, {count} segments" for word, count in zip(words, numbers, strict=True)]
    write_sheet(tmp_path / "sheet.png", [[Picture(title, grey) for title in titles]])
    with Image.open(tmp_path / "sheet.png") as opened:
        band = np.asarray(opened.convert("L"))[: MARGIN + TITLE_HEIGHT]
    for column in range(len(titles)):
        left = MARGIN + column * (TILE + GAP)
        assert (band[:, left : left + TILE] < 100).any()
        assert (band[:, left + TILE : left + TILE + GAP] == 255).all(), "titles touch"
