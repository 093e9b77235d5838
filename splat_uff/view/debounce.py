"""Work that may wait until things have been quiet for a moment; it has a thread of its own."""

import threading
from collections.abc import Callable

from splat_uff.system.progress import notice


class Debounced:
    """Runs a task some time after it was last asked for, however often that was.

    Args:
        task: What is run; never twice at once.
        seconds: Of quiet before it is.
    """

    def __init__(self, task: Callable[[], None], *, seconds: float) -> None:
        self._task, self._seconds = task, seconds
        self._asked, self._closed = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Ask for the task to be run."""
        self._asked.set()

    def close(self) -> None:
        """Run it no more; waits for one that is under way."""
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
            except Exception as error:  # One picture that fails must not end those after it.
                notice(f"the page could not be brought up to date: {error}")
