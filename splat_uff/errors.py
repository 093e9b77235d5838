"""The one exception for mistakes that a person can mend."""


class InputError(ValueError):
    """Something given to us is missing, malformed or contradictory.

    The message is one line: what was found, what was expected, what to do. The command line prints
    it without a traceback and exits with code 2.
    """
