"""What a session holds: its state, on disk after each change, and the pictures and measurements of its tree."""

from __future__ import annotations

from conservator.agent.dialogue.state import SessionState, write_state
from conservator.agent.dialogue.treatment import Treatment, Untouched
from conservator.agent.dialogue.tree import Tree, Turn, Wish
from conservator.agent.dialogue.workshop import Workshop
from conservator.policies.acceptance import Measurement
from conservator.restorers.degradations.vocabulary import ConditionReport
from conservator.tools.look import Pixels

__all__ = ["Record"]


class Record:
    """A session's state and the workshop whose pictures it names.

    Attributes:
        state: as it is on disk, but for what was looked at since.
        shop: looks, makes and measures.
    """

    def __init__(self, state: SessionState, shop: Workshop) -> None:
        """Take over a state that is on disk."""
        self.state = state
        self.shop = shop

    @property
    def tree(self) -> Tree:
        """The turns, and where the session is."""
        return self.state.tree

    @property
    def here(self) -> Turn | None:
        """The current node; None for the original."""
        return self.tree.turn(self.tree.here)

    @property
    def treatment(self) -> Treatment:
        """What was done to the original to get here."""
        here = self.here
        return Untouched() if here is None else here.treatment

    @property
    def said(self) -> list[Wish]:
        """What the user wished on the way here, in order."""
        return [wish for turn in self.tree.path() for wish in turn.wishes]

    @property
    def report(self) -> ConditionReport:
        """What was found on the input; looked at once in a session."""
        if self.state.report is None:
            self.state = self.state.model_copy(update={"report": self.shop.inspected()})
        report = self.state.report
        return ConditionReport() if report is None else report

    @property
    def baseline(self) -> Measurement:
        """The input, measured as the turns' pictures are; once in a session."""
        if self.state.baseline is None:
            self.state = self.state.model_copy(update={"baseline": self.shop.baseline()})
        baseline = self.state.baseline
        return Measurement(findings=()) if baseline is None else baseline

    def measurement(self, turn: Turn | None) -> Measurement:
        """The measurement of a node's picture."""
        own = None if turn is None else turn.measurement
        return own or self.baseline

    def pixels(self, turn: Turn | None) -> Pixels:
        """The picture of a node."""
        if turn is None or not turn.artifact:
            return self.shop.picture.pixels
        return self.shop.folder.load_artifact(turn.artifact)

    def keep(self, **update: object) -> None:
        """Change the state and write it."""
        new = self.state.model_copy(update=update)
        self.state = write_state(self.shop.folder, new)
