"""Two pictures and the eye on them: split, A/B, difference, 1:1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from conservator.agent.tui.graphics.drawing import Drawer, Drawn
from conservator.agent.tui.graphics.viewing import (
    Mode,
    View,
    Window,
    amplification,
    cut,
    panned,
    seen,
    window,
    zoomed,
)
from conservator.agent.tui.widgets.canvas import Canvas
from conservator.agent.tui.words import error_words
from conservator.policies.attempt import ORIGINAL

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PictureView"]

_STEP: Final = 0.05
"""Of the width, that a key moves the split, and of what is seen, that it pans."""
_PAN: Final = 0.25
_NEAR: Final = 2
"""Cells beside the divider that take hold of it where the mouse pans otherwise."""
_CUTS: Final = 4


@dataclass(frozen=True)
class _Sides:
    """What is compared."""

    load: Callable[[str], Image]
    left: str
    right: str


class _Caption(Widget, can_focus=False):
    """The line above the pictures: which they are, and how they are seen."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    _Caption { height: 1; background: $panel; color: $text-muted; padding: 0 1; }
    """
    left: reactive[str] = reactive("")
    middle: reactive[str] = reactive("")
    right: reactive[str] = reactive("")

    def render(self) -> Text:
        """Left, middle and right, as far as there is room."""
        width = self.content_size.width
        room = max(0, (width - len(self.middle)) // 2 - 1)
        left, right = Text(self.left, "bold"), Text(self.right, "bold")
        left.truncate(room, overflow="ellipsis", pad=True)
        right.truncate(room, overflow="ellipsis")
        gap = " " * max(0, width - room - len(self.middle) - right.cell_len - 1)
        return Text.assemble(left, " ", self.middle, gap, right)


class PictureView(Vertical, can_focus=True):
    """Shows a node of the tree beside another."""

    HELP = """\
The picture, before on the left, after on the right.

