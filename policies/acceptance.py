"""The joint rule that lets a candidate through, or not.

No single no-reference score decides: they agree with people in half to two thirds of the cases. A candidate is accepted
when every one of these holds, all against the untouched input:

1. what was treated fell,
2. nothing rose by a level, treated or not, beyond what the treatment is known to uncover,
3. the photo is still the same: structure, colour, low-pass and residual guards,
4. the vote of the metrics that can run is not against it,
5. the gain network, which sees input and candidate side by side, does not expect it to be worse,
6. it holds to what the user asked for: bounds on the distance to the input, and what is to be kept (`conservator.policies.contract`).

Where it is sure of a gain (`Preset.sure_estimate`), conditions 1, 2 and 4 are recorded and do not refuse: it was taught by clean pictures
which changes are gains, and instruments misread what is half restored. The guards and the user's word hold always.

Every threshold is data of the preset; every check is kept with its numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from conservator.policies.preset import GuardLimits, Preset
from conservator.restorers.degradations.vocabulary import Finding, Kind, severity_of
from conservator.tools.compare import Guards
from conservator.tools.gain import Gain

__all__ = ["Check", "Fault", "Measurement", "Verdict", "guard_limits", "judge", "vote_balance"]

SOFT = ("treated_fell", "rose", "votes")
"""Checks that a clear expected gain overrules."""

Direction = Literal["higher", "lower"]
Fault = Literal["none", "weak", "strong"]
"""Why a candidate was refused: `weak`, it did not do enough; `strong`, it did too much or harm."""


class Measurement(BaseModel):
    """What was measured on the bytes that would be saved.

    Attributes:
        findings: one a kind, from the instruments.
        scores: no-reference metrics.
        guards: comparison with the input; None for the input itself.
        gain: over the input, as the gain network estimates it; None for the input itself, and where it cannot tell.
    """

    model_config = ConfigDict(frozen=True)

    findings: tuple[Finding, ...]
    scores: Mapping[str, float] = {}
    guards: Guards | None = None
    gain: Gain | None = None

    def finding(self, kind: Kind) -> Finding | None:
        """What was measured about `kind`."""
        return next((f for f in self.findings if f.kind is kind), None)


class Check(BaseModel):
    """One condition of the rule, with its numbers.

    Attributes:
        name: `treated_fell`, `rose`, `structure`, `colour`, `lowpass`, `residual`, `target` and `kept` for what the user asked for,
            `votes`, `gain`, or `opinion` where a vision-language model gave one.
        kind: the kind that rose, or is kept; None for other checks.
        overruled: it did not hold, and a clear expected gain made that not count.
        value: what was measured.
        limit: what it was held against.
        says: one line for people.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Kind | None = None
    passed: bool
    overruled: bool = False
    value: float
    limit: float
    says: str

    @property
    def line(self) -> str:
        """For people: what was measured, and whether it was overruled."""
        return f"{self.says} (overruled)" if self.overruled else self.says


class Verdict(BaseModel):
    """The decision about a candidate.

    Attributes:
        gain: how much better than the untouched input; compares candidates. See `GainWeights`.
        votes: metric -> 1 for, -1 against, 0 abstained.
        reason: why, in one line.
    """

    model_config = ConfigDict(frozen=True)

    accepted: bool
    checks: tuple[Check, ...]
    gain: float
    votes: Mapping[str, int] = {}
    fault: Fault = "none"
    reason: str = ""

    def failed(self) -> tuple[Check, ...]:
        """The checks that did not hold and counted."""
        return tuple(check for check in self.checks if not check.passed and not check.overruled)


def judge(
    before: Measurement,
    after: Measurement,
    *,
    treated: Mapping[Kind, float],
    preset: Preset,
    directions: Mapping[str, Direction],
    prior: float = 0.0,
    asked: Iterable[Check] = (),
) -> Verdict:
    """Judge a candidate against the untouched input.

    Args:
        before: the input, measured in the same way as the candidate.
        after: the candidate, with guards.
        treated: kind -> strength over the whole chain that led to the candidate.
        preset: the thresholds.
        directions: metric -> which way is better.
        prior: dB that the tools of the chain gained where they were measured, summed over what they treated.
        asked: what the user asked candidates to hold to, checked; see `Contract.checks`.
    """
    votes = _votes(before.scores, after.scores, preset, directions)
    balance = vote_balance(votes, preset)
    checks = (
        _treated_fell(before, after, treated, preset, balance),
        *_rises(before, after, treated, preset),
        *_guard_checks(after.guards, treated, preset.guards),
        *asked,
        Check(
            name="votes",
            passed=balance >= preset.minimal_votes,
            value=balance,
            limit=preset.minimal_votes,
            says=_vote_words(votes, before.scores, after.scores),
        ),
        *_gain_check(after.gain, treated, preset),
    )
    if after.gain is not None and after.gain.sure(preset.sure_estimate):
        checks = tuple(
            check.model_copy(update={"overruled": check.name in SOFT and not check.passed})
            for check in checks
        )
    failed = [check for check in checks if not check.passed and not check.overruled]
    fault: Fault = "none"
    if failed:
        fault = "weak" if all(check.name == "treated_fell" for check in failed) else "strong"
    change = after.guards.lowpass if after.guards else 0.0
    gain = (
        preset.weights.severity * _severity_taken_off(before, after)
        + preset.weights.votes * balance
        + preset.weights.prior * prior
        + preset.weights.estimate * (after.gain.psnr if after.gain else 0.0)
        - preset.weights.change * change
    )
    # What overruled stands last.
    held = checks[-1] if checks[0].overruled else checks[0]
    reason = "; ".join(check.says for check in failed) if failed else held.says
    return Verdict(
        accepted=not failed,
        checks=checks,
        gain=round(gain, 6),
        votes=votes,
        fault=fault,
        reason=reason,
    )


