"""Pictures of the terminal UI for the documentation, out of a real session: `python -m conservator.agent.tui.stills PHOTO... FOLDER`.

One SVG for each state: letters as text, frames as lines, and what half-cells show as one small picture, so that a screen takes a
few ten kilobytes and looks the same in whatever font it is read.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.color import Color as RichColor
from rich.terminal_theme import DEFAULT_TERMINAL_THEME

from conservator.agent.errors import UsageError
from conservator.agent.settings import load_settings
from conservator.agent.tui.app import ConservatorApp
from conservator.agent.tui.graphics.drawing import HalfCells
from conservator.agent.tui.opening import Opening
from conservator.agent.tui.preferences import Preferences

if TYPE_CHECKING:
    from rich.segment import Segment
    from rich.style import Style
    from textual.pilot import Pilot

__all__ = ["STATES", "main", "still", "take"]

STATES: Final = ("approve", "session", "start")
"""What is shown, in the order in which it is seen."""
_CELL: Final = (10, 20)
"""Of the drawing, in its own units."""
_SIZE: Final = (132, 40)
_BASE: Final = 15
"""From the top of a line to the foot of its letters."""
_BLOCK: Final = "\N{UPPER HALF BLOCK}"
_ARMS: Final = {
    "\u2500": "lr", "\u2501": "lr", "\u2502": "ud", "\u250c": "dr", "\u2510": "dl", "\u2514": "ur",
    "\u2518": "ul", "\u251c": "udr", "\u2524": "udl", "\u252c": "dlr", "\u2534": "ulr",
    "\u253c": "udlr", "\u256d": "dr", "\u256e": "dl", "\u256f": "ul", "\u2570": "ur",
}  # fmt: skip
"""To which sides of its cell a line goes."""
_HEAVY: Final = "\u2501"
_PATIENCE_S: Final = 900.0

Rgb = tuple[int, int, int]
_Cells = tuple[int, int, str, Rgb, Rgb, "Style"]
"""Column, row, text, foreground, background and style."""


def still(rows: Sequence[Iterable[Segment]], width: int, ground: Rgb) -> str:
    """A screen as SVG.

    Args:
        rows: what each line shows, from the top.
        width: of the screen, cells.
        ground: colour where nothing else is said.
    """
    across, down = width * _CELL[0], len(rows) * _CELL[1]
    cells = list(_cells(rows, ground))
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across} {down}" '
            f'font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="16.4">',
            f'<rect width="{across}" height="{down}" fill="{_hex(ground)}"/>',
            *_grounds(cells, ground),
            _photo(cells, width, len(rows)),
            *_marks(cells),
            "</svg>\n",
        )
    )


def take(photos: Sequence[Path], into: Path, opening: Opening) -> None:
    """Walk through a session on the first photo, and keep what is seen on the way.

    Args:
        photos: the others are only seen in the list; nothing is written beside any.
        into: folder of the pictures, `tui-STATE.svg`.
        opening: how the session is opened.
    """
    into.mkdir(parents=True, exist_ok=True)
    kept = {name: os.environ.get(name) for name in ("HOME", "CONSERVATOR_STATE_DIR")}
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(HOME=home, CONSERVATOR_STATE_DIR=home)
        folder = Path(home, "photos")
        folder.mkdir()
        try:
            asyncio.run(_walk([Path(shutil.copy(path, folder)) for path in photos], into, opening))
        finally:
            for name, value in kept.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


async def _walk(photos: Sequence[Path], into: Path, opening: Opening) -> None:
    from textual.widgets import Footer

    from conservator.agent.tui.messages import OpenAsked
    from conservator.agent.tui.modals.approve import ApproveStep
    from conservator.agent.tui.screens.session import SessionScreen
    from conservator.agent.tui.screens.start import StartScreen
    from conservator.agent.tui.widgets.sessions import SessionList

    app = ConservatorApp(
        opening,
        HalfCells(),
        settings=load_settings(),
        preferences=Preferences(),
        paths=[photos[0].parent],
    )

    async def shoot(name: str) -> None:
        # The keys come last.
        await _until(pilot, lambda: any(footer.children for footer in app.screen.query(Footer)))
        # What Textual's own screenshots are made of as well.
        strips = app.screen._compositor.render_strips()
        drawn = still(strips, app.size.width, app.screen.background_colors[1].rgb)
        (into / f"tui-{name}.svg").write_text(drawn, encoding="utf-8")

    async with app.run_test(size=_SIZE) as pilot:
        await _until(pilot, lambda: isinstance(app.screen, StartScreen))
        app.post_message(OpenAsked(photos[0]))
        await _until(pilot, lambda: isinstance(app.screen, SessionScreen))
        screen = app.screen
        assert isinstance(screen, SessionScreen)

        def rests() -> bool:
            return screen.bridge.idle and screen.board.picture.drawn

        await _until(pilot, rests)
        session = screen.session
        assert session is not None
        session.aim(approve="plan", approver=screen.bridge.approver)
        await pilot.press("ctrl+r")
        await _until(pilot, lambda: isinstance(app.screen, ApproveStep) or rests())
        if not isinstance(app.screen, ApproveStep):
            raise UsageError(f"{photos[0].name} needs no restoration; choose a damaged photo")
        await shoot("approve")
        await pilot.press("ctrl+s")
        await _until(pilot, rests)
        for words in ("keep the grain", "undo", "a bit brighter"):
            await pilot.press(*words, "enter")
            await _until(pilot, rests)
        await shoot("session")
        await pilot.press("ctrl+o")
        await _until(pilot, lambda: isinstance(app.screen, StartScreen))
        await _until(pilot, lambda: app.screen.query_one(SessionList).chosen is not None)
        app.screen.query_one(SessionList).focus()
        await pilot.pause(1)
        await shoot("start")
        screen.bridge.close()
        screen.bridge.join(_PATIENCE_S)


async def _until(pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    waited = 0.0
    while not holds():
        if waited > _PATIENCE_S:
            raise TimeoutError("the session did not come to rest")
        await pilot.pause(0.1)
        waited += 0.1
    await pilot.pause(0.3)


def _cells(rows: Iterable[Iterable[Segment]], ground: Rgb) -> Iterator[_Cells]:
    for row, segments in enumerate(rows):
        column = 0
        for segment in segments:
            style = segment.style
            if segment.control or style is None:
                continue
            front = _rgb(style.color, foreground=True)
            default = style.bgcolor is None or style.bgcolor.is_default
            back = ground if default else _rgb(style.bgcolor, foreground=False)
            if style.reverse:
                front, back = back, front
            yield column, row, segment.text, front, back, style
            column += segment.cell_length


def _grounds(cells: Iterable[_Cells], ground: Rgb) -> Iterator[str]:
    across, down = _CELL
    for column, row, text, _, back, _ in cells:
        if _BLOCK not in text and back != ground:
            yield (
                f'<rect x="{column * across}" y="{row * down}" width="{len(text) * across}" '
                f'height="{down}" fill="{_hex(back)}"/>'
            )


def _marks(cells: Iterable[_Cells]) -> Iterator[str]:
    """Letters and lines."""
    for column, row, text, front, _, style in cells:
        place = column
        for lines, letters in groupby(text, lambda letter: letter in _ARMS):
            run = "".join(letters)
            if lines:
                yield _line(place, row, run, front, style)
            elif run.strip() and _BLOCK not in run:
                yield _words(place, row, run, front, style)
            place += len(run)


def _words(column: int, row: int, text: str, front: Rgb, style: Style) -> str:
    shown = text.strip()
    x = (column + len(text) - len(text.lstrip())) * _CELL[0]
    looks = ' font-weight="bold"' if style.bold else ""
    looks += ' font-style="italic"' if style.italic else ""
    looks += ' text-decoration="underline"' if style.underline else ""
    return (
        f'<text x="{x}" y="{row * _CELL[1] + _BASE}" xml:space="preserve" '
        f'textLength="{len(shown) * _CELL[0]}" lengthAdjust="spacingAndGlyphs" '
        f'fill="{_hex(front)}"{looks}{_dim(style)}>{escape(shown)}</text>'
    )


def _line(column: int, row: int, run: str, front: Rgb, style: Style) -> str:
    across, down = _CELL
    middle = row * down + down / 2
    path = []
    for place, letters in groupby(enumerate(run, column), lambda pair: pair[1]):
        columns = [x for x, _ in letters]
        if place in ("\u2500", _HEAVY):
            # One stroke for a row of them.
            path.append(f"M{columns[0] * across} {middle:g}h{len(columns) * across}")
            continue
        for x in columns:
            centre = x * across + across / 2
            ends = {
                "u": (centre, row * down),
                "d": (centre, (row + 1) * down),
                "l": (x * across, middle),
                "r": ((x + 1) * across, middle),
            }
            arms = [ends[arm] for arm in _ARMS[place]]
            if len(arms) == 2 and place not in "\u2502":
                (ax, ay), (bx, by) = arms
                path.append(f"M{ax:g} {ay:g}Q{centre:g} {middle:g} {bx:g} {by:g}")
            else:
                path += [f"M{centre:g} {middle:g}L{ex:g} {ey:g}" for ex, ey in arms]
    wide = 3 if _HEAVY in run else 1.2
    return (
        f'<path d="{"".join(path)}" fill="none" stroke="{_hex(front)}" '
        f'stroke-width="{wide}"{_dim(style)}/>'
    )


def _photo(cells: Iterable[_Cells], width: int, height: int) -> str:
    """All half-cells as one picture, two pixels a cell."""
    from PIL import Image as image_module

    picture = image_module.new("RGBA", (width, 2 * height))
    for column, row, text, front, back, _ in cells:
        for x, letter in enumerate(text, column):
            if letter == _BLOCK:
                picture.putpixel((x, 2 * row), (*front, 255))
                picture.putpixel((x, 2 * row + 1), (*back, 255))
    stream = BytesIO()
    picture.save(stream, "PNG", optimize=True)
    data = b64encode(stream.getvalue()).decode()
    size = f'width="{width * _CELL[0]}" height="{height * _CELL[1]}"'
    return f'<image {size} style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'


def _dim(style: Style) -> str:
    return ' opacity="0.65"' if style.dim else ""


def _rgb(colour: RichColor | None, *, foreground: bool) -> Rgb:
    found = (colour or RichColor.default()).get_truecolor(DEFAULT_TERMINAL_THEME, foreground)
    return found.red, found.green, found.blue


def _hex(colour: Rgb) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def main(arguments: Sequence[str]) -> int:
    """Take the pictures of a session with the policy alone."""
    if len(arguments) < 2:
        sys.stderr.write("usage: python -m conservator.agent.tui.stills PHOTO... FOLDER\n")
        return 2
    *photos, into = map(Path, arguments)
    take(photos, into, Opening(vlm="none"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
