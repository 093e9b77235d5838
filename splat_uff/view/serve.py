"""Starting and ending the server behind a page."""

import contextlib
import io
import socket
import time

import viser

from splat_uff.errors import InputError
from splat_uff.progress import notice

HOST, PORT = "127.0.0.1", 8080
LOCAL = ("127.0.0.1", "localhost", "::1")
PORTS_TRIED = 100


def start_server(title: str, *, host: str = HOST, port: int = PORT) -> viser.ViserServer:
    """Start a server and say where it is, and who can reach it.

    Args:
        title: Above the panel.
        host: Address to listen on; only this machine can reach 127.0.0.1.
        port: The first free one from here on is taken.

    Raises:
        InputError: If the address is not one of this machine's, or no port is free.
    """
    port = _free_port(host, port)
    with contextlib.redirect_stdout(io.StringIO()):  # It has a banner; stdout is for results.
        server = viser.ViserServer(host=host, port=port, label=title, verbose=False)
    server.gui.configure_theme(show_logo=False, show_share_button=False, control_width="large")
    where = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    reach = (
        "this machine only; --host 0.0.0.0 lets others in"
        if host in LOCAL
        else "everyone who can reach this machine"
    )
    notice(f"page: http://{where}:{server.get_port()}  ({reach})")
    return server


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


def _free_port(host: str, port: int) -> int:
    if not 0 < port < 2**16:
        raise InputError(f"--port is {port}; expected 1 to 65535.")
    last = min(port + PORTS_TRIED, 2**16)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except OSError:
        raise InputError(f"--host {host} is no address; expected 127.0.0.1 or 0.0.0.0.") from None
    for number in range(port, last):
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((host, number))
            except PermissionError:
                raise InputError(f"--port {number} is not allowed; pass one above 1023.") from None
            except OSError as error:
                if error.errno is not None and "assign" in (error.strerror or ""):
                    raise InputError(
                        f"--host {host} is not an address of this machine; pass 127.0.0.1."
                    ) from None
                continue
            return number
    raise InputError(f"no port is free from {port} to {last - 1}; pass another --port.")
