"""Policy, targets, budget, and when to ask: what the next automatic run goes by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Footer, Input, Label, Select, Static

from conservator.agent.errors import ConservatorError
from conservator.agent.tui.screens.sizes import DOWN

__all__ = ["Aims", "AimsForm"]

_ASKS = (
    ("never", "never: runs by itself"),
    ("plan", "plan: before the first step"),
    ("each", "each: before every step"),
)


@dataclass(frozen=True)
class Aims:
    """What the user wants of the next runs.

    Attributes:
        policy: a name or a YAML file.
        targets: as text, "" for the policy's own.
        protect: places that come back as they came in, separated by semicolons.
        keep: what is wanted as it is, likewise.
        max_seconds: None for no limit.
        max_tools: the same for restorer calls.
        asks: `never`, `plan` or `each`.
    """

    policy: str
    targets: str
    protect: str
    keep: str
    max_seconds: float | None
    max_tools: int | None
    asks: str


class AimsForm(ModalScreen[Aims | None]):
    """Changes the aims; None when they stay."""

    HELP = """\
Targets: a kind is bounded by a level, as in noise<=low, a metric by a number, as in fidelity>=0.9, piqe-=5 falls by five. Nothing typed: the policy decides.

Protected places come back as they came in: face, text, a box x,y,w,h in pixels or %, a place in words. Kept is what nothing may take away: the grain, the bokeh, the colours. Several are separated by semicolons.

An empty limit is none. A limit that is reached ends a run with the best so far."""
    VERTICAL_BREAKPOINTS = DOWN
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Cancel", id="aims.leave"),
        Binding("ctrl+s", "keep", "Apply", id="aims.keep"),
    ]
    DEFAULT_CSS = """
    AimsForm { align: center middle; }
    AimsForm > VerticalScroll { width: 76; max-width: 96%; height: auto; max-height: 95%; border: round $primary; background: $surface; padding: 0 2; }
    AimsForm .-row { height: auto; }
    AimsForm > VerticalScroll > .-row { margin-top: 1; }
    AimsForm.-flat .-row, AimsForm.-low .-row { margin-top: 0; }
    AimsForm Label { width: 16; color: $text-muted; }
    AimsForm Input, AimsForm Select { width: 1fr; background: $boost; }
    AimsForm #complaint { color: $text-error; margin-top: 1; }
    AimsForm #title { color: $text-muted; margin-left: 16; }
    AimsForm .-buttons { height: auto; align-horizontal: right; margin: 1 0; }
    AimsForm Button { margin-left: 2; }
    """

    def __init__(self, aims: Aims) -> None:
        """Start from what counts now."""
        super().__init__()
        self._aims = aims

    def compose(self) -> ComposeResult:
        """A line a wish."""
        from conservator.policies.preset import preset_names

        names = list(dict.fromkeys((*preset_names(), self._aims.policy)))
        with VerticalScroll():
            with Horizontal(classes="-row"):
                yield Label("Policy")
                yield Select(
                    [(name, name) for name in names],
                    value=self._aims.policy,
                    allow_blank=False,
                    compact=True,
                    id="policy",
                )
            yield Static("", id="title", markup=False)
            for label, id_, value, hint in self._lines():
                with Horizontal(classes="-row"):
                    yield Label(label)
                    yield Input(value, placeholder=hint, compact=True, id=id_)
            with Horizontal(classes="-row"):
                yield Label("Ask me")
                yield Select(
                    [(words, name) for name, words in _ASKS],
                    value=self._aims.asks,
                    allow_blank=False,
                    compact=True,
                    id="asks",
                )
            yield Static("", id="complaint", markup=False)
            with Horizontal(classes="-buttons"):
                yield Button("Apply", variant="primary", id="keep", compact=True)
                yield Button("Cancel", id="leave", compact=True)
        yield Footer(compact=True, show_command_palette=False)

    def _lines(self) -> Iterator[tuple[str, str, str, str]]:
        """Label, name, value and hint of what is typed."""
        now = self._aims
        yield "Targets", "targets", now.targets, "the policy's; or noise<=low, fidelity>=0.9"
        yield "Protect", "protect", now.protect, "nothing; or face; text; 10,20,300,200"
        yield "Keep", "keep", now.keep, "nothing; or the grain; the colours"
        yield "Seconds", "seconds", _text(now.max_seconds), "no limit"
        yield "Restorer calls", "tools", _text(now.max_tools), "no limit"

    def on_mount(self) -> None:
        """Begin at the targets."""
        self.query_one("#targets").focus()

    def on_select_changed(self, event: Select.Changed) -> None:
        """Say what a policy does."""
        if event.select.id == "policy":
            from conservator.policies.preset import load_preset

            try:
                title = load_preset(str(event.value)).title
            except ConservatorError as error:
                title = str(error)
            self.query_one("#title", Static).update(title)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter keeps."""
        event.stop()
        self.action_keep()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Keep or leave."""
        if event.button.id == "keep":
            self.action_keep()
        else:
            self.dismiss(None)

    def action_leave(self) -> None:
        """Everything stays."""
        self.dismiss(None)

    def action_keep(self) -> None:
        """Take it, if it reads."""
        try:
            aims = self._read()
        except ConservatorError as error:
            self.query_one("#complaint", Static).update(str(error))
            return
        self.dismiss(aims)

    def _read(self) -> Aims:
        from conservator.policies.targets import GUARD_NAMES, parse_targets
        from conservator.tools.iqa import METRICS

        text = self.query_one("#targets", Input).value.strip()
        if text:
            known = [name for name, card in METRICS.items() if not card.needs_reference]
            parse_targets(text, metrics=[*known, *GUARD_NAMES])
        return Aims(
            policy=str(self.query_one("#policy", Select).value),
            targets=text,
            protect=self.query_one("#protect", Input).value.strip(),
            keep=self.query_one("#keep", Input).value.strip(),
            max_seconds=_number("seconds", self.query_one("#seconds", Input).value),
            max_tools=_whole("restorer calls", self.query_one("#tools", Input).value),
            asks=str(self.query_one("#asks", Select).value),
        )


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _number(what: str, text: str) -> float | None:
    from math import isfinite

    from conservator.agent.errors import UsageError

    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or value < 0:
        raise UsageError(
            f"{what}: {text.strip()!r} is not a number from 0 on; leave it empty for none"
        )
    return value


def _whole(what: str, text: str) -> int | None:
    from conservator.agent.errors import UsageError

    value = _number(what, text)
    if value is not None and value != int(value):
        raise UsageError(f"{what}: {text.strip()!r} is not a whole number")
    return None if value is None else int(value)
