"""The one exception for mistakes that a person can mend."""

LONGEST = 2000
"""Characters of a message; names in it may be a stranger's."""


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
