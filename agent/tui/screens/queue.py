"""The queue: photos that are restored in the background, and how far each is."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Static

from conservator.agent.tui.batch import Batch, Item, photos_in
from conservator.agent.tui.messages import Left, OpenAsked
from conservator.agent.tui.widgets.title import Title
from conservator.agent.tui.words import duration, error_words

__all__ = ["QueueScreen"]

_COLOURS: Final = {
    "running": "primary",
    "done": "success",
    "failed": "error",
    "left out": "warning",
}


class _Table(DataTable[Text]):
    HELP = """\
Photos that are restored one after the other while you do something else. Each gets a session beside it, so Enter opens any that is done, and its result is written beside it; the photos themselves stay as they are.

A queue over the same folder goes on where one that was killed stopped."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Open", id="queue.open", tooltip="Open as a session"),
    ]


class QueueScreen(Screen[None]):
    """Shows the queue."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "Pause", id="queue.pause", tooltip="After the photo in hand, and go on again"),
        Binding("a", "add", "Add", id="queue.add", tooltip="A folder or a photo"),
        Binding("p", "policy", "Policy", id="queue.policy", tooltip="Another one, from the next photo on"),
        Binding("delete", "leave_out", "Leave out", id="queue.leave-out"),
        Binding("r", "again", "Again", id="queue.again", tooltip="What failed or was left out"),
        Binding("e", "export", "Export", id="queue.export", tooltip="Results, recipes, reports and a table"),
        Binding("escape,ctrl+o", "back", "Back", id="queue.back", tooltip="The queue goes on"),
    ]  # fmt: skip
    AUTO_FOCUS = "DataTable"
    DEFAULT_CSS = """
    QueueScreen DataTable { height: 1fr; background: transparent; }
    QueueScreen #summary { height: 1; padding: 0 1; color: $text-muted; }
    """

    def __init__(self, batch: Batch) -> None:
        """Show `batch`."""
        super().__init__()
        self._batch = batch

    def compose(self) -> ComposeResult:
        """Title, photos, summary."""
        yield Title()
        yield _Table(cursor_type="row")
        yield Static("", id="summary", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Show the photos."""
        title = self.query_one(Title)
        title.what = "Queue"
        title.stand = f"policy {self._batch.policy}"
        table = self.query_one(_Table)
        table.add_column("photo", key="photo")
        table.add_column("state", key="state")
        table.add_column("at, or outcome", key="words")
        table.add_column("time", key="time")
        table.focus()
        self.renew()

    def renew(self) -> None:
        """Show what every photo is at; before the screen stands, nothing."""
        tables = self.query(_Table)
        if not tables or not tables.first().columns:
            return
        table = tables.first()
        for item in self._batch.items:
            key = str(item.path)
            cells = self._cells(item)
            if key in table.rows:
                for column, cell in zip(("state", "words", "time"), cells[1:], strict=True):
                    if table.get_cell(key, column) != cell:
                        table.update_cell(key, column, cell, update_width=True)
            else:
                table.add_row(*cells, key=key)
        self.query_one("#summary", Static).update(self._summary())
        self.query_one(Title).facts = "paused" if self._batch.paused else ""

    def say(self, words: str) -> None:
        """A word about what was asked for last."""
        self.query_one(Title).stand = words

    def action_open(self) -> None:
        """Open the photo under the cursor as a session."""
        item = self._item
        if item is None:
            return
        if item.state == "running":
            self.say(f"{item.path.name} is being worked on; open it when it is done")
        else:
            self.post_message(OpenAsked(item.session or item.path))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter or a click on the row under the cursor."""
        event.stop()
        self.action_open()

    def action_pause(self) -> None:
        """Rest after the photo in hand, or go on."""
        if self._batch.paused:
            self._batch.go_on()
        else:
            self._batch.pause()

    def action_policy(self) -> None:
        """The next of the policies."""
        from conservator.policies.preset import preset_names

        names = list(preset_names())
        now = self._batch.policy
        place = names.index(now) if now in names else -1
        self._batch.choose(names[(place + 1) % len(names)])
        self.say(f"policy {self._batch.policy}, from the next photo on")

    def action_leave_out(self) -> None:
        """Not this one."""
        if (item := self._item) is not None:
            self._batch.leave_out(item.path)

    def action_again(self) -> None:
        """This one once more."""
        if (item := self._item) is not None:
            self._batch.again(item.path)

    def action_add(self) -> None:
        """Add a folder or a photo."""
        from conservator.agent.tui.modals.ask import Ask

        def named(answer: str | None) -> None:
            if answer is not None:
                self.add(Path(answer).expanduser())

        here = self._batch.items[-1].path.parent if self._batch.items else Path.cwd()
        self.app.push_screen(Ask("Add a folder, or a photo", str(here)), named)

    def add(self, path: Path) -> None:
        """Put a photo, or those of a folder, at the end."""
        try:
            paths = photos_in(path) if path.is_dir() else [path]
        except OSError as error:
            self.say(error_words(error))
            return
        if not path.exists():
            self.say(f"{path} is not there")
        elif not paths:
            self.say(f"no photos in {path}")
        else:
            count = self._batch.add(paths)
            self.say(f"policy {self._batch.policy}; {count} added")

    def action_export(self) -> None:
        """Write everything into a folder."""
        from conservator.agent.tui.modals.ask import Ask

        def named(answer: str | None) -> None:
            if answer is not None:
                into = Path(answer).expanduser().absolute()
                self.run_worker(lambda: self._exported(into), thread=True)

        here = self._batch.items[0].path.parent if self._batch.items else Path.cwd()
        self.app.push_screen(
            Ask("Export results, recipes and reports into", str(here / "export")), named
        )

    def _exported(self, into: Path) -> None:
        """In a worker thread."""
        try:
            words = f"exported; the table is {self._batch.export(into)}"
        except Exception as error:
            # Whatever the disk says.
            words = error_words(error)
        self.app.call_from_thread(self.say, words)

    def action_back(self) -> None:
        """Leave; the queue goes on."""
        self.post_message(Left())

    @property
    def _item(self) -> Item | None:
        table = self.query_one(_Table)
        items = self._batch.items
        return items[table.cursor_row] if 0 <= table.cursor_row < len(items) else None

    def _cells(self, item: Item) -> tuple[Text, Text, Text, Text]:
        name = _COLOURS.get(item.state, "foreground")
        colour = self.app.theme_variables.get(name, "default")
        words = Text(item.words, no_wrap=True)
        words.truncate(44, overflow="ellipsis")
        took = Text(duration(item.seconds) if item.seconds else "", justify="right")
        if (due := self._batch.due(item.path)) is not None:
            took = Text(f"in {duration(due)}", "dim", justify="right")
        return Text(item.path.name), Text(item.state, colour), words, took

    def _summary(self) -> str:
        items = self._batch.items
        if not items:
            return "nothing here yet; A adds a folder"
        done = sum(item.state == "done" for item in items)
        failed = sum(item.state == "failed" for item in items)
        words = [f"{done} of {len(items)} done"]
        if failed:
            words.append(f"{failed} failed")
        left = self._batch.seconds_left
        if left and self._batch.working:
            words.append(f"about {duration(left)} left")
        return ", ".join(words)
