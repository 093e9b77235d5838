"""Work that waits until requests have paused for a moment, on a thread of its own."""

import threading
from collections.abc import Callable

from splat_uff.system.progress import notice


class Debounced:
    """Runner of a task once some time has passed since the last of any number of requests.

    Args:
        task: Task to run, never twice at once.
        seconds: Time without requests before it runs, in seconds.
    """

    def __init__(self, task: Callable[[], None], *, seconds: float) -> None:
        self._task, self._seconds = task, seconds
        self._asked, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Request a run of the task."""
        self._asked.set()

    def close(self) -> None:
        """Stop running the task, after waiting for a run in progress."""
        self._closed.set()
        self._asked.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._asked.wait()
            while self._asked.is_set() and not self._closed.is_set():
                self._asked.clear()
                self._closed.wait(self._seconds)
            if self._closed.is_set():
                return
            try:
                self._task()
            except Exception as error:  # A picture that fails must not stop later ones.
                notice(f"the page could not be brought up to date: {error}")