def _treated_fell(
    before: Measurement,
    after: Measurement,
    treated: Mapping[Kind, float],
    preset: Preset,
    balance: float,
) -> Check:
    pairs = []
    for kind in treated:
        old, new = before.finding(kind), after.finding(kind)
        # A kind that the instruments do not see in the input cannot be seen to fall.
        if old is not None and new is not None and old.severity > 0:
            pairs.append((old, new))
    if not pairs:
        names = ", ".join(kind.value for kind in treated) or "the treatment"
        return Check(
            name="treated_fell",
            passed=balance > 0,
            value=balance,
            limit=0.0,
            says=f"{names}: no instrument confirms it, the metrics' balance is {balance:+.2f}",
        )
    weight = sum(old.confidence for old, _ in pairs) or 1.0
    drop = sum(old.confidence * (old.severity - new.severity) for old, new in pairs) / weight
    most = sum(old.confidence * old.severity for old, _ in pairs) / weight
    # A kind that was hardly there cannot lose more than it had.
    limit = min(preset.minimal_drop, most / 2)
    says = ", ".join(f"{old.kind.value} {old.value:.3g} -> {new.value:.3g}" for old, new in pairs)
    return Check(name="treated_fell", passed=drop >= limit, value=drop, limit=limit, says=says)


def _rises(
    before: Measurement, after: Measurement, treated: Mapping[Kind, float], preset: Preset
) -> Iterable[Check]:
    for new in after.findings:
        old = before.finding(new.kind)
        if old is None:
            continue
        levels = int(new.level) - int(old.level)
        rise = new.severity - old.severity
        allowed = max(
            (preset.guards.tolerated.get(kind, {}).get(new.kind, 0) for kind in treated), default=0
        )
        certain = new.confidence >= preset.confidence_needed(new.kind)
        if levels > allowed and certain and rise >= preset.minimal_rise:
            yield Check(
                name="rose",
                kind=new.kind,
                passed=False,
                value=float(levels),
                limit=float(allowed),
                says=f"{new.kind.value} rose from {old.level.label} ({old.value:.3g}) to "
                f"{new.level.label} ({new.value:.3g})",
            )


def guard_limits(limits: GuardLimits, treated: Mapping[Kind, float]) -> dict[str, float]:
    """The guards' limits for a treatment, widened by what it asks for."""

    def allowances(name: str) -> list[float]:
        return [
            limits.allowances.get(kind, {}).get(name, 0.0) * severity_of(kind, strength)
            for kind, strength in treated.items()
        ]

    return {
        "structure": max(0.0, limits.structure - sum(allowances("structure"))),
        "colour": limits.colour + sum(allowances("colour")),
        "lowpass": limits.lowpass + sum(allowances("lowpass")),
        # Independent degradations add in power, not in amplitude.
        "residual": sum((x**2 for x in allowances("residual")), limits.residual**2) ** 0.5,
    }


def _guard_checks(
    guards: Guards | None, treated: Mapping[Kind, float], limits: GuardLimits
) -> Iterable[Check]:
    if guards is None:
        return
    for name, limit in guard_limits(limits, treated).items():
        value = guards.as_numbers()[name]
        holds = value >= limit if name == "structure" else value <= limit
        sign = ">=" if name == "structure" else "<="
        yield Check(
            name=name,
            passed=holds,
            value=value,
            limit=limit,
            says=f"{name} {value:.4g} (limit {sign} {limit:.4g})",
        )


def _gain_check(
    gain: Gain | None, treated: Mapping[Kind, float], preset: Preset
) -> Iterable[Check]:
    """A photo that is dark by intent looks like one that is underexposed, so brightening needs more certainty."""
    if gain is not None:
        limit = preset.minimal_estimate
        if Kind.LOW_LIGHT in treated:
            limit = max(limit, round(preset.brightening_estimate * gain.spread, 4))
        needed = f" (limit >= {limit:+.1f})" if gain.psnr < limit else ""
        yield Check(
            name="gain",
            passed=gain.psnr >= limit,
            value=gain.psnr,
            limit=limit,
            says=f"estimated gain {gain.words}{needed}",
        )


def _votes(
    before: Mapping[str, float],
    after: Mapping[str, float],
    preset: Preset,
    directions: Mapping[str, Direction],
) -> dict[str, int]:
    votes = {}
    for name, rule in preset.votes.items():
        if name not in before or name not in after or name not in directions:
            continue
        change = after[name] - before[name]
        better = change if directions[name] == "higher" else -change
        votes[name] = 0 if abs(better) <= rule.margin else (1 if better > 0 else -1)
    return votes


def vote_balance(votes: Mapping[str, int], preset: Preset) -> float:
    """The weighted mean of the votes, [-1, 1]; 0 when no metric can run."""
    total = sum(preset.votes[name].weight for name in votes)
    if total == 0:
        return 0.0
    return sum(preset.votes[name].weight * vote for name, vote in votes.items()) / total


def _vote_words(
    votes: Mapping[str, int], before: Mapping[str, float], after: Mapping[str, float]
) -> str:
    if not votes:
        return "no metric votes"
    words = {1: "for", -1: "against", 0: "abstains"}
    return "votes: " + ", ".join(
        f"{name} {before[name]:.3g} -> {after[name]:.3g} {words[vote]}"
        for name, vote in votes.items()
    )


def _severity_taken_off(before: Measurement, after: Measurement) -> float:
    total = 0.0
    for old in before.findings:
        new = after.finding(old.kind)
        if new is not None:
            total += max(old.confidence, new.confidence) * (old.severity - new.severity)
    return total
