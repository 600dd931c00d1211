"""The panels beside the picture: all of them where there is room, else one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from textual.app import ComposeResult
from textual.containers import Vertical

from conservator.agent.tui.history import History
from conservator.agent.tui.widgets.aims import Aiming, AimsPanel
from conservator.agent.tui.widgets.condition import ConditionPanel
from conservator.agent.tui.widgets.panel import Panel
from conservator.agent.tui.widgets.scores import ScoresPanel
from conservator.agent.tui.widgets.steps import StepsPanel
from conservator.agent.tui.widgets.tree import TreePanel

if TYPE_CHECKING:
    from conservator.agent.dialogue.session import Session
    from conservator.policies.acceptance import Measurement
    from conservator.restorers.degradations.vocabulary import ConditionReport

__all__ = ["PANELS", "Side"]

PANELS: Final = ("plan", "tree", "scores", "targets")
"""Below the condition, in the order in which they are stacked, and walked through."""


class Side(Vertical):
    """Condition, plan, tree, scores and targets."""

    DEFAULT_CSS = """
    Side { width: 34; }
    Side Panel { overflow-y: auto; scrollbar-size-vertical: 1; }
    Side ConditionPanel { max-height: 10; }
    Side .-turning { display: none; height: 1fr; }
    Side .-turning.-current { display: block; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        """Begin at the plan."""
        super().__init__(id=id)
        self._current = 0

    def compose(self) -> ComposeResult:
        """The panels."""
        yield ConditionPanel(id="condition")
        for panel in (
            StepsPanel(id="plan"),
            TreePanel(id="tree"),
            ScoresPanel(id="scores"),
            AimsPanel(id="targets"),
        ):
            panel.add_class("-turning")
            yield panel

    def on_mount(self) -> None:
        """Show the first one."""
        self.turn_to(0)

    @property
    def current(self) -> int:
        """Which panel is shown where there is room for one."""
        return self._current

    def on_resize(self) -> None:
        """Where all are shown there is none to turn to."""
        self.call_after_refresh(self.turn_to, self._current)

    @property
    def _stacked(self) -> bool:
        return sum(panel.display for panel in self.query(".-turning")) > 1

    def turn_to(self, place: int, *, focus: bool = False) -> None:
        """Show another panel."""
        self._current = place % len(PANELS)
        following = PANELS[(self._current + 1) % len(PANELS)]
        for name in PANELS:
            panel = self.query_one(f"#{name}", Panel)
            panel.set_class(name == PANELS[self._current], "-current")
            panel.border_subtitle = "" if self._stacked else f"F3 {following} \u25b8"
        if focus:
            chosen = self.query_one(f"#{PANELS[self._current]}", Panel)
            inside = next((w for w in (chosen, *chosen.query("*")) if w.can_focus), None)
            if inside is not None:
                self.call_after_refresh(inside.focus)

    def wait(self, words: str) -> None:
        """Say what stands in the way of a report."""
        self.query_one(ConditionPanel).wait(words)

    def show_condition(self, report: ConditionReport | None, now: Measurement | None) -> None:
        """What was found, and what is left."""
        self.query_one(ConditionPanel).show(report, now)

    def show_aiming(self, aiming: Aiming) -> None:
        """Targets and budget."""
        self.query_one(AimsPanel).show(aiming)

    def show_run(self, history: History, session: Session) -> None:
        """A turn that runs."""
        from conservator.agent.approval import prompt_of
        from conservator.restorers import catalog

        cards = catalog.cards()
        running = next(
            (row for row in reversed(history.rows.values()) if row.status == "running"), None
        )
        prompts = [prompt_of(call, cards) for call in history.plan]
        words = "" if running is None else f"{running.name} {running.words}"
        self.query_one(StepsPanel).show_plan(history.plan, prompts, words)
        self._show_nodes(history, session)

    def show_rest(self, history: History, session: Session, node: str) -> None:
        """A session between turns, with the steps that led to a node."""
        turn = session.tree.turn(node) if "/" not in node else None
        self.query_one(StepsPanel).show_steps(() if turn is None else turn.steps)
        self._show_nodes(history, session)

    def _show_nodes(self, history: History, session: Session) -> None:
        self.query_one(TreePanel).show(history, session.tree)
        self.query_one(ScoresPanel).show(history.scored())
