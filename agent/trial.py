"""Trying a step's candidates on a piece of the photo, so that only the most promising one is made in full.

The piece is at native resolution, from the middle: damage is nearly everywhere alike, and a tool takes a fraction of its time there. A candidate
that leaves some of what was found is tried with the steps that would follow it. What the gain network expects chooses, first among the candidates,
then among other strengths of the chosen one; that is made, measured and judged in full like any other candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from conservator.agent.calling import called, names_the_device
from conservator.agent.context import CancelSignal, ToolBench
from conservator.agent.saving import artifact_samples
from conservator.agent.sessions import unit_range
from conservator.policies.attempt import ORIGINAL
from conservator.policies.expectation import expected
from conservator.policies.planner import followers
from conservator.policies.strength import shifted
from conservator.restorers.errors import CancelledError, ConservatorError
from conservator.tools.gain import LEAST_SIDE, Gain, estimate_gain

if TYPE_CHECKING:
    from conservator.agent.context import RunContext
    from conservator.agent.state import RunState
    from conservator.policies.attempt import ToolCall
    from conservator.policies.situation import Situation
    from conservator.tools.look import Pixels
    from conservator.tools.restore import Treated

__all__ = ["PIECE", "chosen"]

PIECE = 320
"""Side of the piece, px."""


@dataclass(frozen=True)
class _PieceBench(ToolBench):
    """The workbench of a tool that works on a piece, whatever node it asks for."""

    piece: Pixels

    def pixels(self, node: str) -> Pixels:
        return self.piece


@dataclass(frozen=True)
class _Tried:
    """A candidate with the steps that would follow it, and what is expected of them together."""

    call: ToolCall
    then: tuple[ToolCall, ...]
    gain: Gain

    def __str__(self) -> str:
        steps = " + ".join(step.words for step in (self.call, *self.then))
        return f"{steps} {self.gain.psnr:+.1f}"


def chosen(
    calls: Sequence[ToolCall], situation: Situation, state: RunState, context: RunContext
) -> tuple[tuple[ToolCall, ...], int]:
    """The call that gains most on the piece, and how many calls were made there.

    Blends of what is there already cost nothing to make and are left as they are; so is everything where there is no choice, or the picture is too
    small to tell. A call that fails on the piece goes last, and fails again where it is recorded.

    Raises:
        CancelledError: the caller asked to stop, or the time is up.
        BackendMissingError: the caller asked for a device that is not there.
    """
    rivals = [call for call in calls if call.calls_tool]
    if len(rivals) < 2 or min(context.picture.pixels.shape[:2]) < LEAST_SIDE:
        return tuple(calls), 0
    trial = _Trial(situation, state, context, _start(rivals))
    tried, failed = [], []
    for call in rivals:
        one = trial.of(call)
        if one is None:
            failed.append(call)
        else:
            tried.append(one)
    if not tried:
        return tuple(calls), trial.count
    # The estimate errs by more than a decibel; what measured best over many photos yields to a clear difference only. Of the same treatment at
    # other strengths it errs alike.
    lead, margin = situation.preferences.lead, situation.preset.rival_margin

    def merit(one: _Tried) -> float:
        led = one.call.restorer == lead and one.call.decided_by != "vlm"
        favoured = led or one.call.same_treatment(rivals[0])
        return one.gain.psnr + (margin if favoured else 0.0)

    tried.sort(key=merit, reverse=True)
    doses = [one for call in _doses(tried[0].call, situation) if (one := trial.of(call))]
    first = max((tried[0], *doses), key=lambda one: one.gain.psnr)
    others = [one for one in (*tried, *doses) if one is not first]
    words = f"{first} dB expected on a piece" + "".join(f"; {other}" for other in others)
    worth = first.gain.psnr >= situation.preset.minimal_estimate
    best = first.call.model_copy(update={"trial": words, "then": first.then if worth else ()})
    blends = (call for call in calls if not call.calls_tool)
    return (best, *blends, *failed), trial.count


def _start(rivals: Sequence[ToolCall]) -> str:
    """The node over which gains are counted: the one that all rivals start from, else the original, or they could not be compared."""
    nodes = {call.source for call in rivals}
    return nodes.pop() if len(nodes) == 1 else ORIGINAL


def _doses(call: ToolCall, situation: Situation) -> list[ToolCall]:
    """The same call at other strengths, as far as its restorer hears them and the user has not set them."""
    kinds = [kind for kind in call.kinds if kind not in situation.settled]
    card = situation.cards.get(call.restorer)
    if card is None or not card.understands_strength:
        return []
    prompts = [shifted(call.prompt, kinds, step) for step in situation.preset.trial_steps]
    return [call.model_copy(update={"prompt": p}) for p in prompts if p != call.prompt]


@dataclass
class _Trial:
    """Makes candidates on the piece, with the steps that would follow them; counts the calls, and gains from the node `start` on."""

    situation: Situation
    state: RunState
    context: RunContext
    start: str
    count: int = 0
    pieces: dict[str, Pixels] = field(default_factory=dict)

    def of(self, call: ToolCall) -> _Tried | None:
        """What comes of a candidate; None where it fails or changes the size."""
        first = self._made(call, self._at(call.source))
        if first is None:
            return None
        made = first.pixels
        then: list[ToolCall] = []
        for step in followers(self.situation, call):
            after = self._made(step, made)
            if after is not None:
                made = after.pixels
                then.append(step)
        with self.context.timed("metrics"):
            gain = estimate_gain(self._at(self.start), made)
        gain = expected(gain, (call, *then), first.details, self.situation)
        return _Tried(call, tuple(then), gain)

    def _at(self, node: str) -> Pixels:
        """The piece of a node; a large photo takes a while to decode."""
        if node not in self.pieces:
            self.pieces[node] = _piece(self.context.pixels(self.state["attempts"], node))
        return self.pieces[node]

    def _made(self, call: ToolCall, piece: Pixels) -> Treated | None:
        self.count += 1
        made = _made(call, piece, self.state, self.context)
        return made if made is not None and made.pixels.shape == piece.shape else None


def _made(call: ToolCall, piece: Pixels, state: RunState, context: RunContext) -> Treated | None:
    """The piece as a call makes it, as it would be kept; None where the tool fails."""
    signal = CancelSignal(context.cancel, deadline=lambda: context.clock.remaining_seconds() <= 0)
    attempts = tuple(state["attempts"])
    bench = _PieceBench(context, attempts, "", signal, lambda done, total: None, piece)
    try:
        treated = called(call, bench, "trial")
    except CancelledError:
        raise
    except ConservatorError as error:
        if names_the_device(error, context):
            raise
        return None
    context.count("restorers", treated.seconds)
    context.count("loading", treated.loading_seconds)
    kept = unit_range(artifact_samples(context.picture, treated.pixels))
    return replace(treated, pixels=kept)


def _piece(pixels: Pixels) -> Pixels:
    """The middle, on JPEG's grid."""
    height, width = pixels.shape[:2]
    top, left = (max(0, (n - PIECE) // 2) // 8 * 8 for n in (height, width))
    return pixels[top : top + PIECE, left : left + PIECE]
