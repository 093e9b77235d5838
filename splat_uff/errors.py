"""The one exception for mistakes that a person can mend."""

LONGEST = 2000
"""Characters of a message; names in it may be a stranger's."""
LONGEST_REASON = 120
"""Characters of what a library says that it stumbled over."""


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
