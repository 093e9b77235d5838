"""Starting and stopping the server behind a page."""

import contextlib
import errno
import io
import socket
import time

import viser

from splat_uff.system.errors import InputError, argument
from splat_uff.system.portable import require_free
from splat_uff.system.progress import notice
from splat_uff.view.guard import bracketed, choose_guard, start_guarded

HOST, PORT = "127.0.0.1", 8080
ANY = ("0.0.0.0", "::")
"""Hosts that stand for all addresses of the machine."""
PORTS_TRIED = 1000
"""Number of successive ports that viser tries; if none of them is free, it never returns."""


def start_server(title: str, *, host: str = HOST, port: int = PORT) -> viser.ViserServer:
    """Start a server like `start_addressed`, but return only the server."""
    return start_addressed(title, host=host, port=port)[0]


def start_addressed(
    title: str, *, host: str = HOST, port: int = PORT
) -> tuple[viser.ViserServer, str]:
    """Start a server, and print its address and who can reach it.

    It ignores requests from other pages open in a browser. If other machines can reach it, it
    answers only those who have the printed address; see `guard`.

    Args:
        title: Title shown above the panel.
        host: Address to listen on; only this machine can reach 127.0.0.1.
        port: First port to try; the next free one is used.

    Returns:
        The server, and the address of its page, with a token if the server requires one.

    Raises:
        InputError: If the address is not one of this machine's, or no port is free.
    """
    found = _resolved(host, port)
    _require_bindable(next(iter(found.values())), host, port)
    guard = choose_guard(host, found)
    with contextlib.redirect_stdout(io.StringIO()):  # Hides its banner; stdout is for results.
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
    """Wait until the user presses Ctrl-C to close the page."""
    notice("Ctrl-C ends it.")
    try:
        while True:
            time.sleep(1.0)
    except KeyboardInterrupt:
        notice("page closed.")


def stop_server(server: viser.ViserServer) -> None:
    """Stop a server without its output."""
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()


def _resolved(host: str, port: int) -> dict[str, int]:
    """IP addresses of a host, on all of which a server listens, with their families."""
    if not 0 < port < 2**16:
        raise InputError(f"{argument('port')} is {port}; expected 1 to 65535.")
    try:
        if not host:  # An empty host would mean all addresses.
            raise OSError
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise InputError(
            f"{argument('host', host)} is no address; expected 127.0.0.1 or 0.0.0.0."
        ) from None
    return {str(address[0]): int(family) for family, _, _, _, address in found}


def _require_bindable(family: int, host: str, port: int) -> None:
    """Check that viser can listen on a port or a later one; it takes any error for a busy port."""
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        require_free(tried)
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
