"""The one exception for mistakes that users can correct, and the wording of its messages."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 2000
"""Most characters of a message, which may contain names from unknown files."""
LONGEST_REASON = 120
"""Most characters of the reason that a library gives for an error."""
_commands_running = 0


class InputError(ValueError):
    """Error for input that is missing, malformed or contradictory.

    The message is one line: what was found, what was expected, what to do. The command line prints
    it without a traceback and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        """Store the message as one line that is safe to print in a terminal."""
        super().__init__(on_one_line(message))


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """Print an `InputError` as one line on stderr.

    Raises:
        SystemExit: With status 2, in place of the `InputError`.
    """
    try:
        yield
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


def on_one_line(text: str) -> str:
    """Escape characters that would break the line or control a terminal, and limit the length.

    File names and the content of files may hold line breaks and escape sequences.
    """
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} ..."


def reason_of(error: Exception) -> str:
    """Reason for a failure, as a few words for the middle of one of our messages.

    For errors of the operating system, this is their text without number and path; for an exception
    without text, its name; for others, the first sentence of their text.
    """
    said = error.strerror if isinstance(error, OSError) else None
    text = re.split(r"\. (?=[A-Z])", " ".join((said or str(error)).split()))[0]
    text = text or type(error).__name__
    if len(text) <= LONGEST_REASON:
        return text
    words = text[: LONGEST_REASON - len(" ...")].rpartition(" ")[0]
    return f"{words} ..." if words else text[:LONGEST_REASON]


def argument(name: str, value: int | str | None = None, *, flag: str = "") -> str:
    """Write an argument in the form in which the reader passes it: a flag, or a Python keyword.

    Messages that name an argument use this function, so that they fit a terminal as well as a
    notebook.

    Args:
        name: Name of the argument in Python.
        value: Value to pass, in capitals if it is a placeholder, as in `masks=DIR`.
        flag: Flag on the command line; by default, the one of the same name.

    Example:
        >>> argument("output"), argument("overwrite", True), argument("masks", "classical")
        ('output', 'overwrite=True', 'masks="classical"')
        >>> with on_command_line():
        ...     argument("output"), argument("overwrite", True), argument("masks", "classical")
        ('--output', '--overwrite', '--masks classical')
    """
    flag = flag or f"--{name.replace('_', '-')}"
    if value is None:
        return worded(name, command=flag)
    shown = f'"{value}"' if isinstance(value, str) and not value.isupper() else value
    return worded(f"{name}={shown}", command=flag if value is True else f"{flag} {value}")


def worded(library: str, *, command: str) -> str:
    """Choose the wording that fits the reader: that of the library, or that of the command line.

    Example:
        >>> worded("see TrainConfig", command="see --help")
        'see TrainConfig'
    """
    return command if _commands_running else library


@contextmanager
def on_command_line() -> Iterator[None]:
    """Word messages for the command line during the block, on all threads."""
    global _commands_running
    _commands_running += 1
    try:
        yield
    finally:
        _commands_running -= 1
