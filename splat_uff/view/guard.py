"""Access control of the page: a check of every request before the page's server answers it."""

import hmac
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qs

import viser
import websockets.asyncio.server
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from splat_uff.system.errors import InputError

LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
"""Names by which a browser on this machine addresses it."""
TOKEN_BYTES = 24
MOST_FIELDS = 20
"""Most fields in the query of an address."""
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",  # No other page may embed ours.
    "Referrer-Policy": "no-referrer",  # The address holds the token.
}
_starting = threading.Lock()


@dataclass(frozen=True)
class Guard:
    """Requirements that a request must meet."""

    names: tuple[str, ...] = LOCAL_NAMES
    """Host names allowed in the address; with a token, any name is allowed."""
    token: str = ""
    """Token that the address must contain if other machines can reach the server."""

    def address(self, name: str, port: int) -> str:
        """Address of the page, to be typed in a browser."""
        return f"http://{name}:{port}" + (f"/?token={self.token}" if self.token else "")


def choose_guard(host: str, addresses: Iterable[str]) -> Guard:
    """Create the guard of a server that listens on a host.

    Only this machine can reach a loopback address; any other address gets a new token.

    Args:
        host: Host name or address, as passed by the user.
        addresses: IP addresses to which it resolves.
    """
    if all(ip_address(each.partition("%")[0]).is_loopback for each in addresses):
        return Guard(tuple(dict.fromkeys([*LOCAL_NAMES, bracketed(host)])))
    return Guard(token=secrets.token_urlsafe(TOKEN_BYTES))


def bracketed(host: str) -> str:
    """Write a host as in an address, with brackets around IPv6."""
    return f"[{host}]" if ":" in host else host


def objection(guard: Guard, path: str, headers: Headers, port: int) -> str:
    """Reason to refuse a request, as one sentence; empty if it is allowed.

    A browser reports the page from which a request comes (Origin) and the name by which it reached
    us (Host). Another page open in the browser can make it send requests here, even under a name of
    its own that resolves to this machine, but cannot change either header.

    Args:
        guard: Guard of the server.
        path: Path of the request, with its query.
        headers: Headers of the request.
        port: Port of the server.
    """
    hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
    host = hosts[0].lower() if len(hosts) == 1 else ""
    if guard.token:
        cookies = _cookies(headers, _cookie_name(port))
        if not _is_any(guard.token, [*_tokens(path), *cookies]):
            return "This page wants the whole address that splat-uff printed, with its token."
    elif host not in _hosts(guard.names, port):
        return f"This page answers to {guard.address(LOCAL_NAMES[0], port)} only."
    if origins and [origin.lower() for origin in origins] not in (
        [f"http://{host}"],
        [f"https://{host}"],
    ):
        return "This page takes no orders from other pages."
    return ""


def start_guarded(guard: Guard, start: Callable[[], viser.ViserServer]) -> viser.ViserServer:
    """Start a viser server that answers only requests allowed by its guard.

    viser offers no hook for such a check, so the class with which it starts its web server is
    replaced by a checking subclass during the start.

    Args:
        guard: Guard of the server.
        start: Function that creates the server.

    Raises:
        InputError: If this version of viser starts its web server differently; the server is then
            stopped.
    """
    guarded: list[object] = []

    class Serve(websockets.asyncio.server.serve):
        def __init__(self, *given: Any, process_request: Any = None, **named: Any) -> None:
            guarded.append(self)
            checked = _checked(guard, process_request)
            super().__init__(*given, process_request=checked, **named)

    with _starting:
        before = websockets.asyncio.server.serve
        websockets.asyncio.server.serve = Serve
        try:
            server = start()
        finally:
            websockets.asyncio.server.serve = before
    if not guarded:
        server.stop()
        raise InputError(
            f"viser {viser.__version__} cannot be kept from taking orders of other pages; install "
            "viser 1.1."
        )
    return server


def _checked(
    guard: Guard, answer: Callable[[ServerConnection, Request], Any] | None
) -> Callable[[ServerConnection, Request], Awaitable[Response | None]]:
    """Wrap a function that answers requests in one that checks them first."""

    async def check(connection: ServerConnection, request: Request) -> Response | None:
        port = connection.local_address[1]
        refused = objection(guard, request.path, request.headers, port)
        if refused:
            return _with_headers(connection.respond(HTTPStatus.FORBIDDEN, f"{refused}\n"))
        response = None if answer is None else answer(connection, request)
        if isinstance(response, Awaitable):
            response = await response
        if response is None:  # A web socket, which viser handles.
            return None
        if guard.token and _is_any(guard.token, _tokens(request.path)):
            response.headers["Set-Cookie"] = (
                f"{_cookie_name(port)}={guard.token}; Path=/; HttpOnly; SameSite=Strict"
            )
            response.headers["Cache-Control"] = "no-store"
        return _with_headers(response)

    return check


def _with_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers[name] = value
    return response


def _hosts(names: tuple[str, ...], port: int) -> set[str]:
    """Host headers that browsers send; they leave out port 80."""
    return {f"{name.lower()}:{port}" for name in names} | {
        name.lower() for name in names if port == 80
    }


def _cookie_name(port: int) -> str:
    """Name of the cookie, with the port because browsers send cookies to all ports of a machine."""
    return f"splat_uff_{port}"


def _cookies(headers: Headers, name: str) -> list[str]:
    pairs = (pair.partition("=") for line in headers.get_all("Cookie") for pair in line.split(";"))
    return [value.strip() for key, _, value in pairs if key.strip() == name]


def _tokens(path: str) -> list[str]:
    try:
        return parse_qs(path.partition("?")[2], max_num_fields=MOST_FIELDS).get("token", [])
    except ValueError:  # Too many fields.
        return []


def _is_any(token: str, offered: list[str]) -> bool:
    """Whether a token is among those offered, compared in constant time."""
    return any(
        hmac.compare_digest(each.encode("utf-8", "surrogateescape"), token.encode())
        for each in offered
    )
