"""Photos worked off in the background, one after the other, each in a session of its own.

What was done is in the sessions beside the photos: a queue over the same folder goes on where a killed one stopped, and any
item can be opened and talked about.
"""

from __future__ import annotations

import csv
import io
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event as Signal
from typing import TYPE_CHECKING, Final, Literal

from textual.message import Message

from conservator.agent.errors import CancelledError
from conservator.agent.tui.opening import Opening
from conservator.agent.tui.pictures import SUFFIXES
from conservator.agent.tui.words import error_words, stage_of

if TYPE_CHECKING:
    from conservator.agent.events import Event

__all__ = ["Batch", "BatchChanged", "Item", "photos_in"]

State = Literal["waiting", "running", "done", "failed", "left out"]
_PROGRESS_S: Final = 0.2


@dataclass
class BatchChanged(Message):
    """An item of the queue is at something else; `finished` with the last one."""

    finished: bool = False


@dataclass(frozen=True)
class Item:
    """A photo of the queue.

    Attributes:
        words: the stage, the outcome, or the error.
        seconds: that it took, 0 for one that was done before.
        session: folder of its session, None before it has one.
        output: the picture that was written.
    """

    path: Path
    state: State = "waiting"
    words: str = ""
    seconds: float = 0.0
    session: Path | None = None
    output: Path | None = None


