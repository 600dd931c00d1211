"""The tree of the session: the original, the turns below it, and what their runs tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Tree as TreeWidget
from textual.widgets.tree import TreeNode

from conservator.agent.tui.history import History, Row, Status
from conservator.agent.tui.widgets.panel import Panel
from conservator.agent.tui.words import gain_words
from conservator.policies.attempt import ORIGINAL

if TYPE_CHECKING:
    from conservator.agent.dialogue.tree import Tree

__all__ = ["NodeChosen", "TreePanel"]

_MARKS: Final[dict[Status, tuple[str, str]]] = {
    "running": ("\u25b8", "primary"),
    "made": ("\u2026", "foreground"),
    "kept": ("\u2713", "success"),
    "refused": ("\u2717", "error"),
    "failed": ("!", "error"),
}
"""Sign and colour of an attempt."""


@dataclass
class NodeChosen(Message):
    """The user wants something of a node: `go`, `look`, `left` or `why`."""

    what: str
    node: str


class _Nodes(TreeWidget[str]):
    """The nodes, without Textual's folder icons."""

    HELP = """\
The photo as it came in, each turn of the conversation below the node it was asked at, and below a turn what its run tried.

Enter goes to a turn: the next one starts there. V only looks. A puts a node on the left of the picture, so that any two can be compared."""
    ICON_NODE = ICON_NODE_EXPANDED = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Go", id="tree.go", tooltip="The session goes there"),
        Binding("v", "choose('look')", "Look", id="tree.look", tooltip="Show it on the right"),
        Binding("a", "choose('left')", "Compare", id="tree.left", tooltip="Show it on the left"),
        Binding("w", "choose('why')", "Why", id="tree.why", tooltip="Findings, calls, verdict"),
    ]
    DEFAULT_CSS = """
    _Nodes { height: 1fr; background: transparent; padding: 0; overflow-x: hidden; scrollbar-size-vertical: 1; }
    """

    def render_label(self, node: TreeNode[str], base_style: Style, style: Style) -> Text:
        """The label as it is."""
        label = node.label.copy() if isinstance(node.label, Text) else Text(str(node.label))
        label.stylize_before(style)
        return label

    def action_choose(self, what: str) -> None:
        """Tell what is wanted of the node under the cursor."""
        node = self.cursor_node
        self.post_message(NodeChosen(what, ORIGINAL if node is None else node.data or ORIGINAL))

    def on_tree_node_selected(self, event: TreeWidget.NodeSelected[str]) -> None:
        """A click or Enter goes there."""
        event.stop()
        self.post_message(NodeChosen("go", event.node.data or ORIGINAL))


class TreePanel(Panel):
    """Walks the tree."""

    TITLE = "Tree"
    DEFAULT_CSS = """
    TreePanel { height: 1fr; min-height: 4; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        """Nothing is known yet."""
        super().__init__(id=id)
        self._here = ""
        self._wanted: str | None = None

    def compose(self) -> ComposeResult:
        """The nodes."""
        nodes = _Nodes(Text(ORIGINAL), ORIGINAL)
        nodes.guide_depth = 2
        nodes.auto_expand = False
        yield nodes

    def show(self, history: History, tree: Tree) -> None:
        """Show all nodes; the cursor stays where it was, unless the session went elsewhere."""
        nodes = self.query_one(_Nodes)
        cursor = self._wanted
        if cursor is None and nodes.cursor_node is not None:
            cursor = nodes.cursor_node.data
        if tree.here != self._here:
            self._here, cursor = tree.here, tree.here
        nodes.clear()
        places = {ORIGINAL: nodes.root}
        nodes.root.set_label(self._label(history.rows.get(ORIGINAL), tree, ORIGINAL))
        for turn in tree.turns:
            label = self._label(history.rows.get(turn.id), tree, turn.id)
            places[turn.id] = places[turn.parent].add(label, turn.id, expand=True)
            self._add_attempts(places, turn.id, history)
        if history.turn and history.turn not in places:
            label = Text(f"{history.turn} \u2026", self.colour("primary"))
            places[history.turn] = places[tree.here].add(label, history.turn, expand=True)
            self._add_attempts(places, history.turn, history)
        nodes.root.expand()
        self._wanted = cursor or tree.here
        # A node has no line before the tree is drawn again.
        self.call_after_refresh(self._place_cursor, places.get(self._wanted, nodes.root))

    def _place_cursor(self, node: TreeNode[str]) -> None:
        self._wanted = None
        self.query_one(_Nodes).move_cursor(node)

    def _add_attempts(self, places: dict[str, TreeNode[str]], turn: str, history: History) -> None:
        for row in history.below(turn):
            places[row.id] = places[turn].add_leaf(self._attempt(row), row.id)

    def _attempt(self, row: Row) -> Text:
        mark, colour = _MARKS.get(row.status, ("", "foreground"))
        return Text.assemble((f"{mark} ", self.colour(colour)), (f"{row.name} {row.words}", "dim"))

    def _label(self, row: Row | None, tree: Tree, node: str) -> Text:
        here = node == tree.here
        label = Text("\u25cf " if here else "\u25cb ", self.colour("primary") if here else "dim")
        label.append(node, "bold" if here else "")
        names = [name for name, at in tree.branches.items() if at == node]
        if names and len(tree.branches) > 1:
            label.append(f" [{', '.join(names)}]", self.colour("warning"))
        if row is not None and row.gain is not None:
            colour = self.colour("success" if row.gain > 0 else "error")
            label.append(f" {gain_words(row.gain)}", colour)
        if row is not None and node != ORIGINAL:
            label.append(f"  {row.words}")
        return label
