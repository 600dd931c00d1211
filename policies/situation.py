"""What a plan depends on, and what there is to treat: on the original, left on the best node, brought to light."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from conservator.policies.attempt import ORIGINAL, Attempt, find_attempt
from conservator.policies.experience import Experience
from conservator.policies.ordering import in_treatment_order
from conservator.policies.preferences import Preferences
from conservator.policies.preset import Preset
from conservator.policies.targets import KindTarget, Target, default_targets
from conservator.restorers.card import RestorerCard
from conservator.restorers.degradations.vocabulary import ConditionReport, Finding, Kind, Level

__all__ = ["UNCOVERS", "Situation", "actionable", "measured", "uncovered", "untreated"]


class Situation(BaseModel):
    """All that a plan depends on.

    Attributes:
        report: what the inspection of the original found.
        attempts: the tree so far, in the order of making.
        best: node that is the result if the run ended now.
        targets: the user's, empty when none were given.
        cards: restorers that may be called.
        room: tool calls left in the budget.
        settled: kinds whose strength the user has set in words; the policy does not ask for more of them.
        experience: what was learned, None to plan without.
        side: shorter side of the picture, px; 0 where nobody knows.
        spared: kinds that the user wants left alone; the preset leaves them, too.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    report: ConditionReport
    attempts: tuple[Attempt, ...] = ()
    best: str = ORIGINAL
    targets: tuple[Target, ...] = ()
    preset: Preset
    preferences: Preferences
    cards: Mapping[str, RestorerCard]
    room: float = float("inf")
    seed: int = 0
    settled: frozenset[Kind] = frozenset()
    experience: Experience | None = None
    side: int = 0
    spared: frozenset[Kind] = frozenset()

    def bounds(self) -> dict[Kind, Level]:
        """Kind -> level it shall be at or below, the user's before the preset's."""
        defaults = default_targets(self.report.findings, self.preset)
        both = (*defaults, *self.targets)
        return {t.kind: t.level for t in both if isinstance(t, KindTarget)}

    def todo(self) -> tuple[Finding, ...]:
        """Findings on the original to treat, in treatment order; see `actionable`."""
        return actionable(self.report, self.preset, self.targets)

    def usable(self) -> dict[str, RestorerCard]:
        """The cards but those that failed in this run: no weights, no memory; they would fail again."""
        broken = {a.call.restorer for a in self.attempts if a.status == "failed"}
        return {name: card for name, card in self.cards.items() if name not in broken}

    def best_attempt(self) -> Attempt | None:
        """What made the best node; None for the original."""
        return find_attempt(self.attempts, self.best)


def actionable(
    report: ConditionReport, preset: Preset, targets: Iterable[Target] = ()
) -> tuple[Finding, ...]:
    """Findings to treat, in treatment order: what the preset acts on, and what a target of the user's names."""
    asked = {t.kind: t.level for t in targets if isinstance(t, KindTarget)}
    unasked = preset.treats(report.findings)
    chosen = {
        f.kind: f
        for f in report.findings
        if f in unasked
        or (f.kind in asked and f.level > asked[f.kind] and f.confidence >= preset.asked_confidence)
    }
    return tuple(chosen[kind] for kind in in_treatment_order(chosen))


def untreated(situation: Situation, todo: Sequence[Finding]) -> tuple[Finding, ...]:
    """What the best node has not been treated for, at the strength measured on that node."""
    best = situation.best_attempt()
    if best is None:
        return tuple(todo)
    left = []
    for finding in (*todo, *uncovered(best, todo, situation)):
        if finding.kind in best.treated:
            continue
        # What the user sees is there, whatever the instruments say.
        by_user = finding.source == "user"
        now = finding if by_user else measured(best, finding.kind) or finding
        if now.level >= situation.preset.level_needed(finding.kind):
            left.append(now)
    return tuple(left)


UNCOVERS: Mapping[Kind, frozenset[Kind]] = {
    Kind.HAZE: frozenset({Kind.RAIN, Kind.SNOW, Kind.NOISE}),
    Kind.LOW_LIGHT: frozenset({Kind.RAIN, Kind.SNOW, Kind.NOISE, Kind.HAZE}),
    Kind.NOISE: frozenset({Kind.RAIN, Kind.HAZE, Kind.LOW_LIGHT}),
    Kind.PEPPER_NOISE: frozenset({Kind.NOISE, Kind.RAIN, Kind.HAZE, Kind.LOW_LIGHT}),
    Kind.RAIN: frozenset({Kind.HAZE, Kind.NOISE}),
    Kind.SNOW: frozenset({Kind.HAZE, Kind.NOISE}),
}
"""What a treatment may bring to light that it hid; anything else that appears after it is its own doing."""


def uncovered(best: Attempt, todo: Iterable[Finding], situation: Situation) -> tuple[Finding, ...]:
    """Findings on a treated picture that the inspection of the original could not be sure of.

    What the original had hinted at, below the policy's confidence, needs only the policy's least confidence now: it was seen twice.
    """
    if best.measurement is None:
        return ()
    preset = situation.preset
    known = {finding.kind for finding in todo} | set(best.treated)
    hidden = frozenset().union(*(UNCOVERS.get(kind, frozenset()) for kind in best.treated))

    def twice(now: Finding) -> bool:
        hint = situation.report.finding(now.kind)
        return (
            hint is not None
            and now.kind not in preset.leave
            and hint.level > Level.ABSENT
            and now.confidence >= preset.minimal_confidence
            and now.level >= preset.level_needed(now.kind)
        )

    return tuple(
        f
        for f in best.measurement.findings
        if f.kind in hidden and f.kind not in known and (preset.acts_on(f) or twice(f))
    )


def measured(attempt: Attempt, kind: Kind) -> Finding | None:
    """What was measured about a kind on an attempt's picture; None where nothing was."""
    return None if attempt.measurement is None else attempt.measurement.finding(kind)
