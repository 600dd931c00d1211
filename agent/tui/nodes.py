"""Pictures and words of a session's nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conservator.agent.errors import MissingFileError
from conservator.agent.tui.pictures import Album, on_screen
from conservator.agent.tui.words import Line
from conservator.policies.attempt import ORIGINAL

if TYPE_CHECKING:
    from PIL.Image import Image

    from conservator.agent.dialogue.session import Session
    from conservator.agent.tui.history import History, Row

__all__ = ["Nodes", "attempt_lines"]


class Nodes:
    """A session's nodes for the eye.

    Attributes:
        album: their pictures; for worker threads.
        size: the photo's width and height.
    """

    def __init__(self, session: Session, history: History) -> None:
        """Look at `session`; `history` knows the attempts."""
        self._session, self._history = session, history
        original = session.picture_of(ORIGINAL)
        self.size = original.width, original.height
        self.album = Album(self._picture)

    def label(self, node: str) -> str:
        """What a node is called above its picture."""
        row = self._history.rows.get(node)
        return node if row is None or node == ORIGINAL else f"{node}  {row.words}"

    def visible(self, node: str) -> bool:
        """Whether its picture is kept; of a run's attempts only those on the way to its result are."""
        row = self._history.rows.get(node)
        return row is not None and ("/" not in node or bool(row.artifact))

    def _picture(self, node: str) -> Image:
        turn_id, _, attempt = node.partition("/")
        if not attempt:
            return on_screen(self._session.picture_of(node))
        turn, row = self._session.tree.turn(turn_id), self._history.rows.get(node)
        if turn is None or row is None or not row.artifact:
            raise MissingFileError(f"the picture of {node} is not kept")
        from conservator.agent.sessions import RunFolder

        pixels = RunFolder(self._session.run_dir / turn.run).load_artifact(row.artifact)
        return on_screen(self._session.picture_of(ORIGINAL).with_pixels(pixels))


def attempt_lines(row: Row) -> list[Line]:
    """Why an attempt was kept or not, check by check."""
    checks = () if row.verdict is None else row.verdict.checks
    return [
        Line(f"{row.id}: {row.words}", "reply"),
        Line(f"  {row.why or 'not judged yet'}", "reply"),
        *(Line(f"  {'holds' if c.passed else 'AGAINST'}: {c.line}", "reply") for c in checks),
    ]
