import pytest
from rich.console import Console

from splat_uff.report.tables import (
    consistency_rows,
    fact_rows,
    score_rows,
    score_table,
    second_rows,
)


def printed(metrics: dict) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(score_table(metrics))
    return capture.get()


def test_score_table_shows_the_run_its_masks_and_the_context(report):
    text = printed(report.metrics)
    for expected in ("0.811", "0.918 ± 0.003", "simulated masks", "0.674", "31.23 dB", "16 234"):
        assert expected in text
    assert "this run, 50 nested cuts" in text
    assert "other scenes, real SAM masks, so not like for like" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "0.709" in text


def test_score_table_without_ground_truth_quotes_no_other_scores():
    text = printed({"psnr": 30.0, "seconds": {"total": 4}})
    assert "No ground truth" in text
    assert "0.709" not in text
    assert score_rows({"psnr": 30.0}) == []
    assert fact_rows({}) == []


def test_score_table_prints_names_as_they_are(report):
    assert "input: [b]odd[/]" in printed({**report.metrics, "masks": "[b]odd[/]"})


def test_score_rows_mark_published_figures(report):
    assert [row.is_context for row in score_rows(report.metrics)] == [False] * 2 + [True] * 4


def full(metrics: dict) -> dict:
    """With everything that `splat-uff metrics` computes."""
    levels = {"objects": 0.7, "collections": 0.8, "scene": 0.9, "mean": 0.8}
    vc = {"mean": 0.8765, "standard_errors": {"mean": 0.0123}}
    return {
        **metrics,
        "nc_fixed": levels,
        "nc_ceiling": {**levels, "mean": 0.95, "optimistic": True},
        "nc_fixed_ceiling": {**levels, "mean": 0.9},
        "vc_ceiling": {"10": {"published": {**vc, "mean": 0.9123}, "exact": vc}},
        "ratios": {"nc": 0.9663, "nc_fixed": 0.8889, "vc": {"10": 0.9607}},
        "si": levels,
        "si_standard_errors": levels,
        "vc": {"10": {"published": vc, "exact": vc}, "90": {"published": vc}},
        "depth_error": {"published": 0.0111, "exact": 0.0099},
        "granularities": 50,
        "nesting_violations": 0,
    }


def test_score_table_shows_the_whole_evaluation_within_80_columns(report):
    text = printed(full(report.metrics))
    for expected in (
        *("one cut for all views", "ceiling (optimistic)", "SI, segmentation injectivity"),
        *("0.876±0.012", "10°", "0.0099", "ceiling, one cut", "0.912±0.012", "0.961"),
    ):
        assert expected in text
    assert max(map(len, text.splitlines())) <= 80


def test_consistency_rows_leave_out_what_is_not_known(report):
    ours, exact, bound, exact_bound, share, *published = consistency_rows(full(report.metrics))
    assert ours.values == (0.8765, None, 0.8765, None)
    assert exact.values == exact_bound.values == (0.8765, None, None, None)
    assert bound.values == (0.9123, None, None, None)
    assert share.values == (0.9607, None, None, None)
    assert all(row.is_context for row in published)
    assert consistency_rows(report.metrics) == []


def test_score_rows_put_one_cut_and_the_ceilings_beside_nc(report):
    rows = {row.name: row.values for row in score_rows(full(report.metrics))}
    assert list(rows)[:6] == [
        "this run, 50 nested cuts",
        "one cut for all views",
        "ceiling (optimistic)",
        "share of the ceiling",
        "ceiling, one cut",
        "share, one cut",
    ]
    for score, bound, share in (
        ("this run, 50 nested cuts", "ceiling (optimistic)", "share of the ceiling"),
        ("one cut for all views", "ceiling, one cut", "share, one cut"),
    ):
        ratios = [own / most for own, most in zip(rows[score], rows[bound], strict=True)]
        assert rows[share] == pytest.approx(ratios)


def test_second_rows_follow_the_pipeline_and_end_with_the_total():
    seconds = {"total": 9, "hierarchy": 1, "export": 2, "capture": 3}
    assert [name for name, _ in second_rows({"seconds": seconds})] == [
        "capture",
        "hierarchy",
        "export",
        "total",
    ]


def test_fact_rows_list_natural_levels():
    levels = [{"segments": n, "height": 1 / n, "persistence": 0.1} for n in (3, 11, 42)]
    assert ("natural levels, segments", "3, 11, 42") in fact_rows({"natural_levels": levels})
    assert fact_rows({"natural_levels": []}) == []
