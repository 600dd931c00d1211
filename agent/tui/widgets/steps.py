"""The plan while a turn runs, and the steps that led to a node while none does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text
from textual.app import ComposeResult
from textual.widgets import Static

from conservator.agent.tui.widgets.panel import Panel
from conservator.agent.tui.words import call_words

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conservator.agent.recipe import MixStep, RecipeStep
    from conservator.policies.attempt import ToolCall

__all__ = ["StepsPanel"]


class StepsPanel(Panel):
    """What is going to be done, or was."""

    TITLE = "Plan"
    HELP = """\
While a turn runs: the restorers that are called next, and what they are told.
Between turns: the steps that lead from the photo as it came in to the node that is looked at, with the prompt that each restorer saw."""

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static("nothing planned yet", markup=False)

    def show_plan(
        self, calls: Iterable[ToolCall], prompts: Iterable[str], running: str = ""
    ) -> None:
        """Show what is planned.

        Args:
            calls: next first; those after it are its rivals.
            prompts: what each restorer would be told.
            running: what runs now.
        """
        self.border_title = "Plan"
        lines: list[RenderableType] = [Text(f"\u25b8 {running}", "bold")] if running else []
        for number, (call, prompt) in enumerate(zip(calls, prompts, strict=True)):
            lines.append(Text(f"{'next' if number == 0 else 'else'}  {call_words(call)}"))
            if number == 0 and prompt:
                lines.append(_quoted(prompt))
        self.query_one(Static).update(Group(*lines) if lines else Text("planning", "dim"))

    def show_steps(self, steps: Iterable[RecipeStep | MixStep]) -> None:
        """Show what was done."""
        from conservator.agent.dialogue.wording import step_words
        from conservator.agent.recipe import RecipeStep as Step

        self.border_title = "Steps"
        lines: list[RenderableType] = []
        for number, step in enumerate(steps, 1):
            lines.append(Text(f"{number}  {step_words(step)}"))
            if isinstance(step, Step) and step.rendered_prompt:
                lines.append(_quoted(step.rendered_prompt))
        nothing = Text("nothing done: the photo as it came in", "dim")
        self.query_one(Static).update(Group(*lines) if lines else nothing)


def _quoted(prompt: str) -> RenderableType:
    return Padding(Text(f"\u201c{' '.join(prompt.split())}\u201d", "dim italic"), (0, 0, 0, 3))
