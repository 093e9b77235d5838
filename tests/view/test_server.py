"""Where the page is served, and what it says about that."""

import socket

import pytest

from splat_uff.system.errors import InputError
from splat_uff.view.server import start_server, stop_server


def test_the_server_listens_on_this_machine_only_and_says_so(capsys):
    server = start_server("toy", port=18080)
    other = start_server("toy", port=server.get_port())
    try:
        assert server.get_host() == "127.0.0.1"
        assert other.get_port() != server.get_port()
    finally:
        stop_server(server)
        stop_server(other)
    captured = capsys.readouterr()
    assert f"http://127.0.0.1:{server.get_port()}" in captured.err
    assert "this machine only" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 0, "port is 0"),
        ("127.0.0.1", 70000, "port is 70000"),
        ("no such host", 8080, 'host="no such host" is no address'),
        ("203.0.113.7", 8080, "is not an address of this machine"),
    ],
)
def test_addresses_that_cannot_be_listened_on(host, port, message):
    with pytest.raises(InputError, match=message):
        start_server("toy", host=host, port=port)


def test_a_port_in_use_that_too_few_follow_is_refused():
    taken = socket.socket()
    for port in range(2**16 - 1, 2**16 - 200, -1):
        try:
            taken.bind(("127.0.0.1", port))
            break
        except OSError:
            continue
    taken.listen()
    with taken, pytest.raises(InputError, match=rf"port={port} is in use; pass another"):
        start_server("toy", port=port)
