"""The errors a caller of the agent may meet: the whole tree of `conservator.restorers.errors`, under one roof."""

from conservator.restorers.errors import (
    BackendMissingError,
    CancelledError,
    ConservatorError,
    CorruptImageError,
    ImageTooLargeError,
    InputError,
    MissingFileError,
    NotAnImageError,
    OutputError,
    PromptError,
    RestorerError,
    UnknownNameError,
    UsageError,
    WeightsError,
)

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