Drag the yellow line with the mouse or the arrow keys. Space shows one picture and then the other, in place.
The difference is drawn around grey, and made as much stronger as the line above says.
1:1 shows a photo pixel as a pixel of the screen; arrows or the mouse move it then. In half-cells a cell shows two pixels."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "flip", "A/B", id="picture.flip", tooltip="One picture, then the other"),
        Binding("s", "mode('split')", "Split", id="picture.split", tooltip="Before | after"),
        Binding(
            "d",
            "mode('difference')",
            "Diff",
            id="picture.difference",
            tooltip="What changed, made stronger",
        ),
        Binding("z", "natural", "1:1", id="picture.natural", tooltip="Photo pixel by photo pixel"),
        Binding("plus,equals_sign", "zoom(1)", "Nearer", show=False, id="picture.nearer"),
        Binding("minus", "zoom(-1)", "Farther", show=False, id="picture.farther"),
        Binding("0", "fit", "Fit", show=False, id="picture.fit", tooltip="The whole photo"),
        Binding("left", "across(-1)", "Left", show=False, id="picture.left"),
        Binding("right", "across(1)", "Right", show=False, id="picture.right"),
        Binding("up", "pan(0, -1)", "Up", show=False, id="picture.up"),
        Binding("down", "pan(0, 1)", "Down", show=False, id="picture.down"),
        Binding("shift+left", "split(-1)", "Split left", show=False, id="picture.split-left"),
        Binding("shift+right", "split(1)", "Split right", show=False, id="picture.split-right"),
        Binding("o", "open", "Open", id="picture.open", tooltip="In the desktop's viewer"),
        Binding("f", "fill", "Full", id="picture.fill", tooltip="The whole screen, and back"),
    ]
    DEFAULT_CSS = """
    PictureView { height: 1fr; background: $background; }
    PictureView:focus _Caption { background: $primary 30%; color: $text; }
    """

    class OpenAsked(Message):
        """The user wants a node in the desktop's viewer."""

        def __init__(self, node: str) -> None:
            """Open `node`."""
            super().__init__()
            self.node = node

    @dataclass
    class _Painted(Message):
        """A worker has drawn, or could not."""

        drawn: Drawn | None
        photo: tuple[int, int]
        factor: int = 1
        error: str = ""

    def __init__(self, drawer: Drawer, *, id: str | None = None) -> None:
        """Draw with `drawer`."""
        super().__init__(id=id)
        self._drawer = drawer
        self._sides: _Sides | None = None
        self._labels = ("", "")
        self._photo, self._factor = (1, 1), 1
        self._cuts: dict[tuple[str, Window], Image] = {}
        self._painting = self._stale = False
        self._hold: tuple[float, float] | None = None
        self._splitting = False
        self.view = View()

    def compose(self) -> ComposeResult:
        """Caption and canvas."""
        yield _Caption()
        yield Canvas()

    def on_mount(self) -> None:
        """Another theme has another ground."""
        self.app.theme_changed_signal.subscribe(self, lambda theme: self._ask())

    def show(
        self,
        load: Callable[[str], Image],
        left: str,
        right: str,
        *,
        labels: tuple[str, str] = ("", ""),
    ) -> None:
        """Show two nodes.

        Args:
            load: gives a node's picture; called in a worker thread.
            left: the one before.
            right: the one after; the same one shows a single picture.
            labels: what they are called.
        """
        if self._sides is not None and load != self._sides.load:
            self._cuts.clear()
        self._sides = _Sides(load, left, right)
        self._labels = labels
        self._ask()

    @property
    def nodes(self) -> tuple[str, str]:
        """Left and right."""
        return (
            (ORIGINAL, ORIGINAL) if self._sides is None else (self._sides.left, self._sides.right)
        )

    @property
    def drawn(self) -> bool:
        """Whether all that was asked for is on the screen."""
        return self._sides is not None and not self._painting and not self._stale

    def on_resize(self) -> None:
        """Draw at the new size."""
        self._ask()

    def action_flip(self) -> None:
        """The left picture, or the right one if that is seen."""
        self._look(mode="left" if self.view.mode == "right" else "right")

    def action_mode(self, mode: Mode) -> None:
        """Another way to see them; the same once more goes back to the right picture."""
        self._look(mode="right" if self.view.mode == mode else mode)

    def action_natural(self) -> None:
        """1:1, or fitted again."""
        self._look(zoom=None if self.view.zoom == 1.0 else 1.0)

    def action_fit(self) -> None:
        """The whole photo."""
        self._look(zoom=None, centre=(0.5, 0.5))

    def action_zoom(self, steps: int) -> None:
        """Nearer or farther."""
        self._set(zoomed(self.view, steps, self._photo, self._room))

    def action_across(self, sign: int) -> None:
        """The divider while the whole photo is seen, else the photo."""
        if self.view.zoom is None:
            self.action_split(sign)
        else:
            self.action_pan(sign, 0)

    def action_pan(self, across: int, down: int) -> None:
        """Move over the photo."""
        self._set(panned(self.view, across * _PAN, down * _PAN, self._photo, self._room))

    def action_split(self, sign: int) -> None:
        """Move the divider."""
        place = self.view.split + sign * _STEP if self.view.mode == "split" else self.view.split
        self._look(mode="split", split=min(1.0, max(0.0, round(place, 4))))

    def action_open(self) -> None:
        """Ask for the desktop's viewer."""
        if self._sides is not None:
            left = self.view.mode == "left"
            self.post_message(self.OpenAsked(self._sides.left if left else self._sides.right))

    def action_fill(self) -> None:
        """The whole screen, and back."""
        if self.screen.maximized is self:
            self.screen.minimize()
        else:
            self.screen.maximize(self, container=False)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Take hold of the divider, or of the photo where it is larger than the screen."""
        self.focus()
        x = event.x
        on_divider = self.view.mode == "split" and abs(x - self._divider) <= _NEAR
        self._splitting = self.view.zoom is None or on_divider
        self._hold = event.screen_x, event.screen_y
        self.capture_mouse()
        if self._splitting and self.view.mode == "split":
            self._split_at(x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag."""
        if self._hold is None:
            return
        if self._splitting:
            if self.view.mode == "split":
                self._split_at(event.x)
            return
        before, self._hold = self._hold, (event.screen_x, event.screen_y)
        across = (before[0] - self._hold[0]) / max(1, self.size.width)
        down = (before[1] - self._hold[1]) / max(1, self.size.height - 1)
        self._set(panned(self.view, across, down, self._photo, self._room))

    def on_mouse_up(self) -> None:
        """Let go."""
        self._hold = None
        self.release_mouse()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Nearer."""
        event.stop()
        self.action_zoom(1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Farther."""
        event.stop()
        self.action_zoom(-1)

    @property
    def _room(self) -> tuple[int, int]:
        across, down = self._drawer.cell
        return max(1, self.size.width) * across, max(1, self.size.height - 1) * down

    @property
    def _shown_cells(self) -> tuple[float, float]:
        """Where the photo begins, and how wide it is, in cells."""
        shown = window(self.view, self._photo, self._room).size[0] / self._drawer.cell[0]
        return (self.size.width - shown) / 2, shown

    @property
    def _divider(self) -> float:
        start, width = self._shown_cells
        return start + self.view.split * width

    def _split_at(self, x: float) -> None:
        start, width = self._shown_cells
        self._look(split=min(1.0, max(0.0, (x + 0.5 - start) / max(width, 1))))

    def _look(self, **change: object) -> None:
        self._set(replace(self.view, **change))  # type: ignore[arg-type]

    def _set(self, view: View) -> None:
        if view != self.view:
            self.view = view
            self._ask()

    def _ask(self) -> None:
        """Draw soon; of many wishes while something is drawn the last one counts."""
        self._say()
        self._stale = True
        if self._sides is not None and not self._painting and self.size.height > 1:
            self._painting, self._stale = True, False
            sides, view, room = self._sides, self.view, self._room
            ground = self.query_one(Canvas).ground
            self.run_worker(
                lambda: self._paint(sides, view, room, ground), thread=True, group="paint"
            )

    def _paint(
        self, sides: _Sides, view: View, room: tuple[int, int], ground: tuple[int, int, int]
    ) -> None:
        """In a worker thread."""
        try:
            one, other = sides.load(sides.left), sides.load(sides.right)
            shown = window(view, one.size, room)
            cuts = [
                self._cut(*pair, shown, one.size)
                for pair in ((sides.left, one), (sides.right, other))
            ]
            if sides.left == sides.right:
                view = replace(view, mode="right")
            drawn = self._drawer.draw(seen(cuts[0], cuts[1], view, room, ground))
            factor = amplification(*cuts) if view.mode == "difference" else 1
            self.post_message(self._Painted(drawn, one.size, factor))
        except Exception as error:
            # Whatever is wrong with a picture, the session goes on.
            self.post_message(self._Painted(None, self._photo, error=error_words(error)))

    def _cut(self, name: str, picture: Image, shown: Window, photo: tuple[int, int]) -> Image:
        """What is seen of a picture; while the divider moves it is the same."""
        key = (name, shown)
        if key not in self._cuts:
            while len(self._cuts) >= _CUTS:
                self._cuts.pop(next(iter(self._cuts)))
            self._cuts[key] = cut(picture, shown, photo)
        return self._cuts[key]

    def on_picture_view__painted(self, message: _Painted) -> None:
        """Put it on the screen."""
        message.stop()
        self._painting = False
        self._photo, self._factor = message.photo, message.factor
        canvas = self.query_one(Canvas)
        if message.drawn is None:
            canvas.clear()
        else:
            canvas.show(message.drawn)
        self._say(message.error)
        if self._stale:
            self._ask()

    def _say(self, error: str = "") -> None:
        caption = self.query_one(_Caption)
        left, right = self._labels
        single = len(set(self.nodes)) == 1
        mode = "" if single else self.view.mode
        caption.left = "" if single or mode == "right" else left
        caption.right = right if single or mode != "left" else ""
        ways = {"difference": f"difference \u00d7{self._factor}", "left": "A", "right": "B"}
        words = [
            ways.get(mode, ""),
            "" if self.view.zoom is None else _magnification(self.view.zoom),
        ]
        caption.middle = error or "  ".join(word for word in words if word)


def _magnification(zoom: float) -> str:
    return f"{zoom:g}:1" if zoom >= 1 else f"1:{1 / zoom:g}"
