"""The summary of a batch: what it has, that it is whole, and that names are only text."""

import json
import re

import pytest

from splat_uff.batch.notes import Attempt, Notes, State, read_row
from splat_uff.batch.summary import summary_lock, write_summary

ATTEMPT = Attempt("ours", "node-7", 12, "2026-01-02T03:04:05+00:00", "gaussians 1 of 9")
METRICS = {
    "nc": {"mean": 0.9},
    "nc_fixed": {"mean": 0.8},
    "psnr": 25.0,
    "num_gaussians": 3000,
    "seconds": {"total": 61.0},
}


@pytest.fixture
def output(tmp_path):
    """A batch in which one capture each is finished, failed, running and waiting."""
    good = tmp_path / "good one"
    good.mkdir()
    (good / "metrics.json").write_text(json.dumps(METRICS))
    for name in ("overview.png", "report.html"):
        (good / name).touch()
    Notes.of(tmp_path, "good one").write(State((ATTEMPT,), ended=True))
    Notes.of(tmp_path, "bad").write(State((ATTEMPT,), ended=True, failure="no <b>photos</b>."))
    Notes.of(tmp_path, "busy").write(State((ATTEMPT,), "geometry", 3, 9))
    return tmp_path


def rows(output, token):
    names = ("good one", "bad", "busy", "new")
    return [read_row(output, name, f"<i>{name}</i>", token) for name in names]


@pytest.mark.parametrize(
    ("token", "busy"),
    [("ours", "running"), (None, "running"), ("other", "waiting"), ("", "cut off")],
)
def test_read_row_tells_a_living_attempt_from_one_that_was_cut_off(output, token, busy):
    standing = [row.standing for row in rows(output, token)]
    assert standing == ["finished", "failed", busy, "waiting"]


def test_write_summary_has_scores_and_failures(output):
    write_summary(output, rows(output, "ours"))
    record = json.loads((output / "batch.json").read_text())
    assert record["counts"] == {
        "captures": 4, "finished": 1, "failed": 1, "running": 1, "waiting": 1
    }  # fmt: skip
    good, bad, busy, new = record["captures"]
    assert good["scores"]["nc.mean"] == 0.9
    assert good["seconds"]["total"] == 61
    assert bad["failure"] == "no <b>photos</b>."
    assert busy["attempts"][0]["host"] == "node-7"
    assert new["attempts"] == []


def test_write_summary_shows_names_as_text_and_links_within_its_folder(output):
    write_summary(output, rows(output, "ours"))
    page = (output / "batch.html").read_text()
    assert "no &lt;b&gt;photos" in page
    assert "&lt;i&gt;good one" in page
    assert "<i>" not in page
    links = {each for each in re.findall(r'(?:src|href)="([^"]+)"', page) if each != "data:,"}
    assert links == {
        *("good%20one/overview.png", "good%20one/report.html"),
    }


def test_a_damaged_note_or_run_stops_nothing(output):
    Notes.of(output, "busy").state.write_bytes(b'{"attempts": 3}')
    Notes.of(output, "new").folder.mkdir()
    Notes.of(output, "new").state.write_bytes(b"[" * 100_000)
    (output / "good one" / "metrics.json").write_text("{")
    good, _, busy, new = rows(output, "ours")
    assert good.standing == "failed"
    assert "damaged" in good.state.failure
    assert (busy.standing, new.standing) == ("waiting", "waiting")


def test_summary_lock_leaves_nothing_behind(output):
    before = sorted(output.rglob("*"))
    with summary_lock(output):
        pass
    assert sorted(output.rglob("*")) == before
