"""A line from the user, typed or piped."""

from __future__ import annotations

import sys

import click

from conservator.agent.cli.console import say

__all__ = ["line_from_user"]


def line_from_user(prompt: str) -> str | None:
    """The next line of stdin, None at its end; told back where it does not come from a terminal, so that a log can be read.

    Raises:
        KeyboardInterrupt: Ctrl-C, where nobody else takes it.
    """
    typed = sys.stdin.isatty()
    try:
        if typed and sys.stdout.isatty():
            import readline  # noqa: F401  arrow keys and history for input()

            return input(prompt)
        if typed:
            click.echo(prompt, err=True, nl=False)
        line = sys.stdin.readline()
    except EOFError:
        say()
        return None
    except UnicodeDecodeError:
        say("error: a line is not text in this terminal's encoding")
        return ""
    if line and not typed:
        say(f"{prompt}{line.strip()}")
    return line or None
