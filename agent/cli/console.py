"""Where words go: data to stdout, talk to stderr, moving bars to a terminal only."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from conservator.agent.cli.exit_code import ExitCode

__all__ = [
    "Bar",
    "bar",
    "columns",
    "emit",
    "emit_json",
    "emit_path",
    "mute_stdout",
    "one_line",
    "say",
]


def say(text: str = "") -> None:
    """Talk: a line on stderr."""
    click.echo(text, err=True)


def emit(text: str | bytes) -> None:
    """Data: a line on stdout; ends the command when its reader has gone."""
    try:
        click.echo(text)
    except BrokenPipeError:
        mute_stdout()
        raise click.exceptions.Exit(ExitCode.DONE) from None


def mute_stdout() -> None:
    """Keep Python from complaining at exit that nobody reads what is left in the buffer."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)


def emit_path(path: Path) -> None:
    """Data: a path, byte for byte as the file system names it."""
    emit(os.fsencode(path))


def emit_json(data: object) -> None:
    """Data: one JSON document, strict, so numbers that are not finite become null."""
    emit(json.dumps(_finite(data), indent=2, ensure_ascii=False, allow_nan=False))


def _finite(data: object) -> object:
    if isinstance(data, float) and not math.isfinite(data):
        return None
    if isinstance(data, Mapping):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_finite(value) for value in data]
    return data


def one_line(text: str) -> str:
    """Text without line breaks."""
    return " ".join(text.split())


def columns(rows: Iterable[Sequence[str]], *, indent: str = "  ") -> list[str]:
    """Rows as lines with aligned columns."""
    table = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        indent
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


class Bar:
    """What a command tells while it works; this one shows nothing."""

    def stage(self, text: str) -> None:
        """Say what is going on now."""

    def advance(self, done: int, total: int) -> None:
        """Say how far the stage is."""

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Out of the way while the block talks."""
        yield


class _TerminalBar(Bar):
    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def stage(self, text: str) -> None:
        # A task cannot lose its total again, so that an unknown end takes a new one.
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(text, total=None)

    def advance(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total, refresh=True)

    @contextmanager
    def aside(self) -> Iterator[None]:
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()


@contextmanager
def bar(*, on_terminal: Callable[[], bool] = lambda: sys.stderr.isatty()) -> Iterator[Bar]:
    """A bar on stderr while the block runs; invisible unless stderr is a terminal."""
    if not on_terminal():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        yield _TerminalBar(progress)
