"""Bars for people, a line now and then for pipes."""

import io
import re
import threading
from types import SimpleNamespace

import pytest
from rich.console import Console

from splat_uff.system import progress
from splat_uff.system.progress import followed, notice, progress_bar, track


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns in the place of stderr."""
    screen = io.StringIO()
    screen.isatty = lambda: True
    # Not sys.stderr itself, which pytest sets anew before the test.
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=screen))
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=screen, width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(progress, "console", console)
    return screen


def test_progress_bar_is_silent_about_short_work_when_not_a_terminal(capsys):
    with progress_bar("gaussians", 3) as bar:
        for _ in range(3):
            bar.advance(loss=0.1)
    assert list(track("abc", "masks", 3)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_followed_tells_of_every_step_of_bars_of_its_own_thread_and_no_longer():
    told = []
    with followed(lambda *given: told.append(given)):
        assert list(track("ab", "masks", 2)) == ["a", "b"]
        with progress_bar("fit", 100, done=40) as bar:
            bar.advance(50, loss=0.1)
            bar.advance(50)
        other = threading.Thread(target=lambda: list(track("abc", "other", 3)))
        other.start()
        other.join()
    list(track("abc", "later", 3))
    assert told == [
        *(("masks", done, 2) for done in range(3)),
        *(("fit", done, 100) for done in (40, 90, 100)),
    ]


def test_progress_bar_says_one_line_about_long_work_when_not_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "WORTH_A_LINE", -1)
    with progress_bar("gaussians", 3, done=1) as bar:
        bar.advance(2, loss=0.123456, psnr=31.21111, num_gaussians=24000)
    line = "gaussians: 3 of 3 in 0 s, loss 0.1235, PSNR 31.21, Gaussians 24,000\n"
    assert capsys.readouterr() == ("", line)


def test_progress_bar_says_where_long_work_stands_when_not_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY", -1)
    with progress_bar("gaussians", 3) as bar:
        bar.advance(loss=0.5)
        bar.advance()
    said = capsys.readouterr().err.splitlines()
    expected = ["gaussians: 1 of 3 in 0 s, loss 0.5", "gaussians: 2 of 3 in 0 s, loss 0.5"]
    assert said == expected


def test_progress_bar_says_the_last_step_once_when_not_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY", -1)
    monkeypatch.setattr(progress, "WORTH_A_LINE", -1)
    with progress_bar("gaussians", 2) as bar:
        bar.advance()
        bar.advance()
    expected = ["gaussians: 1 of 2 in 0 s", "gaussians: 2 of 2 in 0 s"]
    assert capsys.readouterr().err.splitlines() == expected


def test_progress_bar_says_nothing_of_work_that_failed(capsys, monkeypatch):
    monkeypatch.setattr(progress, "WORTH_A_LINE", -1)
    with pytest.raises(RuntimeError), progress_bar("gaussians", 3):
        raise RuntimeError
    assert capsys.readouterr() == ("", "")


def test_progress_bar_fits_a_terminal_of_80_columns(terminal):
    with progress_bar("gaussians", 3000) as bar:
        bar.advance(3000, loss=0.01234, psnr=31.21, num_gaussians=24000)
    last = re.sub(r"\x1b\[[?0-9;]*\w", "", terminal.getvalue()).split("\r")[-1].rstrip()
    for part in ("gaussians", "3000/3000", "loss 0.01234", "PSNR 31.21", "Gaussians 24,000"):
        assert part in last
    assert len(last) <= 80


def test_progress_bar_never_counts_past_the_end(terminal):
    with progress_bar("features", 70, done=30) as bar:
        bar.advance(50)
    assert "70/70" in terminal.getvalue()


def test_notice_prints_one_line_on_stderr_as_it_is(capsys):
    message = "[bold]a/very/long/path[/bold] " * 20
    notice(message)
    assert capsys.readouterr() == ("", message + "\n")
