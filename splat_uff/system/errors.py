"""The one exception for mistakes that a person can mend, and how it names what to pass."""

from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 2000
"""Characters of a message; names in it may be a stranger's."""
LONGEST_REASON = 120
"""Characters of what a library says that it stumbled over."""
_commands_running = 0


class InputError(ValueError):
    """Something given to us is missing, malformed or contradictory.

    The message is one line: what was found, what was expected, what to do. The command line prints
    it without a traceback and exits with code 2.
    """

    def __init__(self, message: str) -> None:
        """Keep the message as one line that a terminal can show."""
        super().__init__(on_one_line(message))


def on_one_line(text: str) -> str:
    """Text without what would break the line or command a terminal, and not too long.

    File names and what stands in files may hold line breaks and escape sequences.
    """
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} ..."


def reason_of(error: Exception) -> str:
    """Why something failed, as a few words for the middle of a message of ours.

    Of the operating system it is what that says without number and path; of a library that says
    nothing, the name of its exception.
    """
    said = error.strerror if isinstance(error, OSError) else None
    return " ".join((said or str(error)).split())[:LONGEST_REASON] or type(error).__name__


def argument(name: str, value: int | str | None = None, *, flag: str = "") -> str:
    """An argument as the person who reads a message passes it: a flag, or a keyword in Python.

    Messages that say what to pass are put together with it, so that each reads right in a terminal
    as well as in a notebook.

    Args:
        name: Of the argument in Python.
        value: What to pass; in capitals where it stands for something, as in `masks=DIR`.
        flag: On the command line; that of the same name unless given.

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
    """The one of two wordings that fits whoever reads: of a library, or of a command.

    Example:
        >>> worded("see TrainConfig", command="see --help")
        'see TrainConfig'
    """
    return command if _commands_running else library


@contextmanager
def on_command_line() -> Iterator[None]:
    """Word messages for a terminal meanwhile, on all threads."""
    global _commands_running
    _commands_running += 1
    try:
        yield
    finally:
        _commands_running -= 1
