"""What options accept, checked before anything heavy is imported."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = [
    "PATH",
    "SEED",
    "Command",
    "above",
    "contract_options",
    "device_name",
    "device_option",
    "fail_on_error_option",
    "json_option",
    "metrics_option",
    "output_option",
    "overwrite_option",
    "overwriting",
    "policy_option",
    "seed_option",
    "size_options",
    "systems_option",
    "vlm_option",
    "workers_option",
]

_F = TypeVar("_F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
"""A path; whether it is there and readable is for the typed errors to say."""

SEED = click.IntRange(0, 2**63 - 1)


def above(bound: float) -> Callable[[click.Context, click.Parameter, float | None], float | None]:
    """A callback that accepts finite numbers above `bound`; `nan` and `inf` compare their way around click's ranges."""

    def check(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
        if value is None or (math.isfinite(value) and value > bound):
            return value
        raise click.BadParameter(
            f"{value:g} is not a finite number above {bound:g}", context, option
        )

    return check


def device_name(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """A callback that accepts names of devices; whether one is there is for torch to say, later."""
    if value is None or re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value):
        return value
    raise click.BadParameter(f"{value!r} is not auto, cpu, mps, cuda or cuda:N", context, option)


class Command(click.Command):
    """A command that takes `--debug`, which `main` looks for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Add the option behind the command's own; `-h` also where a command is called without the program."""
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
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
        callback=device_name,
        help="Where networks compute: auto, cpu, cuda, cuda:1. Default: CONSERVATOR_DEVICE or auto.",
    )(function)


def contract_options(function: _F) -> _F:
    """`--experience`, `--target`, `--protect`, `--keep`, `--max-seconds` and `--max-tools`."""
    for option in reversed(
        (
            click.option(
                "--experience",
                metavar="WHICH",
                help="Learned experience that orders what is tried: auto, none or a file (see `conservator policy`). "
                "Default: CONSERVATOR_EXPERIENCE, else the policy's.",
            ),
            click.option(
                "--target",
                "targets",
                metavar="LIST",
                multiple=True,
                help="Quality targets, e.g. noise<=low,jpeg<=low,ssim_to_input>=0.8,piqe-=5. Default: the policy's.",
            ),
            click.option(
                "--protect",
                metavar="PLACE",
                multiple=True,
                help="A part that comes back as it came in: x,y,w,h in px or %, a place in words (the sky, left half), face "
                "(larger frontal ones; about half are found) or text (printed lines; most are found).",
            ),
            click.option(
                "--keep",
                metavar="WHAT",
                multiple=True,
                help="What is wanted as it is: the grain, the bokeh, the colours, it dark, the fog, ...",
            ),
            click.option(
                "--max-seconds",
                metavar="S",
                type=float,
                callback=above(0),
                help="Stop after so many seconds with the best so far.",
            ),
            click.option(
                "--max-tools",
                metavar="N",
                type=click.IntRange(min=0),
                help="Stop after so many restorer calls with the best so far.",
            ),
        )
    ):
        function = option(function)
    return function


def policy_option(default: str | None = None) -> Callable[[_F], _F]:
    """`--policy`; without a default of its own where an earlier session may name one."""
    words = "A policy (see `conservator policies`) or a YAML file."
    if default is None:
        return click.option("--policy", metavar="NAME", help=f"{words} Default: balanced.")
    return click.option("--policy", metavar="NAME", default=default, show_default=True, help=words)


def size_options(function: _F) -> _F:
    """`--configuration` and `--weights`."""
    weights = click.option(
        "--weights", metavar="PATH", help="Weights in place of the shipped ones (.safetensors)."
    )
    configuration = click.option(
        "--configuration",
        metavar="NAME",
        default="compact",
        show_default=True,
        help="Size of the restorer: compact or paper.",
    )
    return configuration(weights(function))


def vlm_option(function: _F) -> _F:
    """`--vlm`."""
    return click.option(
        "--vlm",
        metavar="WHO",
        default="auto",
        help="Vision-language model: embedded, local, served, none, or a server's URL. "
        "Default: CONSERVATOR_VLM, else a running server, else embedded.",
    )(function)


def overwriting(words: str) -> Callable[[_F], _F]:
    """`--overwrite`, described by `words`."""
    return click.option("--overwrite", is_flag=True, help=words)


overwrite_option = overwriting("Replace an existing output, even the input itself.")


def output_option(words: str) -> Callable[[_F], _F]:
    """`-o`, described by `words`."""
    return click.option("-o", "--output", metavar="OUT", type=PATH, help=words)


def metrics_option(words: str) -> Callable[[_F], _F]:
    """`--metric`, any number of times, described by `words`."""
    return click.option("--metric", "metrics", metavar="NAME", multiple=True, help=words)


def systems_option(words: str) -> Callable[[_F], _F]:
    """`--system`, any number of times, described by `words`."""
    return click.option("--system", "systems", metavar="NAME", multiple=True, help=words)


def workers_option(function: _F) -> _F:
    """`--workers`."""
    return click.option(
        "--workers", metavar="N", type=click.IntRange(min=1), help="Processes. Default: one a core."
    )(function)


def fail_on_error_option(function: _F) -> _F:
    """`--fail-on-error`."""
    return click.option(
        "--fail-on-error",
        is_flag=True,
        help="Exit with 1 when one answer is missing, not only when all are.",
    )(function)
