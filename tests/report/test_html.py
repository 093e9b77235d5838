import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from splat_uff.report.html import write_report


class Page(HTMLParser):
    """Collects tags and checks that they close in order."""

    VOID = ("meta", "img", "input", "link", "br", "line", "circle", "polyline")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read_page(tmp_path, report) -> tuple[str, Page]:
    write_report(tmp_path / "report.html", report)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    return text, page


def test_write_report_asks_nothing_of_the_network(tmp_path, report):
    text, page = read_page(tmp_path, report)
    assert not re.search(r"https?:|@import|url\(", text)
    addresses = [a[key] for _, a in page.tags for key in ("src", "href") if key in a]
    assert len(addresses) >= 2 * 7
    assert all(address.startswith("data:") for address in addresses)


def test_write_report_shows_all_its_parts(tmp_path, report):
    text, _ = read_page(tmp_path, report)
    for part in ("Held-out views", "Granularity", "Scores", "Training", "Seconds per stage"):
        assert f"<h2>{part}</h2>" in text
    for part in ("simulated masks", "0.918", "features.tau", "not like for like", "Euclidean loss"):
        assert part in text
    assert text.count("<svg") == 6


def tiles_of(text: str) -> dict[str, str]:
    """Value of each tile below the title, by its name."""
    return {name: value for value, name in re.findall(r"<div><b>(.*?)</b><span>(.*?)</span>", text)}


@pytest.mark.parametrize("last", [{}, {"num_segments": 812}, {"peak_memory_gb": 2.51}])
def test_write_report_shows_each_figure_under_its_own_name(tmp_path, report, last):
    metrics = {**report.metrics, "psnr": 30.0, **last}
    text, page = read_page(tmp_path, dataclasses.replace(report, metrics=metrics))
    assert tiles_of(text) == {
        "NC mean": "0.918",
        "PSNR": "30.0 dB",
        "Gaussians": "16 234",
        "total time": "3 min 26 s",
    }
    assert [attrs for tag, attrs in page.tags if tag == "tr" and attrs] == [{"class": "total"}]
    assert '<tr class="total"><th>total</th>' in text


def test_write_report_shows_what_metrics_found_later(tmp_path, report):
    levels = {"objects": 0.7, "collections": 0.8, "scene": 0.9, "mean": 0.8}
    bound = {"10": {"published": {"mean": 0.8765, "standard_errors": {}}}}
    metrics = {
        **report.metrics,
        **{"nc_fixed": levels, "nc_ceiling": {**levels, "mean": 0.95}, "nc_fixed_ceiling": levels},
        **{"vc": bound, "vc_ceiling": bound, "ratios": {"vc": {"10": 1.0}}},
    }
    before, _ = read_page(tmp_path, report)
    text, _ = read_page(tmp_path, dataclasses.replace(report, metrics=metrics))
    assert tiles_of(text)["NC mean, one cut"] == "0.800"
    for said in ("<th>ceiling</th>", "<th>ceiling, one cut</th>", "0.966", "VC, view", "135°"):
        assert said in text
        assert said not in before


def test_write_report_makes_no_stage_the_total(tmp_path, report):
    metrics = {**report.metrics, "seconds": {"capture": 1.0, "masks": 2.0}}
    text, _ = read_page(tmp_path, dataclasses.replace(report, metrics=metrics))
    assert 'class="total"' not in text
    assert "total time" not in tiles_of(text)


def test_write_report_escapes_every_name(tmp_path, report):
    evil = '<script>alert("1")</script>'
    views = tuple(dataclasses.replace(view, name=evil) for view in report.views)
    curves = {evil: {"step": np.arange(3.0), evil: np.arange(3.0)}}
    metrics = {**report.metrics, "seed": evil, "version": evil, "masks": evil, "num_cuts": evil}
    metrics["seconds"] = {evil: 1.0, "total": 1.0}
    hostile = dataclasses.replace(
        report, scene=evil, masks=evil, views=views, curves=curves, metrics=metrics,
        settings={evil: evil},
    )  # fmt: skip
    text, page = read_page(tmp_path, hostile)
    assert evil not in text
    assert "alert(&#34;1&#34;)" in text
    assert [tag for tag, _ in page.tags].count("script") == 1


def test_write_report_leaves_out_what_is_not_known(tmp_path, report):
    views = tuple(
        dataclasses.replace(view, objects=None, collections=None) for view in report.views
    )
    bare = dataclasses.replace(report, views=views, metrics={"psnr": 30.0}, curves={}, settings={})
    text, _ = read_page(tmp_path, bare)
    assert "no ground truth" in text
    for absent in ("true objects", "0.709", "<svg", "Settings", "Seconds per stage"):
        assert absent not in text


def test_report_marks_natural_levels_on_the_slider(report, tmp_path):
    coarse_first = report.num_segments[::-1]
    levels = [
        {"segments": n, "height": 0.1, "persistence": 0.1}
        for n in (coarse_first[0], coarse_first[-1])
    ]
    levels[0]["support"] = 0.8412
    marked = dataclasses.replace(report, metrics={**report.metrics, "natural_levels": levels})
    text, _ = read_page(tmp_path, marked)
    assert f"{coarse_first[0]} segments (mean support 0.84), {coarse_first[-1]} segments;" in text
    source = (tmp_path / "report.html").read_text()
    assert '<option value="0">' in source
    assert f'<option value="{len(coarse_first) - 1}">' in source
