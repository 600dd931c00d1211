"""Policy, targets with what is met and what is not, and what was spent of the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from conservator.agent.tui.widgets.panel import Panel
from conservator.agent.tui.words import duration

if TYPE_CHECKING:
    from conservator.policies.budget import Budget

__all__ = ["Aim", "Aiming", "AimsPanel"]


@dataclass(frozen=True)
class Aim:
    """A target, and whether it is met; None before anything was measured."""

    text: str
    met: bool | None = None
    why: str = ""


@dataclass(frozen=True)
class Aiming:
    """What a session is after, and how far it is.

    Attributes:
        policy: its name.
        aims: targets, protected places, what is kept.
        budget: of an automatic run.
        seconds: that the running turn, or the last one, took.
        tools: restorers that it called.
        asks: when the user is asked before a step.
    """

    policy: str
    aims: Sequence[Aim]
    budget: Budget
    seconds: float = 0.0
    tools: int = 0
    asks: str = "never"


class AimsPanel(Panel):
    """Targets and budget."""

    TITLE = "Targets"
    HELP = """\
What was asked for, and whether it is so: a tick is met, a cross is not, a ring was not measured yet. Without targets of your own the policy's count: what it treats shall fall to its level.
Below: what the running turn has taken of its budget. Ctrl+T changes policy, targets and budget, and when you are asked."""

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static("", markup=False)

    def __init__(self, *, id: str | None = None) -> None:
        """Nothing is known yet."""
        super().__init__(id=id)
        self._aiming: Aiming | None = None

    def show(self, aiming: Aiming) -> None:
        """Show how far the session is."""
        self._aiming = aiming
        self.redraw()

    def redraw(self) -> None:
        """Show what is known."""
        if self._aiming is None:
            return
        now = self._aiming
        lines: list[RenderableType] = [
            Text.assemble(
                (now.policy, "bold"), ("" if now.asks == "never" else f"  asks: {now.asks}", "dim")
            )
        ]
        for aim in now.aims:
            lines.append(self._line(aim))
        if not now.aims:
            lines.append(Text("nothing to reach", "dim"))
        limits = now.budget
        time = duration(now.seconds) + (
            "" if limits.max_seconds is None else f" of {duration(limits.max_seconds)}"
        )
        tools = f"{now.tools}" + ("" if limits.max_tools is None else f" of {limits.max_tools}")
        lines.append(Text(f"{time}, {tools} restorer call{'' if now.tools == 1 else 's'}", "dim"))
        self.query_one(Static).update(Group(*lines))

    def _line(self, aim: Aim) -> Text:
        mark, colour = {
            True: ("\u2713", self.colour("success")),
            False: ("\u2717", self.colour("error")),
            None: ("\u25cb", self.colour("foreground")),
        }[aim.met]
        text = Text.assemble((f"{mark} ", colour), aim.text)
        if aim.met is False and aim.why:
            text.append(f"  {aim.why}", "dim")
        return text
