"""The two instructions that grow a session's tree: the automatic run, and what the user says about the picture."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import partial
from threading import Event as Signal
from typing import TYPE_CHECKING, Final

from conservator.agent.context import CancelSignal
from conservator.agent.dialogue.comparing import brightness
from conservator.agent.dialogue.making import Product, pinned
from conservator.agent.dialogue.reading import Reader, Reading, louder, settled
from conservator.agent.dialogue.record import Record
from conservator.agent.dialogue.reply import Reply
from conservator.agent.dialogue.state import Made
from conservator.agent.dialogue.treatment import Treatment, recipe_steps
from conservator.agent.dialogue.tree import Turn, Wish
from conservator.agent.dialogue.wording import (
    effect,
    found,
    listed,
    named,
    new_calls,
    rule_says,
    wish_words,
)
from conservator.agent.dialogue.workshop import RUNS
from conservator.agent.events import OnEvent, TurnFinished, TurnStarted
from conservator.policies.acceptance import Measurement
from conservator.restorers.degradations.vocabulary import Kind
from conservator.tools.compare import compare
from conservator.tools.regions import coverage

if TYPE_CHECKING:
    from conservator.agent.result import RestorationResult
    from conservator.agent.steering import Steering

__all__ = ["Turns"]

_VISIBLE: Final = 0.6
"""RMS change, of 255, in the place that was meant, below which nobody sees a difference."""
_LIGHTER: Final = 0.004
"""Mean luma, [0, 1], by which a photo counts as brighter."""
_LOUDEST: Final = 4.0
"""Factor on a first step beyond which a restorer that does not answer to it is left alone."""


class Turns:
    """Carries out the instructions; one that fails or is cancelled leaves the record as it was."""

    def __init__(self, record: Record, emit: OnEvent) -> None:
        """Grow the record's tree; `emit` hears of each turn."""
        self._record = record
        self._emit = emit

    def restore(self, *, cancel: Signal | None, steering: Steering | None) -> Reply:
        """LLMRA's `<restore>`: the automatic run from the current node. See `Session.restore`."""
        record = self._record
        started, signal, here = time.perf_counter(), CancelSignal(cancel), record.here
        name = self._begun("")
        said = record.said
        left = [
            kind
            for (kind, region), wish in settled(said).items()
            if region is None or wish.changes.get(kind) != "off"
        ]
        artifact = "" if here is None else here.artifact
        result = record.shop.run(
            name, artifact, set(left), cancel=signal, emit=self._emit, steering=steering
        )
        if here is None:
            record.keep(report=result.before)
        treatment, made = record.shop.after_run(result, name, record.treatment, record.state.made)
        reader = self._reader(signal)
        if shows := _shown(said):
            treatment = reader.carried_out(treatment, (Wish(shows=shows),))
        treatment = reader.sparing(treatment, said)
        treatment, product = self._made(treatment, made, name, signal)
        lines = [f"found: {found(result.before)}"]
        lines += new_calls(recipe_steps(record.treatment), product.steps)
        lines += [f"note: {note}" for note in result.notes]
        lines.append(f"{result.outcome.replace('_', ' ')}: {result.reason}")
        if left:
            lines.append(f"left as you set it: {listed(sorted(map(named, set(left))))}")
        return self._grown(
            Turn(
                id=name,
                parent=record.tree.here,
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

    def refine(self, words: str, *, cancel: Signal | None) -> Reply:
        """LLMRA's `<refine>`: what the user says about the picture. See `Session.refine`."""
        record = self._record
        started, signal, here = time.perf_counter(), CancelSignal(cancel), record.here
        reader = self._reader(signal)
        reading = reader.read(words, record.treatment, record.tree.path())
        if not reading.wishes:
            hint = () if reading.remarks else ("nothing to change; say what is not right yet",)
            return Reply(said=(*reading.remarks, *hint), understood=reading.understood)
        name = self._begun(words)
        wishes, treatment, product, change = self._done(reading, reader, name, signal)
        lines = [line for wish in wishes for line in wish_words(wish, record.treatment, treatment)]
        lines += new_calls(recipe_steps(record.treatment), product.steps)
        if reading.decided_by == "vlm":
            lines.append("so the vision-language model reads your words; undo takes it back")
        lines += reading.remarks
        light = sum(wish.doses.get(Kind.LOW_LIGHT, 0.0) for wish in wishes)
        shift = brightness(product.pixels) - brightness(record.pixels(here))
        if light * shift < 0 and abs(shift) > _LIGHTER:
            lines.append(
                f"against your words the photo got {'brighter' if shift > 0 else 'darker'}"
            )
        if treatment != record.treatment and change < _VISIBLE:
            lines.append(
                "hardly anybody will see the difference; this is as far as these restorers go"
            )
        return self._grown(
            Turn(
                id=name,
                parent=record.tree.here,
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

    def _begun(self, words: str) -> str:
        record = self._record
        name = record.tree.next_id
        self._emit(TurnStarted(at_s=record.shop.seconds(), turn=name, words=words))
        return name

    def _reader(self, cancel: CancelSignal) -> Reader:
        record = self._record
        reader = record.shop.reader(record.report, cancel)
        shows = _shown(record.said)
        return reader.told(shows) if shows else reader

    def _done(
        self, reading: Reading, reader: Reader, name: str, cancel: CancelSignal
    ) -> tuple[tuple[Wish, ...], Treatment, Product, float]:
        """The wishes carried out, more strongly where nobody would see a first step; with the RMS change where it was meant."""
        record = self._record
        before, source = record.pixels(record.here), record.treatment
        said = record.said
        places = [wish.region for wish in reading.wishes]
        share = max(1.0 if p is None else coverage(p, reader.original) for p in places)
        factor = 1.0
        while True:
            wishes = louder(reading.wishes, factor)
            treatment = reader.carried_out(source, wishes)
            treatment = reader.sparing(treatment, (*said, *wishes))
            treatment, product = self._made(treatment, record.state.made, name, cancel)
            change = compare(before, product.pixels).residual / share**0.5
            seen = change >= _VISIBLE or treatment == source
            if seen or not reading.first_steps or factor >= _LOUDEST:
                return wishes, treatment, product, change
            factor *= 2

    def _made(
        self, treatment: Treatment, made: Mapping[str, Made], name: str, cancel: CancelSignal
    ) -> tuple[Treatment, Product]:
        """A treatment carried out, and what it amounts to: with the choices that its restorers made."""
        record = self._record
        here = record.tree.here
        work = partial(record.shop.made, turn=name, parent=here, cancel=cancel, emit=self._emit)
        product = work(treatment, made)
        treatment, made = pinned(treatment, product.made, record.shop.protect)
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
        record = self._record
        before = record.pixels(record.here)
        old = record.measurement(record.here)
        new = measured or (record.shop.measured(product.pixels) if product.artifact else None)
        verdict = None
        if new is not None:
            verdict = record.shop.verdict(turn.treatment, record.baseline, new)
        now = new or record.baseline
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
                "protect": record.shop.protect,
                "artifact": product.artifact,
                "measurement": new,
                "verdict": verdict,
                "said": said,
                "seconds": round(time.perf_counter() - started, 3),
            }
        )
        record.keep(tree=record.tree.grown(turn), made=product.made)
        folder = record.shop.folder
        # Pictures of nodes, and of the steps on the way to the present one; others are made again when they are needed.
        steps = {made.artifact for made in product.made.values()}
        folder.prune(steps | {node.artifact for node in record.tree.turns})
        self._emit(TurnFinished(at_s=record.shop.seconds(), turn=turn))
        return Reply(said=(f"{turn.id}: {said[0]}", *(f"  {line}" for line in said[1:])), turn=turn)


def _shown(said: Iterable[Wish]) -> str:
    """What the photo shows, as the user said last; "" where nobody did."""
    scene = ""
    for wish in said:
        scene = wish.shows or scene
    return scene


def _measured_already(result: RestorationResult) -> Measurement | None:
    """The measurement of a run's result against its input; None where it left the input as it was."""
    return result.steps[-1].measurement if result.steps else None
