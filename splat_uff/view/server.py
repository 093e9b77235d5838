"""Starting and ending the server behind a page."""

import contextlib
import errno
import io
import socket
import time

import viser

from splat_uff.system.errors import InputError, argument
from splat_uff.system.progress import notice
from splat_uff.view.guard import bracketed, choose_guard, start_guarded

HOST, PORT = "127.0.0.1", 8080
ANY = ("0.0.0.0", "::")
"""Stand for all addresses of the machine."""
PORTS_TRIED = 1000
"""By viser, which takes the next one where one is not free; beyond the last it never comes back."""


def start_server(title: str, *, host: str = HOST, port: int = PORT) -> viser.ViserServer:
    """As `start_addressed`, without the address."""
    return start_addressed(title, host=host, port=port)[0]


def start_addressed(
    title: str, *, host: str = HOST, port: int = PORT
) -> tuple[viser.ViserServer, str]:
    """Start a server and say where it is, and who can reach it.

    It takes no orders from other pages that are open in a browser, and where others than this
    machine can reach it, it answers only those who have the address that is said; see `guard`.

    Args:
        title: Above the panel.
        host: Address to listen on; only this machine can reach 127.0.0.1.
        port: The first free one from here on is taken.

    Returns:
        The server, and the address of its page, with the token where it asks for one.

    Raises:
        InputError: If the address is not one of this machine's, or no port is free.
    """
    found = _resolved(host, port)
    _require_bindable(next(iter(found.values())), host, port)
    guard = choose_guard(host, found)
    with contextlib.redirect_stdout(io.StringIO()):  # It has a banner; stdout is for results.
        server = start_guarded(
            guard, lambda: viser.ViserServer(host=host, port=port, label=title, verbose=False)
        )
    server.gui.configure_theme(show_logo=False, show_share_button=False, control_width="large")
    where = HOST if host in ANY else bracketed(host)
    if not guard.token:
        reach = f"this machine only; {argument('host', '0.0.0.0')} lets others in"
    elif host in ANY:
        reach = f"whoever has this address, with this machine's name or address for {HOST}"
    else:
        reach = "whoever has this address"
    address = guard.address(where, server.get_port())
    notice(f"page: {address}  ({reach})")
    return server, address


def wait_for_ctrl_c() -> None:
    """Return on Ctrl-C, which is how a page is left."""
    notice("Ctrl-C ends it.")
    try:
        while True:
            time.sleep(1.0)
    except KeyboardInterrupt:
        notice("page closed.")


def stop_server(server: viser.ViserServer) -> None:
    """End a server without its words."""
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()


def _resolved(host: str, port: int) -> dict[str, int]:
    """The IP addresses of a host, all of which a server listens on, with their families."""
    if not 0 < port < 2**16:
        raise InputError(f"{argument('port')} is {port}; expected 1 to 65535.")
    try:
        if not host:  # It would stand for all addresses.
            raise OSError
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InputError(
            f"{argument('host', host)} is no address; expected 127.0.0.1 or 0.0.0.0."
        ) from None
    return {str(address[0]): int(family) for family, _, _, _, address in found}


def _require_bindable(family: int, host: str, port: int) -> None:
    """See that viser can listen there, or further on: it takes any mistake for a port in use."""
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except PermissionError:
            raise InputError(
                f"{argument('port', port)} is not allowed; pass one above 1023."
            ) from None
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise InputError(
                    f"{argument('host', host)} is not an address of this machine; pass 127.0.0.1."
                ) from None
            if port + PORTS_TRIED > 2**16:
                raise InputError(
                    f"{argument('port', port)} is in use; pass another, or one below "
                    f"{2**16 - PORTS_TRIED + 1} that others can follow."
                ) from None
