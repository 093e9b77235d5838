"""How what people do on a page is carried out, and mistakes are told to those who made them."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import viser

from splat_uff.system.errors import InputError
from splat_uff.system.progress import notice


class Callbacks:
    """What panels need beside the state: the server, and a way to run what is done on it.

    Args:
        server: Which calls back on threads of its own.
        lock: Held by callbacks that run alone.
    """

    def __init__(self, server: viser.ViserServer, lock: AbstractContextManager[Any]) -> None:
        self.server, self._lock = server, lock

    def guarded(self, act: Callable[[Any], object], *, alone: bool = True) -> Callable[[Any], None]:
        """A callback that runs alone, or not, and tells mistakes to the one who made them."""

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
        """Tell one browser something; the terminal where it has gone."""
        if client is None or client.client_id not in self.server.get_clients():
            notice(text)
            return
        client.add_notification(
            "Not done" if failed else "Done",
            text,
            auto_close_seconds=10.0,
            color="red" if failed else "green",
        )
