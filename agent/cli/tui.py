"""`conservator tui`: the terminal UI, at this terminal or in a browser."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from conservator.agent.cli.console import say
from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.options import (
    PATH,
    SEED,
    Command,
    device_option,
    policy_option,
    vlm_option,
)
from conservator.agent.errors import UsageError

__all__ = ["at_a_terminal", "tui"]

_IMAGES = ("auto", "sixel", "kitty", "halfcell", "none")


@click.command(cls=Command)
@click.argument("pictures", metavar="[IMAGE]...", nargs=-1, type=PATH)
@policy_option()
@vlm_option
@click.option("--seed", type=SEED, help="Seed of everything that draws. Default: 0.")
@device_option
@click.option(
    "--images",
    type=click.Choice(_IMAGES),
    help="How pictures are drawn. Default: the best that the terminal says it has.",
)
@click.option("--serve", is_flag=True, help="Serve it to browsers on this machine instead.")
@click.option(
    "--port",
    metavar="P",
    type=click.IntRange(1, 65535),
    default=8000,
    show_default=True,
    help="Port of --serve.",
)
@click.option(
    "--listen",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Address of --serve. Anybody who reaches another one can do what you can.",
)
def tui(
    pictures: tuple[Path, ...],
    policy: str | None,
    vlm: str,
    seed: int | None,
    device: str | None,
    images: str | None,
    serve: bool,
    port: int,
    listen: str,
) -> ExitCode:
    """Restore photos in a terminal UI: see, compare, converse, steer.

    IMAGE is a photo to work on, the folder of a session to go on with, or a folder to look through; several photos make
    a queue. Without one there is a file browser. `conservator` alone is the same.

    Keys are listed at the bottom, all of them behind F1, and Ctrl-P finds the rest. tui.toml beside settings.toml sets
    theme, images and keys.
    """
    if serve:
        _serve(pictures, policy, vlm, seed, device, port, listen)
        return ExitCode.DONE
    from conservator.agent.tui.launching import launch
    from conservator.agent.tui.opening import Opening

    opening = Opening(policy=policy, vlm=vlm, device=device, seed=seed)
    return ExitCode(launch(pictures, opening, images=images))  # type: ignore[arg-type]


def at_a_terminal() -> bool:
    """Whether `conservator` alone can show the UI."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def _serve(
    pictures: tuple[Path, ...],
    policy: str | None,
    vlm: str,
    seed: int | None,
    device: str | None,
    port: int,
    listen: str,
) -> None:
    from conservator.agent.tui.serving import LOOPBACK, serve

    given = {"--policy": policy, "--vlm": vlm, "--seed": seed, "--device": device}
    options = [
        word for name, value in given.items() if value is not None for word in (name, str(value))
    ]
    for picture in pictures:
        if not picture.exists():
            raise UsageError(f"no file or folder {str(picture)!r}")
    say(f"serving on http://{listen}:{port}; Ctrl-C ends")
    if listen in LOOPBACK:
        say(
            "it has no authentication: every user of this machine can open it, and work on your files as you"
        )
    else:
        say(
            "WARNING: it has no authentication, and others can reach it: whoever does can read and write your files"
        )
    serve(
        [*options, *(str(picture.absolute()) for picture in pictures)],
        host=listen,
        port=port,
    )
