import json
import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import ImageFont

from splat_uff.report.curves import HEIGHT, WIDTH, draw_curve, read_log
from splat_uff.system.errors import InputError


def write_lines(path, *records: dict) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_read_log_sorts_figures_by_stage(tmp_path):
    path = tmp_path / "log.jsonl"
    write_lines(
        path,
        {"stage": "gaussians", "step": 1, "loss": 0.5},
        {"stage": "gaussians", "step": 2, "loss": 0.4, "psnr": 20},
        {"stage": "features", "step": 1, "loss": 3, "note": "words are not figures"},
    )
    log = read_log(path)
    assert list(log) == ["gaussians", "features"]
    np.testing.assert_array_equal(log["gaussians"]["step"], [1, 2])
    np.testing.assert_array_equal(log["gaussians"]["psnr"], [np.nan, 20])
    assert list(log["features"]) == ["step", "loss"]


def test_read_log_skips_lines_cut_short(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"stage": "a", "step": 1, "loss": 2}\n[]\n{"stage": "a", "step": 2, "lo')
    np.testing.assert_array_equal(read_log(path)["a"]["loss"], [2])


def test_read_log_reads_the_first_line_behind_a_byte_order_mark(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"stage": "a", "step": 1, "loss": 2}\n', encoding="utf-8-sig")
    np.testing.assert_array_equal(read_log(path)["a"]["loss"], [2])


def test_read_log_forgets_what_a_resumed_run_did_again(tmp_path):
    path = tmp_path / "log.jsonl"
    steps = [(1, 9), (2, 8), (3, 7), (2, 6), (4, 5)]
    write_lines(path, *({"stage": "a", "step": step, "loss": loss} for step, loss in steps))
    log = read_log(path)["a"]
    np.testing.assert_array_equal(log["step"], [1, 2, 4])
    np.testing.assert_array_equal(log["loss"], [9, 6, 5])


def test_read_log_names_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="no log at"):
        read_log(tmp_path / "log.jsonl")


def points_of(svg: str) -> np.ndarray:
    """Points in SVG units of the strong line of a chart."""
    group = next(part for part in ElementTree.fromstring(svg).iter() if part.get("class") == "line")
    path = group.find("path")
    assert path is not None
    return np.array(re.findall(r"[ML] (\S+) (\S+)", path.get("d", "")), float)


@pytest.mark.parametrize(
    "values",
    [np.linspace(0, 1, 500), np.geomspace(1e-4, 10, 500), np.full(500, 3.0), np.zeros(2)],
)
def test_draw_curve_stays_inside_its_picture(values):
    points = points_of(draw_curve("loss", np.arange(len(values)) * 10.0, values))
    assert 2 <= len(points) <= 300
    assert (points >= 0).all()
    assert (points <= [WIDTH, HEIGHT]).all()
    assert (np.diff(points[:, 0]) >= 0).all()


def test_draw_curve_rises_on_the_page_as_values_rise():
    wavy = np.arange(20.0) + np.arange(20) % 2 / 2  # No run of points that a straight line joins.
    points = points_of(draw_curve("psnr", np.arange(20.0), wavy))
    assert len(points) == 20
    assert (np.diff(points[:, 1]) < 0).all()


def test_draw_curve_draws_the_same_text_again_and_nothing_that_reaches_the_page_around_it():
    def draw() -> str:
        return draw_curve("loss", np.arange(40.0), np.geomspace(1, 100, 40))

    assert draw() == draw()
    for reaching in ("http", "xmlns", "<style", "<metadata", " id="):
        assert reaching not in draw()
    assert not set(re.findall(r"#[0-9a-f]{6}", draw())), "colours are the page's, in the dark too"


def test_draw_curve_escapes_its_title_and_leaves_out_what_is_not_finite():
    svg = draw_curve("<b>", np.arange(3.0), np.array([1, np.nan, 2]))
    assert "<b>" not in svg
    assert "nan" not in svg
    assert "too few" in draw_curve("loss", np.arange(2.0), np.array([1, np.inf]))


def boxes_of(svg: str) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom of every text of a chart, by a font much like the page's."""
    found = {}
    for number, text in enumerate(ElementTree.fromstring(svg).iter("text")):
        style = text.get("style", "")
        font = ImageFont.load_default(size=float(re.search(r"([\d.]+)px", style)[1]))
        wide, tall = font.getlength(text.text), 0.7 * font.size
        left, base = float(text.get("x", 0)), float(text.get("y", 0))
        moved = re.match(r"translate\((\S+) (\S+)\)", text.get("transform", ""))
        if moved:
            left, base = left + float(moved[1]), base + float(moved[2])
        anchor = re.search(r"text-anchor: (\w+)", style)
        left -= {"end": wide, "middle": wide / 2}.get(anchor[1] if anchor else "start", 0)
        found[f"{number} {text.text}"] = (left, base - tall, left + wide, base)
    return found


@pytest.mark.parametrize("steps", [(0, 10), (10, 3000), (0, 30_000), (990, 1_000_000)])
@pytest.mark.parametrize(
    "values",
    [(0, 1), (-1, 1), (1e-12, 1e6), (1e-3, 0.05), (0.02, 15), (1, 1), (1e4, 9e4), (-9e3, 9)],
)
def test_draw_curve_has_no_number_over_another(steps, values):
    svg = draw_curve("number of Gaussians", np.linspace(*steps, 40), np.linspace(*values, 40))
    boxes = boxes_of(svg)
    assert len(boxes) >= 2 + 2 + 2, "title, facts and two numbers or more to each axis"
    for name, (left, top, right, bottom) in boxes.items():
        assert left >= 0, name
        assert right <= WIDTH, name
        assert top >= 0, name
        assert bottom <= HEIGHT, name
    for (one, a), (two, b) in combinations(boxes.items(), 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (one, two)


def test_draw_curve_says_counts_whole():
    drawn = draw_curve("Gaussians", np.arange(3.0), np.array([1234.0, 20000.0, 29990.0]))
    assert "last 29,990 · lowest 1,234 · highest 29,990" in drawn
