"""`--approve`: the person at the terminal, or behind a pipe, answers before tools are called."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import click

from conservator.agent.cli.asking import line_from_user
from conservator.agent.cli.console import Bar, one_line, say
from conservator.agent.cli.interruption import interrupting_at_once
from conservator.agent.errors import UsageError

if TYPE_CHECKING:
    from conservator.agent.approval import Answer, Question

__all__ = ["Person", "approve_option"]

_HELP: Final = """\
yes                do it
skip               not this one; plan another way
stop               stop here with the best so far; --resume asks again
noise=20, jpeg=30  do it with these strengths
with RESTORER      let another restorer do it
WORDS              what is to be different from here on: "less smoothing", "keep the grain"; then you are asked again"""
_BRIEF: Final = (
    'yes, skip, stop, noise=20, with RESTORER, or words ("less smoothing"); help explains'
)


approve_option = click.option(
    "--approve",
    type=click.Choice(["plan", "each", "never"]),
    default="never",
    show_default=True,
    help="Ask before the first restorer is called, or before each call. Answers are typed or piped, one a line.",
)


class Person:
    """Asks on stderr and reads stdin; the end of the input means to stop with the best so far."""

    def __init__(self, shown: Callable[[], Bar | None]) -> None:
        """`shown` gives the bar that stands in the way of talking."""
        self._shown = shown
        self._met = False

    def check(self) -> None:
        """Refuse before the work what would be refused in the middle of it.

        Raises:
            UsageError: there is neither a terminal nor a pipe to read answers from.
        """
        if not _can_be_asked():
            raise UsageError(
                "--approve needs a terminal, or answers on stdin (echo yes | conservator ...); leave it out to run unasked"
            )

    def __call__(self, question: Question) -> Answer | str:
        """The next line, or an answer to stop where there is none."""
        from conservator.agent.approval import Answer

        self.check()
        shown = self._shown() or Bar()
        with shown.aside(), interrupting_at_once():
            for text in _told(question, found=not self._met):
                say(text)
            self._met = True
            say(_BRIEF)
            while (line := line_from_user("approve> ")) is not None:
                if line.strip().lower() in ("help", "h", "?"):
                    say(_HELP)
                elif line.strip():
                    return line
        say("end of the answers: stopping here")
        return Answer(what="stop")


def _told(question: Question, *, found: bool) -> Iterator[str]:
    from conservator.agent.cli.narration import condition

    if question.replies:
        yield from map(one_line, question.replies)
    elif found:
        yield "Found"
        yield from condition(question.report)
    yield "Would do next" if question.scope == "each" else "Would do first"
    yield from _planned(question)


def _planned(question: Question) -> Iterator[str]:
    for number, (call, prompt) in enumerate(zip(question.calls, question.prompts, strict=True)):
        yield f"  {'or else ' if number else ''}{call}"
        if call.rationale:
            yield f"    why: {one_line(call.rationale)}"
        yield f'    prompt: "{one_line(prompt)}"'
        if call.trial:
            yield f"    chosen: {one_line(call.trial)}"


def _can_be_asked() -> bool:
    """Whether somebody may be at the other end of stdin: a terminal, a pipe or a file, but no /dev/null."""
    if sys.stdin is None or sys.stdin.closed:
        return False
    try:
        number = sys.stdin.fileno()
    except (OSError, ValueError):
        # A stream of the program that called us.
        return True
    return os.isatty(number) or not stat.S_ISCHR(os.fstat(number).st_mode)
