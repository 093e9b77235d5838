"""Label maps and their previews: two files a view, whatever the views are called."""

import numpy as np
import pytest
from PIL import Image

from splat_uff.export.labels import preview_names, write_label_pngs
from splat_uff.system.files import folded

NAMES = (
    ["scan", "scan_preview"],
    ["scan_preview", "scan"],
    ["scan", "Scan_Preview"],
    ["scan", "scan_preview", "scan_preview_2", "SCAN_preview_preview"],
    ["cam0/000", "cam0/000_preview", "000_preview"],
    ["caf\u00e9", "cafe\u0301_preview"],
)


@pytest.mark.parametrize("names", NAMES)
def test_write_label_pngs_keeps_the_map_and_the_preview_of_every_view(names, tmp_path):
    previews = preview_names(names)
    colours = np.linspace(0, 1, 30).reshape(10, 3)
    for number, name in enumerate(names, start=1):
        labels = np.full((4, 5), number)
        write_label_pngs(tmp_path, name, labels, colours, preview=previews[name])
    files = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")]
    assert len({folded(file) for file in files}) == 2 * len(names)
    for number, name in enumerate(names, start=1):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert (np.asarray(picture) == number).all()
        with Image.open(tmp_path / f"{previews[name]}.png") as picture:
            expected = np.round(255 * colours[number])
            np.testing.assert_allclose(np.asarray(picture)[0, 0], expected, atol=1)


def test_preview_names_are_plain_where_they_can_be():
    names = ["r_0", "cam0/000", "scan"]
    assert preview_names(names) == {name: f"{name}_preview" for name in names}
    assert preview_names(["scan"], taken=["SCAN_preview"]) == {"scan": "scan_preview_2"}
