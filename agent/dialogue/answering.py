"""A line of the conversation as a call of the session."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event as Signal
from typing import TYPE_CHECKING

from conservator.agent.dialogue.language import HELP, Command
from conservator.agent.dialogue.reply import Reply
from conservator.agent.dialogue.wording import compared, tree_lines

if TYPE_CHECKING:
    from conservator.agent.dialogue.session import Session

__all__ = ["answer"]


def answer(session: Session, command: Command, cancel: Signal | None) -> Reply:
    """Do what a line asks for.

    Raises:
        ConservatorError: as the session's methods.
    """
    match command:
        case Command("restore"):
            return session.restore(cancel=cancel)
        case Command("refine", (words,)):
            return session.refine(words, cancel=cancel)
        case Command("branch", (name,)):
            return session.branch(name)
        case Command("go", (node,)):
            return session.go(node)
        case Command("compare", nodes):
            comparison = session.compare(*nodes)
            return Reply(said=tuple(compared(comparison)), path=comparison.sheet)
        case Command("why", nodes):
            return Reply(said=session.why(*nodes))
        case Command("save", words):
            path = session.save(*words, overwrite=command.overwrite)
            return Reply(said=(f"saved {session.tree.here}",), path=path)
        case Command("satisfied"):
            return Reply(said=("good",), turn=session.here, ended=True, satisfied=True)
    simple: dict[str, Callable[[], Reply]] = {
        "undo": session.undo,
        "redo": session.redo,
        "tree": lambda: Reply(said=tuple(tree_lines(session.tree))),
        "help": lambda: Reply(said=tuple(HELP.splitlines())),
        "quit": lambda: Reply(ended=True),
    }
    return simple.get(command.verb, Reply)()
