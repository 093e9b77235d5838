"""Callbacks for actions on a page, which report mistakes to the user who made them."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import viser

from splat_uff.system.errors import InputError
from splat_uff.system.progress import notice


class Callbacks:
    """Server of the page, and a way to run callbacks on it: all that panels need besides the state.

    Args:
        server: Server, which runs callbacks on threads of its own.
        lock: Lock held by callbacks that run alone.
    """

    def __init__(self, server: viser.ViserServer, lock: AbstractContextManager[Any]) -> None:
        self.server, self._lock = server, lock

    def guarded(self, act: Callable[[Any], object], *, alone: bool = True) -> Callable[[Any], None]:
        """Wrap `act` in a callback, run alone or not, that reports mistakes to its user."""

        def callback(event: Any) -> None:
            with self._lock if alone else nullcontext():
                try:
                    act(event)
                except InputError as error:
                    self.say(event.client, str(error), failed=True)
                except OSError as error:  # A full disk, a folder without permission.
                    self.say(event.client, f"{error}; make room.", failed=True)

        return callback

    def say(self, client: viser.ClientHandle | None, text: str, *, failed: bool = False) -> None:
        """Show a message in one browser, or in the terminal if that browser has disconnected."""
        if client is None or client.client_id not in self.server.get_clients():
            notice(text)
            return
        client.add_notification(
            "Not done" if failed else "Done",
            text,
            auto_close_seconds=10.0,
            color="red" if failed else "green",
        )
