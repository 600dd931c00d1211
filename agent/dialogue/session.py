"""A session: a photo, the conversation about it, and the tree of what came of each turn."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Event as Signal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from conservator.agent.context import CancelSignal
from conservator.agent.dialogue.answering import answer
from conservator.agent.dialogue.comparing import brightness, compare_nodes
from conservator.agent.dialogue.keeping import keep_picture
from conservator.agent.dialogue.language import read_line
from conservator.agent.dialogue.making import Product, pinned
from conservator.agent.dialogue.reading import Reader, Reading, louder, settled
from conservator.agent.dialogue.reply import Comparison, Reply
from conservator.agent.dialogue.state import Made, SessionState, write_state
from conservator.agent.dialogue.treatment import (
    Treatment,
    Untouched,
    recipe_steps,
)
from conservator.agent.dialogue.tree import Tree, Turn, Wish
from conservator.agent.dialogue.wording import (
    effect,
    explained,
    found,
    listed,
    named,
    new_calls,
    rule_says,
    wish_words,
)
from conservator.agent.dialogue.workshop import RUNS, Workshop, nobody
from conservator.agent.events import OnEvent, TurnFinished, TurnStarted
from conservator.agent.pictures import bitmap
from conservator.agent.provenance import provenanced
from conservator.agent.recipe import Recipe
from conservator.agent.sessions import RunFolder, RunRequest
from conservator.policies.acceptance import Measurement
from conservator.policies.attempt import ORIGINAL
from conservator.policies.budget import Budget
from conservator.policies.preset import Preset
from conservator.policies.targets import Target
from conservator.restorers.degradations.vocabulary import ConditionReport, Kind
from conservator.tools.compare import compare
from conservator.tools.image_io import Picture
from conservator.tools.look import Pixels
from conservator.tools.regions import coverage

if TYPE_CHECKING:
    from PIL.Image import Image

    from conservator.agent.approval import Approver
    from conservator.agent.result import RestorationResult
    from conservator.agent.steering import Steering

__all__ = ["Session"]

_VISIBLE: Final = 0.6
"""RMS change, of 255, in the place that was meant, below which nobody sees a difference."""
_LIGHTER: Final = 0.004
"""Mean luma, [0, 1], by which a photo counts as brighter."""
_LOUDEST: Final = 4.0
"""Factor on a first step beyond which a restorer that does not answer to it is left alone."""


class Session:
    """A conversation about one photo; `conservator.open_session` opens one.

    Each turn is a node of `tree`, whose root is the untouched input. A turn that fails or is cancelled leaves the session as
    it was. The state is on disk after each turn: a killed process loses at most the turn that was running.
    """

    def __init__(
        self, state: SessionState, workshop: Workshop, *, on_event: OnEvent | None, fresh: bool
    ) -> None:
        """Use `open_session`."""
        self._state = state
        self._shop = workshop
        self._emit: OnEvent = on_event or nobody
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
        folder = self._shop.folder
        if folder.temporary:
            folder.discard()
        elif self._fresh and not self.tree.turns and folder.path.is_dir():
            folder.discard_unused()

    @property
    def tree(self) -> Tree:
        """The turns, and where the session is."""
        return self._state.tree

    @property
    def here(self) -> Turn | None:
        """The current node; None for the original."""
        return self.tree.turn(self.tree.here)

    @property
    def run_dir(self) -> Path:
        """The session's folder."""
        return self._shop.folder.path

    @property
    def output(self) -> Path | None:
        """Where `save` writes unless told otherwise; None for a file beside the input, where that is a file."""
        return self._state.request.output

    @property
    def request(self) -> RunRequest:
        """The input, and what the automatic runs go by: policy, targets, budget."""
        return self._state.request

    @property
    def report(self) -> ConditionReport | None:
        """What was found on the input; None before anybody looked."""
        return self._state.report

    @property
    def approve(self) -> str:
        """When the automatic runs ask: `never`, `plan` or `each`."""
        return self._shop.approve

    @property
    def baseline(self) -> Measurement | None:
        """The input, measured as the turns' pictures are; None before the first turn."""
        return self._state.baseline

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
        return self._shop.picture.with_pixels(self._pixels(self.tree.turn(self.tree.node(node))))

    def recipe(self, node: str = "here") -> Recipe:
        """The steps that lead from the input to a node; they replay on other photos."""
        from conservator import __version__

        turn = self.tree.turn(self.tree.node(node))
        return Recipe(
            conservator=__version__,
            input_id=self._state.request.input_id,
            policy=self._state.request.preset.name,
            protect=() if turn is None else turn.protect,
            steps=() if turn is None else turn.steps,
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON data: the request, what was found on the input, and the whole tree."""
        return self._state.model_dump(mode="json", exclude={"made"})

    def inspect(self) -> ConditionReport:
        """What is wrong with the input, by the instruments; looked at once in a session."""
        if self._state.report is None:
            self._keep(report=self._report())
        return self._report()

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
            self._shop.ask(approve, approver)
        request = self._shop.aimed(
            policy=policy,
            experience=experience,
            targets=targets,
            protect=protect,
            keep=keep,
            budget=budget,
        )
        self._keep(request=request)

    def restore(self, *, cancel: Signal | None = None, steering: Steering | None = None) -> Reply:
        """LLMRA's `<restore>`: the automatic run from the current node.

        What the user has settled in words is left as it is.

        Args:
            cancel: set it to stop at the next tile; the session is then as it was.
            steering: takes words, pauses and a stop while the run is on; the words count from then on, as a turn's do.

        Raises:
            CancelledError: `cancel` was set, or Ctrl-C was pressed.
        """
        started, signal, here = time.perf_counter(), CancelSignal(cancel), self.here
        name = self._begun("")
        said = [wish for turn in self.tree.path() for wish in turn.wishes]
        left = [
            kind
            for (kind, region), wish in settled(said).items()
            if region is None or wish.changes.get(kind) != "off"
        ]
        artifact = "" if here is None else here.artifact
        result = self._shop.run(
            name, artifact, set(left), cancel=signal, emit=self._emit, steering=steering
        )
        if here is None:
            self._keep(report=result.before)
        treatment, made = self._shop.after_run(result, name, self._treatment(), self._state.made)
        reader = self._reader(signal)
        if shows := _shown(said):
            treatment = reader.carried_out(treatment, (Wish(shows=shows),))
        treatment = reader.sparing(treatment, said)
        treatment, product = self._made(treatment, made, name, signal)
        lines = [f"found: {found(result.before)}"]
        lines += new_calls(recipe_steps(self._treatment()), product.steps)
        lines += [f"note: {note}" for note in result.notes]
        lines.append(f"{result.outcome.replace('_', ' ')}: {result.reason}")
        if left:
            lines.append(f"left as you set it: {listed(sorted(map(named, set(left))))}")
        return self._grown(
            Turn(
                id=name,
                parent=self.tree.here,
                instruction="restore",
                words="; ".join(one.words for one in result.said),
                wishes=tuple(wish for one in result.said for wish in one.wishes),
                decided_by=result.decided_by,
                treatment=treatment,
                run=f"{RUNS}/{name}",
                asked=() if result.vlm is None else result.vlm.asked,
            ),
            product,
            lines,
            started,
            measured=_measured_already(result) if here is None and not said else None,
        )

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
        started, signal, here = time.perf_counter(), CancelSignal(cancel), self.here
        reader = self._reader(signal)
        reading = reader.read(words, self._treatment(), self.tree.path())
        if not reading.wishes:
            hint = () if reading.remarks else ("nothing to change; say what is not right yet",)
            return Reply(said=(*reading.remarks, *hint), understood=reading.understood)
        name = self._begun(words)
        wishes, treatment, product, change = self._done(reading, reader, name, signal)
        lines = [line for wish in wishes for line in wish_words(wish, self._treatment(), treatment)]
        lines += new_calls(recipe_steps(self._treatment()), product.steps)
        if reading.decided_by == "vlm":
            lines.append("so the vision-language model reads your words; undo takes it back")
        lines += reading.remarks
        light = sum(wish.doses.get(Kind.LOW_LIGHT, 0.0) for wish in wishes)
        shift = brightness(product.pixels) - brightness(self._pixels(here))
        if light * shift < 0 and abs(shift) > _LIGHTER:
            lines.append(
                f"against your words the photo got {'brighter' if shift > 0 else 'darker'}"
            )
        if treatment != self._treatment() and change < _VISIBLE:
            lines.append(
                "hardly anybody will see the difference; this is as far as these restorers go"
            )
        return self._grown(
            Turn(
                id=name,
                parent=self.tree.here,
                instruction="refine",
                words=words,
                wishes=wishes,
                decided_by=reading.decided_by,
                treatment=treatment,
                asked=reading.asked,
            ),
            product,
            lines,
            started,
            kinds=tuple(dict.fromkeys(kind for wish in wishes for kind in wish.kinds)),
            measured=None if here is None or treatment != here.treatment else here.measurement,
        )

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
        self._keep(tree=self.tree.branch(name))
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
            (self._pixels(one), self._pixels(other)),
            (self._measurement(one), self._measurement(other)),
            self._shop.folder,
        )

    def why(self, node: str = "here") -> tuple[str, ...]:
        """Why a node is as it is, line by line: findings, words, calls, prompts, measurements, verdict.

        Raises:
            UnknownNameError: no such node or branch.
        """
        turn = self.tree.turn(self.tree.node(node))
        if turn is None:
            return (f"original: the photo as it came in; found on it: {found(self._report())}",)
        run = RunFolder(self.run_dir / turn.run).read_json("report.json") if turn.run else None
        return tuple(explained(turn, self.tree.turn(turn.parent), self._report(), run))

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
            request=self._state.request,
            folder=self._shop.folder,
        )
        self._saved = self.tree.here
        return target

    def say(self, line: str, *, cancel: Signal | None = None) -> Reply:
        """One line of the conversation: a command (`conservator.agent.dialogue.language.HELP`), else words for `refine`.

        Raises:
            ConservatorError: as the method that it stands for; the session is then as it was.
        """
        return answer(self, read_line(line, self.tree.branches), cancel)

    def _begun(self, words: str) -> str:
        name = self.tree.next_id
        self._emit(TurnStarted(at_s=self._shop.seconds(), turn=name, words=words))
        return name

    def _treatment(self) -> Treatment:
        here = self.here
        return Untouched() if here is None else here.treatment

    def _pixels(self, turn: Turn | None) -> Pixels:
        if turn is None or not turn.artifact:
            return self._shop.picture.pixels
        return self._shop.folder.load_artifact(turn.artifact)

    def _report(self) -> ConditionReport:
        """What was found on the input; looked at once in a session."""
        if self._state.report is None:
            self._state = self._state.model_copy(update={"report": self._shop.inspected()})
        report = self._state.report
        return ConditionReport() if report is None else report

    def _baseline(self) -> Measurement:
        if self._state.baseline is None:
            self._state = self._state.model_copy(update={"baseline": self._shop.baseline()})
        baseline = self._state.baseline
        return Measurement(findings=()) if baseline is None else baseline

    def _measurement(self, turn: Turn | None) -> Measurement:
        own = None if turn is None else turn.measurement
        return own or self._baseline()

    def _reader(self, cancel: CancelSignal) -> Reader:
        reader = self._shop.reader(self._report(), cancel)
        shows = _shown(wish for turn in self.tree.path() for wish in turn.wishes)
        return reader.told(shows) if shows else reader

    def _done(
        self, reading: Reading, reader: Reader, name: str, cancel: CancelSignal
    ) -> tuple[tuple[Wish, ...], Treatment, Product, float]:
        """The wishes carried out, more strongly where nobody would see a first step; with the RMS change where it was meant."""
        before, source = self._pixels(self.here), self._treatment()
        said = [wish for turn in self.tree.path() for wish in turn.wishes]
        places = [wish.region for wish in reading.wishes]
        share = max(1.0 if p is None else coverage(p, reader.original) for p in places)
        factor = 1.0
        while True:
            wishes = louder(reading.wishes, factor)
            treatment = reader.carried_out(source, wishes)
            treatment = reader.sparing(treatment, (*said, *wishes))
            treatment, product = self._made(treatment, self._state.made, name, cancel)
            change = compare(before, product.pixels).residual / share**0.5
            seen = change >= _VISIBLE or treatment == source
            if seen or not reading.first_steps or factor >= _LOUDEST:
                return wishes, treatment, product, change
            factor *= 2

    def _made(
        self, treatment: Treatment, made: Mapping[str, Made], name: str, cancel: CancelSignal
    ) -> tuple[Treatment, Product]:
        """A treatment carried out, and what it amounts to: with the choices that its restorers made."""
        here = self.tree.here
        work = partial(self._shop.made, turn=name, parent=here, cancel=cancel, emit=self._emit)
        product = work(treatment, made)
        treatment, made = pinned(treatment, product.made, self._shop.protect)
        return treatment, work(treatment, made)

    def _grown(
        self,
        turn: Turn,
        product: Product,
        lines: Iterable[str],
        started: float,
        *,
        kinds: tuple[Kind, ...] = (),
        measured: Measurement | None = None,
    ) -> Reply:
        """The turn measured, judged, kept, and told."""
        before = self._pixels(self.here)
        old = self._measurement(self.here)
        new = measured or (self._shop.measured(product.pixels) if product.artifact else None)
        verdict = None
        if new is not None:
            verdict = self._shop.verdict(turn.treatment, self._baseline(), new)
        now = new or self._baseline()
        changed = {
            kind: (then.value, after.value)
            for kind in kinds
            if (then := old.finding(kind)) is not None and (after := now.finding(kind)) is not None
        }
        residual = compare(before, product.pixels).residual
        light = brightness(before), brightness(product.pixels)
        said = (
            *lines,
            effect(residual, light, kinds=changed),
            rule_says(verdict, asked=turn.instruction == "refine"),
        )
        turn = turn.model_copy(
            update={
                "steps": product.steps,
                "protect": self._shop.protect,
                "artifact": product.artifact,
                "measurement": new,
                "verdict": verdict,
                "said": said,
                "seconds": round(time.perf_counter() - started, 3),
            }
        )
        self._keep(tree=self.tree.grown(turn), made=product.made)
        folder = self._shop.folder
        # Pictures of nodes, and of the steps on the way to the present one; others are made again when they are needed.
        steps = {made.artifact for made in product.made.values()}
        folder.prune(steps | {node.artifact for node in self.tree.turns})
        self._emit(TurnFinished(at_s=self._shop.seconds(), turn=turn))
        return Reply(said=(f"{turn.id}: {said[0]}", *(f"  {line}" for line in said[1:])), turn=turn)

    def _moved(self, tree: Tree) -> Reply:
        self._keep(tree=tree)
        turn = self.here
        if turn is None:
            return Reply(said=("at original: the photo as it came in",))
        words = "restore" if turn.instruction == "restore" else f'"{turn.words}"'
        return Reply(said=(f"at {turn.id}: {words}",), turn=turn)

    def _keep(self, **update: object) -> None:
        """Change the state and write it."""
        new = self._state.model_copy(update=update)
        self._state = write_state(self._shop.folder, new)


def _shown(said: Iterable[Wish]) -> str:
    """What the photo shows, as the user said last; "" where nobody did."""
    scene = ""
    for wish in said:
        scene = wish.shows or scene
    return scene


def _measured_already(result: RestorationResult) -> Measurement | None:
    """The measurement of a run's result against its input; None where it left the input as it was."""
    return result.steps[-1].measurement if result.steps else None
