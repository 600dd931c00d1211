"""The application: screens, themes, keys, and what happens when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from textual import on
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input

from conservator.agent.settings import Settings
from conservator.agent.tui.batch import Batch, BatchChanged
from conservator.agent.tui.graphics.drawing import Drawer
from conservator.agent.tui.messages import Left, OpenAsked, QueueAsked, SessionKept
from conservator.agent.tui.opening import Opening
from conservator.agent.tui.preferences import Preferences, remember_theme
from conservator.agent.tui.recents import Recents
from conservator.agent.tui.screens.start import StartScreen
from conservator.agent.tui.themes import DARK, LIGHT

if TYPE_CHECKING:
    from textual.dom import DOMNode

    from conservator.agent.tui.bridge import Bridge
    from conservator.agent.tui.screens.queue import QueueScreen
    from conservator.agent.tui.screens.session import SessionScreen

__all__ = ["ConservatorApp"]

_TWICE_S: Final = 2.0
"""Two Ctrl-C within this time end the program."""


class ConservatorApp(App[None]):
    """The terminal UI.

    Attributes:
        bridges: of all sessions that were opened; their threads may outlive their screens for a tile.
        batch: the queue.
    """

    TITLE = "Conservator"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_DISPLAY = "^p"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1,question_mark", "help", "Help", id="app.help", tooltip="Help for what has the focus"),
        Binding("ctrl+q", "quit", "Quit", show=False, id="app.quit", priority=True, tooltip="Sessions are kept"),
        Binding("ctrl+c", "interrupt", "Cancel", show=False, priority=True, id="app.interrupt", tooltip="Stop what runs; twice quits"),
    ]  # fmt: skip
    DEFAULT_CSS = """
    App { background: $background; }
    Footer { background: $panel; }
    """

    def __init__(
        self,
        opening: Opening,
        drawer: Drawer,
        *,
        settings: Settings,
        preferences: Preferences,
        paths: Sequence[Path] = (),
    ) -> None:
        """Open `paths`: nothing for the start, a folder to look through, a photo or a session to work on, several for the queue."""
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self._opening = opening
        self._drawer = drawer
        self._settings = settings
        self._paths = [path.absolute() for path in paths]
        self._recents = Recents(settings)
        self._interrupted = float("-inf")
        self._queue: QueueScreen | None = None
        self._session: SessionScreen | None = None
        self.bridges: list[Bridge] = []
        self.batch = Batch(self.post_message, opening)
        wanted = preferences.theme or DARK.name
        self.theme = wanted if wanted in self.available_themes else DARK.name
        self._preferences = preferences

    def on_mount(self) -> None:
        """Open what was asked for, and listen for another theme."""
        self.set_keymap(dict(self._preferences.keys))
        self.theme_changed_signal.subscribe(
            self, lambda theme: remember_theme(self._settings, theme.name)
        )
        # Textual draws what changed; a terminal that comes back from the shell is empty.
        self.app_resume_signal.subscribe(self, lambda app: app.refresh(layout=True))
        if len(self._paths) > 1:
            self._to_start(None)
            self._to_queue()
            self.batch.add(self._paths)
        elif self._paths and (self._paths[0].is_file() or _is_session(self._paths[0])):
            self._to_session(self._paths[0])
        else:
            self._to_start(self._paths[0] if self._paths else None)
        if words := self._shortcomings():
            self.notify(words, title="Pictures", timeout=8)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What can be done here, by name."""
        seen = set()
        for active in screen.active_bindings.values():
            binding = active.binding
            if not active.enabled or not binding.tooltip or binding.action in seen:
                continue
            seen.add(binding.action)
            node, action = active.node, binding.action
            yield SystemCommand(
                binding.description,
                f"{binding.tooltip}  ({self.get_key_display(binding)})",
                lambda node=node, action=action: self._act(action, node),
            )
        yield SystemCommand(
            "Theme", "Other colours; kept for the next time", self.action_change_theme
        )
        yield SystemCommand(
            "Suspend", "Back to the shell; fg comes back", self.action_suspend_process
        )

    def action_help(self) -> None:
        """Help about what has the focus."""
        from conservator.agent.tui.modals.help import Help

        if isinstance(self.screen, Help):
            self.screen.dismiss()
        else:
            self.push_screen(Help.about(self.screen))

    def action_interrupt(self) -> None:
        """Copy what is selected, else cancel what runs, else quit when it is pressed twice."""
        selected = self.screen.get_selected_text()
        focused = self.screen.focused
        if isinstance(focused, Input) and focused.selected_text:
            selected = focused.selected_text
        now = time.monotonic()
        twice = now - self._interrupted < _TWICE_S
        self._interrupted = now
        if selected and not twice:
            self.copy_to_clipboard(selected)
            return
        if twice:
            self.exit()
            return
        session = self._session
        if session is not None and session.is_attached and session.cancel():
            self.notify("cancelling at the next tile; Ctrl+C again quits, and nothing is lost")
        else:
            self.notify("Ctrl+C again quits; the session is kept")

    def watch_app_focus(self, focus: bool) -> None:
        """A page that was opened behind another one began with nothing in focus."""
        if focus and self.is_running and self.screen_stack:
            wanted = self.screen.AUTO_FOCUS
            if wanted and self.screen.focused is None:
                self.screen.query(wanted).focus()

    @on(OpenAsked)
    def _open_asked(self, message: OpenAsked) -> None:
        self._to_session(message.path)

    @on(QueueAsked)
    def _queue_asked(self, message: QueueAsked) -> None:
        screen = self._to_queue()
        if not self.batch.items:
            self.call_after_refresh(screen.add, message.folder)

    @on(Left)
    def _left(self) -> None:
        self._back()

    @on(SessionKept)
    def _session_kept(self, message: SessionKept) -> None:
        self._recents.opened(message.folder)

    @on(BatchChanged)
    def _batch_changed(self, message: BatchChanged) -> None:
        if self._queue is not None and self._queue.is_attached:
            self._queue.renew()
        if message.finished:
            done = sum(item.state == "done" for item in self.batch.items)
            self.notify(f"the queue is through: {done} of {len(self.batch.items)} done")

    def _to_start(self, folder: Path | None) -> None:
        self.push_screen(StartScreen(self._drawer, self._recents, folder))

    def _to_queue(self) -> QueueScreen:
        # Screens are imported when they are opened, so that the first frame is there at once.
        from conservator.agent.tui.screens.queue import QueueScreen

        self._queue = QueueScreen(self.batch)
        self.push_screen(self._queue)
        return self._queue

    def _to_session(self, path: Path) -> None:
        from conservator.agent.tui.screens.session import SessionScreen

        self._session = SessionScreen(self._opening.at(path), self._drawer)
        self.bridges.append(self._session.bridge)
        self.push_screen(self._session)

    def _back(self) -> None:
        """To the screen below; there is always a start."""
        # The default screen of the application lies at the bottom.
        if len(self.screen_stack) > 2:
            self.pop_screen()
        else:
            self.switch_screen(StartScreen(self._drawer, self._recents))

    async def _act(self, action: str, node: DOMNode) -> None:
        await self.run_action(action, default_namespace=node)

    def _shortcomings(self) -> str:
        """What this terminal cannot show, in plain words; "" when it can."""
        if self._drawer.name == "none":
            return "pictures are off; O opens them in the desktop's viewer"
        if self.no_color:
            return "NO_COLOR is set, so pictures are grey; O opens them in the desktop's viewer"
        system = self.console.color_system
        if self._drawer.name == "half-cells" and system != "truecolor":
            colours = {"256": "256 colours", "standard": "16 colours"}.get(
                system or "", "no colours"
            )
            return f"this terminal has {colours}; what you see is a rough likeness, O opens the picture itself"
        return ""


def _is_session(path: Path) -> bool:
    return (path / "session.json").is_file()
