"""Eval suites: `run_suite(suite, images, out)` and what it returns."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conservator.evals.runner import Run, resume_run, run_suite
    from conservator.evals.task import Row, Task, load_suite, suite_names

__all__ = ["Row", "Run", "Task", "load_suite", "resume_run", "run_suite", "suite_names"]

_HOMES = {
    "Run": "runner",
    "resume_run": "runner",
    "run_suite": "runner",
    "Row": "task",
    "Task": "task",
    "load_suite": "task",
    "suite_names": "task",
}


def __getattr__(name: str) -> Any:
    """Import on first use: the command line lists suites without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
