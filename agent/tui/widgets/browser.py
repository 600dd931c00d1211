"""Folders and photos to choose from."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import DirectoryTree
from textual.widgets.directory_tree import DirEntry

from conservator.agent.tui.pictures import SUFFIXES

__all__ = ["Browser"]


class Browser(DirectoryTree):
    """A folder with its sub-folders; only what can be opened is shown."""

    HELP = """\
Folders and photos; the picture under the cursor is shown beside it. Enter opens a photo. Backspace goes to the folder above, H to your home.

A path may also be typed or dropped into the line above; pasting one anywhere on this screen opens it."""
    ICON_NODE = "\u25b8 "
    ICON_NODE_EXPANDED = "\u25be "
    ICON_FILE = "  "
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Open", id="browser.open"),
        Binding("backspace", "above", "Above", id="browser.above", tooltip="The folder above"),
        Binding("h", "home", "Home", show=False, id="browser.home"),
    ]
    DEFAULT_CSS = """
    Browser { border: round $panel-lighten-2; border-title-color: $text-muted; background: transparent; padding: 0 1; scrollbar-size-vertical: 1; }
    Browser:focus { border: round $primary; border-title-color: $primary; background-tint: transparent; }
    """

    def on_mount(self) -> None:
        """Name the frame; a list needs no lines."""
        self.show_guides = False
        self.guide_depth = 2
        self.go(Path(self.path))

    def filter_paths(self, paths: Iterable[Path]) -> Iterable[Path]:
        """Folders and photos; sessions and hidden things have no place here."""
        return [path for path in paths if not path.name.startswith(".") and _offered(path)]

    async def watch_path(self) -> None:
        """Another folder: begin at its first photo."""
        await super().watch_path()
        self.root.set_label(Path(self.path).name or "/")
        first = next((node for node in self.root.children if _is_photo(node.data)), None)
        if first is not None:
            self.move_cursor(first)

    def action_above(self) -> None:
        """The folder above."""
        self.go(Path(self.path).absolute().parent)

    def action_home(self) -> None:
        """The user's own folder."""
        self.go(Path.home())

    def go(self, folder: Path) -> None:
        """Show another folder."""
        self.path = folder.absolute()
        self._name_frame()

    @property
    def chosen(self) -> Path | None:
        """The photo under the cursor, None for a folder."""
        node = self.cursor_node
        path = None if node is None or node.data is None else node.data.path
        return path if path is not None and path.is_file() else None

    def _name_frame(self) -> None:
        shown = Path(self.path)
        home = Path.home()
        inside = shown.is_relative_to(home)
        self.border_title = str(Path("~", shown.relative_to(home)) if inside else shown)


def _is_photo(entry: DirEntry | None) -> bool:
    return entry is not None and entry.path.suffix.lower() in SUFFIXES


def _offered(path: Path) -> bool:
    try:
        if path.is_dir():
            return path.suffix not in (".session", ".run")
        return path.suffix.lower() in SUFFIXES
    except OSError:
        return False
