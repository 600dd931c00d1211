"""The tree of a dialogue: its root is the untouched input, each turn is a node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from conservator.agent.dialogue.treatment import Treatment
from conservator.agent.recipe import MixStep, RecipeStep
from conservator.agent.vlm.asked import Asked
from conservator.policies.acceptance import Measurement, Verdict
from conservator.policies.attempt import ORIGINAL
from conservator.policies.refinement import Change
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.errors import UnknownNameError, UsageError
from conservator.tools.regions import Region

__all__ = ["MAIN", "Tree", "Turn", "Wish"]

MAIN: Final = "main"
"""The branch that a session begins on."""
_NAME: Final = re.compile(r"[^\W\d][\w-]{0,39}")
_TURN: Final = re.compile(r"t\d+")


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Wish(_Data):
    """What the user's words ask for in one place.

    Attributes:
        region: the place; None for the whole photo.
        changes: kind -> change, as it was read.
        doses: kind -> severity by which its strength moved; nothing for kinds that are left alone or set to a number.
        values: kind -> strength that the user gave as a number.
        shows: what the photo shows, as the user says ("a zebra"); "" where that was not said.
    """

    region: Region | None = None
    changes: Mapping[Kind, Change] = {}
    doses: Mapping[Kind, float] = {}
    values: Mapping[Kind, float] = {}
    shows: str = ""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """All that it is about."""
        named = {*self.changes, *self.values}
        return tuple(kind for kind in Kind if kind in named)


class Turn(_Data):
    """A node: what was asked, what was done, what came of it.

    Attributes:
        id: `t1`, `t2`, ... in the order of making.
        parent: the node it was asked at.
        instruction: `restore`, the automatic run, or `refine`, the user's words.
        words: as the user said them; for `restore` what was said while it ran.
        wishes: how they were read.
        decided_by: who read them, or planned the run's steps.
        protect: parts that stay as they came in after each step.
        treatment: what leads from the untouched input to the picture.
        steps: the same as it was carried out, with rendered prompts and weight hashes.
        artifact: content hash of the picture in the session's folder; "" for the input as it is.
        measurement: the picture's, compared with the untouched input.
        verdict: what the joint rule says to it; None where nothing is treated.
        said: the answer to the user, line by line.
        run: folder of the automatic run, below the session's; "" for `refine`.
        asked: questions to a vision-language model.
    """

    id: str
    parent: str
    instruction: Literal["restore", "refine"]
    words: str = ""
    wishes: tuple[Wish, ...] = ()
    decided_by: str = "policy"
    protect: tuple[Region, ...] = ()
    treatment: Treatment
    steps: tuple[RecipeStep | MixStep, ...] = ()
    artifact: str = ""
    measurement: Measurement | None = None
    verdict: Verdict | None = None
    said: tuple[str, ...] = ()
    run: str = ""
    asked: tuple[Asked, ...] = ()
    seconds: float = 0.0


class Tree(_Data):
    """The turns, and where the session is; every change gives a new tree.

    Attributes:
        turns: in the order of making.
        here: the node that the next turn starts from.
        undone: nodes that `redo` goes back to, the next one last.
        branches: name -> node; the branch the session is on moves with it.
        on: that branch, "" after `go` to a node by its id.
    """

    turns: tuple[Turn, ...] = ()
    here: str = ORIGINAL
    undone: tuple[str, ...] = ()
    branches: Mapping[str, str] = {MAIN: ORIGINAL}
    on: str = MAIN

    def turn(self, node: str) -> Turn | None:
        """The turn with this id; None for the original.

        Raises:
            UnknownNameError: no such node.
        """
        if node == ORIGINAL:
            return None
        for turn in self.turns:
            if turn.id == node:
                return turn
        raise UnknownNameError("node", node, [ORIGINAL, *(t.id for t in self.turns)])

    def node(self, name: str) -> str:
        """The id of a node, given by id, by branch, or as `here`, `original` or `input`.

        Raises:
            UnknownNameError: neither a node nor a branch.
        """
        name = name.strip()
        key = {"here": self.here, "input": ORIGINAL, "root": ORIGINAL}.get(name.lower(), name)
        if key in self.branches:
            return self.branches[key]
        ids = [ORIGINAL, *(turn.id for turn in self.turns)]
        if key.lower() in ids:
            return key.lower()
        raise UnknownNameError("node or branch", name, [*ids, *self.branches])

    def path(self, node: str | None = None) -> tuple[Turn, ...]:
        """The turns from the original to a node, by default `here`; first made first."""
        found: list[Turn] = []
        turn = self.turn(self.here if node is None else node)
        while turn is not None:
            found.append(turn)
            turn = self.turn(turn.parent)
        return tuple(reversed(found))

    def children(self, node: str) -> tuple[Turn, ...]:
        """The turns that were asked at a node."""
        return tuple(turn for turn in self.turns if turn.parent == node)

    @property
    def next_id(self) -> str:
        """The id of the turn that is made next."""
        return f"t{len(self.turns) + 1}"

    def grown(self, turn: Turn) -> Tree:
        """The tree with a new turn, and the session at it."""
        return self._at(turn.id).model_copy(update={"turns": (*self.turns, turn), "undone": ()})

    def undo(self) -> Tree:
        """One turn back.

        Raises:
            UsageError: at the original already.
        """
        turn = self.turn(self.here)
        if turn is None:
            raise UsageError("nothing to undo: this is the untouched input")
        return self._at(turn.parent).model_copy(update={"undone": (*self.undone, turn.id)})

    def redo(self) -> Tree:
        """The turn that was undone last, once more.

        Raises:
            UsageError: nothing was undone.
        """
        if not self.undone:
            raise UsageError("nothing to redo: no turn was undone here")
        return self._at(self.undone[-1]).model_copy(update={"undone": self.undone[:-1]})

    def go(self, name: str) -> Tree:
        """To a node or a branch.

        Raises:
            UnknownNameError: neither.
        """
        node = self.node(name)
        on = name.strip() if name.strip() in self.branches else ""
        left = self.model_copy(update={"on": on, "undone": ()})
        return left._at(node)

    def branch(self, name: str) -> Tree:
        """A new branch that begins here; the one that is left stays where it is.

        Raises:
            UsageError: the name is taken, or means something else.
        """
        if not _NAME.fullmatch(name) or _TURN.fullmatch(name.lower()):
            raise UsageError(
                f"{name!r} cannot name a branch; give a word such as soft or try-2, not a turn's id"
            )
        if name in self.branches:
            raise UsageError(f"there is a branch {name!r} already; go to it with: go {name}")
        if name.lower() in (ORIGINAL, "here", "input", "root", "back"):
            raise UsageError(f"{name!r} means something else; give the branch another name")
        branches = {**self.branches, name: self.here}
        return self.model_copy(update={"branches": branches, "on": name})

    def _at(self, node: str) -> Tree:
        branches = {**self.branches, self.on: node} if self.on else dict(self.branches)
        return self.model_copy(update={"here": node, "branches": branches})
