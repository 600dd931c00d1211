"""A file at a glance: its picture, small, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from conservator.agent.tui.graphics.drawing import Drawer, Drawn
from conservator.agent.tui.graphics.viewing import View, cut, seen, window
from conservator.agent.tui.pictures import thumbnail
from conservator.agent.tui.widgets.canvas import Canvas
from conservator.agent.tui.words import error_words, weight

__all__ = ["Preview"]


class Preview(Vertical):
    """Shows the file under the cursor."""

    DEFAULT_CSS = """
    Preview { border: round $panel-lighten-2; border-title-color: $text-muted; }
    Preview Static { height: auto; max-height: 3; color: $text-muted; padding: 0 1; text-align: center; }
    """

    @dataclass
    class _Made(Message):
        path: Path
        drawn: Drawn | None
        words: str

    def __init__(self, drawer: Drawer, *, id: str | None = None) -> None:
        """Draw with `drawer`."""
        super().__init__(id=id)
        self._drawer = drawer
        self._path: Path | None = None
        self._busy = False
        self._words = ""

    def compose(self) -> ComposeResult:
        """The picture, and words below it."""
        yield Canvas()
        yield Static("", markup=False)

    def on_mount(self) -> None:
        """Another theme has another ground."""
        self.app.theme_changed_signal.subscribe(self, lambda theme: self.on_resize())

    def show(self, path: Path | None, words: str = "") -> None:
        """Show a file, or nothing; `words` come below its size."""
        self._path, self._words = path, words
        if path is None:
            self.query_one(Canvas).clear()
            self.query_one(Static).update(words)
        elif not self._busy:
            self._start(path)

    def on_resize(self) -> None:
        """Draw at the new size."""
        if self._path is not None and not self._busy:
            self._start(self._path)

    def _start(self, path: Path) -> None:
        across, down = self._drawer.cell
        size = self.query_one(Canvas).size
        if size.width and size.height:
            self._busy = True
            room = size.width * across, size.height * down
            ground = self.query_one(Canvas).ground
            self.run_worker(lambda: self._make(path, room, ground), thread=True, group="thumbnail")

    def _make(self, path: Path, room: tuple[int, int], ground: tuple[int, int, int]) -> None:
        """In a worker thread."""
        try:
            picture, size = thumbnail(path, room)
            piece = cut(picture, window(View(), picture.size, room), picture.size)
            drawn = self._drawer.draw(seen(piece, piece, View(mode="right"), room, ground))
            words = f"{size[0]}\u00d7{size[1]}  {weight(path.stat().st_size)}"
            self.post_message(self._Made(path, drawn, words))
        except Exception as error:
            # Any file may lie in a folder.
            self.post_message(self._Made(path, None, error_words(error)))

    def on_preview__made(self, message: _Made) -> None:
        """Show it, unless the cursor went on."""
        message.stop()
        self._busy = False
        if message.path != self._path:
            if self._path is not None:
                self._start(self._path)
            return
        self.border_title = message.path.name
        canvas = self.query_one(Canvas)
        canvas.show(message.drawn) if message.drawn is not None else canvas.clear()
        lines = [message.words, *([self._words] if self._words else [])]
        self.query_one(Static).update(Text("\n".join(lines)))
