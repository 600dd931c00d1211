"""What options accept, checked before anything heavy is imported."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = [
    "PATH",
    "SEED",
    "Command",
    "Number",
    "device_option",
    "json_option",
    "output_option",
    "overwrite_option",
    "seed_option",
]

_F = TypeVar("_F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
"""A path; whether it is there and readable is for the typed errors to say."""

SEED = click.IntRange(0, 2**63 - 1)


class Number(click.ParamType):
    """A finite number with bounds; `nan` and `inf` compare their way around click's own ranges."""

    name = "number"

    def __init__(
        self, *, above: float | None = None, least: float | None = None, unit: str = ""
    ) -> None:
        """Accept numbers greater than `above` and not less than `least`."""
        self._above, self._least, self._unit = above, least, unit

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read a number."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not a number", param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number; leave the option out instead", param, ctx)
        if self._above is not None and number <= self._above:
            self.fail(f"{value} is not above {self._above:g} {self._unit}".rstrip(), param, ctx)
        if self._least is not None and number < self._least:
            self.fail(f"{value} is below {self._least:g} {self._unit}".rstrip(), param, ctx)
        return number


class Command(click.Command):
    """A command that takes `--debug`, which `main` looks for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Add the option behind the command's own."""
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                help="Show the traceback of an error, and warnings of libraries.",
            )
        )


def json_option(function: _F) -> _F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout.")(function)


def seed_option(function: _F) -> _F:
    """`--seed`."""
    return click.option(
        "--seed", type=SEED, default=0, show_default=True, help="Seed of everything that draws."
    )(function)


def device_option(function: _F) -> _F:
    """`--device`."""
    return click.option(
        "--device",
        metavar="NAME",
        help="Where networks compute: auto, cpu, cuda, cuda:1. Default: CONSERVATOR_DEVICE or auto.",
    )(function)


def overwrite_option(function: _F) -> _F:
    """`--overwrite`."""
    return click.option(
        "--overwrite", is_flag=True, help="Replace an existing output, even the input itself."
    )(function)


def output_option(words: str) -> Callable[[_F], _F]:
    """`-o`, described by `words`."""
    return click.option("-o", "--output", metavar="OUT", type=PATH, help=words)
