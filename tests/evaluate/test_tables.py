from rich.console import Console

from splat_uff.evaluate.tables import fact_rows, score_rows, score_table, second_rows


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


def test_second_rows_follow_the_pipeline_and_end_with_the_total():
    seconds = {"total": 9, "hierarchy": 1, "export": 2, "capture": 3}
    assert [name for name, _ in second_rows({"seconds": seconds})] == [
        "capture",
        "hierarchy",
        "export",
        "total",
    ]
