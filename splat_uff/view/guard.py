"""Who may see the page: a check of every request, before the server behind the page answers it."""

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
"""What a browser on this machine calls it."""
TOKEN_BYTES = 24
MOST_FIELDS = 20
"""Of the query of an address."""
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",  # No page may lay ours under its own.
    "Referrer-Policy": "no-referrer",  # The address holds the token.
}
_starting = threading.Lock()


@dataclass(frozen=True)
class Guard:
    """What a request must show."""

    names: tuple[str, ...] = LOCAL_NAMES
    """What the machine may be called in the address; anything where there is a token."""
    token: str = ""
    """What the address must hold, where others than this machine can reach the server."""

    def address(self, name: str, port: int) -> str:
        """The address of the page, as one types it."""
        return f"http://{name}:{port}" + (f"/?token={self.token}" if self.token else "")


def choose_guard(host: str, addresses: Iterable[str]) -> Guard:
    """The guard of a server that listens on a host.

    Only this machine can reach a loopback address; any other asks for a new token.

    Args:
        host: As it was given, a name or an address.
        addresses: All IP addresses that it stands for.
    """
    if all(ip_address(each.partition("%")[0]).is_loopback for each in addresses):
        return Guard(tuple(dict.fromkeys([*LOCAL_NAMES, bracketed(host)])))
    return Guard(token=secrets.token_urlsafe(TOKEN_BYTES))


def bracketed(host: str) -> str:
    """A host as it stands in an address, where IPv6 takes brackets."""
    return f"[{host}]" if ":" in host else host


def objection(guard: Guard, path: str, headers: Headers, port: int) -> str:
    """Why a request is refused, as one sentence; empty where it is not.

    A browser says which page a request comes from (Origin) and by which name it has reached us
    (Host). Another page that is open in it can make it send requests here, also under a name of its
    own that leads to this machine, but can change neither of the two.

    Args:
        guard: Of the server.
        path: With the query.
        headers: Of the request.
        port: Of the server.
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
    """Start a viser server that answers only what its guard lets through.

    viser has no place for a check of its own, so what it starts its web server with is replaced by
    the like of it for as long as it starts.

    Args:
        guard: Of the server.
        start: Makes the server.

    Raises:
        InputError: If this version of viser starts its web server in another way; it is ended then.
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
    """A function that answers requests, after a check."""

    async def check(connection: ServerConnection, request: Request) -> Response | None:
        port = connection.local_address[1]
        refused = objection(guard, request.path, request.headers, port)
        if refused:
            return _with_headers(connection.respond(HTTPStatus.FORBIDDEN, f"{refused}\n"))
        response = None if answer is None else answer(connection, request)
        if isinstance(response, Awaitable):
            response = await response
        if response is None:  # A web socket, which viser takes.
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
    """The Hosts that browsers send; they leave out port 80."""
    return {f"{name.lower()}:{port}" for name in names} | {
        name.lower() for name in names if port == 80
    }


def _cookie_name(port: int) -> str:
    """With the port: a browser sends cookies to all ports of a machine."""
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
    """Whether a token is among those offered; how long that takes tells nothing about it."""
    return any(
        hmac.compare_digest(each.encode("utf-8", "surrogateescape"), token.encode())
        for each in offered
    )
