"""A step before it is made: look at it, change it, do it, skip it, or stop here."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Footer, Input, Label, Select, Static, TextArea

from conservator.agent.approval import Answer, Question
from conservator.agent.errors import ConservatorError
from conservator.agent.tui.screens.sizes import DOWN
from conservator.agent.tui.widgets.slider import Slider
from conservator.agent.tui.words import call_words, kind_words, value_words
from conservator.restorers.degradations.vocabulary import Kind
from conservator.restorers.prompts.model import RestorationPrompt

if TYPE_CHECKING:
    from conservator.restorers.card import RestorerCard

__all__ = ["ApproveStep"]


class ApproveStep(ModalScreen[Answer]):
    """Answers a question of the run's. Text and sliders are two views of one prompt: either moves the other."""

    HELP = """\
The run waits; its clock stands still. The sliders are the strengths, in the unit of each kind; the text is what the restorer is told, and may be edited as well: what it says is read back into the strengths.

Do it runs the step. Skip plans another way. Stop ends the run with the best so far. Words ("less smoothing", "keep the grain") change the plan, and you are asked again."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "do", "Do it", id="approve.do"),
        Binding("ctrl+n,f6", "answer('skip')", "Skip", priority=True, id="approve.skip"),
        Binding("escape", "answer('stop')", "Stop here", id="approve.stop"),
    ]
    VERTICAL_BREAKPOINTS = DOWN
    DEFAULT_CSS = """
    ApproveStep { align: center middle; }
    ApproveStep > VerticalScroll { width: 90; max-width: 98%; height: auto; max-height: 98%; border: round $primary; border-title-color: $primary; background: $surface; padding: 0 2; }
    ApproveStep .-row { height: 1; }
    ApproveStep .-row Label { width: 14; color: $text-muted; }
    ApproveStep .-row Input, ApproveStep .-row Select { width: 1fr; }
    ApproveStep .-told { height: auto; }
    ApproveStep .-told Label { width: 14; color: $text-muted; }
    ApproveStep TextArea { width: 1fr; height: 5; margin: 0; border: none; padding: 0; background: $boost; }
    ApproveStep.-tall #by { margin-top: 1; }
    ApproveStep.-tall #why, ApproveStep.-tall .-row, ApproveStep.-tall .-told { margin-bottom: 1; }
    ApproveStep #why { color: $text-muted; }
    ApproveStep #complaint { color: $text-warning; height: auto; }
    ApproveStep .-buttons { height: 1; align-horizontal: right; margin-top: 1; }
    ApproveStep Button { margin-left: 2; }
    """

    def __init__(self, question: Question) -> None:
        """Ask about the first of the question's calls."""
        super().__init__()
        self._question = question
        self._call = question.call
        self._text = question.prompts[0] if question.prompts else ""
        self._asked: dict[Kind, float] = dict(question.call.prompt.degradations)

    def compose(self) -> ComposeResult:
        """The step, its strengths, its prompt, and the answers."""
        call = self._call
        box = VerticalScroll()
        box.border_title = "Before this step"
        with box:
            yield Static(f"{call_words(call)}", id="call", markup=False)
            yield Static(self._question.reason, id="why", markup=False)
            for kind, value in call.prompt.degradations.items():
                yield Slider(kind, value)
            with Horizontal(classes="-row", id="by"):
                yield Label("By")
                yield Select(
                    [(name, name) for name in self._able()],
                    value=call.restorer,
                    allow_blank=False,
                    compact=True,
                    disabled=not call.calls_tool,
                )
            with Horizontal(classes="-told"):
                yield Label("Told")
                yield TextArea(self._text, compact=True, soft_wrap=True)
            with Horizontal(classes="-row"):
                yield Label("Or in words")
                yield Input(placeholder="less smoothing, keep the grain", compact=True)
            yield Static("\n".join(self._question.replies), id="complaint", markup=False)
            with Horizontal(classes="-buttons"):
                yield Button("Do it", variant="primary", id="do", compact=True)
                yield Button("Skip", id="skip", compact=True)
                yield Button("Stop here", id="stop", compact=True)
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """What most people answer is one key away."""
        self.query_one("#do").focus()

    def on_slider_changed(self, event: Slider.Changed) -> None:
        """The text says what the sliders do."""
        self._asked[event.kind] = event.value
        self._write()

    def on_select_changed(self, event: Select.Changed) -> None:
        """Another restorer is told in another language."""
        self._write()

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        """The sliders say what the text does."""
        text, before = event.text_area.text, self._text
        if text == before:
            return
        self._text = text
        try:
            old, new = self._read(before), self._read(text)
        except ConservatorError as error:
            self._complain(str(error))
            return
        words = [f"not read: {'; '.join(new.unmapped)}"] if new.unmapped else []
        for kind, value in new.degradations.items():
            if old.degradations.get(kind) != value:
                self._asked[kind] = value
        for slider in self.query(Slider):
            slider.value = self._asked[slider.kind]
            if slider.kind not in new.degradations:
                words.append(f"{kind_words(slider.kind)} stays; to leave it alone, say so in words")
        added = [kind for kind in self._asked if kind not in self._call.prompt.degradations]
        words += [f"added: {kind_words(k)} {value_words(k, self._asked[k])}" for k in added]
        self._complain("; ".join(words))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Words."""
        event.stop()
        if words := event.value.strip():
            self.dismiss(Answer(what="say", words=words))

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """An answer."""
        match event.button.id:
            case "do":
                self.action_do()
            case "skip":
                self.dismiss(Answer(what="skip"))
            case _:
                self.dismiss(Answer(what="stop"))

    def action_answer(self, what: str) -> None:
        """An answer by key."""
        self.dismiss(Answer.model_validate({"what": what}))

    def action_do(self) -> None:
        """Do it, as it stands."""
        before = self._call.prompt.degradations
        changed = {kind: value for kind, value in self._asked.items() if before.get(kind) != value}
        name = str(self.query_one(Select).value)
        restorer = "" if name == self._call.restorer else name
        if changed or restorer:
            self.dismiss(Answer(what="change", strengths=changed, restorer=restorer))
        else:
            self.dismiss(Answer(what="approve"))

    def _write(self) -> None:
        self._text = self._rendered()
        self.query_one(TextArea).load_text(self._text)

    def _rendered(self) -> str:
        from conservator.agent.approval import prompt_of
        from conservator.restorers import catalog

        prompt = self._call.prompt.model_copy(update={"degradations": self._asked})
        name = str(self.query_one(Select).value)
        call = self._call.model_copy(update={"prompt": prompt, "restorer": name})
        return prompt_of(call, catalog.cards())

    def _read(self, text: str) -> RestorationPrompt:
        from conservator.restorers.prompts.language import parse

        return parse(text, self._card().prompt_style)

    def _card(self) -> RestorerCard:
        from conservator.restorers import catalog

        return catalog.cards()[str(self.query_one(Select).value)]

    def _able(self) -> list[str]:
        """Restorers that could do it, the planned one among them."""
        from conservator.restorers import catalog

        wanted = set(self._call.kinds)
        fit = [
            name
            for name, card in catalog.cards().items()
            if card.scale == 1
            and wanted & set(card.treats)
            and any(card.ready(size) for size in card.configurations)
        ]
        return list(dict.fromkeys((self._call.restorer, *fit)))

    def _complain(self, words: str) -> None:
        self.query_one("#complaint", Static).update(words)
