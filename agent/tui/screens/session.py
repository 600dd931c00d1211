"""One photo: its picture, what is known of it, what was tried, and the conversation about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer

from conservator.agent.tui import jobs
from conservator.agent.tui.bridge import (
    Answered,
    Bridge,
    Failed,
    Heard,
    Job,
    Opened,
    Questioned,
)
from conservator.agent.tui.graphics.drawing import Drawer
from conservator.agent.tui.messages import Left, SessionKept
from conservator.agent.tui.nodes import attempt_lines
from conservator.agent.tui.opening import Opening
from conservator.agent.tui.screens.sizes import ACROSS, DOWN
from conservator.agent.tui.widgets.board import Board
from conservator.agent.tui.widgets.dialogue import Said
from conservator.agent.tui.widgets.picture import PictureView
from conservator.agent.tui.widgets.side import PANELS
from conservator.agent.tui.widgets.tree import NodeChosen
from conservator.agent.tui.words import Line, Tone, error_words, greeting, told

if TYPE_CHECKING:
    from conservator.agent.approval import Answer
    from conservator.agent.dialogue.session import Session
    from conservator.agent.tui.messages import Left, SessionKept
    from conservator.agent.tui.modals.aims import Aims
from conservator.agent.tui.nodes import Nodes

__all__ = ["SessionScreen"]

_ORIGINAL: Final = "original"
_BUDGET_S: Final = 1.0
"""How often the budget's clock is shown while a turn runs."""


