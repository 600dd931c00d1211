"""A session: a photo, the conversation about it, and the tree of what came of each turn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Event as Signal
from types import TracebackType
from typing import TYPE_CHECKING, Any

from conservator.agent.dialogue.answering import answer
from conservator.agent.dialogue.comparing import compare_nodes
from conservator.agent.dialogue.keeping import keep_picture
from conservator.agent.dialogue.language import read_line
from conservator.agent.dialogue.record import Record
from conservator.agent.dialogue.reply import Comparison, Reply
from conservator.agent.dialogue.state import SessionState
from conservator.agent.dialogue.tree import Tree, Turn
from conservator.agent.dialogue.turns import Turns
from conservator.agent.dialogue.wording import explained, found
from conservator.agent.dialogue.workshop import Workshop, nobody
from conservator.agent.events import OnEvent
from conservator.agent.pictures import bitmap
from conservator.agent.provenance import provenanced
from conservator.agent.recipe import Recipe
from conservator.agent.sessions import RunFolder, RunRequest
from conservator.policies.acceptance import Measurement
from conservator.policies.attempt import ORIGINAL
from conservator.policies.budget import Budget
from conservator.policies.preset import Preset
from conservator.policies.targets import Target
from conservator.restorers.degradations.vocabulary import ConditionReport
from conservator.tools.image_io import Picture
from conservator.tools.look import Pixels

if TYPE_CHECKING:
    from PIL.Image import Image

    from conservator.agent.approval import Approver
    from conservator.agent.steering import Steering

__all__ = ["Session"]


class Session:
    """A conversation about one photo; `conservator.open_session` opens one.

    Each turn is a node of `tree`, whose root is the untouched input. A turn that fails or is cancelled leaves the session as
    it was. The state is on disk after each turn: a killed process loses at most the turn that was running.
    """

    def __init__(
        self, state: SessionState, workshop: Workshop, *, on_event: OnEvent | None, fresh: bool
    ) -> None:
        """Use `open_session`."""
        self._record = Record(state, workshop)
        self._turns = Turns(self._record, on_event or nobody)
        self._fresh = fresh
        self._saved = ""

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave no empty folder behind, nor a temporary one; a session with turns can be opened again."""
        folder = self._record.shop.folder
        if folder.temporary:
            folder.discard()
        elif self._fresh and not self.tree.turns and folder.path.is_dir():
            folder.discard_unused()

    @property
    def tree(self) -> Tree:
        """The turns, and where the session is."""
        return self._record.tree

    @property
    def here(self) -> Turn | None:
        """The current node; None for the original."""
        return self._record.here

    @property
    def run_dir(self) -> Path:
        """The session's folder."""
        return self._record.shop.folder.path

    @property
    def output(self) -> Path | None:
        """Where `save` writes unless told otherwise; None for a file beside the input, where that is a file."""
        return self._record.state.request.output

    @property
    def request(self) -> RunRequest:
        """The input, and what the automatic runs go by: policy, targets, budget."""
        return self._record.state.request

    @property
    def report(self) -> ConditionReport | None:
        """What was found on the input; None before anybody looked."""
        return self._record.state.report

    @property
    def approve(self) -> str:
        """When the automatic runs ask: `never`, `plan` or `each`."""
        return self._record.shop.approve

    @property
    def baseline(self) -> Measurement | None:
        """The input, measured as the turns' pictures are; None before the first turn."""
        return self._record.state.baseline

    @property
    def picture(self) -> Picture:
        """The current picture, with the input's metadata, depth and profile."""
        return self.picture_of(self.tree.here)

    @property
    def array(self) -> Pixels:
        """The current picture, (H, W, 3), float32, [0, 1], RGB (sRGB-encoded); read-only."""
        return self.picture.pixels

    @property
    def image(self) -> Image:
        """The current picture as an 8-bit Pillow image."""
        return bitmap(self.picture)

    @property
    def saved(self) -> bool:
        """Whether the current picture was written since the session was opened."""
        return self._saved == self.tree.here

    def picture_of(self, node: str) -> Picture:
        """The picture of a node or a branch.

        Raises:
            UnknownNameError: neither.
        """
        return self._record.shop.picture.with_pixels(
            self._record.pixels(self.tree.turn(self.tree.node(node)))
        )

    def recipe(self, node: str = "here") -> Recipe:
        """The steps that lead from the input to a node; they replay on other photos."""
        from conservator import __version__

        turn = self.tree.turn(self.tree.node(node))
        return Recipe(
            conservator=__version__,
            input_id=self._record.state.request.input_id,
            policy=self._record.state.request.preset.name,
            protect=() if turn is None else turn.protect,
            steps=() if turn is None else turn.steps,
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON data: the request, what was found on the input, and the whole tree."""
        return self._record.state.model_dump(mode="json", exclude={"made"})

    def inspect(self) -> ConditionReport:
        """What is wrong with the input, by the instruments; looked at once in a session."""
        if self._record.state.report is None:
            self._record.keep(report=self._record.report)
        return self._record.report

    def aim(
        self,
        *,
        policy: str | Path | Preset | None = None,
        experience: str | Path | None = None,
        targets: str | Sequence[Target] | None = None,
        protect: str | Sequence[str] | None = None,
        keep: str | Sequence[str] | None = None,
        budget: Budget | None = None,
        approve: str | None = None,
        approver: Approver | None = None,
    ) -> None:
        """Change what the next turns go by; what is left out stays. It is kept with the session, but for the approver.

        What is protected stays as it came in whatever is done; the rest is for the automatic runs, as words come before it.

        Args:
            policy: as in `restore`.
            experience: as in `restore`.
            targets: as in `restore`; "" for the policy's.
            protect: as in `restore`.
            keep: as in `restore`.
            budget: of each automatic run.
            approve: as in `restore`.
            approver: answers the questions; needed where `approve` is not `never`.

        Raises:
            UsageError: a policy, a target or an approval that does not read.
        """
        if approve is not None:
            self._record.shop.ask(approve, approver)
        request = self._record.shop.aimed(
            policy=policy,
            experience=experience,
            targets=targets,
            protect=protect,
            keep=keep,
            budget=budget,
        )
        self._record.keep(request=request)

    def restore(self, *, cancel: Signal | None = None, steering: Steering | None = None) -> Reply:
        """LLMRA's `<restore>`: the automatic run from the current node.

        What the user has settled in words is left as it is.

        Args:
            cancel: set it to stop at the next tile; the session is then as it was.
            steering: takes words, pauses and a stop while the run is on; the words count from then on, as a turn's do.

        Raises:
            CancelledError: `cancel` was set, or Ctrl-C was pressed.
        """
        return self._turns.restore(cancel=cancel, steering=steering)

    def refine(self, words: str, *, cancel: Signal | None = None) -> Reply:
        """LLMRA's `<refine>`: what the user says about the picture, done from the original with a changed prompt.

        What is asked for is done even where the joint rule would not have done it by itself; the answer says so. What is
        not understood is said, and nothing is done.

        Args:
            words: "too dark", "a bit less on the left half", "keep the grain", "brighter in the sky", "noise sigma 15".
            cancel: as in `restore`.

        Raises:
            PromptError: a place that is not found, or too long a text.
            CancelledError: `cancel` was set.
        """
        return self._turns.refine(words, cancel=cancel)

    def undo(self) -> Reply:
        """One turn back.

        Raises:
            UsageError: at the original already.
        """
        return self._moved(self.tree.undo())

    def redo(self) -> Reply:
        """The turn that was undone last, once more.

        Raises:
            UsageError: nothing was undone.
        """
        return self._moved(self.tree.redo())

    def go(self, node: str) -> Reply:
        """To a node (`t2`, `original`) or a branch.

        Raises:
            UnknownNameError: neither.
        """
        return self._moved(self.tree.go(node))

    def branch(self, name: str) -> Reply:
        """A new branch that begins here; the one that is left stays where it is.

        Raises:
            UsageError: the name is taken, or means something else.
        """
        left = self.tree.on
        self._record.keep(tree=self.tree.branch(name))
        back = f"; back with: go {left}" if left else ""
        return Reply(said=(f"branch {name} begins at {self.tree.here}{back}",), turn=self.here)

    def compare(self, first: str = ORIGINAL, second: str = "here") -> Comparison:
        """Two nodes beside each other: numbers, and a sheet in the session's folder.

        Raises:
            UnknownNameError: no such node or branch.
        """
        nodes = self.tree.node(first), self.tree.node(second)
        one, other = (self.tree.turn(node) for node in nodes)
        return compare_nodes(
            nodes,
            (self._record.pixels(one), self._record.pixels(other)),
            (self._record.measurement(one), self._record.measurement(other)),
            self._record.shop.folder,
        )

    def why(self, node: str = "here") -> tuple[str, ...]:
        """Why a node is as it is, line by line: findings, words, calls, prompts, measurements, verdict.

        Raises:
            UnknownNameError: no such node or branch.
        """
        turn = self.tree.turn(self.tree.node(node))
        if turn is None:
            return (
                f"original: the photo as it came in; found on it: {found(self._record.report)}",
            )
        run = RunFolder(self.run_dir / turn.run).read_json("report.json") if turn.run else None
        return tuple(explained(turn, self.tree.turn(turn.parent), self._record.report, run))

    def save(self, path: str | Path | None = None, *, overwrite: bool = False) -> Path:
        """Write the current picture.

        Args:
            path: the file; by default the session's output, else a free name beside the input.
            overwrite: replace a file that this session did not write.

        Raises:
            UsageError: no path, and the input is no file.
            OutputError: the file exists, or cannot be written.
        """
        target = keep_picture(
            provenanced(self.picture, self.recipe()),
            None if path is None else Path(path),
            overwrite=overwrite,
            request=self._record.state.request,
            folder=self._record.shop.folder,
        )
        self._saved = self.tree.here
        return target

    def say(self, line: str, *, cancel: Signal | None = None) -> Reply:
        """One line of the conversation: a command (`conservator.agent.dialogue.language.HELP`), else words for `refine`.

        Raises:
            ConservatorError: as the method that it stands for; the session is then as it was.
        """
        return answer(self, read_line(line, self.tree.branches), cancel)

    def _moved(self, tree: Tree) -> Reply:
        self._record.keep(tree=tree)
        turn = self.here
        if turn is None:
            return Reply(said=("at original: the photo as it came in",))
        words = "restore" if turn.instruction == "restore" else f'"{turn.words}"'
        return Reply(said=(f"at {turn.id}: {words}",), turn=turn)
