"""The error tree. Every error a user can meet says what was wrong, with which value, and what to do.

::

    ConservatorError                exit 1
    ├── UsageError                  exit 2   the request itself is wrong
    │   ├── UnknownNameError                 no such restorer, policy, metric, target or degradation
    │   ├── PromptError                      a prompt, recipe or target that does not parse
    │   └── InputError                       the picture given cannot be used
    │       ├── MissingFileError             no such file, or a directory
    │       ├── NotAnImageError              empty, text, or an unknown format
    │       ├── CorruptImageError            a known format that breaks off or does not decode
    │       └── ImageTooLargeError           more pixels or bytes than the limit
    ├── OutputError                 exit 1   the result cannot be written (read-only, full, exists)
    ├── WeightsError                exit 1   missing, corrupted or mismatching weights
    ├── RestorerError               exit 1   a restorer failed on valid input
    ├── BackendMissingError         exit 3   an optional package, model or server is not there
    └── CancelledError              exit 130 the caller asked to stop; the best so far is kept
"""

from typing import ClassVar

__all__ = [
    "BackendMissingError",
    "CancelledError",
    "ConservatorError",
    "CorruptImageError",
    "ImageTooLargeError",
    "InputError",
    "MissingFileError",
    "NotAnImageError",
    "OutputError",
    "PromptError",
    "RestorerError",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
]


class ConservatorError(Exception):
    """Root of every error raised on purpose; `exit_code` is what the command line returns."""

    exit_code: ClassVar[int] = 1


class UsageError(ConservatorError):
    """The request is wrong and no amount of retrying helps."""

    exit_code: ClassVar[int] = 2


class UnknownNameError(UsageError):
    """A name that no registry knows."""

    def __init__(self, what: str, name: str, known: list[str] | tuple[str, ...]) -> None:
        """Say that `name` is not a known `what`, and list the known ones."""
        super().__init__(f"unknown {what} {name!r}; known: {', '.join(sorted(known))}")
        self.what, self.name, self.known = what, name, tuple(known)


class PromptError(UsageError):
    """A prompt, recipe or target that does not parse."""


class InputError(UsageError):
    """The picture given cannot be used."""


class MissingFileError(InputError):
    """No such file, or not a file."""


class NotAnImageError(InputError):
    """Empty, text, or a format nobody here reads."""


class CorruptImageError(InputError):
    """A known format that breaks off or does not decode."""


class ImageTooLargeError(InputError):
    """More pixels or bytes than the configured limit."""


class OutputError(ConservatorError):
    """The result cannot be written; nothing half-written is left behind."""


class WeightsError(ConservatorError):
    """Weights are missing, corrupted, or do not fit the network."""


class RestorerError(ConservatorError):
    """A restorer failed on valid input."""


class BackendMissingError(ConservatorError):
    """An optional package, model or server is not there."""

    exit_code: ClassVar[int] = 3


class CancelledError(ConservatorError):
    """The caller asked to stop; what was best so far is kept."""

    exit_code: ClassVar[int] = 130
