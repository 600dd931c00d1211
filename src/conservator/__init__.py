"""Conservator: an agent that inspects a photo, restores no more than needed, and documents everything.

The public names are loaded when they are first used, so that importing this package stays cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conservator.agent.api import arestore, astream, inspect, restore, resume, stream
    from conservator.agent.approval import Answer, Question
    from conservator.agent.dialogue.opening import open_session
    from conservator.agent.dialogue.session import Session
    from conservator.agent.errors import (
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
    from conservator.agent.recipe import Recipe, replay
    from conservator.agent.report.writing import write_report
    from conservator.agent.result import RestorationResult
    from conservator.agent.steering import Steering
    from conservator.restorers.degradations.vocabulary import (
        ConditionReport,
        Finding,
        Kind,
        Level,
    )
    from conservator.restorers.prompts.model import RestorationPrompt

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "BackendMissingError",
    "CancelledError",
    "ConditionReport",
    "ConservatorError",
    "CorruptImageError",
    "Finding",
    "ImageTooLargeError",
    "InputError",
    "Kind",
    "Level",
    "MissingFileError",
    "NotAnImageError",
    "OutputError",
    "PromptError",
    "Question",
    "Recipe",
    "RestorationPrompt",
    "RestorationResult",
    "RestorerError",
    "Session",
    "Steering",
    "UnknownNameError",
    "UsageError",
    "WeightsError",
    "__version__",
    "arestore",
    "astream",
    "inspect",
    "open_session",
    "replay",
    "restore",
    "resume",
    "stream",
    "write_report",
]

_HOMES = {
    "conservator.agent.api": (
        "arestore",
        "astream",
        "inspect",
        "restore",
        "resume",
        "stream",
    ),
    "conservator.agent.approval": ("Answer", "Question"),
    "conservator.agent.dialogue.opening": ("open_session",),
    "conservator.agent.dialogue.session": ("Session",),
    "conservator.agent.recipe": ("Recipe", "replay"),
    "conservator.agent.report.writing": ("write_report",),
    "conservator.agent.result": ("RestorationResult",),
    "conservator.agent.steering": ("Steering",),
    "conservator.restorers.degradations.vocabulary": (
        "ConditionReport",
        "Finding",
        "Kind",
        "Level",
    ),
    "conservator.restorers.prompts.model": ("RestorationPrompt",),
    "conservator.agent.errors": tuple(name for name in __all__ if name.endswith("Error")),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
