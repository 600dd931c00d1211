"""The beginning: a path to type or drop, folders to look through, sessions to go on with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DirectoryTree, Footer, Input, Static

import conservator
from conservator.agent.tui.graphics.drawing import Drawer
from conservator.agent.tui.messages import OpenAsked, QueueAsked
from conservator.agent.tui.screens.sizes import ACROSS, DOWN
from conservator.agent.tui.widgets.browser import Browser
from conservator.agent.tui.widgets.preview import Preview
from conservator.agent.tui.widgets.sessions import SessionChosen, SessionList
from conservator.agent.tui.widgets.title import Title
from conservator.agent.tui.words import error_words, weight

if TYPE_CHECKING:
    from conservator.agent.archive import Kept
    from conservator.agent.tui.recents import Recents

__all__ = ["StartScreen"]

_HINT: Final = "path of a photo, a folder or a session; or drop a file here"


class StartScreen(Screen[None]):
    """Chooses what to work on."""

    HELP = """\
Conservator examines a photo, treats no more than needed, and documents every step. The photo itself is never changed."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "type", "Path", id="start.path", tooltip="Type a path"),
        Binding(
            "f2", "queue", "Queue", id="start.queue", tooltip="Restore a folder in the background"
        ),
        Binding("f5", "again", "Reload", show=False, id="start.reload"),
    ]
    AUTO_FOCUS = "Browser"
    HORIZONTAL_BREAKPOINTS = ACROSS
    VERTICAL_BREAKPOINTS = DOWN
    DEFAULT_CSS = """
    StartScreen #path { height: 1; padding: 0 1; background: $boost; }
    StartScreen #body { height: 1fr; }
    StartScreen #note { height: auto; max-height: 3; padding: 0 1; color: $text-warning; }
    StartScreen Browser { width: 2fr; }
    StartScreen #right { width: 3fr; }
    StartScreen Preview { height: 3fr; }
    StartScreen SessionList { height: 2fr; min-height: 4; }
    StartScreen.-thin Preview, StartScreen.-flat Preview { display: none; }
    """

    @dataclass
    class _Listed(Message):
        sessions: list[Kept]

    def __init__(self, drawer: Drawer, recents: Recents, folder: Path | None = None) -> None:
        """Begin at `folder`, by default the current one."""
        super().__init__()
        self._drawer = drawer
        self._recents = recents
        self._folder = folder or Path.cwd()

    def compose(self) -> ComposeResult:
        """Path, folders, picture, sessions."""
        yield Title()
        yield Input(placeholder=_HINT, compact=True, id="path")
        with Horizontal(id="body"):
            yield Browser(self._folder)
            with Vertical(id="right"):
                yield Preview(self._drawer)
                yield SessionList()
        yield Static("", id="note", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Look for sessions, and be ready for the arrow keys."""
        title = self.query_one(Title)
        title.what, title.facts = "Conservator", conservator.__version__
        title.stand = "open a photo to begin"
        self.query_one(Browser).focus()
        self.say("")

    def on_screen_resume(self) -> None:
        """Sessions may have changed; what reads them is imported behind the first frame."""
        self.call_after_refresh(self.action_again)

    def say(self, words: str) -> None:
        """A word about what was asked for last."""
        note = self.query_one("#note", Static)
        note.update(words)
        note.display = bool(words)

    def action_again(self) -> None:
        """Read the list of sessions again."""
        self.run_worker(self._list, thread=True, exclusive=True, group="sessions")

    def action_type(self) -> None:
        """To the path."""
        self.query_one("#path").focus()

    def action_queue(self) -> None:
        """Ask for the queue, with the folder that is looked at."""
        browser = self.query_one(Browser)
        node = browser.cursor_node
        path = browser.path if node is None or node.data is None else node.data.path
        folder = Path(path)
        self.post_message(QueueAsked(folder if folder.is_dir() else folder.parent))

    def on_paste(self, event: events.Paste) -> None:
        """A file that is dropped arrives as its path."""
        path = pasted_path(event.text)
        if path is not None:
            event.stop()
            self._open(path)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """A path was typed."""
        event.stop()
        if text := event.value.strip():
            self._open(pasted_path(text) or Path(text).expanduser())

    @on(DirectoryTree.FileSelected)
    def _file_selected(self, event: DirectoryTree.FileSelected) -> None:
        event.stop()
        self._open(event.path)

    @on(DirectoryTree.NodeHighlighted)
    def _highlighted(self, event: DirectoryTree.NodeHighlighted[object]) -> None:
        event.stop()
        self.query_one(Preview).show(self.query_one(Browser).chosen)

    @on(SessionChosen)
    def _session_chosen(self, message: SessionChosen) -> None:
        message.stop()
        kept = message.kept
        match message.what:
            case "open":
                self._open(kept.path)
            case "look":
                words = f"{kept.state}, {kept.policy}, {weight(kept.size)}"
                self.query_one(Preview).show(kept.input, words)
            case "rename":
                self._rename(kept)
            case "delete":
                self._delete(kept)
            case "export":
                self._export(kept)

    @on(_Listed)
    def _listed(self, message: _Listed) -> None:
        message.stop()
        self.query_one(SessionList).show(message.sessions)

    def _open(self, path: Path) -> None:
        path = path.absolute()
        if path.is_dir() and not (path / "session.json").is_file():
            self.query_one(Browser).go(path)
            self.query_one(Browser).focus()
        elif path.exists():
            self.post_message(OpenAsked(path))
        else:
            self.say(f"{path} is not there")

    def _list(self) -> None:
        """In a worker thread: reads folders, and imports what reads them."""
        try:
            self.post_message(self._Listed(self._recents.sessions()))
        except OSError as error:
            self.app.call_from_thread(self.say, error_words(error))

    def _rename(self, kept: Kept) -> None:
        from conservator.agent.tui.modals.ask import Ask

        def named(answer: str | None) -> None:
            if answer is not None:
                self.run_worker(lambda: self._renamed(kept, answer), thread=True)

        self.app.push_screen(
            Ask("New name of the session", kept.id.removesuffix(".session")), named
        )

    def _renamed(self, kept: Kept, name: str) -> None:
        """In a worker thread."""
        from conservator.agent import archive

        def work() -> str:
            moved = archive.rename(kept, name)
            self._recents.moved(kept.path, moved.path)
            return f"renamed to {moved.id}"

        self._try(work)

    def _delete(self, kept: Kept) -> None:
        from conservator.agent.tui.modals.confirm import Confirm

        def answered(yes: bool | None) -> None:
            if yes:
                self.run_worker(lambda: self._deleted(kept), thread=True)

        question = (
            f"Delete the session {kept.path}?\n\n"
            "The photo, and what was saved beside it, stay. This cannot be undone."
        )
        self.app.push_screen(Confirm(question, "Delete"), answered)

    def _deleted(self, kept: Kept) -> None:
        """In a worker thread."""
        from conservator.agent import archive

        def work() -> str:
            archive.delete(kept)
            self._recents.moved(kept.path, None)
            return f"deleted {kept.id}"

        self._try(work)

    def _export(self, kept: Kept) -> None:
        from conservator.agent.tui.modals.ask import Ask

        def named(answer: str | None) -> None:
            if answer is not None:
                into = Path(answer).expanduser().absolute()
                self.run_worker(lambda: self._exported(kept, into), thread=True)

        proposed = str(kept.path.with_suffix(".export"))
        self.app.push_screen(Ask("Export picture, recipe and report into", proposed), named)

    def _exported(self, kept: Kept, into: Path) -> None:
        """In a worker thread."""
        from conservator.agent import archive

        def work() -> str:
            archive.export(kept, into)
            return f"exported into {into}"

        self._try(work)

    def _try(self, work: object) -> None:
        """Do it, say how it went, and list the sessions again."""
        try:
            words = work()  # type: ignore[operator]
        except Exception as error:
            words = error_words(error)
        self.app.call_from_thread(self.say, words)
        self.app.call_from_thread(self.action_again)


def pasted_path(text: str) -> Path | None:
    """The path that terminals make of a dropped file: quoted, escaped, or as a URL; None where it is none."""
    import shlex
    from urllib.parse import unquote, urlparse

    line = text.strip().splitlines()[0].strip() if text.strip() else ""
    if line.startswith("file://"):
        line = unquote(urlparse(line).path)
    candidates = [line]
    try:
        words = shlex.split(line)
        candidates += words[:1] if len(words) == 1 else []
    except ValueError:
        pass
    for candidate in candidates:
        path = Path(candidate).expanduser()
        try:
            if candidate and path.exists():
                return path
        except OSError:
            continue
    return None
