"""Who may see the page, and who may give it orders: asked over real sockets."""

import http.client
import re
import time
from contextlib import contextmanager
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
import viser
from websockets.datastructures import Headers

from splat_uff.system.errors import InputError
from splat_uff.view.guard import Guard, choose_guard, objection, start_guarded
from splat_uff.view.server import start_server, stop_server

SOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": f"viser-v{viser.__version__}",
}
ASKED = {"page": {}, "web socket": SOCKET}
GRANTED = {"page": 200, "web socket": 101}


def ask(port, *, what="page", path="/", **headers):
    """Status, headers and beginning of the answer to one request.

    `host` takes the place of the true one, and is left out where it is None.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("GET", path, skip_host=True)
    given = {"host": f"127.0.0.1:{port}", **ASKED[what], **headers}
    for name, value in given.items():
        for each in [value] if isinstance(value, str) else value or ():
            connection.putheader(name, each)
    connection.endheaders()
    answer = connection.getresponse()
    said = "" if answer.status == 101 else answer.read(300).decode(errors="replace")
    connection.close()
    return SimpleNamespace(status=answer.status, headers=answer.headers, said=said)


def is_refused(answer, sentence):
    """Whether an answer is a page of one sentence, and nothing of ours."""
    assert answer.headers["Content-Type"].startswith("text/plain")
    return answer.status == 403 and re.fullmatch(sentence + r"[^\n]*\.\n", answer.said)


@contextmanager
def serving(host, port):
    server = start_server("guarded", host=host, port=port)
    try:
        yield server
    finally:
        stop_server(server)


@pytest.fixture(scope="module")
def local():
    """The port of a server that only this machine can reach."""
    with serving("127.0.0.1", 18700) as server:
        yield server.get_port()


@pytest.fixture
def everyone(capsys):
    """The port and the token of a server that everyone can reach."""
    with serving("0.0.0.0", 18750) as server:
        (address,) = re.findall(r"page: (\S+)", capsys.readouterr().err)
        assert urlsplit(address).netloc == f"127.0.0.1:{server.get_port()}"
        yield server.get_port(), parse_qs(urlsplit(address).query)["token"][0]


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "LocalHost"])
def test_a_local_page_answers_this_machine(local, what, name):
    host = f"{name}:{local}"
    for origin in (None, f"http://{host}", f"http://{host.lower()}"):
        assert ask(local, what=what, host=host, origin=origin).status == GRANTED[what]


FOREIGN_HOSTS = [
    "evil.example:{port}", "127.0.0.1.evil.example:{port}", "127.0.0.1", "127.0.0.1:1",
    "localhost:{port}.evil.example", "0.0.0.0:{port}", "a@127.0.0.1:{port}", "", None,
    ("127.0.0.1:{port}", "127.0.0.1:{port}"),
]  # fmt: skip


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_a_local_page_answers_to_no_other_name(local, what, host):
    """A name of another page's own may lead to this machine (DNS rebinding)."""
    given = [each.format(port=local) for each in ([host] if isinstance(host, str) else host or ())]
    origin = f"http://{given[0]}" if given else None
    answer = ask(local, what=what, host=given, origin=origin)
    assert is_refused(answer, f"This page answers to http://127.0.0.1:{local} only")


FOREIGN_ORIGINS = [
    "http://evil.example", "http://127.0.0.1", "http://127.0.0.1:1", "http://localhost:{port}",
    "null", "file://", "http://127.0.0.1:{port}.evil.example", "http://127.0.0.1:{port}/", "",
    ("http://127.0.0.1:{port}", "http://evil.example"),
    ("http://127.0.0.1:{port}", "http://127.0.0.1:{port}"),
]  # fmt: skip


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_a_local_page_takes_no_orders_of_other_pages(local, what, origin):
    given = [each.format(port=local) for each in ([origin] if isinstance(origin, str) else origin)]
    answer = ask(local, what=what, origin=given)
    assert is_refused(answer, "This page takes no orders from other pages")


