"""What a line of the conversation is: one of a few commands, or words about the picture."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["HELP", "Command", "Verb", "read_line"]

Verb = Literal[
    "restore",
    "refine",
    "undo",
    "redo",
    "branch",
    "go",
    "compare",
    "why",
    "tree",
    "save",
    "satisfied",
    "help",
    "quit",
    "nothing",
]

HELP: Final = """\
restore            look, and treat what needs it, from where you are
WORDS              what to change: "too dark", "a bit less smoothing", "keep the grain", "brighter in the sky",
                   "less on the left half", "in the box 10,20,300,200 remove the noise", "noise sigma 15",
                   "it is a zebra"
undo, redo         one turn back, and forth again
tree               all turns, and where you are
go NODE            to a turn (t2), to a branch, or to original
branch NAME        a new line of work from here
compare [A [B]]    numbers and a sheet; by default the original and here
why [NODE]         what was found, called and decided
save [FILE]        write the picture; "save FILE overwrite" replaces a file
satisfied          write the picture and end
quit               end; the session is kept"""

_ENDS: Final = re.compile(
    r"(?:(?:i am|i'm|im|we are|we're) )?(?:(?:very|quite|really|now|fully|completely) )*(?:satisfied|happy|done|finished)"
    r"(?: (?:now|with (?:it|this|that|the result)|thanks|thank you))*"
    r"|(?:that's|that is|this is) (?:it|all|enough)(?: thanks| thank you)?"
)
_UNDO: Final = re.compile(
    r"undo(?: (?:it|that|this|please|(?:the )?last (?:turn|step|change|one)))*|(?:go )?back|take (?:it|that) back|revert(?: (?:it|that))?"
)
_REDO: Final = re.compile(r"redo(?: (?:it|that|please))*")
_RESTORE: Final = re.compile(
    r"<?restore>?(?: (?:it|this|the (?:photo|picture|image)|please))*|auto"
)
_WHY: Final = re.compile(r"why(?: (?P<node>[\w-]+))?")
_COMPARE: Final = re.compile(
    r"compare(?: (?P<a>(?!it\b|with\b|to\b|and\b)[\w-]+)(?:(?: (?:and|with|to))?(?: the)? (?P<b>[\w-]+))?)?|compare (?:it )?(?:and|with|to)(?: the)? (?P<c>[\w-]+)"
)
_GO: Final = re.compile(
    r"(?:go|go back|back|return|checkout|switch)(?: to)?(?: the)? (?P<node>[\w-]+)"
)
_RESET: Final = re.compile(r"start (?:over|again|anew)|begin (?:again|anew)|reset(?: (?:it|that))?")
_TURN: Final = re.compile(r"t\d+|original|here|input")


@dataclass(frozen=True)
class Command:
    """A line, read.

    Attributes:
        words: its arguments: nodes, a name, a path, or the user's words.
        overwrite: for `save`.
    """

    verb: Verb
    words: tuple[str, ...] = ()
    overwrite: bool = False


def read_line(line: str, names: Collection[str] = ()) -> Command:
    """Read a line; what is no command is words about the picture.

    Args:
        line: as typed.
        names: of branches, so that `go soft` is a command and "go easy on the noise" is not.
    """
    text = " ".join(line.split())
    plain = text.lower().replace("\u2019", "'").rstrip(".!? ")
    bare = plain.replace(",", "")
    if plain in ("help", "h", "commands") or text == "?":
        return Command("help")
    if not plain or text.startswith("#"):
        return Command("nothing")
    if plain in ("quit", "exit", "q", "bye"):
        return Command("quit")
    if plain in ("tree", "history", "log"):
        return Command("tree")
    if _ENDS.fullmatch(bare):
        return Command("satisfied")
    if _RESTORE.fullmatch(bare):
        return Command("restore")
    if _UNDO.fullmatch(bare):
        return Command("undo")
    if _RESET.fullmatch(bare):
        return Command("go", ("original",))
    if _REDO.fullmatch(bare):
        return Command("redo")
    command = _with_arguments(text, names) or _save(line.strip())
    return command or Command("refine", (_words(text),))


def _with_arguments(text: str, names: Collection[str]) -> Command | None:
    """Commands that take something; None for sentences that begin with the same word."""
    typed = text.rstrip(".!? ")

    def known(word: str | None) -> bool:
        return word is None or word in names or _TURN.fullmatch(word.lower()) is not None

    if match := _fully(_WHY, typed):
        # "why did you ..." is a question about the last turn as well.
        node = match["node"]
        return Command("why", (node,) if node is not None and known(node) else ())
    if re.match(r"why\b", typed, re.IGNORECASE):
        return Command("why")
    if match := _fully(_COMPARE, typed):
        nodes = tuple(node for node in (match["a"], match["b"], match["c"]) if node)
        return Command("compare", nodes)
    if (match := _fully(_GO, typed)) and known(match["node"]):
        return Command("go", (match["node"],))
    if match := _fully(re.compile(r"branch (?P<name>\S+)"), typed):
        return Command("branch", (match["name"],))
    return None


def _fully(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return re.fullmatch(pattern.pattern, text, re.IGNORECASE)


def _save(text: str) -> Command | None:
    match = re.match(
        r"(?:save|export)\b(?:\s+(?:it|this|as|to))*(?:\s+(?P<rest>.+))?$", text, re.IGNORECASE
    )
    if match is None:
        return None
    if match["rest"] is None:
        return Command("save")
    try:
        words = shlex.split(match["rest"])
    except ValueError:
        words = [match["rest"]]
    overwrite = len(words) > 1 and words[-1].lower() in ("overwrite", "--overwrite")
    path = " ".join(words[:-1] if overwrite else words)
    # "save the highlights" is about the picture.
    named = re.search(r"\.\w{2,5}$", path) or " " not in path
    return Command("save", (path,), overwrite) if named else None


def _words(text: str) -> str:
    """Without LLMRA's mark for the instruction."""
    return re.sub(r"^<refine>\s*|</refine>\s*$", "", text)