class Batch:
    """The queue and its thread."""

    def __init__(self, post: Callable[[Message], object], opening: Opening) -> None:
        """Tell by `post`, from any thread; `opening` says how photos are opened."""
        self._post = post
        self._opening = opening
        self._items: dict[Path, Item] = {}
        self._changed = threading.Condition()
        self._paused = self._closed = False
        self._cancel = Signal()
        self._told = 0.0
        self._thread: threading.Thread | None = None

    @property
    def items(self) -> tuple[Item, ...]:
        """The photos, in the order of work."""
        return tuple(self._items.values())

    @property
    def paused(self) -> bool:
        """Whether nothing is begun after the item in hand."""
        return self._paused

    @property
    def policy(self) -> str:
        """By which it restores."""
        return self._opening.policy or "balanced"

    @property
    def alive(self) -> bool:
        """Whether its thread still works."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def working(self) -> bool:
        """Whether there is something to do."""
        return any(item.state in ("waiting", "running") for item in self.items)

    @property
    def seconds_left(self) -> float | None:
        """As long as the mean of the items so far, for each that waits; None before the first is done."""
        waiting = sum(item.state in ("waiting", "running") for item in self.items)
        return None if self._mean is None else self._mean * waiting

    def due(self, path: Path) -> float | None:
        """Seconds until a photo that waits, or is in hand, is likely to be done; None for others, and before the first is done."""
        ahead = 0
        for item in self.items:
            ahead += item.state in ("waiting", "running")
            if item.path == path:
                left = item.state in ("waiting", "running")
                return self._mean * ahead if left and self._mean is not None else None
        return None

    @property
    def _mean(self) -> float | None:
        took = [item.seconds for item in self.items if item.state == "done" and item.seconds]
        return sum(took) / len(took) if took else None

    def choose(self, policy: str) -> None:
        """Restore by another policy from the next photo on."""
        self._opening = replace(self._opening, policy=policy)
        self._tell()

    def add(self, paths: Iterable[Path]) -> int:
        """Put photos at the end; those that are there stay where they are. Returns how many came new."""
        before = len(self._items)
        with self._changed:
            for path in paths:
                self._items.setdefault(path.absolute(), Item(path.absolute()))
            self._changed.notify_all()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._work, name="conservator-queue", daemon=True
            )
            self._thread.start()
        self._tell()
        return len(self._items) - before

    def pause(self) -> None:
        """Begin nothing more after the item in hand."""
        self._set(paused=True)

    def go_on(self) -> None:
        """Go on."""
        self._set(paused=False)

    def leave_out(self, path: Path) -> None:
        """Do not restore a photo; one in hand is stopped at the next tile."""
        item = self._items.get(path)
        if item is None:
            return
        if item.state == "running":
            self._cancel.set()
        elif item.state == "waiting":
            self._put(replace(item, state="left out"))

    def again(self, path: Path) -> None:
        """Take a photo up once more that failed or was left out."""
        item = self._items.get(path)
        if item is not None and item.state in ("failed", "left out"):
            self._put(Item(path))
            self.add(())

    def close(self) -> None:
        """Stop; does not wait for the thread."""
        self._closed = True
        self._cancel.set()
        self._set(paused=False)

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the thread's end; whether it came."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return not self.alive

    def export(self, into: Path) -> Path:
        """Write each done photo's picture, recipe and report into a folder of its own below `into`, and a table of all.

        Raises:
            OutputError: a file exists, or cannot be written.
        """
        from conservator.agent import archive
        from conservator.tools.image_io import write_atomically

        rows = io.StringIO()
        table = csv.writer(rows)
        table.writerow(("photo", "state", "outcome", "seconds", "result"))
        for item in self.items:
            table.writerow(
                (item.path, item.state, item.words, f"{item.seconds:.1f}", item.output or "")
            )
            if item.state == "done" and item.session is not None:
                archive.export(archive.kept_at(item.session), into / item.path.stem)
        into.mkdir(parents=True, exist_ok=True)
        target = into / "queue.csv"
        write_atomically(target, rows.getvalue().encode(), overwrite=False)
        return target

    def _work(self) -> None:
        while True:
            with self._changed:
                while self._paused and not self._closed:
                    self._changed.wait()
                waiting = next((item for item in self.items if item.state == "waiting"), None)
            if self._closed or waiting is None:
                break
            self._restore(waiting)
        if not self._closed:
            self._tell(finished=True)

    def _restore(self, item: Item) -> None:
        started = time.monotonic()
        self._cancel.clear()
        self._put(replace(item, state="running", words="opening"))
        try:
            done = self._done_before(item) or self._done(item)
        except CancelledError:
            done = replace(item, state="left out", words="")
        except Exception as error:
            # One photo that cannot be restored costs itself.
            done = replace(item, state="failed", words=error_words(error))
        else:
            if not done.seconds and done.words != "done before":
                done = replace(done, seconds=time.monotonic() - started)
        self._put(done)

    def _done_before(self, item: Item) -> Item | None:
        """The item, if its session holds a turn already."""
        from conservator.agent.dialogue.state import holds_session, read_state

        folder = item.path.with_name(f"{item.path.stem}.session")
        if not holds_session(folder):
            return None
        state = read_state(folder)
        if state.request.input != item.path or not state.tree.turns:
            return None
        return replace(item, state="done", words="done before", session=folder)

    def _done(self, item: Item) -> Item:
        from conservator.agent.events import RunFinished, ToolProgressed

        outcome = ""

        def heard(event: Event) -> None:
            nonlocal outcome
            if isinstance(event, RunFinished):
                outcome = event.result.outcome.replace("_", " ")
            elif isinstance(event, ToolProgressed):
                now = time.monotonic()
                if now - self._told > _PROGRESS_S:
                    self._told = now
                    share = f"{event.attempt}: {event.done / max(1, event.total):.0%}"
                    self._put(replace(self._items[item.path], words=share))
            elif (stage := stage_of(event)) is not None:
                self._put(replace(self._items[item.path], words=stage))

        opening = self._opening.at(item.path)
        with opening.opener()(heard) as session:
            session.restore(cancel=self._cancel)
            output = session.save()
            return replace(
                item, state="done", words=outcome, session=session.run_dir, output=output
            )

    def _put(self, item: Item) -> None:
        with self._changed:
            self._items[item.path] = item
        self._tell()

    def _set(self, *, paused: bool) -> None:
        with self._changed:
            self._paused = paused
            self._changed.notify_all()
        self._tell()

    def _tell(self, *, finished: bool = False) -> None:
        self._post(BatchChanged(finished))


def photos_in(folder: Path) -> list[Path]:
    """The photos of a folder, by name; results of earlier restorations are none."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES
        and not path.name.startswith(".")
        and ".restored" not in path.name
        and path.is_file()
    )
