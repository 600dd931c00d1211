"""A session on the screen: title, picture, dialogue and panels, and which nodes they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from conservator.agent.errors import ConservatorError
from conservator.agent.tui.graphics.drawing import Drawer
from conservator.agent.tui.history import History
from conservator.agent.tui.widgets.dialogue import Dialogue
from conservator.agent.tui.widgets.picture import PictureView
from conservator.agent.tui.widgets.side import Side
from conservator.agent.tui.widgets.title import Title
from conservator.agent.tui.words import Line, lines_of, stage_of
from conservator.policies.attempt import ORIGINAL

if TYPE_CHECKING:
    from conservator.agent.dialogue.session import Session
    from conservator.agent.events import Event
    from conservator.agent.tui.nodes import Nodes

__all__ = ["Board"]


class Board(Vertical):
    """Shows a session; what is done with it is the screen's.

    Attributes:
        history: what the session has come to.
        nodes: pictures of the nodes, None before the session is open.
    """

    DEFAULT_CSS = """
    Board #body { height: 1fr; }
    Board #main { width: 1fr; }
    """

    def __init__(self, drawer: Drawer, name: str) -> None:
        """Show nothing yet but the photo's name."""
        super().__init__()
        self._drawer = drawer
        self._photo = name
        self._session: Session | None = None
        self._left, self._right, self._here = ORIGINAL, "", ""
        self._seconds = 0.0
        self._complaints: set[str] = set()
        self.history = History()
        self.nodes: Nodes | None = None

    def compose(self) -> ComposeResult:
        """Picture and dialogue, the panels beside them."""
        yield Title()
        with Horizontal(id="body"):
            with Vertical(id="main"):
                yield PictureView(self._drawer)
                yield Dialogue()
            yield Side()

    def on_mount(self) -> None:
        """Say what is being opened."""
        self.title.what, self.title.stand = self._photo, "opening"
        self.talk.activity.begin("opening the photo")

    @property
    def title(self) -> Title:
        """The line on top."""
        return self.query_one(Title)

    @property
    def talk(self) -> Dialogue:
        """The conversation."""
        return self.query_one(Dialogue)

    @property
    def side(self) -> Side:
        """The panels."""
        return self.query_one(Side)

    @property
    def picture(self) -> PictureView:
        """The picture."""
        return self.query_one(PictureView)

    @property
    def standing(self) -> bool:
        """Whether all of it is there; while a screen is taken down, messages still arrive."""
        return all(widget.is_attached for widget in self.walk_children())

    def tell(self, *lines: Line) -> None:
        """Add to the conversation."""
        self.talk.add(lines)

    def open(self, session: Session) -> None:
        """Show a session from now on."""
        from conservator.agent.tui.nodes import Nodes

        self._session = session
        self.nodes = Nodes(session, self.history)
        self.talk.activity.end()
        self.read()

    def hear(self, event: Event) -> None:
        """Take up what happens in a turn."""
        from conservator.agent import events

        activity = self.talk.activity
        if isinstance(event, events.ToolProgressed):
            activity.progress(event.done, event.total)
            return
        self.history.hear(event)
        if isinstance(event, events.Paused | events.ApprovalAsked):
            activity.stand()
        elif isinstance(event, events.Continued | events.ApprovalGiven):
            activity.go()
        if (stage := stage_of(event)) is not None:
            activity.go_on(stage)
        lines = lines_of(event)
        if isinstance(event, events.TurnStarted):
            self._complaints.clear()
        elif isinstance(event, events.ModelAsked):
            # A server that is gone is gone for every question of the turn: once is enough.
            lines = tuple(line for line in lines if line.text not in self._complaints)
            self._complaints.update(event.asked.notes)
        self.tell(*lines)
        if self._session is not None:
            if isinstance(event, events.Inspected):
                self.side.show_condition(event.report, None)
            self.side.show_run(self.history, self._session)
            self.tick()

    def ended(self) -> None:
        """The turn is over."""
        if self.history.turn:
            self._seconds = self.talk.activity.seconds
        self.talk.activity.end()

    def dropped(self) -> None:
        """The turn came to nothing."""
        self.history.dropped()
        self.read()

    def read(self) -> None:
        """Show the session as it is now; where it went elsewhere, the picture goes along."""
        session = self._session
        if session is None:
            return
        tools = self.history.tools
        self.history.read(session)
        self.history.tools = tools
        if session.tree.here != self._here:
            self._here, self._right = session.tree.here, ""
        if self._left not in self.history.rows:
            self._left = ORIGINAL
        self._show()

    def look(self, node: str, *, left: bool = False) -> None:
        """Show a node on the right, or on the left."""
        if self.nodes is not None and not self.nodes.visible(node):
            self.tell(Line(f"the picture of {node} is not kept; W says why", "bad"))
            return
        if left:
            self._left = node
        else:
            self._right = node
        self._show()

    def compare(self, first: str, second: str) -> None:
        """Show two nodes, by any of their names; what no node is, the session says."""
        if self._session is None:
            return
        try:
            tree = self._session.tree
            self._left, self._right = tree.node(first), tree.node(second)
        except ConservatorError:
            return
        self._show()

    def tick(self) -> None:
        """Show how far the targets and the budget are."""
        from conservator.agent.tui.aiming import aiming

        session = self._session
        if session is None:
            return
        if self.history.turn:
            now, seconds = self.history.leading, self.talk.activity.seconds
        else:
            row = self.history.rows.get(self._shown)
            now, seconds = None if row is None else row.measurement, self._seconds
        self.side.show_aiming(
            aiming(
                session,
                now,
                baseline=self.history.baseline,
                seconds=seconds,
                tools=self.history.tools,
            )
        )

    @property
    def _shown(self) -> str:
        here = ORIGINAL if self._session is None else self._session.tree.here
        return self._right or here

    def _show(self) -> None:
        session, nodes = self._session, self.nodes
        if session is None or nodes is None:
            return
        node = self._shown
        labels = nodes.label(self._left), nodes.label(node)
        self.picture.show(nodes.album, self._left, node, labels=labels)
        row = self.history.rows.get(node)
        now = None if row is None or node == ORIGINAL else row.measurement
        self.side.show_condition(session.report, now)
        self.side.show_rest(self.history, session, node)
        self.tick()
        photo, tree = session.request.input, session.tree
        self.title.what = self._photo if photo is None else photo.name
        self.title.facts = f"{nodes.size[0]}\u00d7{nodes.size[1]}"
        branch = f" on {tree.on}" if tree.on and len(tree.branches) > 1 else ""
        self.title.stand = f"at {tree.here}{branch}  \u00b7  model: {session.request.vlm}"
