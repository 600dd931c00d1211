"""What the process tells its caller."""

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """Exit codes of every command."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    BACKEND_MISSING = 3
    LIMIT = 4
    """A budget or the user ended the search; the best so far is saved."""
    INTERRUPTED = 130