def test_no_page_may_lie_over_ours(local):
    """What is clicked there would be an order of ours, of the right Origin."""
    for answer in (ask(local), ask(local, path="/none"), ask(local, origin="http://evil.example")):
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in ask(local, path="/?token=").headers


@pytest.mark.parametrize("what", ASKED)
def test_a_page_for_everyone_wants_its_token(everyone, what):
    port, token = everyone
    wrong = [
        "/", "/?token=", f"/?token={token[:-1]}", f"/?token={token}x", f"/?tokens={token}",
        "/?token=%ff", f"/{token}", f"/?{'a=1&' * 30}token={token}", "/assets",
        f"/?token={'x' * 4000}",
    ]  # fmt: skip
    for path in wrong:
        answer = ask(port, what=what, path=path, cookie=f"splat_uff_{port}=; splat_uff_1={token}")
        assert is_refused(answer, "This page wants the whole address"), path
        assert "Set-Cookie" not in answer.headers
    assert ask(port, what=what, path=f"/?a=b&token={token}").status == GRANTED[what]


def test_a_page_for_everyone_knows_who_has_been_there(everyone):
    port, token = everyone
    first = ask(port, path=f"/?token={token}")
    cookie, *rules = first.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(rules)
    assert first.headers["Cache-Control"] == "no-store"
    for path in ("/", "/index.html"):
        assert ask(port, path=path, cookie=f"a=b; {cookie}").status == 200
        assert ask(port, path=path).status == 403
        assert ask(port, path=path, cookie=cookie[:-1]).status == 403
    assert ask(port, what="web socket", cookie=f"{cookie};c=d").status == 101


def test_a_page_for_everyone_has_any_name_and_takes_no_orders_of_other_pages(everyone):
    port, token = everyone
    host, cookie = f"workstation.lan:{port}", f"splat_uff_{port}={token}"
    for origin in (None, f"http://{host}", f"https://{host}"):
        given = {"host": host, "origin": origin, "cookie": cookie}
        assert ask(port, what="web socket", **given).status == 101
    for origin in (f"http://workstation.lan:{port + 1}", "http://evil.example", "null"):
        given = {"host": host, "origin": origin, "cookie": cookie}
        answer = ask(port, what="web socket", **given)
        assert is_refused(answer, "This page takes no orders from other pages")


def test_every_server_has_a_token_of_its_own():
    tokens = {choose_guard("0.0.0.0", ["0.0.0.0"]).token for _ in range(20)}
    assert len(tokens) == 20
    assert min(map(len, tokens)) >= 32


@pytest.mark.parametrize(
    ("addresses", "is_local"),
    [
        (["127.0.0.1"], True),
        (["::1", "127.0.0.1"], True),
        (["127.0.1.1"], True),
        (["127.0.0.1", "192.168.1.7"], False),
        (["fe80::1%eth0"], False),
        (["0.0.0.0"], False),
        (["::"], False),
    ],
)
def test_only_what_this_machine_alone_can_reach_goes_without_a_token(addresses, is_local):
    assert (choose_guard("host", addresses).token == "") == is_local


def test_browsers_leave_out_port_80():
    headers = Headers({"Host": "localhost", "Origin": "http://localhost"})
    assert objection(Guard(), "/", headers, 80) == ""
    assert objection(Guard(), "/", headers, 8080) != ""


def test_a_token_that_is_no_text_is_refused():
    assert "token" in objection(Guard(token="t"), "/?token=\udcff", Headers({"Host": "a"}), 1)


def test_refusing_says_nothing_in_the_terminal(capfd):
    with serving("127.0.0.1", 18770) as server:
        for what in ASKED:
            ask(server.get_port(), what=what, host="evil.example")
        time.sleep(0.3)
    said = capfd.readouterr().err
    assert said.count("\n") == 1, said


def test_a_viser_that_cannot_be_guarded_is_ended_and_refused():
    ended = []
    server = SimpleNamespace(stop=lambda: ended.append(1))
    with pytest.raises(InputError, match="install viser") as caught:
        start_guarded(Guard(), lambda: server)
    assert ended == [1]
    assert "\n" not in str(caught.value)
