"""`conservator chat`: a conversation about one photo, line by line."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conservator.agent.cli.approving import Person, approve_option
from conservator.agent.cli.asking import line_from_user
from conservator.agent.cli.console import bar, emit_path, say
from conservator.agent.cli.exit_code import ExitCode
from conservator.agent.cli.interruption import stopping_on_interrupt
from conservator.agent.cli.options import (
    PATH,
    SEED,
    Command,
    contract_options,
    device_option,
    output_option,
    overwrite_option,
    policy_option,
    vlm_option,
)
from conservator.agent.cli.progress import show
from conservator.agent.errors import CancelledError, ConservatorError

if TYPE_CHECKING:
    from conservator.agent.cli.console import Bar
    from conservator.agent.dialogue.session import Session
    from conservator.agent.events import Event

__all__ = ["chat"]


@click.command(cls=Command)
@click.argument("picture", metavar="[IN]", type=PATH, required=False)
@output_option(
    "File to write at the end. Default: beside IN, photo.restored.jpg, after `satisfied`."
)
@policy_option()
@contract_options
@click.option(
    "--run-dir",
    metavar="DIR",
    type=PATH,
    help="Folder of the session; one that holds a session goes on, without IN. Default: beside IN, photo.session.",
)
@vlm_option
@approve_option
@click.option("--seed", type=SEED, help="Seed of everything that draws. Default: 0.")
@device_option
@overwrite_option
def chat(
    picture: Path | None,
    output: Path | None,
    policy: str | None,
    experience: str | None,
    targets: tuple[str, ...],
    protect: tuple[str, ...],
    keep: tuple[str, ...],
    max_seconds: float | None,
    max_tools: int | None,
    run_dir: Path | None,
    vlm: str,
    approve: str,
    seed: int | None,
    device: str | None,
    overwrite: bool,
) -> ExitCode:
    """Restore a photo in a conversation.

    One line at a time, typed or piped (conservator chat photo.jpg -o out.jpg < lines.txt): `restore` looks and treats what
    needs it; anything else is what you say about the picture ("too dark", "keep the grain", "less on the left half") or a
    command: undo, redo, tree, go, branch, compare, why, save, satisfied, help, quit.

    Targets, limits and what to keep are for `restore`, and your words come before them; what is protected stays as it came in
    whatever is said. A session that goes on keeps those that are not given anew.

    Paths of written files go to stdout, everything else to stderr. The input stays as it is. Ctrl-C stops a turn, Ctrl-D
    ends; the session is kept. When a line fails, the others are done all the same, and the exit code is the last
    failure's.
    """
    talk = _Talk()
    person = None if approve == "never" else Person(talk.shown)
    if person is not None:
        person.check()
    with bar() as shown:
        shown.stage("starting")
        from conservator.agent.dialogue.opening import open_session

        session = open_session(
            picture,
            policy=policy,
            experience=experience,
            targets=",".join(targets) if targets else None,
            protect=protect or None,
            keep=keep or None,
            max_seconds=max_seconds,
            max_tools=max_tools,
            seed=seed,
            output=output,
            overwrite=overwrite,
            run_dir=run_dir,
            device=device,
            vlm=vlm,
            approve=approve,
            approver=person,
            on_event=talk.heard,
        )
    with session:
        say(f"session: {session.run_dir}")
        say("help lists what you can say")
        code = talk.held(session)
        _end(session, satisfied=talk.satisfied)
    return code


class _Talk:
    """The conversation, line by line."""

    def __init__(self) -> None:
        self.satisfied = False
        self._bar: Bar | None = None

    def heard(self, event: Event) -> None:
        """Show what a turn is at."""
        if self._bar is not None:
            show(event, self._bar)

    def shown(self) -> Bar | None:
        """What shows it."""
        return self._bar

    def held(self, session: Session) -> ExitCode:
        """Talk until the user ends it; the exit code of the last line that failed."""
        code = ExitCode.DONE
        for line in _lines(session):
            try:
                ended = self._answered(session, line)
            except CancelledError as error:
                code = ExitCode.INTERRUPTED
                say(str(error))
                continue
            except ConservatorError as error:
                code = ExitCode(error.exit_code)
                say(f"error: {error}")
                continue
            if ended:
                break
        # At a terminal the user has seen what failed, and went on.
        return ExitCode.DONE if sys.stdin.isatty() else code

    def _answered(self, session: Session, line: str) -> bool:
        """Do one line and tell what came of it; True when it was the last one."""
        try:
            with stopping_on_interrupt() as cancel, bar() as self._bar:
                reply = session.say(line, cancel=cancel)
        except KeyboardInterrupt:
            raise CancelledError(
                "stopped at once; the session is as it was before the turn"
            ) from None
        finally:
            self._bar = None
        for text in reply.said:
            say(text)
        if reply.path is not None:
            emit_path(reply.path)
        self.satisfied = reply.satisfied
        return reply.ended


def _lines(session: Session) -> Iterator[str]:
    """What the user says, line by line; told back where it does not come from a terminal, so that a log can be read."""
    typed = sys.stdin.isatty()
    while True:
        try:
            line = line_from_user(f"{session.tree.here}> ")
        except KeyboardInterrupt:
            if not typed:
                raise
            say("\nCtrl-D or quit ends; the session is kept")
            continue
        if line is None:
            return
        yield line


def _end(session: Session, *, satisfied: bool) -> None:
    """Write the picture that was asked for, and say how to go on."""
    if not session.tree.turns:
        return
    if session.output is not None or (satisfied and not session.saved):
        path = session.save()
        say(f"saved {session.tree.here}")
        emit_path(path)
    say(f"go on with: conservator chat --run-dir {shlex.quote(str(session.run_dir))}")
