"""`show`: a page from a notebook, which is not held up by it."""

import urllib.error
import urllib.request

import pytest

from splat_uff import InputError, open_run, show
from splat_uff.view import app


@pytest.fixture
def run(trained):
    return open_run(trained)


def test_show_serves_until_it_is_stopped(run):
    page = show(run, port=18700)
    try:
        assert page.url.startswith("http://127.0.0.1:187")
        assert urllib.request.urlopen(page.url).status == 200
    finally:
        page.stop()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(page.url, timeout=5)


def test_show_gives_an_address_that_others_may_use(run):
    page = show(run, host="0.0.0.0", port=18720)
    try:
        assert "token=" in page.url
        assert urllib.request.urlopen(page.url).status == 200
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(page.url.partition("?")[0])
    finally:
        page.stop()


def test_show_that_blocks_ends_with_its_wait(run, monkeypatch):
    served = []

    def wait():
        served.append(urllib.request.urlopen("http://127.0.0.1:18740").status)

    monkeypatch.setattr(app, "wait_for_ctrl_c", wait)
    page = show(run, port=18740, block=True)
    assert served == [200]
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(page.url, timeout=5)


def test_show_leaves_no_server_where_a_page_cannot_be_made(run, monkeypatch):
    def fail(*_):
        raise InputError("no page")

    monkeypatch.setattr(app, "RunPage", fail)
    with pytest.raises(InputError, match="no page"):
        show(run, port=18760)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen("http://127.0.0.1:18760", timeout=5)


def test_show_names_arguments_not_flags(run):
    with pytest.raises(InputError, match=r"^port is 0; expected 1 to 65535"):
        show(run, port=0)