class SessionScreen(Screen[None]):
    """A session, from its opening to its end."""

    HELP = """\
Ctrl+R restores: it looks, treats what needs it, judges, and keeps no more than helps. Then say what is not right yet.

Every turn can be undone. Nothing is written beside the photo until you save, and never over it."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "restore", "Restore", id="session.restore", tooltip="Look, and treat what needs it"),
        Binding("f5", "pause", "Pause", id="session.pause", tooltip="Before the next step, and go on again"),
        Binding("f8", "enough", "Keep best", id="session.enough", tooltip="End here with the best so far"),
        Binding("ctrl+z", "say('undo')", "Undo", id="session.undo", tooltip="One turn back"),
        Binding("ctrl+y", "say('redo')", "Redo", id="session.redo", show=False, tooltip="The turn that was undone"),
        Binding("ctrl+s", "save", "Save", id="session.save", tooltip="Write the picture"),
        Binding("ctrl+t,f6", "aims", "Targets", id="session.aims", tooltip="Policy, targets, budget, when to ask"),
        Binding("f3", "panel", "Panels", id="session.panel", tooltip="The next part of the side"),
        Binding("ctrl+b", "branch", "Branch", show=False, id="session.branch", tooltip="Another line of work from here"),
        Binding("f9", "export", "Export", show=False, id="session.export", tooltip="Picture, recipe and report"),
        Binding("escape", "leave_typing", "Picture or line", show=False, id="session.picture"),
        Binding("i,slash", "type", "Type", show=False, id="session.type"),
        Binding("ctrl+o", "close", "Photos", show=False, id="session.close", tooltip="Back to the photos; the session is kept"),
    ]  # fmt: skip
    AUTO_FOCUS = "Dialogue Input"
    HORIZONTAL_BREAKPOINTS = ACROSS
    VERTICAL_BREAKPOINTS = DOWN
    DEFAULT_CSS = """
    SessionScreen PictureView { height: 3fr; }
    SessionScreen Dialogue { height: 2fr; }
    SessionScreen.-tall PictureView { height: 5fr; }
    SessionScreen.-flat PictureView { height: 2fr; min-height: 3; }
    SessionScreen.-flat Dialogue { border: none; padding: 0; }

    SessionScreen.-wide Side { width: 56; }
    SessionScreen.-wide.-tall Side .-turning { display: block; height: auto; max-height: 14; }
    SessionScreen.-wide.-tall Side TreePanel.-turning { height: 2fr; max-height: 100%; }
    SessionScreen.-wide.-tall Side ScoresPanel.-turning { height: 3fr; max-height: 100%; }
    SessionScreen.-thin Side, SessionScreen.-flat Side { display: none; }
    SessionScreen.-thin.-side Side, SessionScreen.-flat.-side Side { display: block; width: 1fr; }
    SessionScreen.-thin.-side #main, SessionScreen.-flat.-side #main { display: none; }
    """

    @dataclass
    class _Exists(Message):
        """A file stands in the way of a picture."""

        path: Path

    def __init__(self, opening: Opening, drawer: Drawer, *, line: str = "") -> None:
        """Open a session; `line` is said as soon as it is open."""
        super().__init__()
        self._line = line
        self.board = Board(drawer, opening.name)
        self.bridge = Bridge(self.post_message, opening.opener())

    def compose(self) -> ComposeResult:
        """Picture and dialogue, the panels beside them."""
        yield self.board
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Open the session."""
        self.board.talk.type()
        self.set_interval(_BUDGET_S, self._tick)
        self.bridge.start()

    def on_unmount(self) -> None:
        """End the agent's thread; it is not waited for."""
        self.bridge.close()

    @property
    def session(self) -> Session | None:
        """The session, None before it is open."""
        return self.bridge.session

    @property
    def busy(self) -> bool:
        """Whether a turn runs that can be paused and stopped."""
        running = self.bridge.running
        return running is not None and running.takes_long

    def on_resize(self) -> None:
        """On a small terminal the footer has no room for the palette's key; the help names it."""
        self.query_one(Footer).show_command_palette = self.size.width >= 120

    # What the agent says.

    @on(Opened)
    def _opened(self, message: Opened) -> None:
        message.stop()
        if not self.board.standing:
            return
        session = message.session
        self.post_message(SessionKept(session.run_dir))
        if turns := len(session.tree.turns):
            words = f"{turns} turn{'' if turns == 1 else 's'}, at {session.tree.here}"
            self._tell(Line(f"going on with {session.run_dir.name}: {words}"))
        self.board.open(session)
        self.refresh_bindings()
        if self._line:
            self.say(self._line)
        elif session.report is None:
            self._do(jobs.look())

    @on(Heard)
    def _heard(self, message: Heard) -> None:
        message.stop()
        if not self.board.standing:
            return
        self.board.hear(message.event)

    @on(Questioned)
    def _questioned(self, message: Questioned) -> None:
        from conservator.agent.tui.modals.approve import ApproveStep

        message.stop()
        if not self.board.standing:
            return

        def answered(answer: Answer | None) -> None:
            if answer is not None:
                self.bridge.answer(answer)

        self.app.push_screen(ApproveStep(message.question), answered)

    @on(Answered)
    def _answered(self, message: Answered) -> None:
        message.stop()
        if not self.board.standing:
            return
        self._ended()
        reply = message.reply
        if reply is not None:
            tone: Tone = "reply" if reply.understood else "bad"
            self._tell(*(Line(text, tone) for text in told(reply)))
            if reply.path is not None:
                self._tell(Line(str(reply.path), "good"))
        elif message.job.name == "look" and self.session is not None:
            self._tell(*greeting(self.session.inspect()))
        self.board.read()
        self.refresh_bindings()
        if reply is not None and reply.satisfied:
            self.action_save()
        elif reply is not None and reply.ended:
            self.action_close()

    @on(Failed)
    def _failed(self, message: Failed) -> None:
        message.stop()
        if not self.board.standing:
            return
        self._ended()
        self._tell(Line(message.error, "event" if message.cancelled else "error"))
        self.board.dropped()
        self.refresh_bindings()
        if message.job is None:
            self.board.title.stand = "could not be opened"
            self.board.talk.activity.note = "Ctrl+O goes back to the photos"
            self.board.side.wait("nothing is open")

    # What the user wants.

    @on(Said)
    def _said(self, message: Said) -> None:
        message.stop()
        self.say(message.line)

    @on(NodeChosen)
    def _node_chosen(self, message: NodeChosen) -> None:
        message.stop()
        node, attempt = message.node, "/" in message.node
        if message.what == "why" and attempt:
            lines = attempt_lines(self.board.history.rows[node])
            self._tell(Line(f"why {node}", "user"), *lines)
        elif message.what == "why" or (message.what == "go" and not attempt):
            self.say(f"{message.what} {node}")
        else:
            self.board.look(node, left=message.what == "left")

    @on(PictureView.OpenAsked)
    def _open_asked(self, message: PictureView.OpenAsked) -> None:
        message.stop()
        nodes, node, session = self.board.nodes, message.node, self.session
        if nodes is not None and session is not None:
            stem = (session.request.input or session.run_dir).stem
            name = f"{stem}-{node.replace('/', '-')}"
            self.run_worker(lambda: self._open_outside(nodes, node, name), thread=True)

    def _open_outside(self, nodes: Nodes, node: str, name: str) -> None:
        """In a worker thread."""
        from conservator.agent.tui.desktop import kept_for_viewing, open_in_viewer

        try:
            words = open_in_viewer(kept_for_viewing(nodes.album(node), name))
        except Exception as error:
            # The desktop's programs fail in their own ways.
            words = error_words(error)
        self.app.call_from_thread(self._tell, Line(words))

    @on(_Exists)
    def _exists(self, message: _Exists) -> None:
        from conservator.agent.tui.modals.confirm import Confirm

        message.stop()

        def answered(yes: bool | None) -> None:
            if yes:
                self._save(message.path, overwrite=True)

        self.app.push_screen(Confirm(f"{message.path} exists. Replace it?", "Replace"), answered)

    def say(self, line: str) -> None:
        """A line of the conversation; while a restoration runs, words steer it."""
        from conservator.agent.dialogue.language import read_line

        session = self.session
        self._tell(Line(line, "user"))
        if session is None:
            self._tell(Line("nothing is open yet", "bad"))
            return
        command = read_line(line, session.tree.branches)
        steering = self.bridge.steering
        if command.verb == "nothing":
            return
        if self.busy and steering is not None and command.verb == "refine":
            steering.say(line)
            self.refresh_bindings()
        elif self.busy and command.verb not in ("why", "tree", "help", "quit"):
            self._tell(Line("a turn runs: cancel it with Ctrl+C, or wait until it is done", "bad"))
        elif command.verb == "restore":
            self._do(jobs.restore())
        elif command.verb == "quit":
            self.action_close()
        else:
            if command.verb == "compare":
                nodes = (
                    (*command.words, "here", _ORIGINAL) if command.words else (_ORIGINAL, "here")
                )
                self.board.compare(nodes[0], nodes[1])
            self._do(jobs.say(line, takes_long=command.verb == "refine"))

    def action_say(self, line: str) -> None:
        """A command by key."""
        self.say(line)

    def action_restore(self) -> None:
        """LLMRA's `<restore>`."""
        self.say("restore")

    def action_pause(self) -> None:
        """Rest before the next step, or go on."""
        if (steering := self.bridge.steering) is not None:
            if steering.paused:
                steering.go_on()
            else:
                steering.pause()
                self._tell(Line("pausing before the next step; F5 goes on"))

    def action_enough(self) -> None:
        """End the run with the best so far."""
        if (steering := self.bridge.steering) is not None:
            steering.stop()
            self._tell(Line("stopping before the next step, with the best so far"))

    def cancel(self) -> bool:
        """Stop the running turn as soon as a tile is done; False when none runs."""
        if not self.busy:
            return False
        self.bridge.stop()
        self.board.talk.activity.go_on("cancelling")
        return True

    def action_save(self) -> None:
        """Write the picture, after asking where."""
        from conservator.agent.tui.modals.ask import Ask

        session = self.session
        if session is None:
            return

        def named(answer: str | None) -> None:
            if answer is not None:
                self._save(Path(answer).expanduser())

        self.app.push_screen(Ask("Save the picture as", jobs.proposed_path(session)), named)

    def action_export(self) -> None:
        """Write picture, recipe and report into a folder."""
        from conservator.agent.tui.modals.ask import Ask

        session = self.session
        if session is None or not session.tree.turns:
            self._tell(Line("nothing to export before the first turn", "bad"))
            return
        folder = session.run_dir

        def named(answer: str | None) -> None:
            if answer is not None:
                self._do(jobs.export(folder, Path(answer).expanduser().absolute()))

        proposed = str(folder.with_suffix(".export"))
        self.app.push_screen(Ask("Export picture, recipe and report into", proposed), named)

    def action_branch(self) -> None:
        """Begin another line of work here."""
        from conservator.agent.tui.modals.ask import Ask

        def named(answer: str | None) -> None:
            if answer is not None:
                self.say(f"branch {answer}")

        hint = "A word, such as soft or try-2. The branch you leave stays where it is."
        self.app.push_screen(Ask("Name of the new branch", hint=hint), named)

    def action_aims(self) -> None:
        """Change policy, targets, budget, and when to be asked."""
        from conservator.agent.tui.modals.aims import Aims, AimsForm

        session = self.session
        if session is None:
            return
        request, budget = session.request, session.request.budget
        now = Aims(
            request.preset.name,
            request.targets,
            "; ".join(request.protect),
            "; ".join(request.keep),
            budget.max_seconds,
            budget.max_tools,
            session.approve,
        )

        def chosen(aims: Aims | None) -> None:
            if aims is not None and aims != now:
                self._do(jobs.aim(now, aims))

        self.app.push_screen(AimsForm(now), chosen)

    def action_panel(self) -> None:
        """The next part of the side; on a small terminal also none of them."""
        small = self.has_class("-thin") or self.has_class("-flat")
        following = self.board.side.current + 1
        if small and not self.has_class("-side"):
            self.add_class("-side")
            following = 0
        elif small and following == len(PANELS):
            self.remove_class("-side")
            self.board.talk.type()
            return
        self.board.side.turn_to(following, focus=True)

    def action_leave_typing(self) -> None:
        """From the line to the picture, whose keys are letters, and back."""
        if self.maximized is not None:
            self.minimize()
        elif self.has_class("-side"):
            self.remove_class("-side")
            self.board.talk.type()
        elif self.focused is self.board.picture:
            self.board.talk.type()
        else:
            self.board.picture.focus()

    def action_type(self) -> None:
        """To the line."""
        self.board.talk.type()

    def action_close(self) -> None:
        """Back to the photos; the session is kept."""
        self.bridge.close()
        self.post_message(Left())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What can be done now: while a turn runs it is paused or stopped, between turns the rest."""
        session = self.session
        if action in ("pause", "enough"):
            return self.bridge.steering is not None and self.busy
        if action in ("restore", "save", "aims", "export", "branch", "say"):
            if self.busy:
                return False
            if session is None:
                return None
            if parameters == ("undo",):
                return True if session.tree.here != _ORIGINAL else None
            if parameters == ("redo",):
                return True if session.tree.undone else None
        return True

    def _tell(self, *lines: Line) -> None:
        self.board.tell(*lines)

    def _do(self, job: Job) -> None:
        activity = self.board.talk.activity
        if job.takes_long:
            activity.begin("starting")
        elif job.name == "look":
            activity.begin("looking at the photo")
            self.board.side.wait("looking at the photo")
        self.bridge.do(job)
        self.refresh_bindings()

    def _save(self, path: Path, *, overwrite: bool = False) -> None:
        def exists() -> None:
            self.post_message(self._Exists(path))

        self._do(jobs.save(path, overwrite=overwrite, exists=exists))

    def _ended(self) -> None:
        from conservator.agent.tui.modals.approve import ApproveStep

        self.board.ended()
        if isinstance(self.app.screen, ApproveStep):
            # The run ended without the answer that it was waiting for.
            self.app.pop_screen()

    def _tick(self) -> None:
        if self.busy:
            self.board.tick()
